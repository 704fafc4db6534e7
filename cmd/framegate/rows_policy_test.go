package main_test

import (
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// choosing is an upstream that agrees to the first subprotocol that it is offered.
func choosing(u *wstest.Upstream) {
	if first, _, _ := strings.Cut(u.Value("Sec-WebSocket-Protocol"), ","); first != "" {
		wstest.EchoWith("Sec-WebSocket-Protocol: " + first)(u)
		return
	}
	wstest.Echo(u)
}

// csrfToken is what cookie and request of the CSRF rows hold.
const csrfToken = wstest.Canary + "csrf0123456789"

// TestRowsCSRF proves a session cookie by a token in the query. Neither the upstream nor a log sees it.
func TestRowsCSRF(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{policy: originPolicy + `, csrf: {cookie: __Host-csrf, query: csrf}`})
	with := func(query string, cookies ...string) *wstest.Request {
		return wstest.HS0("/ws/csrf?" + query).Add(cookies...)
	}
	const cookie = "Cookie: session=" + wstest.Canary + "; __Host-csrf=" + csrfToken
	g.refuseAll(t, []refusal{
		{"no cookie", with("csrf=" + csrfToken), []int{403}},
		{"no token", with("a=1", cookie), []int{403}},
		{"empty token", with("csrf=", cookie), []int{403}},
		{"other token", with("csrf="+csrfToken+"x", cookie), []int{403}},
		{"token in another case", with("csrf="+strings.ToLower(csrfToken), cookie), []int{403}},
		{"token in two parameters", with("csrf="+csrfToken+"&c%73rf="+csrfToken, cookie), []int{400}},
		{"cookie twice", with("csrf="+csrfToken, cookie+"; __Host-csrf="+csrfToken), []int{400}},
		{"cookie in two fields", with("csrf="+csrfToken, cookie, "Cookie: __Host-csrf=short"), []int{400}},
		{"short token in both", with("csrf="+wstest.Canary, "Cookie: __Host-csrf="+wstest.Canary), []int{403}},
		{"right token of another page", with("csrf="+csrfToken, cookie).With("Origin", "https://evil.example"), []int{403}},
	})
	t.Run("right token", func(t *testing.T) {
		_, up := g.admit(t, with("room=7&csrf="+csrfToken+"&b=2", cookie).Add("Referer: https://app.example.com/chat?csrf="+csrfToken))
		if up.Target() != "/ws/csrf?room=7&b=2" || up.Value("Referer") != "https://app.example.com/chat" {
			t.Errorf("the upstream was asked for %q with Referer %q", up.Target(), up.Value("Referer"))
		}
	})
}

// TestRowsSubprotocols holds a token and unwanted subprotocols back from an upstream that would agree to anything.
func TestRowsSubprotocols(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{
		upstream: choosing,
		policy:   originPolicy + `, csrf: {cookie: csrf, subprotocol: csrf.}, subprotocols: {allow: [chat.v2, chat.v1], require: true}`,
	})
	offering := func(protocols ...string) *wstest.Request {
		return wstest.HS0("/ws/sub").Add("Cookie: csrf="+csrfToken, "Sec-WebSocket-Protocol: "+strings.Join(protocols, ", "))
	}
	g.refuseAll(t, []refusal{
		{"nothing but the token", offering("csrf." + csrfToken), []int{400}},
		{"nothing that is allowed", offering("mqtt", "csrf."+csrfToken), []int{400}},
		{"no token", offering("chat.v2"), []int{403}},
		{"wrong token", offering("chat.v2", "csrf."+csrfToken+"x"), []int{403}},
		{"two tokens", offering("chat.v2", "csrf."+csrfToken, "csrf.other0123456789abc"), []int{400}},
	})
	t.Run("one of two that are allowed", func(t *testing.T) {
		resp, up := g.admit(t, offering("csrf."+csrfToken, "mqtt", "chat.v1", "chat.v2"))
		if got := up.Value("Sec-WebSocket-Protocol"); got != "chat.v1, chat.v2" {
			t.Errorf("the upstream was offered %q", got)
		}
		if got := resp.Get("Sec-WebSocket-Protocol"); got != "chat.v1" {
			t.Errorf("the client was told %q", got)
		}
	})
}

// TestRowsRequest narrows a route to some of its paths and methods, and by conditions, for handshakes and pages alike.
func TestRowsRequest(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: func(u *wstest.Upstream) {
		if u.Value("Upgrade") == "" {
			wstest.Page("own")(u)
			return
		}
		wstest.Echo(u)
	}, policy: originPolicy + `, addresses: {allow: [127.0.0.0/8], deny: [192.0.2.0/24]}, request: {methods: [GET, POST], paths: [/ws/rooms/*, /page]}, conditions: [
      {name: no-bots, require: "!request.headers['user-agent'].contains('bot')"}, {require: "in_network(client.address, '127.0.0.0/8') && !('debug' in request.query)"}]`})
	handshake := func(target string) *wstest.Request { return wstest.HS0(target).Add("User-Agent: test") }
	plain := func(line string) *wstest.Request {
		r := wstest.Plain("/").Add("User-Agent: test", "Connection: close")
		r.Line = line + " HTTP/1.1"
		return r
	}
	g.refuseAll(t, []refusal{
		{"path", handshake("/ws/other"), []int{404}},
		{"path that begins alike", handshake("/ws/roomservice"), []int{404}},
		{"path of a page", plain("GET /page/below"), []int{404}},
		{"method of a page", plain("DELETE /page"), []int{405}},
		{"condition", handshake("/ws/rooms/7").With("User-Agent", "bot/1"), []int{403}},
		{"condition without the field", handshake("/ws/rooms/7").Without("User-Agent"), []int{403}},
		{"second condition", handshake("/ws/rooms/7?debug"), []int{403}},
		{"condition of a page", plain("GET /page").With("User-Agent", "bot/1"), []int{403}},
	})
	t.Run("Allow", func(t *testing.T) {
		if got := g.refuse(t, plain("PUT /page").Bytes(), 405).Get("Allow"); got != "GET, POST" {
			t.Errorf("405 with Allow %q", got)
		}
	})
	t.Run("handshake", func(t *testing.T) { g.admit(t, handshake("/ws/rooms/7")) })
	t.Run("page", func(t *testing.T) {
		c := wstest.Dial(t, g.Addr)
		c.Send(plain("GET /page").Bytes())
		if resp := c.Response(); resp.Status != 200 || string(resp.Body) != "own" {
			t.Errorf("got %q %q", resp.Line, resp.Body)
		}
	})
}

// TestRowsAddresses refuses this host.
func TestRowsAddresses(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{policy: `addresses: {deny: [127.0.0.0/8, "::1"]}`})
	g.refuse(t, wstest.HS0("/ws/a").Bytes(), 403)
	g.refuse(t, wstest.HS0("/ws/a").Add("X-Forwarded-For: 192.0.2.1").Bytes(), 403)
	g.refuse(t, wstest.Plain("/page/a").Add("Connection: close").Bytes(), 403)
}
