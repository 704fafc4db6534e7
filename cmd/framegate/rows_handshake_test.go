package main_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// get is a WebSocket handshake for /ws with canaries.
func get() *wstest.Request { return hs("/ws") }

func TestRowsHandshakeAccepted(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: subprotocolEcho})
	rows := []struct {
		name    string
		request *wstest.Request
	}{
		{"H-01/HS0", wstest.HS0("/ws")},
		{"H-01/below the prefix", hs("/ws/a/b")},
		{"H-01/lower-case field names", lowerNames(get())},
		{"H-01/white space around values", get().With("Upgrade", " \t websocket \t").With("Sec-WebSocket-Key", "  "+wstest.HS0Key+"\t")},
		{"H-01/no white space after the colon", get().Without("Upgrade").Add("Upgrade:websocket")},
		{"H-01/fields in the reverse order", reversed(get())},
		{"H-01/empty field value", get().Add("X-Empty:")},
		{"H-02/13 with white space", get().With("Sec-WebSocket-Version", " 13 ")},
		{"H-07/several connection options, other case", get().With("Connection", "keep-alive, Upgrade").With("Upgrade", "WebSocket")},
		{"H-07/upper case", get().With("Connection", "UPGRADE").With("Upgrade", "WEBSOCKET")},
		{"H-07/two Connection fields", get().With("Connection", "keep-alive").Add("Connection: upgrade")},
		{"H-07/empty list elements", get().With("Connection", ", ,Upgrade,")},
		{"H-09/host in upper case", get().With("Host", "APP.Example.COM")},
		{"H-09/host with a port", get().With("Host", "app.example.com:8443")},
		{"H-09/IPv6 host", get().With("Host", "[::1]:80")},
		{"H-10/absolute form of the same host", get().Target("http://app.example.com/ws")},
		{"H-14/one valid offer", get().Add("Sec-WebSocket-Extensions: x-unknown; a=1; b=\"token\"")},
		{"H-14/offers in two fields", get().Add("Sec-WebSocket-Extensions: x-a", "Sec-WebSocket-Extensions: x-b;c")},
		{"H-15/two subprotocol fields", get().Add("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b")},
		{"H-15/subprotocols that differ in case", get().Add("Sec-WebSocket-Protocol: chat, Chat")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, u := g.admit(t, row.request)
			for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Host"} {
				if n := len(u.Values(name)); n != 1 {
					t.Errorf("the upstream's request has %d fields %s:\n%s", n, name, u.Head())
				}
			}
			if u.Value("Sec-WebSocket-Key") == wstest.HS0Key {
				t.Errorf("the upstream got the client's key")
			}
		})
	}
}

// subprotocolEcho echoes, and selects the first subprotocol that is offered, as servers do.
func subprotocolEcho(u *wstest.Upstream) {
	if offered := u.Value("Sec-WebSocket-Protocol"); offered != "" {
		first, _, _ := strings.Cut(offered, ",")
		u.Accept("Sec-WebSocket-Protocol: " + strings.TrimSpace(first))
	} else {
		u.Accept()
	}
	wstest.EchoFrames(u)
}

func lowerNames(r *wstest.Request) *wstest.Request {
	for i, line := range r.Fields {
		name, value, _ := strings.Cut(line, ":")
		r.Fields[i] = strings.ToLower(name) + ":" + value
	}
	return r
}

func reversed(r *wstest.Request) *wstest.Request {
	slices.Reverse(r.Fields)
	return r
}

// TestRowsHandshakeUpstream looks at what reaches the upstream: its own request, not the client's (H-01, F-34, rule 1).
func TestRowsHandshakeUpstream(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: subprotocolEcho})
	keys := make(map[string]bool)
	for range 20 {
		_, u := g.admit(t, wstest.HS0("/ws"))
		key := u.Value("Sec-WebSocket-Key")
		if raw, err := base64.StdEncoding.Strict().DecodeString(key); err != nil || len(raw) != 16 {
			t.Errorf("upstream key %q is not 16 bytes of base64", key)
		}
		if key == wstest.HS0Key || keys[key] {
			t.Errorf("upstream key %q is not fresh", key)
		}
		keys[key] = true
	}

	resp, u := g.admit(t, get().Target("/ws/a%20b?q=1&x=%2F%00").
		With("Connection", "Upgrade, X-Hop, keep-alive").
		Add("X-Hop: dropped", "Keep-Alive: timeout=5", "X-End: kept", "Sec-WebSocket-Protocol: one, two", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic "+wstest.Canary))
	if got, want := u.Target(), "/ws/a%20b?q=1&x=%2F%00"; got != want {
		t.Errorf("upstream target %q, want %q", got, want)
	}
	for name, want := range map[string]string{
		"Host": "app.example.com", "Connection": "Upgrade", "Upgrade": "websocket", "X-End": "kept", "Sec-WebSocket-Protocol": "one, two",
		"X-Hop": "", "Keep-Alive": "", "Proxy-Connection": "", "Proxy-Authorization": "", "Cookie": "session=" + wstest.Canary + "cookie",
		"Origin": "https://app.example.com", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "app.example.com",
	} {
		if got := strings.Join(u.Values(name), " | "); got != want {
			t.Errorf("upstream field %s is %q, want %q", name, got, want)
		}
	}
	if got := resp.Get("Sec-WebSocket-Protocol"); got != "one" {
		t.Errorf("the client got subprotocol %q, want the upstream's choice", got)
	}
}

func TestRowsHandshakeChops(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	for _, n := range []int{1, 2, 3, 7, 64} {
		c := wstest.Dial(t, g.Addr)
		req := get()
		c.Chop(req.Bytes(), n)
		c.Accepted(req)
		c.Chop(wstest.ClientFrame(0x81, []byte("chopped")), n)
		c.ExpectFrame(0x81, []byte("chopped"))
		c.Close()
	}
}

func TestRowsHandshakeVersionAndKey(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	for _, version := range []string{"12", "0", "256", "013", "13x", "14", "8", "-13", "+13", "13.0", "1 3", `"13"`, "0xd", "99999999999999999999", "x", "13;"} {
		t.Run("H-02/version "+version, func(t *testing.T) {
			resp := g.refuse(t, get().With("Sec-WebSocket-Version", version).Bytes(), 426)
			if got := resp.Get("Sec-WebSocket-Version"); got != "13" {
				t.Errorf("Sec-WebSocket-Version %q, want 13", got)
			}
		})
	}
	key := func(value string) *wstest.Request { return get().With("Sec-WebSocket-Key", value) }
	encode := base64.StdEncoding.EncodeToString
	g.refuseAll(t, []refusal{
		{"H-03/absent", get().Without("Sec-WebSocket-Version"), status(400)},
		{"H-03/list", get().With("Sec-WebSocket-Version", "13, 8"), status(400)},
		{"H-03/twice", get().Add("Sec-WebSocket-Version: 8"), status(400)},
		{"H-03/list that begins with another", get().With("Sec-WebSocket-Version", "8, 13"), status(400)},
		{"H-03/list of the same", get().With("Sec-WebSocket-Version", "13,13"), status(400)},
		{"H-03/twice the same", get().Add("Sec-WebSocket-Version: 13"), status(400)},
		{"H-03/twice in another case", get().Add("SEC-WEBSOCKET-VERSION: 13"), status(400)},
		{"H-03/empty", get().With("Sec-WebSocket-Version", ""), status(400)},
		{"H-03/wrong one twice", get().With("Sec-WebSocket-Version", "8").Add("Sec-WebSocket-Version: 8"), status(400)},
		{"H-03/list with an empty element", get().With("Sec-WebSocket-Version", "13,"), status(400, 426)},

		{"H-04/absent", get().Without("Sec-WebSocket-Key"), status(400)},
		{"H-04/twice", get().Add("Sec-WebSocket-Key: UzNDUkVUUzNDUkVUa2V5IQ=="), status(400)},
		{"H-04/15 bytes", key(encode(make([]byte, 15))), status(400)},
		{"H-04/17 bytes", key(encode(make([]byte, 17))), status(400)},
		{"H-04/not base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), status(400)},
		{"H-04/twice the same", get().Add("Sec-WebSocket-Key: " + wstest.HS0Key), status(400)},
		{"H-04/twice in another case", get().Add("sec-websocket-key: " + wstest.HS0Key), status(400)},
		{"H-04/empty", key(""), status(400)},
		{"H-04/base64url", key("__________________-_-w=="), status(400)},
		{"H-04/without padding", key(strings.TrimRight(wstest.HS0Key, "=")), status(400)},
		{"H-04/too much padding", key(wstest.HS0Key + "=="), status(400)},
		{"H-04/white space inside", key("dGhlIHNhbXBs ZSBub25jZQ=="), status(400)},
		{"H-04/list", key(wstest.HS0Key + ", " + wstest.HS0Key), status(400)},
		{"H-04/32 bytes", key(encode(make([]byte, 32))), status(400)},
		{"H-04/8 KiB", key(strings.Repeat("A", 8000)), status(400, 431)},
		{"H-04/non-ASCII", key("dGhlIHNhbXBsZSBub25jZ\xc3\xa9="), status(400)},
	})
}

func TestRowsHandshakeRequestLine(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	line := func(l string) *wstest.Request {
		r := get()
		r.Line = l
		return r
	}
	var rows []refusal
	for _, version := range []string{"HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/0.9", "HTTP/3.0", "HTTP/1.10", "HTTP/01.1", "HTTP/1.01", "HTTP/1", "HTTP/11", "HTTP/1.1.1", "HTTPS/1.1", "HTTP/1,1", "HTTP/-1.1", "HTTP/1.1a", "HTTP 1.1", "WS/13"} {
		rows = append(rows, refusal{"H-06/" + version, line("GET /ws " + version), status(400, 505)})
	}
	for name, l := range map[string]string{
		"no version": "GET /ws", "trailing space": "GET /ws HTTP/1.1 ", "HTTP 2 preface": "PRI * HTTP/2.0",
	} {
		rows = append(rows, refusal{"H-06/" + name, line(l), status(400, 505)})
	}
	for name, l := range map[string]string{
		"fragment": "GET /ws#frag HTTP/1.1", "word behind the version": "GET /ws HTTP/1.1 x", "tab for the first space": "GET\t/ws HTTP/1.1",
		"tab for the second space": "GET /ws\tHTTP/1.1", "fragment in the query": "GET /ws?a#b HTTP/1.1", "empty fragment": "GET /ws# HTTP/1.1",
		"two spaces first": "GET  /ws HTTP/1.1", "two spaces second": "GET /ws  HTTP/1.1", "leading space": " GET /ws HTTP/1.1",
		"space in the target": "GET /w s HTTP/1.1", "vertical tab": "GET /ws\vHTTP/1.1", "form feed": "GET\f/ws HTTP/1.1", "no target": "GET HTTP/1.1",
		"empty target": "GET  HTTP/1.1", "DEL in the target": "GET /ws\x7f HTTP/1.1", "NUL in the target": "GET /ws\x00 HTTP/1.1",
		"raw bytes over 127 in the target": "GET /ws/\xc3\xa9 HTTP/1.1", "bad escape": "GET /ws/%zz HTTP/1.1", "cut escape": "GET /ws/%2 HTTP/1.1",
		"CR in the target": "GET /ws\r HTTP/1.1", "NUL in the method": "G\x00T /ws HTTP/1.1", "separator in the method": "GE(T /ws HTTP/1.1",
		"target without a slash": "GET ws HTTP/1.1", "empty line": "", "only a method": "GET",
	} {
		rows = append(rows, refusal{"H-13/" + name, line(l), status(400)})
	}
	for _, method := range []string{"POST", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "get", "Get", "GETX", "WEBSOCKET"} {
		r := line(method + " /ws HTTP/1.1")
		rows = append(rows, refusal{"methods/" + method, r, status(400, 405, 501)})
	}
	rows = append(rows,
		refusal{"methods/CONNECT with a path", line("CONNECT /ws HTTP/1.1"), status(400, 405)},
		refusal{"methods/CONNECT with an authority", line("CONNECT app.example.com:443 HTTP/1.1"), status(400, 405)},
	)
	g.refuseAll(t, rows)
	t.Run("methods/HEAD", func(t *testing.T) {
		before := g.up.Dials()
		c := wstest.Dial(t, g.Addr)
		c.Send(line("HEAD /ws HTTP/1.1").Bytes())
		if resp := c.Head(); resp.Status != 400 && resp.Status != 405 {
			t.Errorf("got %q", resp.Line)
		}
		if rest := c.ExpectEnd(2 * time.Second); len(rest) > 0 || g.up.Dials() != before {
			t.Errorf("a body %q for HEAD, or an upstream connection", rest)
		}
	})
	t.Run("H-13/plain requests too", func(t *testing.T) {
		for _, l := range []string{"GET /page#frag HTTP/1.1", "GET /page HTTP/1.1 x", "GET\t/page HTTP/1.1", "GET /page HTTP/1.0", "GET  /page HTTP/1.1", "CONNECT app.example.com:443 HTTP/1.1"} {
			r := wstest.Plain("/page")
			r.Line = l
			g.refuse(t, r.Bytes(), 400, 405, 505)
		}
	})
}

func TestRowsHandshakeUpgradeFields(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("plain")})
	connection := func(value string) *wstest.Request { return get().With("Connection", value) }
	upgrade := func(value string) *wstest.Request { return get().With("Upgrade", value) }
	g.refuseAll(t, []refusal{
		{"H-07/no upgrade option", connection("keep-alive"), status(400, 426)},
		{"H-07/no Connection at all", get().Without("Connection"), status(400, 426)},
		{"H-07/longer option", connection("Upgrades"), status(400, 426)},
		{"H-07/quoted option", connection(`"Upgrade"`), status(400, 426)},
		{"H-07/option with a parameter", connection("Upgrade;q=1"), status(400, 426)},
		{"H-07/space for a comma", connection("keep-alive Upgrade"), status(400, 426)},
		{"H-07/other protocol", upgrade("h2c"), status(400, 426)},
		{"H-07/websocket and another", upgrade("websocket, h2c"), status(400, 426)},
		{"H-07/another and websocket", upgrade("h2c, websocket"), status(400, 426)},
		{"H-07/twice", get().Add("Upgrade: websocket"), status(400)},
		{"H-07/a second one with another protocol", get().Add("Upgrade: h2c"), status(400)},
		{"H-07/empty Upgrade", upgrade(""), status(400, 426)},
		{"H-07/split word", upgrade("web socket"), status(400, 426)},
		{"H-07/longer word", upgrade("websockets"), status(400, 426)},
		{"H-07/with a version", upgrade("websocket/13"), status(400, 426)},
		{"H-07/quoted", upgrade(`"websocket"`), status(400, 426)},
		{"H-07/Kelvin sign", upgrade("websoc\u212aet"), status(400, 426)},
	})
	t.Run("H-07/no Upgrade is a plain request", func(t *testing.T) {
		before := g.up.Dials()
		c := wstest.Dial(t, g.Addr)
		c.Send(get().Without("Upgrade").With("Connection", "Upgrade, close").Bytes())
		resp := c.Response()
		if resp.Status != 200 && resp.Status != 400 && resp.Status != 426 {
			t.Errorf("got %q", resp.Line)
		}
		for _, u := range g.up.Conns("")[before:] {
			if u.Value("Upgrade")+u.Value("Sec-WebSocket-Key") != "" || strings.Contains(strings.ToLower(u.Value("Connection")), "upgrade") {
				t.Errorf("a request without Upgrade reached the upstream as a handshake:\n%s", u.Head())
			}
		}
	})
}

func TestRowsHandshakeHost(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	rows := []refusal{
		{"H-09/absent", get().Without("Host"), status(400)},
		{"H-09/twice", get().Add("Host: evil.example"), status(400)},
		{"H-09/twice the same", get().Add("Host: app.example.com"), status(400)},
		{"H-09/twice in another case", get().Add("HOST: app.example.com"), status(400)},
		{"H-09/other host", get().With("Host", "evil.example"), status(404, 421)},
		{"H-09/number for a name", get().With("Host", "2130706433"), status(400, 404, 421)},
		{"H-10/absolute form of another host", get().Target("http://evil/ws"), status(404, 421)},
		{"H-10/absolute form with user", get().Target("http://a@app.example.com/ws"), status(400)},
		{"H-10/absolute form without host", get().Target("http:///ws"), status(400)},
		{"H-10/absolute form of another scheme", get().Target("ftp://app.example.com/ws"), status(400, 404)},
		{"H-10/authority form", get().Target("app.example.com:80"), status(400)},
		{"H-10/asterisk form", get().Target("*"), status(400, 404)},
		{"H-10/network path", get().Target("//evil/ws"), status(400, 404)},
		{"H-10/absolute form, no Host", get().Target("http://app.example.com/ws").Without("Host"), status(400)},
		{"H-10/absolute form with a bad Host", get().Target("http://app.example.com/ws").With("Host", "a@b"), status(400)},
	}
	for name, host := range map[string]string{
		"user": "a@b", "user of the right host": "x@app.example.com", "space": "app.example .com", "zone": "[::1%25lo]", "zone without escape": "[::1%lo]",
		"empty": "", "list": "app.example.com, evil.example", "path": "app.example.com/x", "query": "app.example.com?x", "fragment": "app.example.com#x",
		"backslash": `app.example.com\x`, "port with letters": "app.example.com:80x", "port over 65535": "app.example.com:65536",
		"negative port": "app.example.com:-1", "two ports": "app.example.com:80:80", "empty label": "app..example.com", "leading dot": ".app.example.com",
		"open bracket": "[::1", "no brackets": "::1", "text behind the bracket": "[::1]x", "escape": "%61pp.example.com", "non-ASCII": "\xc3\xa4pp.example.com",
		"control byte": "app.example.com\x01", "tab inside": "app\t.example.com", "scheme": "http://app.example.com", "only a port": ":80", "star": "*",
		"brackets around a name": "[app.example.com]", "quote": `"app.example.com"`, "semicolon": "app.example.com;x", "300 bytes": strings.Repeat("a.", 150) + "com",
	} {
		rows = append(rows, refusal{"H-09/" + name, get().With("Host", host), status(400)})
	}
	g.refuseAll(t, rows)
	t.Run("H-09/plain requests too", func(t *testing.T) {
		for _, host := range []string{"a@b", "app.example .com", "[::1%25lo]", "", "app.example.com/x", "app..example.com"} {
			g.refuse(t, wstest.Plain("/page").With("Host", host).Bytes(), 400)
		}
		g.refuse(t, wstest.Plain("/page").Add("Host: app.example.com").Bytes(), 400)
		g.refuse(t, wstest.Plain("/page").Target("http://evil/page").Bytes(), 404, 421)
	})
	t.Run("H-10/matched is forwarded", func(t *testing.T) {
		c := wstest.Dial(t, g.Addr)
		c.Send(get().Target("http://app.example.com/ws/abs").With("Host", "evil.example").Bytes())
		resp := c.Response()
		for _, u := range g.up.Conns("/ws/abs") {
			if u.Value("Host") != "app.example.com" || strings.Contains(u.Head(), "evil") {
				t.Errorf("routed as app.example.com, forwarded as\n%s", u.Head())
			}
		}
		if resp.Status != 101 && resp.Status != 400 && resp.Status != 421 {
			t.Errorf("got %q", resp.Line)
		}
	})
}

func TestRowsHandshakeLists(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	extensions := func(value string) *wstest.Request { return get().Add("Sec-WebSocket-Extensions: " + value) }
	protocols := func(lines ...string) *wstest.Request {
		r := get()
		for _, l := range lines {
			r.Add("Sec-WebSocket-Protocol: " + l)
		}
		return r
	}
	heavy := []refusal{
		{"H-14/8 KiB of quotes", extensions(strings.Repeat(`a;b="\"`, 8000/7)), status(400, 431)},
		{"H-14/1000 offers", extensions(strings.TrimSuffix(strings.Repeat("x-a, ", 1000), ", ")), status(400)},
		{"H-14/1000 parameters", extensions("x-a" + strings.Repeat("; b=c", 1000)), status(400)},
		{"H-14/1000 subprotocols", protocols(strings.TrimSuffix(strings.Repeat("ab, ", 1000), ", ")), status(400)},
	}
	light := []refusal{
		{"H-14/open quote", extensions(`x-a; b="c`), status(400)},
		{"H-14/quote that escapes its end", extensions(`x-a; b="c\"`), status(400)},
		{"H-14/text behind the quote", extensions(`x-a; b="c"d`), status(400)},
		{"H-14/quoted value that is no token", extensions(`x-a; b="c d"`), status(400)},
		{"H-14/no name", extensions("; a=b"), status(400)},
		{"H-14/only a value", extensions("=b"), status(400)},
		{"H-14/empty parameter", extensions("x-a;;b"), status(400)},
		{"H-14/semicolon at the end", extensions("x-a;"), status(400)},
		{"H-14/two words", extensions("x-a b"), status(400)},
		{"H-14/separator in the name", extensions("x(a"), status(400)},
		{"H-14/slash", extensions("x/a"), status(400)},
		{"H-14/non-ASCII", extensions("x-\xc3\xa9"), status(400)},
		{"H-14/empty", extensions(""), status(400)},
		{"H-14/only a comma", extensions(","), status(400)},
		{"H-15/two words and a separator", protocols("a b("), status(400)},
		{"H-15/empty", protocols(""), status(400)},
		{"H-15/twice in one list", protocols("a, a"), status(400)},
		{"H-15/twice in two fields", protocols("a", "b, a"), status(400)},
		{"H-15/only a comma", protocols(","), status(400)},
		{"H-15/two words", protocols("a b"), status(400)},
		{"H-15/parameter", protocols("a;b"), status(400)},
		{"H-15/quoted", protocols(`"a"`), status(400)},
		{"H-15/slash", protocols("a/b"), status(400)},
		{"H-15/at sign", protocols("a@b"), status(400)},
		{"H-15/non-ASCII", protocols("caf\xc3\xa9"), status(400)},
		{"H-15/tab inside", protocols("a\tb"), status(400)},
	}
	g.refuseAll(t, append(heavy, light...))
	t.Run("H-14/processor time", func(t *testing.T) {
		// Other tests share the processors, but not this gateway: what it uses is these requests and its victim.
		most := 5 * time.Millisecond
		if wstest.RaceEnabled() {
			most *= 4 // the race detector's own share, and that of a machine whose caches others use
		}
		for _, row := range append(heavy, refusal{"8 KiB of commas", extensions("x-a" + strings.Repeat(",", 8000)), nil}) {
			const requests = 40
			start := g.CPU()
			for range requests {
				c := wstest.Dial(t, g.Addr)
				c.Send(row.request.Bytes())
				c.Head()
				c.Close()
			}
			if each := (g.CPU() - start) / requests; each > most {
				t.Errorf("%s: %v of processor time each, want less than %v", row.name, each, most)
			}
		}
	})
}
