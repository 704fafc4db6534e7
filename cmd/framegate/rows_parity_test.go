package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// The tests of this file hold every check on HTTP/1.1, HTTP/2 and HTTP/3 alike.

// A parityClient opens WebSockets over one version of HTTP.
type parityClient struct {
	name string
	open func(req *wstest.Request) (status int, header http.Header, c *wstest.Client)
}

// parityClients are clients of the one gateway of all versions.
func parityClients(t *testing.T, g *wstest.Process) []parityClient {
	t.Helper()
	config := g.ClientTLS()
	config.ServerName = "app.example.com"
	stream := func(transport http.RoundTripper) func(*wstest.Request) (int, http.Header, *wstest.Client) {
		return func(req *wstest.Request) (int, http.Header, *wstest.Client) {
			s := wstest.OpenStream(t, transport, req)
			if s.Status == http.StatusOK {
				s.Status = http.StatusSwitchingProtocols // what says the same on HTTP/1.1
			}
			return s.Status, s.Header, s.Client
		}
	}
	return []parityClient{
		{"HTTP/1.1", func(req *wstest.Request) (int, http.Header, *wstest.Client) {
			c := wstest.DialTLS(t, g.Addr, config)
			c.Send(req.Bytes())
			resp := c.Head()
			header := http.Header{}
			for _, line := range resp.Fields {
				name, value, _ := strings.Cut(line, ":")
				header.Add(name, strings.TrimSpace(value))
			}
			return resp.Status, header, c
		}},
		{"HTTP/2.0", stream(wstest.HTTP2(t, g.Addr, config.Clone()))},
		{"HTTP/3.0", stream(wstest.HTTP3(t, g.Addr, config.Clone()))},
	}
}

// startParity starts a gateway that speaks all versions, with one policy of each kind.
func startParity(t *testing.T, m *minter) (*wstest.Process, *wstest.Recorder) {
	t.Helper()
	up := wstest.NewRecorder(t, wstest.Echo)
	up.Handle("/ws/chat", wstest.EchoWith("Sec-WebSocket-Protocol: chat", "Set-Cookie: from=app"))
	up.Handle("/ws/refused", wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 404 Not Found", "Content-Length: 0")), wstest.Hangup))
	up.Handle("/ws/gone", wstest.Then(wstest.Accept(), wstest.Hangup))
	up.Handle("/ws/masked", wstest.AcceptAnd(wstest.Hex("81 80 00000000")))
	return wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: internal}, protocols: [h1, h2, h3]}]
routes:
  - {name: ws, hosts: [app.example.com], paths: [/ws/*], upstream: app, policies: [all], close_timeout: 1s}
  - {name: few, hosts: [app.example.com], paths: [/few/*], upstream: app, policies: [few]}
  - {name: slow, hosts: [app.example.com], paths: [/slow/*], upstream: app, policies: [often]}
  - {name: none, hosts: [app.example.com], paths: [/none/*], upstream: app, policies: [nobody]}
  - {name: idle, hosts: [app.example.com], paths: [/idle/*], upstream: app}
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  all:
    origin: {allow: ["https://app.example.com"]}
    jwt: {issuer: %s, audience: %s, jwks_file: %s, from: [header, subprotocol, {cookie: session}, {query: access_token}]}
    subprotocols: {allow: [chat]}
    client: {messages: 50/s burst 20, max_message: 2KiB, max_fragments: 4, types: [text], deny: ["(?i)drop table"]}
  few: {connections: {per_route: 1}}
  often: {handshakes: {per_ip: 1/s burst 1}}
  nobody: {addresses: {allow: [192.0.2.0/24]}}
`, up.Addr(), rowIssuer, rowAudience, writeKeys(t, keySet(t, m)))), up
}

// TestParityOfAdmission: what is admitted or refused at the handshake does not depend on the version of HTTP.
func TestParityOfAdmission(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "a")
	g, up := startParity(t, m)
	good := func() *wstest.Request { return wstest.HS0("/ws/x").Add("Authorization: Bearer " + m.mint(nil)) }
	rows := []struct {
		name   string
		req    func() *wstest.Request
		status int
	}{
		{"all is right", good, 101},
		{"no token", func() *wstest.Request { return wstest.HS0("/ws/x") }, 401},
		{"an expired token", func() *wstest.Request {
			return wstest.HS0("/ws/x").Add("Authorization: Bearer " + m.with("exp", time.Now().Add(-time.Hour).Unix()))
		}, 401},
		{"a token for others", func() *wstest.Request {
			return wstest.HS0("/ws/x").Add("Authorization: Bearer " + m.with("aud", "theirs"))
		}, 401},
		{"a token in a cookie", func() *wstest.Request { return wstest.HS0("/ws/x").Add("Cookie: session=" + m.mint(nil)) }, 101},
		{"a token in the query", func() *wstest.Request { return wstest.HS0("/ws/x?access_token=" + m.mint(nil)) }, 101},
		{"two tokens", func() *wstest.Request { return good().Add("Cookie: session=" + m.mint(nil)) }, 400},
		{"two Authorization fields", func() *wstest.Request { return good().Add("Authorization: Bearer " + m.mint(nil)) }, 400},
		{"a foreign origin", func() *wstest.Request { return good().With("Origin", "https://evil.example") }, 403},
		{"the origin null", func() *wstest.Request { return good().With("Origin", "null") }, 403},
		{"two origins", func() *wstest.Request { return good().Add("Origin: https://app.example.com") }, 400},
		{"another host", func() *wstest.Request { return good().With("Host", "other.example.com") }, 421},
		{"a host with userinfo in the path's place", func() *wstest.Request { return good().Target("/ws/..%2fadmin") }, 400},
		{"no route", func() *wstest.Request { return good().Target("/nowhere") }, 404},
		{"another version", func() *wstest.Request { return good().With("Sec-WebSocket-Version", "12") }, 426},
		{"an unlisted subprotocol, which is not offered on", func() *wstest.Request { return good().Add("Sec-WebSocket-Protocol: admin") }, 101},
		{"a subprotocol twice", func() *wstest.Request { return good().Add("Sec-WebSocket-Protocol: chat, chat") }, 400},
		{"a listed subprotocol", func() *wstest.Request { return good().Target("/ws/chat").Add("Sec-WebSocket-Protocol: chat") }, 101},
		{"a field name with an underscore", func() *wstest.Request { return good().Add("X_Auth_Sub: root") }, 400},
		{"early data", func() *wstest.Request { return good().Add("Early-Data: 1") }, 425},
		{"the upstream says no", func() *wstest.Request { return good().Target("/ws/refused") }, 404},
		{"an address that is not listed", func() *wstest.Request { return wstest.HS0("/none/x") }, 403},
	}
	for _, client := range parityClients(t, g) {
		for _, row := range rows {
			status, header, c := client.open(row.req())
			if status != row.status {
				t.Errorf("%s: %s: status %d, want %d", client.name, row.name, status, row.status)
			}
			switch {
			case row.name == "a listed subprotocol" && (header.Get("Sec-Websocket-Protocol") != "chat" || header.Get("Set-Cookie") != "from=app"):
				t.Errorf("%s: %s: header %v", client.name, row.name, header)
			case row.status == 401 && !strings.HasPrefix(header.Get("Www-Authenticate"), "Bearer"):
				t.Errorf("%s: %s: header %v", client.name, row.name, header)
			case row.status == 426 && header.Get("Sec-Websocket-Version") != "13":
				t.Errorf("%s: %s: header %v", client.name, row.name, header)
			}
			c.Close()
		}
		// Limits count the sessions of a route, and the handshakes of an address.
		_, _, first := client.open(wstest.HS0("/few/x"))
		if status, header, c := client.open(wstest.HS0("/few/x")); status != 503 || header.Get("Retry-After") == "" {
			t.Errorf("%s: a second connection: status %d, header %v", client.name, status, header)
			c.Close()
		}
		first.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		first.ExpectClose(1000)
		first.Close()
		waitUntil(t, "the place of the connection", func() bool {
			status, _, c := client.open(wstest.HS0("/few/x"))
			defer c.Close()
			if status == 101 {
				c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
				c.ExpectClose(1000)
			}
			return status == 101
		})
		time.Sleep(1100 * time.Millisecond) // one more handshake
		refused := 0
		for range 3 {
			status, _, c := client.open(wstest.HS0("/slow/x"))
			if status == 429 {
				refused++
			}
			c.Close()
		}
		if refused == 0 {
			t.Errorf("%s: three handshakes in a second were all admitted", client.name)
		}
	}
	for _, u := range up.Conns("") {
		if strings.Contains(u.Head(), "Bearer") || strings.Contains(u.Head(), "access_token") || strings.Contains(strings.ToLower(u.Head()), "session=") {
			t.Errorf("a token went on to the upstream: %q", u.Target())
		}
	}
}

// waitUntil polls a condition.
func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wstest.Patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v", what, wstest.Patience)
		}
	}
}

// TestParityOfMessages: the same frames have the same ends, for the client and for the upstream.
func TestParityOfMessages(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "a")
	g, up := startParity(t, m)
	text := func(n int) []byte { return wstest.ClientFrame(0x81, []byte(strings.Repeat("a", n))) }
	many := func(frame []byte, n int) []byte { return []byte(strings.Repeat(string(frame), n)) }
	rows := []struct {
		name   string
		path   string
		send   []byte
		client int // close code
		server int // 0 where the upstream ends first
	}{
		{"a Close", "/ws/x", wstest.ClientFrame(0x88, wstest.CloseFrame(4000, "bye")), 4000, 4000},
		{"an unmasked frame", "/ws/x", wstest.Hex("81 05 48656c6c6f"), 1002, 1001},
		{"RSV2", "/ws/x", wstest.Hex("a1 80 00000000"), 1002, 1001},
		{"a continuation of nothing", "/ws/x", wstest.Hex("80 80 00000000"), 1002, 1001},
		{"an unknown opcode", "/ws/x", wstest.Hex("83 80 00000000"), 1002, 1001},
		{"invalid UTF-8", "/ws/x", wstest.ClientFrame(0x81, []byte{0xff}), 1007, 1001},
		{"an invalid close code", "/ws/x", wstest.ClientFrame(0x88, wstest.CloseFrame(1005, "")), 1002, 1001},
		{"too big", "/ws/x", text(2049), 1009, 1001},
		{"too many fragments", "/ws/x", append(wstest.ClientFrame(0x01, nil), many(wstest.ClientFrame(0x00, []byte("a")), 4)...), 1009, 1001},
		{"binary", "/ws/x", wstest.ClientFrame(0x82, []byte("a")), 1003, 1001},
		{"too many messages", "/ws/x", many(text(1), 200), 1008, 1001},
		{"what a pattern denies", "/ws/x", wstest.ClientFrame(0x81, []byte("x; DROP TABLE users")), 1008, 1001},
		{"an upstream that goes", "/ws/gone", nil, 1011, 0},
		{"an upstream that masks", "/ws/masked", nil, 1011, 1002},
	}
	for _, client := range parityClients(t, g) {
		seen := len(up.Conns(""))
		for _, row := range rows {
			status, _, c := client.open(wstest.HS0(row.path).Add("Authorization: Bearer " + m.mint(nil)))
			if status != 101 {
				t.Fatalf("%s: %s: status %d", client.name, row.name, status)
			}
			if row.send != nil {
				c.Send(row.send)
			}
			c.ExpectClose(row.client)
			all := up.Conns("")
			u := all[len(all)-1]
			if len(all) != seen+1 {
				t.Errorf("%s: %s: %d connections to the upstream, want one more than %d", client.name, row.name, len(all), seen)
			}
			seen = len(all)
			if row.server != 0 {
				if code, _ := u.WaitClose(wstest.Patience); code != row.server {
					t.Errorf("%s: %s: the upstream got %d, want %d", client.name, row.name, code, row.server)
				}
			}
			c.Close()
		}
	}
	lines := g.WaitLogs("connection", 3*len(rows))
	ends := map[string][]string{}
	for _, line := range lines {
		version := line["protocol"].(string)
		ends[version] = append(ends[version], fmt.Sprint(line["cause"], " ", line["close_code"]))
	}
	for version, got := range ends {
		if len(got) != len(rows) {
			t.Errorf("%s: %d lines of ended connections, want %d", version, len(got), len(rows))
		}
	}
}

// TestRowsPoison is row S-09 over the later versions: a CONNECT that is no handshake is refused, what comes behind it is nobody's request, and
// whoever asks next on the same connection has an answer of its own. Row P-01, whose handshakes are lawful, is TestParityOfMessages.
func TestRowsPoison(t *testing.T) {
	t.Parallel()
	g, up := startParity(t, newMinter(t, "a"))
	up.Handle("/idle/poison", wstest.Page("poison"))
	config := g.ClientTLS()
	config.ServerName = "app.example.com"
	for version, transport := range map[string]http.RoundTripper{
		"HTTP/2": wstest.HTTP2(t, g.Addr, config.Clone()), "HTTP/3": wstest.HTTP3(t, g.Addr, config.Clone()),
	} {
		connect := &http.Request{
			Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: "app.example.com"}, Host: "app.example.com", Header: http.Header{}, ContentLength: -1,
			Body: io.NopCloser(strings.NewReader("GET /idle/poison HTTP/1.1\r\nHost: app.example.com\r\n\r\n")),
		}
		resp, err := transport.RoundTrip(connect)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d, want 405", version, resp.StatusCode)
		}
		for i := range 50 {
			path := fmt.Sprintf("/idle/victim/%s/%d", version[len(version)-1:], i)
			up.Handle(path, wstest.Page(path))
			r, err := http.NewRequest(http.MethodGet, "https://app.example.com"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatalf("%s: %v", version, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != path || err != nil {
				t.Errorf("%s: %s has the body %q, %v", version, path, body, err)
			}
		}
	}
	if n := len(up.Conns("/idle/poison")); n > 0 {
		t.Errorf("the upstream was asked for the poison %d times", n)
	}
}
