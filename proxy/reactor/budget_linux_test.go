package reactor

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// The budgets of an idle session, in bytes of heap and stack. Of TLS most is
// what tls.Conn keeps: its buffer for a record and two ciphers.
const (
	idlePlain = 1536
	idleTLS   = 9 << 10
)

// strictLimits are limits of which every one is on.
func strictLimits() *relay.Limits {
	l := testLimits()
	l.MaxLifetime = 24 * time.Hour
	l.From[relay.Client] = relay.Shape{MaxFrame: 1 << 20, MaxMessage: 1 << 20, MaxFragments: 16, NoBinary: true}
	l.From[relay.Upstream] = l.From[relay.Client]
	return l
}

// discard takes everything that a peer was sent, as it is.
func (p *peer) discard(t *testing.T, want int) {
	for got := 0; got < want; {
		n, errno := receive(int32(p.wire.fd), p.buf[:])
		if errno != 0 {
			t.Fatalf("after %d of %d bytes: %v", got, want, errno)
		}
		got += n
	}
}

// TestNoAllocationPerMessage relays messages through a loop and real
// descriptors. Nothing is allocated but by crypto/tls: each time that it looks
// for a record's start it makes a reader of 24 bytes (Conn.readFromUntil). So
// it does twice for a message: once finds it, once finds nothing behind it.
func TestNoAllocationPerMessage(t *testing.T) {
	kinds := []wiring{{name: "plain", network: "unix"}, {name: "TLS 1.2", network: "unix", tls: tls.VersionTLS12}, {name: "TLS 1.3", network: "unix", tls: tls.VersionTLS13}}
	for _, in := range kinds {
		for _, out := range kinds {
			for _, from := range []relay.Side{relay.Client, relay.Upstream} {
				for _, size := range []int{64, 16 << 10} {
					t.Run(fmt.Sprintf("%v, %d bytes, %s to %s", from, size, in.name, out.name), func(t *testing.T) {
						w := [2]wiring{in, out}
						if from == relay.Upstream {
							w = [2]wiring{out, in}
						}
						most := 0.0
						if in.tls != 0 {
							most = 2
						}
						if out.tls != 0 && wstest.RaceEnabled() {
							most++ // sync.Pool then drops what tls.Conn.Write puts into it, at random
						}
						if n := allocations(t, w, from, size); n > most {
							t.Errorf("%v allocations per message, want %v", n, most)
						}
					})
				}
			}
		}
	}
}

// allocations returns how many there are for each message of a size.
func allocations(t *testing.T, w [2]wiring, from relay.Side, size int) float64 {
	const runs = 200
	r := &rig{t: t, loop: newLoopByHand(t, wheelTick), ledger: &ledger{}}
	r.hooks, r.core = r.ledger, relay.New(strictLimits(), nil, r.loop.now)
	r.hand(r.connect(w), [2][]byte{})
	r.rest()
	p, other := r.peers[from], r.peers[from.Other()]
	message := sends(from, frame.OpText, transcript.Filler(size))
	wire := bytes.Repeat(message, runs+1)
	if p.tls != nil { // sealed beforehand
		wire = nil
		p.wire.held = &wire
		for range runs + 1 {
			p.send(message)
		}
		p.wire.held = nil
	}
	each, arrives := len(wire)/(runs+1), 0
	n := testing.AllocsPerRun(runs, func() {
		p.arrive(wire[:each])
		wire = wire[each:]
		for before := r.core.Stats(from).Messages; r.core.Stats(from).Messages == before; {
			r.turn()
		}
		if arrives == 0 {
			arrives = available(t, other.wire.fd, size)
		}
		other.discard(t, arrives)
	})
	if got := r.core.Stats(from).Messages; got != runs+1 {
		t.Errorf("%d messages have crossed, want %d", got, runs+1)
	}
	r.stop()
	return n
}

// available waits until more than n bytes can be read, and returns how many.
func available(t *testing.T, fd, n int) (have int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if ready, err := unix.Poll(poll, int(wstest.Patience.Milliseconds())); ready == 0 {
		t.Fatalf("nothing came within %v: %v", wstest.Patience, err)
	}
	await(t, "the whole message", func() bool {
		var err error
		if have, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
		return have > n
	})
	return have
}

// inUse is what this process has allocated.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// TestIdleSession measures many sessions that have relayed a message each way
// and then rest: their memory, and that they have no goroutine. Their peers are
// descriptors, which cost nothing here.
func TestIdleSession(t *testing.T) {
	for _, c := range []struct {
		w      wiring
		many   int
		budget int
	}{
		{wiring{name: "plain", network: "unix"}, 500, idlePlain},
		{wiring{name: "TLS 1.2", network: "unix", tls: tls.VersionTLS12}, 150, idleTLS},
		{wiring{name: "TLS 1.3", network: "unix", tls: tls.VersionTLS13}, 150, idleTLS},
	} {
		t.Run(c.w.name, func(t *testing.T) {
			g, err := New(2)
			if err != nil {
				t.Fatal(err)
			}
			rest := &idlers{t: t, group: g, limits: strictLimits()}
			rest.add(c.w) // what the first one makes for all
			goroutines, before := runtime.NumGoroutine(), inUse()
			for range c.many {
				rest.add(c.w)
			}
			each := (inUse() - before) / c.many
			t.Logf("%d bytes for each of %d idle sessions", each, c.many)
			if each > c.budget {
				t.Errorf("an idle session costs %d bytes, want at most %d", each, c.budget)
			}
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Errorf("%d goroutines with %d sessions, %d with one", n, c.many+1, goroutines)
			}
			rest.close()
		})
	}
}

// idlers are sessions that rest, of which everything but the session itself is
// shared. Nothing is left of their peers but their descriptors.
type idlers struct {
	t      *testing.T
	group  *Group
	limits *relay.Limits
	owner  ledger
	fds    []int
}

// add makes a session and sends a message both ways. TLS is on the client's
// side, as it mostly is.
func (d *idlers) add(w wiring) {
	d.t.Helper()
	client, front := makePeer(d.t, w, relay.Client)
	upstream, back := makePeer(d.t, wiring{network: "unix"}, relay.Upstream)
	if _, err := d.group.Add(relay.New(d.limits, nil, time.Now()), front, back, [2][]byte{}, &d.owner); err != nil {
		d.t.Fatal(err)
	}
	for _, way := range [2][2]*peer{{client, upstream}, {upstream, client}} {
		message := sends(way[0].side, frame.OpText, []byte("hello"))
		way[0].send(message)
		way[1].discard(d.t, available(d.t, way[1].wire.fd, len(message)-1))
	}
	d.fds = append(d.fds, client.wire.fd, upstream.wire.fd)
}

// close ends all sessions and their group.
func (d *idlers) close() {
	for _, fd := range d.fds {
		unix.Close(fd)
	}
	d.group.Close()
}
