package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

const chromium = "/usr/bin/chromium" // where Debian's package puts it

// browserOptions are the options of the scripts that drive Chromium.
type browserOptions struct {
	URL        string `json:"url"`
	Executable string `json:"executable"`
	Profile    string `json:"profile"`
	Sizes      []int  `json:"sizes"`
	CutCode    int    `json:"cutCode"`
}

// browserEnv returns the environment of a Chromium that trusts the root certificate: a home directory with an NSS database, which is
// where Chromium on Linux looks for the roots that its user has added.
func browserEnv(t *testing.T, root string) []string {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		t.Fatalf("Chromium is missing, run make test: %v", err)
	}
	certutil, err := exec.LookPath("certutil")
	if err != nil {
		t.Fatalf("certutil of libnss3-tools is missing, run make test: %v", err)
	}
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache")}
	if root == "" {
		return env
	}
	db := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-N", "-d", "sql:" + db, "--empty-password"},
		{"-A", "-d", "sql:" + db, "-n", "framegate", "-t", "C,,", "-i", root},
	} {
		if out, err := exec.Command(certutil, args...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %v: %v\n%s", args, err, out)
		}
	}
	return env
}

func TestChromium(t *testing.T) {
	t.Parallel()
	upstream, port := startUpstream(t, upstreamOptions{Deflate: true})
	edge := newEdge(t, port)
	root := ""
	if edge.Gateway != nil {
		root = edge.Gateway.RootFile()
	}
	browser := startPeer(t, "browser.mjs", browserOptions{
		URL: edge.HTTP, Executable: chromium, Profile: t.TempDir(), Sizes: sizesTo(mib), CutCode: edge.CutCode,
	}, browserEnv(t, root)...)

	browser.await("kill")
	for _, want := range []struct {
		code   int
		reason string
	}{
		{4321, "from the upstream: ü"},
		{4321, "from the page: ü"},
		{1001, ""}, // the reload
	} {
		if got := upstream.await("close"); got.Code != want.code || got.Reason != want.reason {
			t.Errorf("the upstream saw a Close of %d %q, want %d %q", got.Code, got.Reason, want.code, want.reason)
		}
	}
	upstream.kill()
	browser.say("killed")

	browser.await("restart")
	startUpstream(t, upstreamOptions{Deflate: true, Port: port})
	browser.say("restarted")
	browser.verdict(8)
}

// TestDemoInChromium runs `framegate demo` and does what it says on its page.
func TestDemoInChromium(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	demo := wstest.StartCommand(t, "demo", "--listen", "localhost:0", "--storage", storage)
	url := demo.WaitStdout(regexp.MustCompile(`https://localhost:[0-9]+`))[0]
	browser := startPeer(t, "browser_demo.mjs", browserOptions{URL: url, Executable: chromium, Profile: t.TempDir()},
		browserEnv(t, filepath.Join(storage, "internal", "root.crt"))...)
	browser.verdict(9)
	for _, line := range []string{
		`ended .* 4321 `, `ended .* 1011 `, `ended .* 1009 `, `refused .* /ws from .* 401: token required \(policy members, rule jwt\)`,
		`refused .* /ws from .* 403: origin not allowed \(policy own-pages, rule origin\)`,
	} {
		demo.WaitStdout(regexp.MustCompile(line))
	}
	demo.Stop()
}
