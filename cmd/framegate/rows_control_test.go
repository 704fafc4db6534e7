package main_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsPings shows where a ping and its pong go with `pings: relay`, and row F-33: a pong that nobody asked for goes nowhere.
func TestRowsPings(t *testing.T) { onBothDrivers(t, rowsPings) }

func rowsPings(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	run("F-33/unsolicited pongs of the client", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		pong := wstest.ClientFrame(0x8a, bytes.Repeat([]byte(wstest.Canary), 21)[:125])
		c.Send(slices.Repeat(pong, 5), wstest.ClientFrame(0x81, []byte("a")), pong, wstest.Hex("8A 80 M"))
		c.ExpectFrame(0x81, []byte("a"))
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		if before, _ := c.ExpectClose(1000); len(before) > 0 {
			t.Errorf("pongs were answered with %v", before)
		}
		u.WaitEnd(wstest.Patience)
		if frames, _ := u.Frames(); len(frames) != 2 {
			t.Errorf("the upstream got %v, want the text and the Close", frames)
		}
	})
	run("F-33/unsolicited pongs of the upstream", func(t *testing.T) {
		path := rowPath(t)
		pong := wstest.ServerFrame(0x8a, make([]byte, 125))
		g.up.Handle(path, wstest.AcceptAnd(append(slices.Repeat(pong, 5), wstest.Hex("81 01 61 88 02 03e8")...)))
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		if before, _ := c.ExpectClose(1000); len(before) != 1 || before[0].First != 0x81 {
			t.Errorf("the client got %v, want the text", before)
		}
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		onlyClose(t, g.up.Wait(path), 1000, "")
	})
	run("F-34/ping of the client and its pong", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		ping := wstest.ClientFrame(0x89, []byte("are you there"))
		c.Send(ping)
		c.ExpectFrame(0x8a, []byte("are you there"))
		if f := u.WaitFrames(1)[0]; !bytes.Equal(f.Raw, ping) {
			t.Errorf("the upstream got %x, want the ping as it was sent, %x", f.Raw, ping)
		}
	})
	run("F-34/ping of the upstream and its pong", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.AcceptAnd(wstest.ServerFrame(0x89, []byte("and you"))))
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		c.ExpectFrame(0x89, []byte("and you"))
		c.Send(wstest.ClientFrame(0x8a, []byte("and you")), wstest.ClientFrame(0x8a, []byte("and you")), wstest.ClientFrame(0x81, []byte("end")))
		frames := g.up.Wait(path).WaitFrames(2)
		if len(frames) != 2 || frames[0].Opcode() != 10 || string(frames[0].Payload) != "and you" || frames[1].Opcode() != 1 {
			t.Errorf("the upstream got %v, want one pong and the text", frames)
		}
	})
	run("F-34/ping amid a fragmented message", func(t *testing.T) {
		c, _ := g.open(t, rowPath(t))
		c.Send(wstest.Hex("01 81 M 61"))
		c.ExpectFrame(0x01, []byte("a"))
		c.Send(wstest.Hex("89 80 M"))
		c.ExpectFrame(0x8a, nil)
		c.Send(wstest.Hex("80 81 M 62"))
		c.ExpectFrame(0x80, []byte("b"))
	})
}

// TestRowsPingsAnswered is `pings: answer`: the gateway answers each side itself and neither sees the other's pings.
func TestRowsPingsAnswered(t *testing.T) { onBothDrivers(t, rowsPingsAnswered) }

func rowsPingsAnswered(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, route: "pings: answer"})
	run("pings/of the client", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		for _, payload := range []string{"", "p", string(bytes.Repeat([]byte("p"), 125))} {
			c.Send(wstest.ClientFrame(0x89, []byte(payload)))
			c.ExpectFrame(0x8a, []byte(payload))
		}
		c.Send(wstest.Hex("01 81 M 61 89 81 M 62 80 81 M 63 88 82 M 03e8"))
		before, _ := c.ExpectClose(1000)
		if len(before) != 3 {
			t.Errorf("the client got %v, want two fragments and a pong", before)
		}
		u.WaitEnd(wstest.Patience)
		if frames, _ := u.Frames(); len(frames) != 3 || frames[0].Opcode() != 1 || frames[1].Opcode() != 0 {
			t.Errorf("the upstream got %v, want two fragments and a Close", frames)
		}
	})
	run("pings/of the upstream", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.AcceptAnd(wstest.Hex("89 01 70 01 01 61 89 00 80 01 62")))
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		c.ExpectFrame(0x01, []byte("a"))
		c.ExpectFrame(0x80, []byte("b"))
		frames := g.up.Wait(path).WaitFrames(2)
		for i, want := range []string{"p", ""} {
			if f := frames[i]; f.First != 0x8a || string(f.Payload) != want || !f.Masked {
				t.Errorf("answer %d is %v, want a masked pong %q", i, f, want)
			}
		}
	})
	run("pings/a pong of the client goes nowhere", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		c.Send(wstest.Hex("8A 80 M 81 81 M 61"))
		c.ExpectFrame(0x81, []byte("a"))
		if frames := u.WaitFrames(1); frames[0].Opcode() != 1 {
			t.Errorf("the upstream got %v", frames)
		}
	})
}

// TestRowsMaskKeys is row F-34: each frame that the gateway makes for an upstream has a key of its own.
func TestRowsMaskKeys(t *testing.T) { onBothDrivers(t, rowsMaskKeys) }

func rowsMaskKeys(t *testing.T, driver string) {
	g := startRows(t, rowSetup{driver: driver, route: "pings: answer"})
	g.up.Handle("/ws/keys", wstest.Then(wstest.AcceptAnd(slices.Repeat(wstest.Hex("89 01 70"), 10)), wstest.AnswerClose))
	seen := make(map[[4]byte]int)
	const sessions = 10
	for i := range sessions {
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs("/ws/keys"))
		c.Send(wstest.Hex("83 80 M"))
		c.ExpectClose(1002)
		c.Close()
		u := g.up.Conns("/ws/keys")[i]
		u.WaitEnd(wstest.Patience)
		frames, _ := u.Frames()
		for _, f := range frames {
			if !f.Masked {
				t.Errorf("session %d: the upstream got the unmasked %v", i, f)
			}
			seen[f.Key]++
		}
	}
	if len(seen) < 2*sessions || seen[[4]byte{}] > 0 {
		t.Errorf("%d mask keys in %d sessions, 0 for %d frames; want one for each frame", len(seen), sessions, seen[[4]byte{}])
	}
	for key, n := range seen {
		if n > 2 { // two alike among a hundred keys of 32 bits would be a rare accident
			t.Errorf("mask key %x was used for %d frames", key, n)
		}
	}
}

// TestRowsControlFlood is row R-08 and, for the upstream's side, R-11.
func TestRowsControlFlood(t *testing.T) { onBothDrivers(t, rowsControlFlood) }

func rowsControlFlood(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	const flood = 10_000
	relay := startRows(t, rowSetup{driver: driver})
	answer := startRows(t, rowSetup{driver: driver, route: "pings: answer"})
	for name, g := range map[string]*rowGate{"relay": relay, "answer": answer} {
		for kind, first := range map[string]byte{"pings": 0x89, "pongs": 0x8a} {
			run("R-08/"+kind+" of the client, "+name, func(t *testing.T) {
				path := rowPath(t)
				g.up.Handle(path, wstest.Accept())
				c, u := g.open(t, path)
				start := time.Now()
				go c.Send(slices.Repeat(wstest.Hex(fmt.Sprintf("%02x 80 M", first)), flood))
				before, _ := c.ExpectClose(1008)
				allowed := 20 + 10*int(time.Since(start)/time.Second+1)
				if len(before) > allowed {
					t.Errorf("the client got %d frames before its Close, want at most %d pongs", len(before), allowed)
				}
				c.Close()
				u.WaitEnd(wstest.Patience)
				frames, _ := u.Frames()
				if len(frames) > allowed+1 || !frames[len(frames)-1].IsClose() {
					t.Errorf("the upstream got %d frames, want at most %d pings and a Close", len(frames), allowed)
				}
				if code, _ := frames[len(frames)-1].CloseCode(); code != 1001 {
					t.Errorf("the upstream got Close %d, want 1001", code)
				}
			})
			run("R-11/"+kind+" of the upstream, "+name, func(t *testing.T) {
				path := rowPath(t)
				g.up.Handle(path, wstest.AcceptAnd(slices.Repeat([]byte{first, 0}, flood)))
				start := time.Now()
				c := wstest.Dial(t, g.Addr)
				c.Upgrade(hs(path))
				before, _ := c.ExpectClose(1011)
				if allowed := 20 + 10*int(time.Since(start)/time.Second+1); len(before) > allowed {
					t.Errorf("the client got %d frames before its Close, want at most %d pings", len(before), allowed)
				}
				if code, reason := g.up.Wait(path).WaitClose(wstest.Patience); code != 1008 {
					t.Errorf("the upstream got Close %d %q, want 1008", code, reason)
				}
			})
		}
	}
	run("R-08/20 pings at once are allowed", func(t *testing.T) {
		c, _ := relay.open(t, rowPath(t))
		c.Send(slices.Repeat(wstest.Hex("89 80 M"), 20), wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		c.ExpectClose(1000)
	})
	run("R-08/a Close is no control frame too many", func(t *testing.T) {
		c, _ := answer.open(t, rowPath(t))
		c.Send(slices.Repeat(wstest.Hex("8A 80 M"), 20), wstest.ClientFrame(0x88, wstest.CloseFrame(4000, "")))
		c.ExpectClose(4000)
	})
}

// TestRowsDeadPeer is row R-06 with short times: a client or an upstream that answers no ping.
func TestRowsDeadPeer(t *testing.T) { onBothDrivers(t, rowsDeadPeer) }

func rowsDeadPeer(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, route: "ping_interval: 400ms, pong_timeout: 2s"})
	run("R-06/client", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Then(wstest.Accept(), wstest.EchoFrames)) // it answers its own pings
		c, u := g.open(t, path)
		start := time.Now()
		before, _ := c.ExpectClose(1001)
		between(t, "the Close", start, 2*time.Second, 10*time.Second)
		if len(before) != 1 || before[0].First != 0x89 {
			t.Errorf("before the Close the client got %v, want one ping", before)
		}
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		c.ExpectEnd(3 * time.Second)
		u.WaitEnd(wstest.Patience)
	})
	run("R-06/client that does not read its Close either", func(t *testing.T) {
		_, u := g.open(t, rowPath(t))
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		u.WaitEnd(wstest.Patience)
	})
	run("R-06/upstream", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		if code := answerPings(c); code != 1001 {
			t.Errorf("the client got Close %d, want 1001", code)
		}
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
	})
	run("R-06/both alive", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		const pings = 5
		for n := 0; n < pings; {
			f := c.Frame()
			if f.First != 0x89 {
				t.Fatalf("got %v, want a ping", f)
			}
			c.Send(wstest.ClientFrame(0x8a, f.Payload))
			n++
		}
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		c.ExpectClose(1000)
		u.WaitEnd(wstest.Patience)
		keys := make(map[[4]byte]bool)
		frames, _ := u.Frames()
		for _, f := range frames {
			if f.Opcode() == 10 {
				t.Errorf("the pong to the gateway's own ping reached the upstream")
			}
			keys[f.Key] = true
		}
		if len(keys) != len(frames) {
			t.Errorf("%d mask keys for %d frames that the gateway made", len(keys), len(frames))
		}
	})
}

// answerPings answers the gateway's pings until a Close comes and returns its code.
func answerPings(c *wstest.Client) int {
	for {
		f := c.Frame()
		if f.IsClose() {
			code, _ := f.CloseCode()
			return code
		}
		if f.Opcode() == 9 {
			c.Send(wstest.ClientFrame(0x8a, f.Payload))
		}
	}
}
