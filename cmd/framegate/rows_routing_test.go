package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsPaths is row S-24: a path that could mean another one to somebody else is refused, or matches no route. It never reaches
// the route /admin, which startRows' cleanup demands, and what is forwarded is what was matched.
func TestRowsPaths(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: func(u *wstest.Upstream) {
		if u.Value("Upgrade") != "" {
			wstest.Echo(u)
		} else {
			wstest.Page("page")(u)
		}
	}})
	refused := []string{
		"/ws/..%2fadmin", "/ws/%2e%2e/admin", "//admin", "/ws;x", "/ws%00", "/ws%23", `\admin`, "/ws/%c0%ae%c0%ae/admin",
		"/ws/../admin", "/ws/..", "/ws/.", "/ws/./x", "/ws/x/../../admin", "/ws/.%2e/admin", "/ws/%2E./admin", "/ws/%2e%2e%2fadmin", "/ws%2f..%2fadmin",
		"/ws/..%5cadmin", `/ws/..\admin`, `/ws\..\admin`, "/ws%5c..%5cadmin", "/ws//admin", "//ws", "/ws//", "///admin", "/ws/%2fadmin", "/ws%2fx", "/ws%2Fx",
		"/ws/%00", "/ws/x%00.html", "/ws/%23x", "/ws/%0d%0aX:y", "/ws/%0a", "/ws/%7f", "/ws/%1b", "/ws/%C0%AF", "/ws/%E0%80%AF", "/ws/%F0%80%80%AF",
		"/ws/%ff", "/ws/%80", "/ws/%ed%a0%80", "/ws/%c1%9c", "/ws/..;/admin", "/ws/;/../admin", "/../admin", "/./admin", "/%2e%2e/admin", "/.%2e/admin",
		"/ws/..%00/admin", "/ws/%e2", "/wsx", "/w", "/WS", "/ws.", "/ws%20", "/", "/nowhere", "/Ws/x", "/ws%3bx",
		"/ws/%25%32%65%25%32%65/%5c..", "/admin/../ws%2f", `/\admin`, "/ws/\\admin", "/ws/%5c", "/ws/%2e", "/%61dmin/../ws",
	}
	for _, kind := range []string{"upgrade", "page"} {
		for _, path := range refused {
			t.Run(fmt.Sprintf("S-24/%s %s", path, kind), func(t *testing.T) {
				request := wstest.HS0(path)
				if kind == "page" {
					request = wstest.Plain(path).Add("Connection: close")
				}
				before := g.up.Dials()
				c := wstest.Dial(t, g.Addr)
				c.Send(request.Bytes())
				if resp := c.Response(); resp.Status != 400 && resp.Status != 404 {
					t.Errorf("got %q, want 400 or 404", resp.Line)
				}
				if n := g.up.Dials() - before; n > 0 {
					t.Errorf("%d upstream connections, the last for %q", n, g.up.Conns("")[before].Target())
				}
			})
		}
	}
	forwarded := []string{"/ws/", "/ws/x", "/ws/%20x", "/ws/%E2%82%AC", "/ws?/../admin", "/ws?x=%2e%2e%2f%00", "/ws/x?%0d%0aX:y", "/ws/...", "/ws/.x", "/ws/~u", "/ws/a:b@c", "/ws/a,b=c!d", "/ws/%7Eu", "/ws/x/"}
	for _, target := range forwarded {
		t.Run("S-24/forwarded "+target, func(t *testing.T) {
			before := g.up.Dials()
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(wstest.HS0(target))
			got := g.up.Conns("")[before].Target()
			if path, _, _ := strings.Cut(got, "?"); !strings.HasPrefix(path, "/ws") || strings.Contains(path, "..%") {
				t.Errorf("%q was forwarded as %q", target, got)
			}
			if got != target && target != "/ws/%7Eu" { // an escaped letter may be written as itself
				t.Errorf("%q was forwarded as %q", target, got)
			}
			c.Close()
		})
	}
	t.Run("S-24/refused or forwarded as they were matched", func(t *testing.T) {
		for _, target := range []string{"/%77s", "/%77%73/x", "/ws/a%3Bb", "/ws/a;b=c", "/ws/%252e%252e/admin"} {
			before := g.up.Dials()
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.HS0(target).Bytes())
			resp := c.Head()
			for _, u := range g.up.Conns("")[before:] {
				if !strings.HasPrefix(u.Target(), "/ws") {
					t.Errorf("matched as /ws, forwarded as %q", u.Target())
				}
			}
			if resp.Status != 101 && resp.Status != 400 && resp.Status != 404 {
				t.Errorf("got %q", resp.Line)
			}
			c.Close()
		}
	})
}

// TestRowsHeaders is row S-22, and what becomes of the fields that say where a client comes from: only the gateway writes them.
func TestRowsHeaders(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: func(u *wstest.Upstream) {
		if u.Value("Upgrade") != "" {
			wstest.Echo(u)
		} else {
			wstest.Page("page")(u)
		}
	}})
	lies := []string{
		"X-Forwarded-For: 10.0.0.1", "x-forwarded-for: 10.0.0.2, 10.0.0.3", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.io", "X-FORWARDED-PORT: 443",
		"X-Forwarded-Server: evil", "X-Forwarded-Prefix: /evil", "Forwarded: for=10.0.0.4;host=evil.io;proto=https", "X-Real-IP: 10.0.0.5", "x-real-ip: 10.0.0.6",
	}
	for _, kind := range []string{"upgrade", "page"} {
		for name, connection := range map[string]string{"plain": "", "named by Connection": ", X-Forwarded-For, X-Forwarded-Proto, Forwarded, X-Real-Ip, X-Custom"} {
			t.Run("S-22/"+kind+" "+name, func(t *testing.T) {
				request := wstest.HS0("/ws").With("Connection", "Upgrade"+connection)
				if kind == "page" {
					request = wstest.Plain("/page").Add("Connection: close" + connection)
				}
				request.Add(lies...).Add("X-Custom: 1", "TE: trailers", "Proxy-Authorization: Basic x", "Keep-Alive: 5")
				before := g.up.Dials()
				c := wstest.Dial(t, g.Addr)
				c.Send(request.Bytes())
				resp := c.Head()
				if resp.Status == 400 && connection != "" && g.up.Dials() == before {
					return // a refusal of what Connection may not name
				}
				if resp.Status != 101 && resp.Status != 200 {
					t.Fatalf("got %q", resp.Line)
				}
				u := g.up.Conns("")[before]
				if strings.Contains(u.Head(), "10.0.0.") || strings.Contains(u.Head(), "evil") {
					t.Errorf("a field of the client that only the gateway may write came through:\n%s", u.Head())
				}
				for field, want := range map[string]string{
					"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "app.example.com", "Proxy-Authorization": "", "Keep-Alive": "", "Forwarded": "", "X-Real-Ip": "",
				} {
					if got := strings.Join(u.Values(field), " | "); got != want {
						t.Errorf("%s: %q at the upstream, want %q", field, got, want)
					}
				}
				wantCustom := "1"
				if connection != "" {
					wantCustom = ""
				}
				if got := strings.Join(u.Values("X-Custom"), " | "); got != wantCustom {
					t.Errorf("X-Custom: %q at the upstream, want %q", got, wantCustom)
				}
				if n := len(u.Values("Host")); n != 1 {
					t.Errorf("%d Host fields at the upstream", n)
				}
				c.Close()
			})
		}
	}
}

// TestRowsHopByHop looks at fields that only one connection may see, and at those that Connection must not take away.
func TestRowsHopByHop(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	t.Run("S-10/HTTP2-Settings beside websocket", func(t *testing.T) {
		before := g.up.Dials()
		c := wstest.Dial(t, g.Addr)
		c.Send(get().With("Connection", "Upgrade, HTTP2-Settings").Add("HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA").Bytes())
		if resp := c.Head(); resp.Status != 101 && resp.Status != 400 {
			t.Errorf("got %q", resp.Line)
		}
		for _, u := range g.up.Conns("")[before:] {
			if u.Value("HTTP2-Settings") != "" || u.Value("Connection") != "Upgrade" {
				t.Errorf("the upstream got\n%s", u.Head())
			}
		}
	})
	t.Run("S-22/Connection cannot name what the handshake needs", func(t *testing.T) {
		for _, named := range []string{"Host", "Sec-WebSocket-Key", "Origin", "Cookie", "Authorization", "Content-Length"} {
			before := g.up.Dials()
			c := wstest.Dial(t, g.Addr)
			c.Send(get().With("Connection", "Upgrade, "+named).Bytes())
			resp := c.Head()
			for _, u := range g.up.Conns("")[before:] {
				if u.Value("Host") != "app.example.com" || u.Value("Sec-WebSocket-Key") == "" {
					t.Errorf("Connection: %s: the upstream got\n%s", named, u.Head())
				}
			}
			if resp.Status != 101 && resp.Status != 400 {
				t.Errorf("Connection: %s: got %q", named, resp.Line)
			}
			c.Close()
		}
	})
	t.Run("C-06/nothing in a request is expanded", func(t *testing.T) {
		before := g.up.Dials()
		c := wstest.Dial(t, g.Addr)
		const text = "${HOME} {env.HOME} $HOME ${file:/etc/passwd} {{.}} %{HOME}e $${HOME} ${X:-y}"
		request := wstest.HS0("/ws/$%7BHOME%7D?q=$%7BHOME%7D&p=${HOME}").Add("X-Odd: "+text, "Cookie: a="+text)
		c.Upgrade(request)
		u := g.up.Conns("")[before]
		if u.Value("X-Odd") != text || u.Value("Cookie") != "a="+text {
			t.Errorf("the upstream got X-Odd %q, Cookie %q, want them as sent", u.Value("X-Odd"), u.Value("Cookie"))
		}
		if strings.Contains(u.Target(), "/root") || !strings.HasSuffix(u.Target(), "p=${HOME}") {
			t.Errorf("the upstream got target %q", u.Target())
		}
		c.Send(wstest.ClientFrame(0x81, []byte(text)))
		c.ExpectFrame(0x81, []byte(text))
	})
}

// TestRowsPlainDenied is `http: deny`: a route for WebSocket alone answers every other request itself.
func TestRowsPlainDenied(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{route: "http: deny"})
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"} {
		t.Run("deny/"+method, func(t *testing.T) {
			before := g.up.Dials()
			request := page()
			request.Line = method + " /page HTTP/1.1"
			c := wstest.Dial(t, g.Addr)
			c.Send(request.Bytes())
			resp := c.Head()
			if !slices.Contains([]int{403, 404, 405, 426}, resp.Status) || g.up.Dials() != before {
				t.Errorf("got %q and %d upstream connections, want a refusal and none", resp.Line, g.up.Dials()-before)
			}
		})
	}
	t.Run("deny/but not the upgrade", func(t *testing.T) { g.admit(t, get()) })
}
