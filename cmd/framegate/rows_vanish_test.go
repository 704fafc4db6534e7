package main_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// rowsReplyTimeouts is the time that an upstream has: 3 s to accept a connection, 5 s for its answer.
func rowsReplyTimeouts(t *testing.T) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	hole := startRows(t, rowSetup{servers: `servers: ["ws://` + wstest.BlackHole(t) + `"]`, noVictim: true})
	closed := startRows(t, rowSetup{servers: `servers: ["ws://127.0.0.1:1"]`, noVictim: true})
	g.up.Handle("/ws/silent", wstest.Silent)
	g.up.Handle("/ws/half", wstest.Send([]byte(switching+"\r\nUpgrade: websocket\r\n")))
	g.up.Handle("/ws/interim", wstest.Send(wstest.Head("HTTP/1.1 100 Continue")))
	rows := []struct {
		name        string
		gate        *rowGate
		path        string
		from, until time.Duration
	}{
		{"H-18/silent upstream", g, "/ws/silent", 4 * time.Second, 8 * time.Second},
		{"H-18/half a head", g, "/ws/half", 4 * time.Second, 8 * time.Second},
		{"H-18/only an interim answer", g, "/ws/interim", 4 * time.Second, 8 * time.Second},
		{"H-18/connect without an answer", hole, "/ws", 2 * time.Second, 8 * time.Second},
		{"H-18/connect refused", closed, "/ws", 0, 5 * time.Second},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			c := wstest.Dial(t, row.gate.Addr)
			start := time.Now()
			c.Send(hs(row.path).Bytes())
			resp := c.Response()
			if took := time.Since(start); took < row.from || took > row.until {
				t.Errorf("answered after %v, want %v to %v", took, row.from, row.until)
			}
			if !slices.Contains([]int{502, 503, 504}, resp.Status) {
				t.Errorf("got %q, want 502, 503 or 504", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
			c.ExpectEnd(2 * time.Second)
		})
	}
}

// TestRowsHandshakeVanish is row H-20: a client that goes away, in order or not, at each point of its handshake.
func TestRowsHandshakeVanish(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	hole := startRows(t, rowSetup{servers: `servers: ["ws://` + wstest.BlackHole(t) + `"]`, noVictim: true})
	deaf := startRows(t, rowSetup{servers: `servers: ["wss://` + wstest.NewRecorder(t, wstest.Silent).Addr() + `"]`, noVictim: true})
	interim := wstest.Head("HTTP/1.1 100 Continue")
	phases := []struct {
		name   string
		gate   *rowGate
		sent   func(whole []byte) []byte
		answer wstest.Behaviour // nil: the phase comes before the dial
	}{
		{"connected", g, func([]byte) []byte { return nil }, nil},
		{"one byte", g, func(b []byte) []byte { return b[:1] }, nil},
		{"request line", g, func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }, nil},
		{"amid a field", g, func(b []byte) []byte { return b[:bytes.Index(b, []byte("Key"))] }, nil},
		{"all but the last byte", g, func(b []byte) []byte { return b[:len(b)-1] }, nil},
		{"dial under way", hole, func(b []byte) []byte { return b }, nil},
		{"TLS of the upstream under way", deaf, func(b []byte) []byte { return b }, nil},
		{"upstream silent", g, func(b []byte) []byte { return b }, wstest.Silent},
		{"upstream silent, early bytes", g, func(b []byte) []byte { return append(b, wstest.ClientFrame(1, []byte("x"))...) }, wstest.Silent},
		{"upstream at an interim answer", g, func(b []byte) []byte { return b }, wstest.Send(interim)},
		{"upstream amid its head", g, func(b []byte) []byte { return b }, wstest.Send([]byte(switching + "\r\nUpgr"))},
		{"upstream amid a refusal's body", g, func(b []byte) []byte { return b }, wstest.Send(append(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 10"), "half"...))},
		{"101 on its way", g, func(b []byte) []byte { return b }, wstest.Accept()},
		{"101 and frames on their way", g, func(b []byte) []byte { return b }, wstest.AcceptAnd(wstest.ServerFrame(0x82, make([]byte, 2000)))},
	}
	for _, phase := range phases {
		for how, end := range map[string]func(*wstest.Client){"FIN": (*wstest.Client).Close, "RST": (*wstest.Client).Reset} {
			run("H-20/"+phase.name+" "+how, func(t *testing.T) {
				path := rowPath(t)
				g.up.Handle(path, phase.answer)
				c := wstest.Dial(t, phase.gate.Addr)
				c.Send(phase.sent(hs(path).Bytes()))
				if phase.answer == nil {
					end(c)
					return // the guard demands that the gateway is back to its baseline
				}
				u := g.up.Wait(path)
				end(c)
				limit := 2 * time.Second
				if strings.Contains(phase.name, "body") {
					limit = 8 * time.Second // the upstream has answered: what is left of its body has the time of an answer
				}
				u.WaitEnd(limit)
			})
		}
	}
}
