package main_test

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsSignals is row X-09: SIGTERM says 1001 to both sides, a second one ends at once, and a killed gateway starts cleanly.
func TestRowsSignals(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	run("X-09/SIGTERM", func(t *testing.T) {
		g := startRows(t, rowSetup{noVictim: true, unguarded: true})
		c, u := g.open(t, "/ws")
		c.Send(wstest.ClientFrame(0x81, []byte("a")))
		c.ExpectFrame(0x81, []byte("a"))
		idle := wstest.Dial(t, g.Addr)
		g.Signal(syscall.SIGTERM)
		c.ExpectClose(1001)
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
		c.ExpectEOF(3 * time.Second)
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		idle.ExpectEnd(5 * time.Second)
		if code := g.Wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
	run("X-09/second SIGTERM", func(t *testing.T) {
		g := startRows(t, rowSetup{noVictim: true, unguarded: true, extra: "drain: {delay: 0s, window: 60s, hard_stop: 120s}"})
		c, _ := g.open(t, "/ws")
		g.Signal(syscall.SIGTERM)
		waitRefused(t, g) // the first signal has been taken
		start := time.Now()
		g.Signal(syscall.SIGTERM)
		g.Wait()
		between(t, "the end of the process", start, 0, 3*time.Second)
		c.ExpectEnd(time.Second)
	})
	run("X-09/a client that ignores the drain", func(t *testing.T) {
		g := startRows(t, rowSetup{noVictim: true, unguarded: true})
		c, _ := g.open(t, "/ws")
		c.Send(wstest.ClientFrame(0x81, []byte("a")))
		c.ExpectFrame(0x81, []byte("a"))
		start := time.Now()
		g.Signal(syscall.SIGTERM)
		if code := g.Wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		between(t, "the end of the process", start, 0, 8*time.Second) // close_timeout is 1 s
		c.ExpectClose(1001)
	})
	run("X-09/SIGKILL and restart", func(t *testing.T) {
		g := startRows(t, rowSetup{noVictim: true, unguarded: true, certificates: "internal"})
		root := g.ClientTLS()
		root.ServerName = "app.example.com"
		g.Signal(syscall.SIGKILL)
		g.Wait()
		again := startRows(t, rowSetup{noVictim: true, certificates: "internal", extra: "tls: {storage: {file: " + g.Storage + "}}"})
		c := wstest.DialTLS(t, again.Addr, root) // the same root serves on
		c.Upgrade(hs("/ws"))
	})
}

// TestRowsDrainRaces is X-09 for handshakes that are under way: whoever has got a 101 is told why its session ends.
func TestRowsDrainRaces(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	for i := range 4 {
		run(fmt.Sprintf("X-09/SIGTERM right behind the 101, %d", i), func(t *testing.T) {
			g := startRows(t, rowSetup{noVictim: true, unguarded: true})
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs("/ws"))
			g.Signal(syscall.SIGTERM)
			c.ExpectClose(1001) // whoever has a 101 is told why it ends
			c.Close()
			if code := g.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
	run("X-09/SIGTERM amid a handshake", func(t *testing.T) {
		g := startRows(t, rowSetup{noVictim: true, unguarded: true})
		release := make(chan struct{})
		g.up.Handle("/ws/late", gatedBy(release, wstest.Accept()))
		c := wstest.Dial(t, g.Addr)
		c.Send(hs("/ws/late").Bytes())
		g.up.Wait("/ws/late")
		g.Signal(syscall.SIGTERM)
		g.WaitLogs("draining", 1)
		close(release)
		resp := c.Response() // a refusal, or a session that is told why it ends
		if resp.Status == 101 {
			c.ExpectClose(1001)
		} else if resp.Status != 503 {
			t.Errorf("got %q, want 503, or 101 and Close 1001", resp.Line)
		}
		c.Close()
		if code := g.Wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// waitRefused waits until the gateway accepts no more connections, or answers none.
func waitRefused(t *testing.T, g *rowGate) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(wstest.Patience); time.Now().Before(deadline); <-poll.C {
		status := drainStatus(t, g)
		if status != 101 {
			return
		}
	}
	t.Fatal("the gateway went on to accept sessions after SIGTERM")
}

// drainStatus tries a handshake and returns its status, 0 if there was none.
func drainStatus(t *testing.T, g *rowGate) int {
	t.Helper()
	c, err := wstest.TryDial(t, g.Addr)
	if err != nil {
		return 0
	}
	defer c.Close()
	c.Send(get().Bytes())
	resp, err := c.ReadHead()
	if err != nil {
		if !errors.Is(err, io.EOF) && !wstest.IsReset(err) {
			t.Logf("handshake while draining: %v", err)
		}
		return 0
	}
	return resp.Status
}
