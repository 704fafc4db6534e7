package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// startAdmin starts a gateway with an admin listener on an address of loopback.
func startAdmin(t *testing.T, address string) (addr string) {
	t.Helper()
	g := startGateway(t, strings.Replace(oneRoute("ws://127.0.0.1:9", ""), `admin: {address: "off"}`, `admin: {address: "`+address+`:0"}`, 1))
	return g.admin.ln.Addr().String()
}

func TestAdminAnswers(t *testing.T) {
	t.Parallel()
	addr := startAdmin(t, "127.0.0.1")
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n", "/metrics": "# HELP"} {
		for _, host := range []string{addr, "localhost:" + wstest.Port(t, addr), "[::1]:" + wstest.Port(t, addr)} {
			c := wstest.Dial(t, addr)
			c.Send(wstest.Plain(path).With("Host", host).Bytes())
			if resp := c.Response(); resp.Status != http.StatusOK || !strings.HasPrefix(string(resp.Body), want) {
				t.Errorf("%s of %s: got %q %.40q, want 200 %q", path, host, resp.Line, resp.Body, want)
			}
			c.Close()
		}
	}
	other := startAdmin(t, "127.0.0.2") // an address of loopback like any other
	c := wstest.Dial(t, other)
	c.Send(wstest.Plain("/healthz").With("Host", other).Bytes())
	if resp := c.Response(); resp.Status != http.StatusOK {
		t.Errorf("at %s: got %q", other, resp.Line)
	}
}

// It has no authentication, so whatever a page could make a browser send is refused.
func TestAdminRefuses(t *testing.T) {
	t.Parallel()
	addr := startAdmin(t, "127.0.0.1")
	port := wstest.Port(t, addr)
	request := func(lines ...string) *wstest.Request {
		return wstest.Plain("/metrics").With("Host", addr).Add(lines...)
	}
	method := func(name string) *wstest.Request {
		r := request()
		r.Line = name + " /metrics HTTP/1.1"
		return r
	}
	for _, row := range []struct {
		name    string
		request *wstest.Request
		status  int
	}{
		{"typed into a browser", request("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), 200},
		{"another Host, right port", request().With("Host", "evil.test:"+port), 403},
		{"no port", request().With("Host", "127.0.0.1"), 403},
		{"another port", request().With("Host", "127.0.0.1:1"), 403},
		{"a name that ends alike", request().With("Host", "xlocalhost:"+port), 403},
		{"a trailing dot", request().With("Host", "localhost.:"+port), 403},
		{"upper case", request().With("Host", "LOCALHOST:"+port), 403},
		{"absolute target", request().Target("http://evil.test/metrics"), 403},
		{"Origin", request("Origin: http://" + addr), 403},
		{"Origin null", request("Origin: null"), 403},
		{"empty Origin", request("Origin:"), 403},
		{"cross-site", request("Sec-Fetch-Site: cross-site"), 403},
		{"same-site", request("Sec-Fetch-Site: same-site"), 403},
		{"same-origin", request("Sec-Fetch-Site: same-origin"), 403},
		{"two sites", request("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), 403},
		{"no-cors alone", request("Sec-Fetch-Mode: no-cors"), 403},
		{"WebSocket", request("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+wstest.HS0Key), 400},
		{"h2c", request("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), 400},
		{"CONNECT", &wstest.Request{Line: "CONNECT " + addr + " HTTP/1.1", Fields: []string{"Host: " + addr}}, 400},
		{"POST", method("POST").Add("Content-Length: 0"), 405},
		{"OPTIONS", method("OPTIONS"), 405},
		{"root", request().Target("/"), 404},
		{"dots", request().Target("/x/../metrics"), 404},
		{"encoded dots", request().Target("/%2e/metrics"), 404},
		{"two slashes", request().Target("//metrics"), 404},
		{"slash at the end", request().Target("/metrics/"), 404},
		{"encoded", request().Target("/%6detrics"), 404},
		{"a prefix", request().Target("/metricsX"), 404},
		{"profiles", request().Target("/debug/pprof/"), 404},
		{"asterisk", &wstest.Request{Line: "OPTIONS * HTTP/1.1", Fields: []string{"Host: " + addr}}, 400},
	} {
		c := wstest.Dial(t, addr)
		c.Send(row.request.Bytes())
		resp := c.Response()
		if resp.Status != row.status {
			t.Errorf("%s: got %q %q, want %d", row.name, resp.Line, resp.Body, row.status)
		}
		if row.status != 200 && (strings.Contains(string(resp.Body), "framegate") || resp.Get("Location") != "" || resp.Get("Access-Control-Allow-Origin") != "") {
			t.Errorf("%s: got %q %.100q", row.name, resp.Fields, resp.Body)
		}
		c.Close()
	}
}
