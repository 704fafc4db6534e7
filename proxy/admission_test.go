package proxy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/policy"
)

// A refusal says which rule refused, in the answer's status, one log line and one counter; what a policy in shadow mode would have refused
// passes, and is counted and logged as such.
func TestDecisionsAreToldOnce(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ", policies: [trial, browsers]")+`policies:
  trial: {mode: shadow, origin: {allow: ["https://other.example"]}}
  browsers: {origin: {allow: ["https://app.example.com"]}}
`)
	c := wstest.Dial(t, g.addr)
	c.Send(wstest.HS0("/").With("Origin", "https://evil.example").Bytes())
	resp := c.Response()
	if resp.Status != 403 || resp.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(resp.Body), `"detail": "origin not allowed"`) {
		t.Errorf("got %q %q", resp.Line, resp.Body)
	}
	open := wstest.Dial(t, g.addr)
	open.Send(wstest.HS0("/").With("Origin", "https://app.example.com").Bytes())
	if resp := open.Response(); resp.Status != 101 {
		t.Errorf("got %q, want 101", resp.Line)
	}
	s := g.metrics.series(t)
	for labels, want := range map[string]float64{
		"outcome=would_refuse,policy=trial,route=app,rule=origin": 2,
		"outcome=admitted,policy=trial,route=app,rule=origin":     0,
		"outcome=refused,policy=browsers,route=app,rule=origin":   1,
		"outcome=admitted,policy=browsers,route=app,rule=origin":  1,
	} {
		if got, ok := s["framegate_decisions_total{"+labels+"}"]; !ok || got != want {
			t.Errorf("%s is %v, %t, want %v", labels, got, ok, want)
		}
	}
	if lines := g.log.lines(t, "would refuse"); len(lines) != 2 || lines[0]["rule"] != "origin" || lines[0]["mode"] != "shadow" || lines[0]["policy"] != "trial" {
		t.Errorf("the log says %v", lines)
	}
	if lines := g.log.lines(t, "refused"); len(lines) != 1 || lines[0]["mode"] != "enforce" || lines[0]["outcome"] != policy.OutcomeRefused {
		t.Errorf("the log says %v", lines)
	}
}

// A service of the operator's decides who may connect, before any upstream is dialled; the upstream learns from it who that is.
func TestForwardAuth(t *testing.T) {
	t.Parallel()
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Cookie") {
		case "sid=alice":
			w.Header().Set("X-Auth-User", "alice")
		case "sid=broken":
			w.WriteHeader(500)
		default:
			w.Header().Set("WWW-Authenticate", `Session realm="app"`)
			w.WriteHeader(401)
		}
	}))
	defer auth.Close()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ", policies: [sessions, trial]")+`policies:
  sessions: {forward_auth: {url: "`+auth.URL+`", response_headers: [X-Auth-User]}}
  trial: {mode: shadow, forward_auth: {url: "http://127.0.0.1:1", on_failure: dangerously_allow}}
`)
	for _, row := range []struct {
		cookie    string
		status    int
		challenge string
		detail    any
	}{
		{"sid=S3CRET", 401, `Session realm="app"`, nil},
		{"sid=broken", 503, "", "the service answered with status 500"},
		{"sid=alice", 101, "", nil},
	} {
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.HS0("/").With("Origin", "http://app.example.com").With("Cookie", row.cookie).With("X-Auth-User", "root").Bytes())
		resp := c.Response()
		if resp.Status != row.status || resp.Get("WWW-Authenticate") != row.challenge {
			t.Errorf("%s: got %q, challenge %q", row.cookie, resp.Line, resp.Get("WWW-Authenticate"))
		}
		if row.status == 101 {
			continue
		}
		wstest.CheckRefusal(t, resp)
		if n := up.Dials(); n != 0 {
			t.Errorf("%s: the upstream saw %d connections", row.cookie, n)
		}
		lines := g.log.lines(t, "refused")
		if last := lines[len(lines)-1]; last["rule"] != "forward_auth" || last["detail"] != row.detail {
			t.Errorf("%s: the log says %v", row.cookie, last)
		}
	}
	if got := up.Wait("/").Values("X-Auth-User"); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("the upstream got the users %q", got)
	}
	if lines := g.log.lines(t, "admitted without a decision"); len(lines) != 1 || lines[0]["policy"] != "trial" || !strings.Contains(lines[0]["detail"].(string), "refused") {
		t.Errorf("the log says %v", lines)
	}
}

// Files that policies name are found beside the file that the policy stands in, and are bounded.
func TestPolicyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sub := filepath.Join(dir, "policies")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{filepath.Join(dir, "k"): "main", filepath.Join(sub, "k"): "own", filepath.Join(dir, "large"): strings.Repeat("x", maxPolicyFile+1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &Config{dir: dir, policyDirs: map[string]string{"own": sub}}
	for _, row := range []struct{ policy, path, want, fault string }{
		{"main", "k", "main", ""},
		{"own", "k", "own", ""},
		{"own", filepath.Join(dir, "k"), "main", ""},
		{"main", "policies/k", "own", ""},
		{"main", "absent", "", "no such file"},
		{"main", "large", "", "larger than 1048576 bytes"},
		{"main", "policies", "", "is a directory"},
	} {
		data, err := cfg.policyFile(row.policy, row.path)
		if row.fault == "" && (err != nil || string(data) != row.want) {
			t.Errorf("%s %s: got %q, %v", row.policy, row.path, data, err)
		}
		if row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault) || strings.Contains(err.Error(), dir)) {
			t.Errorf("%s %s: got %v, want ...%s, without the path", row.policy, row.path, err, row.fault)
		}
	}
}

// Of a plain request policies see the fields that go on, as of a handshake: nothing that the client claims about hops before it.
func TestPoliciesSeeEndToEndFields(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "http://App.example.com:8080/a?b=1", nil)
	for name, value := range map[string]string{
		"Accept": "*/*", "Connection": "close", "Proxy-Authorization": "x", "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Real-Ip": "10.0.0.1",
	} {
		r.Header.Set(name, value)
	}
	got := plainRequestOf(r, "/a")
	if len(got.Header) != 1 || got.Header.Get("Accept") != "*/*" {
		t.Errorf("policies see %v", got.Header)
	}
	if !got.Plain || got.Method != "POST" || got.Host != "app.example.com" || got.Port != "8080" || got.Path != "/a" || got.RawQuery != "b=1" {
		t.Errorf("policies see %+v", got)
	}
}
