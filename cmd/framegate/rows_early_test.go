package main_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// gatedBy holds a behaviour back until the test lets it go, so that bytes of the client are certain to come before it.
func gatedBy(release <-chan struct{}, then wstest.Behaviour) wstest.Behaviour {
	return func(u *wstest.Upstream) {
		select {
		case <-release:
			then(u)
		case <-time.After(wstest.Patience):
		}
	}
}

// TestRowsEarlyBytes is row S-05 and the rule behind it: bytes that the client sends before the verified 101 are held, are never a
// request, and reach nobody if there is no 101.
func TestRowsEarlyBytes(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	t.Cleanup(func() {
		if n := len(g.up.Conns("/ws/hidden")); n > 0 {
			t.Errorf("the handshake behind another one was dialled %d times", n)
		}
	})
	hidden := []byte("GET /admin/x HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
	rows := []struct {
		name   string
		early  []byte
		answer wstest.Behaviour
		want   []int
	}{
		{"S-05/200", hidden, wstest.Page("page"), status(200, 502)},
		{"S-05/403", hidden, wstest.Send(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 0")), status(403)},
		{"S-05/403 and a second answer", hidden, wstest.Send(append(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 0"), wstest.Head("HTTP/1.1 200 OK", "Content-Length: 0")...)), status(403)},
		{"S-05/204", hidden, wstest.Send(wstest.Head("HTTP/1.1 204 No Content")), status(204, 502)},
		{"S-05/wrong accept", hidden, without(2, "Sec-WebSocket-Accept: "+wstest.HS0Accept), status(502)},
		{"S-05/FIN", hidden, wstest.Hangup, status(502)},
		{"S-05/good frames and a refusal", wstest.ClientFrame(0x81, []byte(wstest.Canary)), wstest.Send(wstest.Head("HTTP/1.1 401 Unauthorized", "Content-Length: 0")), status(401)},
		{"S-05/a second handshake", hs("/ws/hidden").Bytes(), wstest.Send(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 0")), status(403)},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			path, release := rowPath(t), make(chan struct{})
			g.up.Handle(path, gatedBy(release, row.answer))
			c := wstest.Dial(t, g.Addr)
			c.Send(hs(path).Bytes(), row.early)
			u := g.up.Wait(path)
			close(release)
			resp := c.Response()
			if !slices.Contains(row.want, resp.Status) || !strings.EqualFold(resp.Get("Connection"), "close") {
				t.Errorf("got %q with Connection: %q, want %v and close", resp.Line, resp.Get("Connection"), row.want)
			}
			if rest := c.ExpectEnd(2 * time.Second); len(rest) > 0 {
				t.Errorf("a second answer: %.200q", rest)
			}
			u.WaitEnd(2 * time.Second)
			if body := u.Body(); len(body) > 0 {
				t.Errorf("the upstream got %d bytes behind its one request: %q", len(body), body)
			}
		})
	}
	run("S-05/101 late", func(t *testing.T) {
		path, release := rowPath(t), make(chan struct{})
		g.up.Handle(path, gatedBy(release, wstest.Accept()))
		c := wstest.Dial(t, g.Addr)
		c.Send(hs(path).Bytes(), hidden)
		u := g.up.Wait(path)
		close(release)
		c.Accepted(hs(path))
		c.ExpectClose(1002)
		wantFrames(t, u, nil, 1001)
	})
}

// TestRowsEarlyFrames sends frames with the handshake: up to 4 KiB are held and come first, more end the handshake.
func TestRowsEarlyFrames(t *testing.T) { onBothDrivers(t, rowsEarlyFrames) }

func rowsEarlyFrames(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	for name, size := range map[string]int{"one byte": 1, "1 KiB": 1 << 10, "4 KiB": 4 << 10} {
		for _, chop := range []int{1 << 20, 100} {
			run(fmt.Sprintf("S-05/%s held, chop %d", name, chop), func(t *testing.T) {
				path, release := rowPath(t), make(chan struct{})
				g.up.Handle(path, gatedBy(release, wstest.Echo))
				early := wstest.ClientFrame(0x82, make([]byte, max(0, size-8)))[:size]
				late := wstest.ClientFrame(0x81, []byte("late"))
				c := wstest.Dial(t, g.Addr)
				c.Chop(append(hs(path).Bytes(), early...), chop)
				u := g.up.Wait(path)
				if body := u.Body(); len(body) > 0 {
					t.Errorf("%d bytes moved before the 101", len(body))
				}
				close(release)
				c.Accepted(hs(path))
				if size == 1 { // the rest of a header whose first byte came early
					c.Send(wstest.Hex("80 M"))
					early = wstest.Hex("82 80 M")
				}
				c.Send(late)
				frames := u.WaitFrames(2)
				sameFrames(t, "the upstream", [][]byte{frames[0].Raw, frames[1].Raw}, [][]byte{early, late})
			})
		}
	}
	for name, size := range map[string]int{"8 KiB": 8 << 10, "1 MiB": 1 << 20} {
		run("S-05/"+name+" refused", func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Silent)
			c := wstest.Dial(t, g.Addr)
			go c.Send(hs(path).Bytes(), wstest.ClientFrame(0x82, make([]byte, size)))
			resp := c.Response()
			if resp.Status != 400 {
				t.Errorf("got %q, want 400", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
			for _, u := range g.up.Conns(path) { // it need not have been dialled
				u.WaitEnd(2 * time.Second)
				if body := u.Body(); len(body) > 0 {
					t.Errorf("%d early bytes reached the upstream", len(body))
				}
			}
		})
	}
	run("S-05/frames of the upstream in the segment of its 101", func(t *testing.T) {
		path := rowPath(t)
		big := bytes.Repeat([]byte("u"), 20_000)
		g.up.Handle(path, wstest.AcceptAnd(append(wstest.ServerFrame(0x81, []byte("first")), wstest.ServerFrame(0x82, big)...)))
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		c.ExpectFrame(0x81, []byte("first"))
		c.ExpectFrame(0x82, big)
	})
}

// TestRowsUnsolicited is row S-20: a 101 that nobody asked for, and an upstream that does not speak TLS.
func TestRowsUnsolicited(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	bad := map[string]wstest.Behaviour{
		"101 for a page":            wstest.Accept(),
		"101 to h2c for a page":     wstest.Send(wstest.Head(switching, "Upgrade: h2c", "Connection: Upgrade")),
		"101 without fields":        wstest.Send(wstest.Head(switching)),
		"101 and an answer":         wstest.Then(wstest.Accept(), wstest.Page("page")),
		"no HTTP":                   wstest.Then(wstest.Send([]byte("220 smtp ESMTP\r\n\r\n")), wstest.Hangup),
		"FIN":                       wstest.Hangup,
		"RST":                       wstest.Abort,
		"length and chunked differ": wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6")), wstest.Hangup),
	}
	for name, answer := range bad {
		run("S-20/"+name, func(t *testing.T) {
			path := "/page/" + strings.TrimPrefix(rowPath(t), "/ws/")
			g.up.Handle(path, answer)
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.Plain(path).Bytes())
			if resp := c.Response(); resp.Status != 502 {
				t.Errorf("got %q %q, want 502", resp.Line, resp.Fields)
			}
			c.Close()
			u := g.up.Wait(path)
			u.WaitEnd(2 * time.Second)
			if body := u.Body(); len(body) > 0 {
				t.Errorf("the upstream got %x behind the request", body)
			}
		})
	}
	greetings := map[string][]byte{
		"plaintext": []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + wstest.HS0Accept + "\r\n\r\n"),
		"banner":    []byte("220 smtp ESMTP\r\n"),
		"an alert":  wstest.Hex("15 0303 0002 0228"),
	}
	for name, greeting := range greetings {
		run("S-20/"+name+" before TLS", func(t *testing.T) {
			rec := wstest.NewGreeter(t, greeting, wstest.Silent)
			g := startRows(t, rowSetup{servers: `servers: ["wss://` + rec.Addr() + `"]`, noVictim: true})
			c := wstest.Dial(t, g.Addr)
			c.Send(hs("/ws").Bytes())
			resp := c.Response()
			if resp.Status != 502 {
				t.Errorf("got %q, want 502", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
			if all := rec.Wait("").All(); bytes.Contains(all, []byte("GET ")) {
				t.Errorf("the request left in plain text: %q", all)
			}
			rec.Wait("").WaitEnd(2 * time.Second)
		})
	}
	run("S-20/bytes before the request", func(t *testing.T) {
		rec := wstest.NewGreeter(t, wstest.Head(switching, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+wstest.HS0Accept), wstest.Silent)
		g := startRows(t, rowSetup{servers: `servers: ["ws://` + rec.Addr() + `"]`, noVictim: true})
		c := wstest.Dial(t, g.Addr)
		c.Send(hs("/ws").Bytes())
		if resp := c.Response(); resp.Status != 502 {
			t.Errorf("got %q, want 502", resp.Line)
		}
	})
}
