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

// TestRowsClose holds the Close frames that are in order: they reach the other side once, with the same code and reason.
func TestRowsClose(t *testing.T) { onBothDrivers(t, rowsClose) }

func rowsClose(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	type row struct {
		name    string
		payload []byte
	}
	rows := []row{
		{"F-29/no code", nil},
		{"F-27/reason of 123 bytes", wstest.CloseFrame(4000, strings.Repeat("r", 123))},
		{"F-27/reason of 123 bytes with a rune at its end", wstest.CloseFrame(4000, strings.Repeat("r", 120)+"€")},
		{"F-28/reason with runes of all lengths", wstest.CloseFrame(1000, "aé€𝄞")},
		{"F-28/reason with NUL", wstest.CloseFrame(1000, "\x00")},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4321, 4999} {
		rows = append(rows, row{fmt.Sprintf("F-25/code %d", code), wstest.CloseFrame(code, "why")})
	}
	for _, r := range rows {
		want, wantReason := wstest.Frame{First: 0x88, Payload: r.payload}.CloseCode()
		run(r.name+" from the client", func(t *testing.T) {
			c, u := g.open(t, rowPath(t))
			c.Send(wstest.ClientFrame(0x88, r.payload))
			if _, reason := c.ExpectClose(want); reason != wantReason { // the recorder echoes it
				t.Errorf("the client got reason %q, want %q", reason, wantReason)
			}
			c.ExpectEOF(3 * time.Second)
			onlyClose(t, u, want, wantReason)
		})
		run(r.name+" from the upstream", func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Then(wstest.AcceptAnd(wstest.ServerFrame(0x88, r.payload)), (*wstest.Upstream).CloseWrite))
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs(path))
			if _, reason := c.ExpectClose(want); reason != wantReason {
				t.Errorf("the client got reason %q, want %q", reason, wantReason)
			}
			c.Send(wstest.ClientFrame(0x88, r.payload))
			c.ExpectEOF(3 * time.Second)
			onlyClose(t, g.up.Wait(path), want, wantReason)
		})
	}
}

// onlyClose demands that the upstream got one masked Close and nothing else.
func onlyClose(t *testing.T, u *wstest.Upstream, code int, reason string) {
	t.Helper()
	u.WaitEnd(wstest.Patience)
	frames, rest := u.Frames()
	if len(frames) != 1 || len(rest) > 0 || !frames[0].IsClose() || !frames[0].Masked {
		t.Fatalf("the upstream got %v and %d more bytes, want one masked Close", frames, len(rest))
	}
	if got, gotReason := frames[0].CloseCode(); got != code || gotReason != reason {
		t.Errorf("the upstream got Close %d %q, want %d %q", got, gotReason, code, reason)
	}
}

// TestRowsAfterClose is row F-30 from both sides: what follows a Close is dropped, whatever it is, and there is one reply.
func TestRowsAfterClose(t *testing.T) { onBothDrivers(t, rowsAfterClose) }

func rowsAfterClose(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	tails := map[string][]byte{
		"text":             wstest.Hex("81 81 M 61"),
		"another Close":    wstest.Hex("88 82 M 03E9"),
		"text and a Close": wstest.Hex("81 81 M 61 88 82 M 03E9"),
		"ping":             wstest.Hex("89 80 M"),
		"junk":             []byte("GET /admin HTTP/1.1\r\nHost: app.example.com\r\n\r\n"),
		"bad frame":        wstest.Hex("F3 80 M"),
		"huge header":      wstest.Hex("82 FF 7FFFFFFFFFFFFFFF M"),
	}
	for name, tail := range tails {
		run("F-30/client "+name, func(t *testing.T) {
			c, u := g.open(t, rowPath(t))
			c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "bye")), tail)
			if before, reason := c.ExpectClose(1000); reason != "bye" || len(before) > 0 {
				t.Errorf("reason %q, frames before %v", reason, before)
			}
			if rest := c.ExpectEnd(3 * time.Second); len(rest) > 0 {
				t.Errorf("after the Close the client got %x", rest)
			}
			onlyClose(t, u, 1000, "bye")
		})
		run("F-30/upstream "+name, func(t *testing.T) {
			path := rowPath(t)
			frames, _ := wstest.ParseFrames(tail)
			reply := wstest.ServerFrame(0x88, wstest.CloseFrame(1000, "bye"))
			if len(frames) == 0 || name == "bad frame" {
				reply = append(reply, tail...)
			}
			for _, f := range frames {
				reply = append(reply, wstest.Unmask(f.Raw)...)
			}
			g.up.Handle(path, wstest.AcceptAnd(reply))
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs(path))
			if before, reason := c.ExpectClose(1000); reason != "bye" || len(before) > 0 {
				t.Errorf("reason %q, frames before %v", reason, before)
			}
			c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "bye")))
			c.ExpectEOF(3 * time.Second)
			onlyClose(t, g.up.Wait(path), 1000, "bye")
		})
	}
}

// TestRowsCloseEnds is what becomes of a connection whose peer does not do its part of the closing handshake.
func TestRowsCloseEnds(t *testing.T) { onBothDrivers(t, rowsCloseEnds) }

func rowsCloseEnds(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	run("F-30/no answer to the Close", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(4000, "")))
		// close_timeout is 1 s here; a browser that got no Close back would report 1006, which the gateway can prevent.
		c.Within = 4 * time.Second
		if f := c.Frame(); !f.IsClose() {
			t.Errorf("the client got %v, want a Close", f)
		}
		c.ExpectEnd(4 * time.Second)
		onlyClose(t, u, 4000, "")
	})
	run("F-30/flood behind the Close", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(wstest.Hex("83 80 M"))
		flooded := make(chan int)
		go func() {
			sent := 0
			for frame := wstest.ClientFrame(0x82, make([]byte, 64<<10)); sent < 1<<30 && c.Send(frame) == nil; {
				sent += len(frame)
			}
			flooded <- sent
		}()
		c.ExpectClose(1002)
		start := time.Now()
		<-flooded // the gateway resets it when close_timeout has passed
		between(t, "the end of the flood", start, 0, 5*time.Second)
		wantFrames(t, u, nil, 1001)
	})
	run("F-30/silence behind the Close", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(wstest.Hex("83 80 M"))
		c.ExpectClose(1002)
		u.WaitEnd(4 * time.Second) // neither side says anything more: both ends are the gateway's to make
		c.ExpectEnd(4 * time.Second)
	})
	run("F-30/both at once", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.AcceptAnd(wstest.ServerFrame(0x88, wstest.CloseFrame(4001, "up"))))
		c := wstest.Dial(t, g.Addr)
		c.Send(hs(path).Bytes(), wstest.ClientFrame(0x88, wstest.CloseFrame(4002, "down")))
		c.Accepted(hs(path))
		f := c.Frame()
		if code, _ := f.CloseCode(); !f.IsClose() || code != 4001 && code != 4002 {
			t.Errorf("the client got %v", f)
		}
		if rest := c.ExpectEnd(3 * time.Second); len(rest) > 0 {
			t.Errorf("after the Close the client got %x", rest)
		}
		u := g.up.Wait(path)
		u.WaitEnd(3 * time.Second)
		if frames, rest := u.Frames(); len(frames) != 1 || len(rest) != 0 || !frames[0].IsClose() {
			t.Errorf("the upstream got %v and %d bytes, want one Close", frames, len(rest))
		}
	})
}

// TestRowsFragments is row F-20 and its neighbours: runes and messages in pieces arrive as they were sent.
func TestRowsFragments(t *testing.T) { onBothDrivers(t, rowsFragments) }

func rowsFragments(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	rows := []struct {
		name   string
		frames []string
		text   string // of the fragments together, as the client gets them back
	}{
		{"F-20/euro sign in two", []string{"01 82 M E282", "80 81 M AC"}, "€"},
		{"F-20/euro sign in three", []string{"01 81 M E2", "00 81 M 82", "80 81 M AC"}, "€"},
		{"F-20/clef in four", []string{"01 81 M F0", "00 81 M 9D", "00 81 M 84", "80 81 M 9E"}, "𝄞"},
		{"F-20/empty fragments between", []string{"01 80 M", "00 82 M E282", "00 80 M", "80 81 M AC"}, "€"},
		{"F-20/largest rune", []string{"01 82 M F48F", "80 82 M BFBF"}, "\U0010FFFF"},
		{"F-20/runes beside the surrogates", []string{"01 81 M ED", "80 85 M 9FBF EE8080"}, "\uD7FF\uE000"},
		{"F-20/NUL", []string{"81 81 M 00"}, "\x00"},
		{"F-20/masked with a key", []string{"01 82 A1B2C3D4 4330", "80 81 A1B2C3D4 0D"}, "€"},
		{"F-20/ping between", []string{"01 82 M E282", "89 81 M 70", "80 81 M AC"}, "€"},
		{"F-20/pong between", []string{"01 82 M E282", "8A 81 M 70", "80 81 M AC"}, "€"},
		{"F-20/binary that is no UTF-8", []string{"02 82 M FFFE", "80 81 M C0"}, "\xff\xfe\xc0"},
	}
	for _, row := range rows {
		for _, chop := range []int{1 << 20, 1} {
			run(fmt.Sprintf("%s chop %d", row.name, chop), func(t *testing.T) {
				c, u := g.open(t, rowPath(t))
				var sent []byte
				var relayed [][]byte
				for _, f := range row.frames {
					sent = append(sent, wstest.Hex(f)...)
					if !strings.HasPrefix(f, "8A") {
						relayed = append(relayed, wstest.Hex(f))
					}
				}
				c.Chop(sent, chop)
				var text []byte
				for {
					f := c.Frame()
					if f.Opcode() < 8 {
						text = append(text, f.Payload...)
					}
					if f.First&0x80 != 0 && f.Opcode() < 8 {
						break
					}
				}
				if string(text) != row.text {
					t.Errorf("the echo is %q, want %q", text, row.text)
				}
				c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
				c.ExpectClose(1000)
				u.WaitEnd(wstest.Patience)
				frames, _ := u.Frames()
				var got [][]byte
				for _, f := range frames[:max(0, len(frames)-1)] {
					got = append(got, f.Raw)
				}
				sameFrames(t, "the upstream", got, relayed)
			})
		}
	}
}

// TestRowsLimits looks at what just fits, and at the messages after it.
func TestRowsLimits(t *testing.T) { onBothDrivers(t, rowsLimits) }

func rowsLimits(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	fragment := func(first byte, n int) []byte { return wstest.ClientFrame(first, bytes.Repeat([]byte("f"), n)) }
	rows := map[string][][]byte{
		"F-14/16 fragments of 64 KiB":  append(append([][]byte{fragment(2, 64<<10)}, slices.Repeat([][]byte{fragment(0, 64<<10)}, 14)...), fragment(0x80, 64<<10)),
		"F-14/two messages of 600 KiB": {fragment(0x82, 600<<10), fragment(0x82, 600<<10)},
		"F-14/1024 fragments":          append(append([][]byte{fragment(1, 0)}, slices.Repeat([][]byte{fragment(0, 0)}, 1022)...), fragment(0x80, 0)),
		"F-14/pings do not count":      {fragment(1, 1), fragment(0x89, 5), fragment(0x80, 1)},
	}
	for name, frames := range rows {
		run(name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Accept())
			c, u := g.open(t, path)
			c.Send(frames...)
			c.Send(frames...) // the count begins anew with each message
			var got [][]byte
			for _, f := range u.WaitFrames(2 * len(frames)) {
				got = append(got, f.Raw)
			}
			sameFrames(t, "the upstream", got, append(slices.Clone(frames), frames...))
		})
	}
}
