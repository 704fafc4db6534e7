package main_test

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// replyWith answers with the fields of a correct 101, changed by edit.
func replyWith(start string, edit func(fields []string) []string) wstest.Behaviour {
	return func(u *wstest.Upstream) {
		fields := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + wstest.AcceptOf(u.Value("Sec-WebSocket-Key"))}
		u.Send(wstest.Head(start, edit(fields)...))
	}
}

const switching = "HTTP/1.1 101 Switching Protocols"

// without drops the field with index i of a correct 101, and adds others.
func without(i int, add ...string) wstest.Behaviour {
	return replyWith(switching, func(f []string) []string { return append(slices.Delete(f, i, i+1), add...) })
}

func with(add ...string) wstest.Behaviour {
	return replyWith(switching, func(f []string) []string { return append(f, add...) })
}

// TestRowsReply shows that the client is told 502 for every answer that is not what RFC 6455 §4.1 wants, and that the upstream
// connection is given up after the first.
func TestRowsReply(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	offer := []string{"Sec-WebSocket-Protocol: one, two"}
	rows := []struct {
		name   string
		offer  []string
		answer wstest.Behaviour
	}{
		{"H-16/subprotocol although none was offered", nil, with("Sec-WebSocket-Protocol: one")},
		{"H-16/subprotocol that was not offered", offer, with("Sec-WebSocket-Protocol: three")},
		{"H-16/subprotocol in another case", offer, with("Sec-WebSocket-Protocol: ONE")},
		{"H-16/two subprotocols in a list", offer, with("Sec-WebSocket-Protocol: one, two")},
		{"H-16/two subprotocol fields", offer, with("Sec-WebSocket-Protocol: one", "Sec-WebSocket-Protocol: two")},
		{"H-16/the same subprotocol twice", offer, with("Sec-WebSocket-Protocol: one", "Sec-WebSocket-Protocol: one")},
		{"H-16/empty subprotocol", offer, with("Sec-WebSocket-Protocol:")},
		{"H-16/part of a subprotocol", offer, with("Sec-WebSocket-Protocol: on")},
		{"H-16/extension although none was offered", nil, with("Sec-WebSocket-Extensions: permessage-deflate")},
		{"H-16/unknown extension", nil, with("Sec-WebSocket-Extensions: x-foo")},
		{"H-16/unparsable extension", nil, with(`Sec-WebSocket-Extensions: a;b="`)},
		{"accept/missing", nil, without(2)},
		{"accept/of another key", nil, without(2, "Sec-WebSocket-Accept: "+wstest.AcceptOf("AAAAAAAAAAAAAAAAAAAAAA=="))},
		{"accept/of the client's key", nil, without(2, "Sec-WebSocket-Accept: "+wstest.HS0Accept)},
		{"accept/empty", nil, without(2, "Sec-WebSocket-Accept:")},
		{"accept/twice", nil, func(u *wstest.Upstream) {
			u.Accept("Sec-WebSocket-Accept: " + wstest.AcceptOf(u.Value("Sec-WebSocket-Key")))
		}},
		{"accept/in lower case", nil, func(u *wstest.Upstream) {
			u.Send(bytes.Replace(u.Switching(), []byte(wstest.AcceptOf(u.Value("Sec-WebSocket-Key"))), []byte(strings.ToLower(wstest.AcceptOf(u.Value("Sec-WebSocket-Key")))), 1))
		}},
		{"accept/the key itself", nil, func(u *wstest.Upstream) {
			u.Send(wstest.Head(switching, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+u.Value("Sec-WebSocket-Key")))
		}},
		{"101/no Upgrade", nil, without(0)},
		{"101/other Upgrade", nil, without(0, "Upgrade: h2c")},
		{"101/two protocols in Upgrade", nil, without(0, "Upgrade: websocket, h2c")},
		{"101/no Connection", nil, without(1)},
		{"101/other Connection", nil, without(1, "Connection: keep-alive")},
		{"101/HTTP 1.0", nil, replyWith("HTTP/1.0 101 Switching Protocols", func(f []string) []string { return f })},
		{"101/chunked", nil, with("Transfer-Encoding: chunked")},
		{"101/with a body", nil, func(u *wstest.Upstream) { u.Accept("Content-Length: 5") }},
		{"head/other status line", nil, wstest.Send(wstest.Head("HTTP/1.1 1O1 Switching"))},
		{"head/no version", nil, wstest.Send(wstest.Head("101 Switching"))},
		{"head/status of two digits", nil, wstest.Send(wstest.Head("HTTP/1.1 20 OK", "Content-Length: 0"))},
		{"head/bare LF", nil, func(u *wstest.Upstream) {
			u.Send(bytes.ReplaceAll(u.Switching(), []byte("\r\n"), []byte("\n")))
			u.CloseWrite()
		}},
		{"head/NUL in a value", nil, with("X-Odd: a\x00b")},
		{"head/CR in a value", nil, with("X-Odd: a\rb")},
		{"head/folded line", nil, with("X-Odd: a", " b")},
		{"head/space before the colon", nil, with("X-Odd : a")},
		{"head/no colon", nil, with("X-Odd")},
		{"head/another protocol", nil, wstest.Send([]byte("220 smtp.example ESMTP\r\n\r\n"))},
		{"head/frames for an answer", nil, wstest.Then(wstest.Send(wstest.Hex("81 05 48656c6c6f 0d0a0d0a")), (*wstest.Upstream).CloseWrite)},
		{"H-18/17 KiB in one field", nil, with("X-Big: " + strings.Repeat("x", 17<<10))},
		{"H-18/17 KiB in many fields", nil, with(slices.Repeat([]string{"X-Big: " + strings.Repeat("x", 170)}, 100)...)},
		{"H-18/endless head", nil, wstest.Then(wstest.Send([]byte(switching+"\r\nX-Big: ")), wstest.Flood(bytes.Repeat([]byte("x"), 1<<16), 64<<20))},
		{"H-18/6 interim answers", nil, wstest.Then(wstest.Send(bytes.Repeat(wstest.Head("HTTP/1.1 103 Early Hints"), 6)), wstest.Accept())},
		{"H-18/endless interim answers", nil, wstest.Flood(wstest.Head("HTTP/1.1 100 Continue"), 1<<20)},
		{"H-18/interim answer of 17 KiB", nil, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 103 Early Hints", "Link: "+strings.Repeat("x", 17<<10))), wstest.Accept())},
		{"end/FIN for an answer", nil, wstest.Hangup},
		{"end/RST for an answer", nil, wstest.Abort},
		{"end/FIN in the head", nil, wstest.Then(wstest.Send([]byte(switching+"\r\nUpgrade: web")), wstest.Hangup)},
		{"end/RST in the head", nil, wstest.Then(wstest.Send([]byte(switching+"\r\nUpgrade: web")), wstest.Abort)},
		{"end/FIN after an interim answer", nil, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 100 Continue")), wstest.Hangup)},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, row.answer)
			c := wstest.Dial(t, g.Addr)
			c.Send(hs(path).Add(row.offer...).Bytes())
			resp := c.Response()
			if resp.Status != 502 {
				t.Errorf("got %q, want 502", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
			if rest := c.ExpectEnd(2 * time.Second); len(rest) > 0 {
				t.Errorf("more than the refusal arrived: %.100q", rest)
			}
			for _, u := range g.up.Conns(path) {
				u.WaitEnd(2 * time.Second)
				if body := u.Body(); len(body) > 0 {
					t.Errorf("the upstream got %d bytes behind the request: %x", len(body), body)
				}
			}
			if n := len(g.up.Conns(path)); n != 1 {
				t.Errorf("%d upstream connections, want 1: the request had been sent", n)
			}
		})
	}
}

// TestRowsReplyAccepted holds the other side of the table: answers that RFC 6455 allows.
func TestRowsReplyAccepted(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	offer := []string{"Sec-WebSocket-Protocol: one, two", "Sec-WebSocket-Extensions: permessage-deflate"}
	hello := wstest.ServerFrame(0x81, []byte("hello"))
	rows := []struct {
		name                 string
		answer               wstest.Behaviour
		protocol, extensions string
	}{
		{"H-16/neither", wstest.AcceptAnd(hello), "", ""},
		{"H-16/second subprotocol", wstest.AcceptAnd(hello, "Sec-WebSocket-Protocol: two"), "two", ""},
		{"H-16/the extension", wstest.AcceptAnd(hello, "Sec-WebSocket-Extensions: permessage-deflate"), "", "permessage-deflate"},
		{"H-18/5 interim answers", wstest.Then(wstest.Send(bytes.Repeat(wstest.Head("HTTP/1.1 103 Early Hints", "Link: <x>"), 5)), wstest.AcceptAnd(hello)), "", ""},
		{"H-18/head of 15 KiB", wstest.AcceptAnd(hello, "X-Big: "+strings.Repeat("x", 7<<10), "X-Bigger: "+strings.Repeat("x", 7<<10)), "", ""},
		{"101/fields in other case", replyThen(hello, "UPGRADE: WebSocket", "connection: keep-alive, upgrade"), "", ""},
		{"101/other reason", func(u *wstest.Upstream) {
			u.Send(append(bytes.Replace(u.Switching(), []byte("Switching Protocols"), []byte("Web Socket Protocol Handshake"), 1), hello...))
		}, "", ""},
		{"101/no reason", func(u *wstest.Upstream) {
			u.Send(append(bytes.Replace(u.Switching(), []byte("Switching Protocols"), nil, 1), hello...))
		}, "", ""},
		{"101/first frame in the same segment and its rest later", func(u *wstest.Upstream) {
			u.Send(append(u.Switching(), hello[:3]...))
			u.Send(hello[3:])
		}, "", ""},
		{"101/byte by byte", func(u *wstest.Upstream) {
			for _, b := range append(u.Switching(), hello...) {
				u.Send([]byte{b})
			}
		}, "", ""},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, row.answer)
			c := wstest.Dial(t, g.Addr)
			resp := c.Upgrade(hs(path).Add(offer...))
			c.ExpectFrame(0x81, []byte("hello"))
			if got := resp.Get("Sec-WebSocket-Protocol"); got != row.protocol {
				t.Errorf("subprotocol %q, want %q", got, row.protocol)
			}
			if got := resp.Get("Sec-WebSocket-Extensions"); got != row.extensions {
				t.Errorf("extensions %q, want %q", got, row.extensions)
			}
		})
	}
}

func replyThen(b []byte, upgrade, connection string) wstest.Behaviour {
	return func(u *wstest.Upstream) {
		u.Send(append(wstest.Head(switching, upgrade, connection, "sec-websocket-accept:"+wstest.AcceptOf(u.Value("Sec-WebSocket-Key"))), b...))
	}
}

// TestRowsReplyFields shows which fields of a 101 reach the client: those from end to end, and of the others only the gateway's own.
func TestRowsReplyFields(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Then(func(u *wstest.Upstream) {
		u.Send(wstest.Head(switching, "Upgrade: websocket", "Connection: upgrade, X-Hop", "Sec-WebSocket-Accept: "+wstest.AcceptOf(u.Value("Sec-WebSocket-Key")),
			"X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Trailer: X", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "X-End: kept", "Date: Mon, 02 Nov 2026 10:00:00 GMT"))
	}, wstest.EchoFrames)})
	resp, _ := g.admit(t, hs("/ws"))
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": wstest.HS0Accept, "X-End": "kept", "Set-Cookie": "a=1; Path=/, b=2",
		"X-Hop": "", "Keep-Alive": "", "Proxy-Authenticate": "", "Trailer": "", "Sec-WebSocket-Protocol": "", "Sec-WebSocket-Extensions": "",
	} {
		if got := resp.Get(name); got != want {
			t.Errorf("field %s is %q at the client, want %q", name, got, want)
		}
	}
}

// TestRowsReplyRelayed is row H-17: an upstream that answers with another status has its answer relayed, without a tunnel.
func TestRowsReplyRelayed(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	const gib = 1 << 30
	huge := func(start string, sent *atomic.Int64, fields ...string) wstest.Behaviour {
		return func(u *wstest.Upstream) {
			u.Send(wstest.Head(start, fields...))
			for chunk := bytes.Repeat([]byte("x"), 64<<10); sent.Load() < gib; sent.Add(int64(len(chunk))) {
				if u.Send(chunk) != nil {
					return
				}
			}
		}
	}
	rows := []struct {
		name   string
		start  string
		want   int
		fields []string
	}{
		{"H-17/302", "HTTP/1.1 302 Found", 302, []string{"Location: https://login.example/x", "Content-Length: " + strconv.Itoa(gib)}},
		{"H-17/401", "HTTP/1.1 401 Unauthorized", 401, []string{"WWW-Authenticate: Bearer", "Content-Length: " + strconv.Itoa(gib)}},
		{"H-17/500", "HTTP/1.1 500 Internal Server Error", 500, []string{"Content-Length: " + strconv.Itoa(gib)}},
		{"H-17/403 without a length", "HTTP/1.1 403 Forbidden", 403, nil},
		{"H-17/404 in one chunk", "HTTP/1.1 404 Not Found", 404, []string{"Transfer-Encoding: chunked"}},
		{"H-17/503", "HTTP/1.1 503 Service Unavailable", 503, []string{"Retry-After: 7", "Content-Length: " + strconv.Itoa(gib)}},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			path, sent := rowPath(t), new(atomic.Int64)
			hop := []string{"Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: x", "Upgrade: h2c", "X-End: kept"}
			g.up.Handle(path, huge(row.start, sent, append(slices.Clone(row.fields), hop...)...))
			c := wstest.Dial(t, g.Addr)
			c.Send(hs(path).Bytes(), wstest.ClientFrame(0x81, []byte("never relayed")))
			resp := c.Head()
			if resp.Status != row.want || !strings.EqualFold(resp.Get("Connection"), "close") {
				t.Errorf("got %q with Connection: %q, want %d and close", resp.Line, resp.Get("Connection"), row.want)
			}
			for name, want := range map[string]string{"X-Hop": "", "Keep-Alive": "", "Proxy-Connection": "", "Upgrade": "", "X-End": "kept"} {
				if got := resp.Get(name); got != want {
					t.Errorf("field %s is %q, want %q", name, got, want)
				}
			}
			for _, f := range row.fields {
				name, value, _ := strings.Cut(f, ": ")
				if got := resp.Get(name); got != value && name != "Content-Length" && name != "Transfer-Encoding" {
					t.Errorf("field %s is %q, want %q", name, got, value)
				}
			}
			// The body has an end, and what announces its length tells the truth.
			if err := c.ReadBody(resp); err != nil && !wstest.IsReset(err) {
				t.Errorf("body of %q after %d bytes: %v", row.start, len(resp.Body), err)
			}
			if len(resp.Body) > 4<<20 {
				t.Errorf("%d bytes of body were relayed, want a cap", len(resp.Body))
			}
			c.ExpectEnd(2 * time.Second)
			u := g.up.Wait(path)
			u.WaitEnd(2 * time.Second)
			if body := u.Body(); len(body) > 0 {
				t.Errorf("a refused upgrade became a tunnel: the upstream got %x", body)
			}
		})
	}
}

// TestRowsReplySmall relays answers with bodies that fit whole.
func TestRowsReplySmall(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	const text = "members only"
	rows := []struct {
		name   string
		answer []byte
		want   int
		body   string
	}{
		{"H-17/401 with a body", append(wstest.Head("HTTP/1.1 401 Unauthorized", "Content-Length: 12", "WWW-Authenticate: Basic"), text...), 401, text},
		{"H-17/403 chunked", append(wstest.Head("HTTP/1.1 403 Forbidden", "Transfer-Encoding: chunked"), "7\r\nmembers\r\n5\r\n only\r\n0\r\n\r\n"...), 403, text},
		{"H-17/404 up to the end", append(wstest.Head("HTTP/1.1 404 Not Found"), text...), 404, text},
		{"H-17/429 without a body", wstest.Head("HTTP/1.1 429 Too Many Requests", "Content-Length: 0", "Retry-After: 1"), 429, ""},
		{"H-17/503 after an interim answer", append(wstest.Head("HTTP/1.1 103 Early Hints"), append(wstest.Head("HTTP/1.1 503 Service Unavailable", "Content-Length: 12"), text...)...), 503, text},
		{"H-17/304", wstest.Head("HTTP/1.1 304 Not Modified", "Content-Length: 100"), 304, ""},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Then(wstest.Send(row.answer), (*wstest.Upstream).CloseWrite))
			c := wstest.Dial(t, g.Addr)
			c.Send(hs(path).Bytes())
			resp := c.Response()
			if resp.Status != row.want || string(resp.Body) != row.body {
				t.Errorf("got %q %q, want %d %q", resp.Line, resp.Body, row.want, row.body)
			}
			c.ExpectEnd(2 * time.Second)
		})
	}
}
