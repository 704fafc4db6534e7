package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/framegate/framegate/internal/wstest"
)

// A bank is an application that trusts a cookie, and knows nothing of origins: what opens a WebSocket with the cookie is the user.
type bank struct {
	mu     sync.Mutex
	opened []string // Origin and cookie of each WebSocket
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/ws") {
		// Even the strictest cookie is sent for pages of a subdomain, which may be somebody else's.
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "victim", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>page</title><h1>page</h1>")
		return
	}
	b.mu.Lock()
	b.opened = append(b.opened, r.Header.Get("Origin")+" "+r.Header.Get("Cookie"))
	b.mu.Unlock()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	c.Write(r.Context(), websocket.MessageText, []byte("account of "+r.Header.Get("Cookie")))
	c.Read(r.Context())
	c.CloseNow()
}

// hijackOptions are the options of browser_hijack.mjs.
type hijackOptions struct {
	browserOptions
	Evil string `json:"evil"` // a page of another origin
}

// TestChromiumCannotBeHijacked: a page of another origin, in the browser of a user who is logged in, cannot open the application's socket
// through the gateway; that it could without the Origin rule is shown on a path whose policy lists that origin. The application's own page can.
func TestChromiumCannotBeHijacked(t *testing.T) {
	t.Parallel()
	app := &bank{}
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	storage := t.TempDir()
	gateway := func(routes, policies string) *wstest.Process {
		return wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: internal}}]
routes:
%s
upstreams: {app: {servers: ["ws://%s"]}}
policies: {%s}
tls: {storage: {file: "%s"}}
`, routes, server.Listener.Addr(), policies, storage))
	}
	evil := gateway("  - {name: evil, hosts: [blog.bank.localhost], upstream: app}", "")
	evilOrigin := "https://blog.bank.localhost:" + wstest.Port(t, evil.Addr)
	g := gateway(`  - {name: bank, hosts: [bank.localhost], upstream: app}
  - {name: careless, hosts: [bank.localhost], paths: [/ws/careless], upstream: app, policies: [careless]}`,
		fmt.Sprintf(`careless: {origin: {allow: ["%s"]}}`, evilOrigin))

	browser := startPeer(t, "browser_hijack.mjs", hijackOptions{
		browserOptions{URL: "https://bank.localhost:" + wstest.Port(t, g.Addr), Executable: chromium, Profile: t.TempDir()}, evilOrigin,
	}, browserEnv(t, g.RootFile())...)
	browser.verdict(3)

	want := []string{"https://bank.localhost:" + wstest.Port(t, g.Addr) + " session=victim", evilOrigin + " session=victim"}
	app.mu.Lock()
	defer app.mu.Unlock()
	if !slices.Equal(app.opened, want) {
		t.Errorf("the application had the WebSockets %q, want %q", app.opened, want)
	}
	lines := g.WaitLogs("refused", 1)
	if line := lines[len(lines)-1]; line["rule"] != "origin" || line["status"] != float64(403) {
		t.Errorf("the log says %v", line)
	}
}
