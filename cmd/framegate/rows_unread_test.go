package main_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// rowsBackPressure is row R-10 from both sides, and the unread flood of row R-11.
func rowsBackPressure(t *testing.T) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	const chunk, gib = 64 << 10, 1 << 30
	frame := wstest.ServerFrame(0x82, make([]byte, chunk))
	// What the kernel holds on four sockets comes on top of the gateway's 256 KiB: its buffers grow to several MiB each.
	const most = 48 << 20
	run("R-10/client that never reads", func(t *testing.T) {
		path, taken := rowPath(t), new(atomic.Int64) // up to the first write that had to wait
		g.up.Handle(path, func(u *wstest.Upstream) {
			u.SetBuffers(chunk)
			u.Accept()
			for sent, waited := int64(0), false; sent < gib; sent += chunk {
				start := time.Now()
				err := u.Send(frame)
				if waited = waited || time.Since(start) > 3*time.Second; !waited {
					taken.Store(sent)
				}
				if err != nil {
					return
				}
			}
		})
		c := wstest.Dial(t, g.Addr)
		c.SetReadBuffer(chunk)
		c.Upgrade(hs(path))
		start := time.Now()
		u := g.up.Wait(path)
		u.WaitEnd(16 * time.Second)
		between(t, "the upstream's end", start, 5*time.Second, 16*time.Second)
		if n := taken.Load(); n > most {
			t.Errorf("the gateway took %d MiB for a client that reads nothing", n>>20)
		}
		rest := c.ExpectEnd(10 * time.Second) // it reads at last: what is there, and no message that was cut but looks whole
		for frames, rest := wstest.ParseFrames(rest); len(frames) > 0; frames = frames[1:] {
			if f := frames[0]; !f.IsClose() && len(f.Payload) != chunk {
				t.Errorf("the client got %v and %d bytes", f, len(rest))
			}
		}
	})
	run("R-11/upstream that never reads", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, func(u *wstest.Upstream) {
			u.SetBuffers(chunk)
			u.StopReading()
			u.Accept()
		})
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		sent, done := new(atomic.Int64), make(chan struct{})
		start := time.Now()
		go func() {
			defer close(done)
			for masked := wstest.ClientFrame(0x82, make([]byte, chunk)); sent.Load() < gib && c.Send(masked) == nil; {
				sent.Add(chunk)
			}
		}()
		c.Within = 16 * time.Second
		f, err := c.ReadFrame()
		between(t, "the client's end", start, 5*time.Second, 16*time.Second)
		if err == nil && !f.IsClose() {
			t.Errorf("the client got %v", f)
		}
		c.Close()
		<-done
		if n := sent.Load(); n > most {
			t.Errorf("the gateway took %d MiB for an upstream that reads nothing", n>>20)
		}
		g.up.Wait(path).ReadOn()
		g.up.Wait(path).WaitEnd(10 * time.Second)
	})
}

// TestRowsFloods are the parts of that end without a time-out.
func TestRowsFloods(t *testing.T) { onBothDrivers(t, rowsFloods) }

func rowsFloods(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	const chunk = 64 << 10
	run("R-10/pings that nobody reads the answers of", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		c.SetReadBuffer(4096)
		c.Send(slices.Repeat(wstest.ClientFrame(0x89, make([]byte, 125)), 10_000))
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		u.WaitEnd(15 * time.Second)
	})
	run("R-11/1 GiB frame", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Then(wstest.AcceptAnd(wstest.Hex("82 7F 0000000040000000")), wstest.Flood(make([]byte, chunk), 64<<20)))
		c, u := g.open(t, path)
		c.ExpectClose(1011)
		if code, _ := u.WaitClose(wstest.Patience); code != 1009 {
			t.Errorf("the upstream got Close %d, want 1009", code)
		}
	})
	run("R-11/a flood of messages loses nothing", func(t *testing.T) {
		path := rowPath(t)
		const messages = 200
		g.up.Handle(path, func(u *wstest.Upstream) {
			u.Accept()
			for i := range messages {
				u.Send(wstest.ServerFrame(0x82, slices.Repeat([]byte{byte(i)}, chunk)))
			}
		})
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs(path))
		for i := range messages {
			if f := c.Frame(); len(f.Payload) != chunk || f.Payload[0] != byte(i) || f.Payload[chunk-1] != byte(i) {
				t.Fatalf("message %d is %v", i, f)
			}
		}
	})
}
