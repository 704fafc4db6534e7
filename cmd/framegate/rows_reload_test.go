package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// A reloading is a gateway whose configuration file the test changes.
type reloading struct {
	*wstest.Process
	t    *testing.T
	file string
	up   *wstest.Recorder
	more string // further keys
}

// config allows some origins on the route pages, and any client on the route other.
func (g *reloading) config(origins string) string {
	return fmt.Sprintf(`
version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: other, hosts: [other.example.com], upstream: app, policies: [anybody], close_timeout: 1s}
  - {name: pages, hosts: [app.example.com], upstream: app, policies: [pages], close_timeout: 1s}
upstreams: {app: {servers: ["ws://%s"]}}
policy_files: [policies/*.yaml]
policies: {anybody: {origin: {allow: ["https://app.example.com"], absent: allow}}}
admin: {address: "127.0.0.1:0"}
drain: {delay: 0s, window: 100ms, hard_stop: 5s}
%s
`, g.up.Addr(), g.more)
}

func pagesPolicy(origins string) string {
	return fmt.Sprintf("version: 1\npolicies: {pages: {origin: {allow: [%s]}}}\n", origins)
}

// startReloading runs a gateway that follows its files.
func startReloading(t *testing.T, origins, more string) *reloading {
	t.Helper()
	dir := t.TempDir()
	g := &reloading{t: t, file: filepath.Join(dir, "gateway.yaml"), up: wstest.NewRecorder(t, wstest.Echo), more: more}
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.policy(pagesPolicy(origins))
	if err := os.WriteFile(g.file, []byte(g.config(origins)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Process = wstest.StartCommand(t, "run", "--config", g.file)
	g.WaitLogs("listening", 2)
	for _, line := range g.Logs("listening") {
		if address, _ := line["address"].(string); line["for"] == "admin" {
			g.Admin = address
		} else {
			g.Addr = address
		}
	}
	return g
}

// write puts a file in the place of another one in one step.
func (g *reloading) write(path, text string) {
	g.t.Helper()
	next := path + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		g.t.Fatal(err)
	}
}

// policy writes the policy file.
func (g *reloading) policy(text string) {
	g.t.Helper()
	g.write(filepath.Join(filepath.Dir(g.file), "policies", "pages.yaml"), text)
}

// enter opens a session from a page.
func (g *reloading) enter(host, origin string) *wstest.Client {
	g.t.Helper()
	c := wstest.Dial(g.t, g.Addr)
	c.Upgrade(wstest.HS0("/").With("Host", host).With("Origin", origin))
	return c
}

// post asks the admin listener for a reload.
func (g *reloading) post(fields ...string) (status int, body map[string]any) {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+g.Admin+"/-/reload", strings.NewReader("{}"))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if strings.HasPrefix(string(text), "{") {
		if err := json.Unmarshal(text, &body); err != nil {
			g.t.Fatalf("%q: %v", text, err)
		}
	}
	return resp.StatusCode, body
}

// get reads something of the admin listener.
func (g *reloading) get(path string) string {
	g.t.Helper()
	resp, err := http.Get("http://" + g.Admin + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

const pageOne, pageTwo = `"https://one.example.com"`, `"https://two.example.com"`

// TestRowsReload changes the configuration in every way that a reload can be asked for.
func TestRowsReload(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	both := pageOne + ", " + pageTwo
	closes := func(t *testing.T, g *reloading, c *wstest.Client) {
		t.Helper()
		if _, reason := c.ExpectClose(1008); reason != "origin not allowed" {
			t.Errorf("closed for %q", reason)
		}
	}
	lives := func(c *wstest.Client) {
		c.Send(wstest.ClientFrame(0x81, []byte("hello")))
		c.ExpectFrame(0x81, []byte("hello"))
	}
	run("by SIGHUP", func(t *testing.T) {
		g := startReloading(t, both, "")
		one, two := g.enter("app.example.com", "https://one.example.com"), g.enter("app.example.com", "https://two.example.com")
		if err := os.WriteFile(filepath.Join(filepath.Dir(g.file), "policies", "pages.yaml"), []byte(pagesPolicy(pageOne)), 0o600); err != nil {
			t.Fatal(err)
		}
		g.Signal(syscall.SIGHUP)
		closes(t, g, two)
		lives(one)
	})
	run("by a change, as an editor saves", func(t *testing.T) {
		g := startReloading(t, both, "")
		one, two := g.enter("app.example.com", "https://one.example.com"), g.enter("app.example.com", "https://two.example.com")
		g.policy(pagesPolicy(pageOne))
		closes(t, g, two)
		lives(one)
	})
	run("by a change, written in place, half at first", func(t *testing.T) {
		g := startReloading(t, both, "")
		two := g.enter("app.example.com", "https://two.example.com")
		path := filepath.Join(filepath.Dir(g.file), "policies", "pages.yaml")
		if err := os.WriteFile(path, []byte("version: 1\npolicies: {pages: {orig"), 0o600); err != nil {
			t.Fatal(err)
		}
		line := g.WaitLogs("configuration rejected", 1)[0]
		if text, _ := line["error"].(string); !strings.Contains(text, "pages.yaml:2") {
			t.Errorf("rejected for %q", text)
		}
		if text := g.get("/readyz"); !strings.HasPrefix(text, "ready; the configuration that was read last was rejected") {
			t.Errorf("/readyz says %q", text)
		}
		if text := g.get("/metrics"); !strings.Contains(text, "framegate_config_reload_success 0") || !strings.Contains(text, "framegate_config_generation 1\n") {
			t.Error("the metrics do not tell")
		}
		lives(two)
		if err := os.WriteFile(path, []byte(pagesPolicy(pageOne)), 0o600); err != nil {
			t.Fatal(err)
		}
		closes(t, g, two)
		if text := g.get("/metrics"); !strings.Contains(text, "framegate_config_reload_success 1") || g.get("/readyz") != "ready\n" {
			t.Error("the metrics or /readyz do not tell that it is mended")
		}
	})
	run("by a file more", func(t *testing.T) {
		g := startReloading(t, both, "")
		g.write(filepath.Join(filepath.Dir(g.file), "policies", "more.yaml"), "version: 1\npolicies: {more: {origin: {}}}\n")
		g.WaitLogs("reloaded", 1)
		two := g.enter("app.example.com", "https://two.example.com")
		lives(two)
	})
	run("by POST", func(t *testing.T) {
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte(strings.Repeat("a1", 32)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		g := startReloading(t, both, "")
		if status, body := g.post(); status != 200 || body["generation"] != 2.0 {
			t.Errorf("got %d, %v", status, body)
		}
		for _, row := range []struct {
			name, field, value string
			want               int
		}{
			{"A-02", "Host", "evil.test", 403},
			{"A-03", "Origin", "null", 403},
			{"A-03", "Sec-Fetch-Site", "cross-site", 403},
			{"a form", "Content-Type", "text/plain", 415},
		} {
			if row.field == "Host" {
				continue // of the client's own; TestRowsAdmin has it
			}
			if status, _ := g.post(row.field, row.value); status != row.want {
				t.Errorf("%s: got %d, want %d", row.name, status, row.want)
			}
		}
		g.write(g.file, strings.Replace(g.config(both), "policies: [pages]", "policies: [pagse]", 1))
		status, body := g.post()
		errs, _ := body["errors"].([]any)
		if status != 422 || len(errs) != 1 || !strings.Contains(fmt.Sprint(errs[0]), `did you mean "pages"?`) || errs[0].(map[string]any)["line"] != 6.0 {
			t.Errorf("got %d, %v", status, body)
		}
		g.write(g.file, strings.Replace(g.config(both), `"127.0.0.1:0"}`+"\ndrain", `"127.0.0.1:0", token_file: `+token+"}\ndrain", 1))
		if status, body := g.post(); status != 200 {
			t.Fatalf("got %d, %v", status, body)
		}
		if status, _ := g.post(); status != 401 {
			t.Errorf("without a token: %d", status)
		}
		if status, _ := g.post("Authorization", "Bearer "+strings.Repeat("a1", 32)); status != 200 {
			t.Errorf("with the token: %d", status)
		}
		for range 10 {
			g.post("Authorization", "Bearer wrong")
		}
		if status, _ := g.post("Authorization", "Bearer wrong"); status != 429 {
			t.Errorf("A-04: after many wrong tokens %d", status)
		}
	})
	run("by a swap of Kubernetes", func(t *testing.T) {
		dir := t.TempDir()
		g := &reloading{t: t, up: wstest.NewRecorder(t, wstest.Echo)}
		place := func(version, origins string) {
			t.Helper()
			data := filepath.Join(dir, version)
			if err := os.MkdirAll(data, 0o700); err != nil {
				t.Fatal(err)
			}
			config := strings.Replace(g.config(""), "policies/*.yaml", "pages.yaml", 1)
			for name, text := range map[string]string{"gateway.yaml": config, "pages.yaml": pagesPolicy(origins)} {
				if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // there, from the second version on
			}
			old, _ := os.Readlink(filepath.Join(dir, "..data"))
			if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			if old != "" {
				os.RemoveAll(filepath.Join(dir, old))
			}
		}
		place("..1", both)
		g.file = filepath.Join(dir, "gateway.yaml")
		g.Process = wstest.StartCommand(t, "run", "--config", g.file)
		for _, line := range g.WaitLogs("listening", 2) {
			if line["for"] == "clients" {
				g.Addr = line["address"].(string)
			}
		}
		one, two := g.enter("app.example.com", "https://one.example.com"), g.enter("app.example.com", "https://two.example.com")
		place("..2", pageOne)
		closes(t, g, two)
		place("..3", pageTwo)
		closes(t, g, one)
	})
}

// A gateway that follows no file says so.
func TestRowsReloadWithoutAFile(t *testing.T) {
	t.Parallel()
	p := wstest.StartCommand(t, "proxy", "--to", "localhost:1", "--listen", "localhost:0", "--storage", t.TempDir())
	p.WaitStdout(regexp.MustCompile("-> ws"))
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
