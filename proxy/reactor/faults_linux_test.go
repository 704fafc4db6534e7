package reactor

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// onAllWirings runs a test over each kind of connection, and once with each
// side as the one that does something.
func onAllWirings(t *testing.T, test func(t *testing.T, r *rig, side relay.Side)) {
	for _, w := range wirings() {
		for _, side := range []relay.Side{relay.Client, relay.Upstream} {
			t.Run(w.name+", "+side.String(), func(t *testing.T) {
				r := newRig(t, newLoopByHand(t, wheelTick), w, testLimits(), nil, [2][]byte{})
				test(t, r, side)
				if !r.session.over {
					r.advance(time.Minute)
				}
				if !r.core.Done() {
					t.Errorf("a minute later the session has not ended: %+v", r.core.Result())
				}
				r.stop()
			})
		}
	}
}

// lostBy is the cause that a side has ended without Close.
func lostBy(side relay.Side) relay.Cause {
	if side == relay.Client {
		return relay.ClientLost
	}
	return relay.UpstreamLost
}

// closes is the code of a side that did nothing wrong.
func closes(side relay.Side) frame.StatusCode {
	if side == relay.Client {
		return 1011
	}
	return 1001
}

// wantTold demands that a peer was sent a Close with a code, and nothing
// behind it.
func wantTold(t *testing.T, p *peer, code frame.StatusCode) {
	t.Helper()
	frames, rest := transcript.Split(p.got())
	if len(frames) == 0 || len(rest) > 0 {
		t.Errorf("the %v got %d frames and %d more bytes, want a Close", p.side, len(frames), len(rest))
		return
	}
	last := frames[len(frames)-1]
	if got := []byte{byte(code >> 8), byte(code)}; last.Op != 8 || !bytes.HasPrefix(last.Payload, got) {
		t.Errorf("the %v got %x at last, want Close %d", p.side, last.Raw[:min(len(last.Raw), 64)], code)
	}
}

// flood sends to a side that takes nothing until the sender is paused.
func (r *rig) flood(to relay.Side) (sent []byte) {
	r.t.Helper()
	from := to.Other()
	p := sends(from, frame.OpBinary, transcript.Filler(60_000))
	for !r.core.Paused(from) {
		if len(sent) > 64<<20 {
			r.t.Fatalf("%d bytes towards a %v that takes nothing have not paused the %v", len(sent), to, from)
		}
		sent = append(sent, p...)
		r.Send(from, p)
	}
	return sent
}

// TestPeerStopsReading lets one peer never read again while the other one
// floods it: what is queued is bounded, the loop rests, the other one is told
// after the write time-out.
func TestPeerStopsReading(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, deaf relay.Side) {
		r.peers[deaf].stalled = true
		r.flood(deaf)
		l := r.loop
		if most := int64(testLimits().HighWater + readSize + 4<<10); l.queued.Load() > most || l.queued.Load() == 0 || l.paused.Load() != 1 {
			t.Errorf("%d bytes are queued, want %d at most; %d sides are paused", l.queued.Load(), most, l.paused.Load())
		}
		if n := l.poll(); n > 0 || len(l.next) > 0 {
			t.Errorf("the loop does not rest: %d events", n)
		}
		r.advance(testLimits().WriteTimeout + 2*wheelTick)
		if got := r.core.Result(); got.Cause != relay.Stalled || got.By != deaf {
			t.Errorf("ended with %+v", got)
		}
		if how := r.session.legs[deaf].closed; how != relay.Abort {
			t.Errorf("the connection of the %v was ended by %v, want a reset", deaf, how)
		}
		if l.queued.Load() != 0 {
			t.Errorf("%d bytes are still queued", l.queued.Load())
		}
		wantTold(t, r.peers[deaf.Other()], closes(deaf.Other()))
	})
}

// TestSlowReader takes nothing for a while and then all of it: nothing is
// lost, and the other side is read again.
func TestSlowReader(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, slow relay.Side) {
		r.peers[slow].stalled = true
		sent := r.flood(slow)
		r.advance(time.Second)
		r.Stall(slow, false)
		more := sends(slow.Other(), frame.OpText, []byte("more"))
		r.Send(slow.Other(), more)
		if got, want := r.peers[slow].got(), append(sent, more...); !bytes.Equal(got, want) {
			t.Errorf("the %v got %d bytes, want %d", slow, len(got), len(want))
		}
		if r.loop.paused.Load() != 0 || r.loop.queued.Load() != 0 {
			t.Errorf("%d sides are paused, %d bytes are queued", r.loop.paused.Load(), r.loop.queued.Load())
		}
	})
}

// TestResetWhileAQueueIsFull resets the connection of a peer for which much is
// queued.
func TestResetWhileAQueueIsFull(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, deaf relay.Side) {
		r.peers[deaf].stalled = true
		r.flood(deaf)
		r.Reset(deaf)
		if got := r.core.Result(); got.Cause != lostBy(deaf) {
			t.Errorf("ended with %+v", got)
		}
		if r.loop.queued.Load() != 0 || r.loop.paused.Load() != 0 {
			t.Errorf("%d bytes are queued and %d sides paused", r.loop.queued.Load(), r.loop.paused.Load())
		}
		wantTold(t, r.peers[deaf.Other()], closes(deaf.Other()))
	})
}

// TestResetByThePausedSide resets the connection of the one that is paused:
// what it has sent before is still taken by the other one, as far as it goes.
func TestResetByThePausedSide(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, slow relay.Side) {
		r.peers[slow].stalled = true
		sent := r.flood(slow)
		r.Reset(slow.Other())
		r.Stall(slow, false)
		if got := r.core.Result(); got.Cause != lostBy(slow.Other()) {
			t.Errorf("ended with %+v", got)
		}
		p := r.peers[slow]
		whole := r.session.legs[slow].closed != relay.Abort
		if _, err := transcript.Crossed(slow, p.got(), sent, testLimits(), nil, whole); err != nil {
			t.Error(err)
		}
		if len(p.got()) < testLimits().HighWater {
			t.Errorf("of %d bytes that were sent %d have crossed", len(sent), len(p.got()))
		}
	})
}

// farewells are the ways in which a peer can end, in one go.
func farewells() map[string]func(p *peer) {
	return map[string]func(p *peer){
		"Close":         func(p *peer) { p.send(closeFrame(p.side)) },
		"Close and FIN": func(p *peer) { p.send(closeFrame(p.side)); p.end() },
		"Close and RST": func(p *peer) { p.send(closeFrame(p.side)); p.reset() },
		"FIN":           func(p *peer) { p.end() },
		"RST":           func(p *peer) { p.reset() },
	}
}

func closeFrame(from relay.Side) []byte {
	return sends(from, frame.OpClose, []byte{4000 >> 8, 4000 & 0xff})
}

// TestBothEndAtOnce ends both sides before the loop has seen either, each in
// every way.
func TestBothEndAtOnce(t *testing.T) {
	for _, w := range wirings() {
		for one, clientEnds := range farewells() {
			for other, upstreamEnds := range farewells() {
				t.Run(w.name+", "+one+", "+other, func(t *testing.T) {
					r := newRig(t, newLoopByHand(t, wheelTick), w, testLimits(), nil, [2][]byte{})
					clientEnds(r.peers[relay.Client])
					upstreamEnds(r.peers[relay.Upstream])
					r.rest()
					r.advance(testLimits().CloseTimeout + time.Second)
					if !r.core.Done() {
						t.Fatalf("has not ended: %+v", r.core.Result())
					}
					got, closed := r.core.Result(), strings.HasPrefix(one, "Close") || strings.HasPrefix(other, "Close")
					if got.Cause != relay.PeerClosed && got.Cause != lostBy(got.By) || closed && strings.HasSuffix(one, "Close") && strings.HasSuffix(other, "Close") && got.Closed != 4000 {
						t.Errorf("ended with %+v", got)
					}
					r.stop()
				})
			}
		}
	}
}

// TestEndWithData has the end of a connection, or an error, announced together
// with data that came before: the data first.
func TestEndWithData(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, from relay.Side) {
		text := sends(from, frame.OpText, []byte("last words"))
		r.peers[from].send(text)
		r.peers[from].reset()
		r.rest()
		if got := r.peers[from.Other()].got(); !bytes.HasPrefix(got, text) {
			t.Errorf("the %v got %q before the reset", from.Other(), got)
		}
		wantTold(t, r.peers[from.Other()], closes(from.Other()))
	})
	onAllWirings(t, func(t *testing.T, r *rig, from relay.Side) {
		r.peers[from].send(closeFrame(from))
		r.peers[from].reset()
		r.rest()
		wantTold(t, r.peers[from.Other()], 4000)
		if got := r.core.Result(); got.Cause != relay.PeerClosed || got.By != from {
			t.Errorf("a Close before a reset: %+v", got)
		}
	})
}

// TestEndBehindMuchData ends a connection behind more than one read takes, and
// exactly as much. Nothing announces the end once more.
func TestEndBehindMuchData(t *testing.T) {
	for _, size := range []int{readSize - 1, readSize, readSize + 1, bulkSize, bulkSize + 1, 3 * bulkSize} {
		onAllWirings(t, func(t *testing.T, r *rig, from relay.Side) {
			header := len(sends(from, frame.OpBinary, make([]byte, size))) - size
			p := sends(from, frame.OpBinary, transcript.Filler(size-header))
			r.peers[from].send(p)
			r.peers[from].end()
			r.rest()
			if got := r.peers[from.Other()].got(); !bytes.HasPrefix(got, p) {
				t.Errorf("of %d bytes %d have crossed", len(p), len(got))
			}
			if got := r.core.Result(); got.Cause != lostBy(from) {
				t.Errorf("ended with %+v", got)
			}
			wantTold(t, r.peers[from.Other()], closes(from.Other()))
		})
	}
}

// TestEndWhilePaused ends a connection whose side is paused, so that its end
// is announced while nobody reads it.
func TestEndWhilePaused(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, slow relay.Side) {
		r.peers[slow].stalled = true
		sent := r.flood(slow)
		r.EOF(slow.Other())
		r.Stall(slow, false)
		if got := r.peers[slow].got(); !bytes.HasPrefix(got, sent) {
			t.Errorf("of %d bytes %d have crossed", len(sent), len(got))
		}
		wantTold(t, r.peers[slow], closes(slow))
		if got := r.core.Result(); got.Cause != lostBy(slow.Other()) {
			t.Errorf("ended with %+v", got)
		}
	})
}

// TestHalfClose lets a side send its Close and end what it sends: it still
// gets all that the other one sends, up to the other's Close.
func TestHalfClose(t *testing.T) {
	onAllWirings(t, func(t *testing.T, r *rig, from relay.Side) {
		other := from.Other()
		r.peers[from].send(closeFrame(from))
		r.EOF(from)
		wantTold(t, r.peers[other], 4000)
		var want []byte
		for _, size := range []int{10, 100_000} {
			p := sends(other, frame.OpBinary, transcript.Filler(size))
			want = append(want, p...)
			r.Send(other, p)
		}
		want = append(want, closeFrame(other)...)
		r.Send(other, closeFrame(other))
		if got := r.peers[from].got(); !bytes.Equal(got, want) {
			t.Errorf("after its half-close the %v got %d bytes, want %d", from, len(got), len(want))
		}
		r.EOF(other)
		if got := r.core.Result(); !r.core.Done() || got.Cause != relay.PeerClosed || got.By != from || got.Closed != 4000 {
			t.Errorf("ended with %+v", got)
		}
	})
}

// TestPanic lets a session's core panic, its owner, and both again while it
// ends: it ends with 1011, the other session of the loop goes on.
func TestPanic(t *testing.T) {
	for name, faults := range map[string]int{"once": 1, "again while it ends": 5} {
		for _, w := range wirings() {
			t.Run(name+", "+w.name, func(t *testing.T) {
				l := newLoopByHand(t, wheelTick)
				good := newRig(t, l, w, testLimits(), nil, [2][]byte{})
				limits, left := testLimits(), faults
				random := limits.Random
				limits.Random = func() [4]byte {
					if left--; left >= 0 {
						panic("S3CRET")
					}
					return random()
				}
				bad := newRig(t, l, w, limits, nil, [2][]byte{})
				text := sends(relay.Client, frame.OpText, []byte("good"))
				bad.Send(relay.Client, text)
				bad.advance(limits.PingInterval + wheelTick) // the ping needs a random payload
				if len(bad.ledger.faults) != min(faults, 2) || bad.ledger.faults[0] != "S3CRET" {
					t.Errorf("told of the faults %v", bad.ledger.faults)
				}
				got := bad.peers[relay.Client].got()
				if want := frame.AppendClose(nil, 1011, "internal error", nil); faults == 1 && !bytes.Equal(got, want) {
					t.Errorf("the client got %x, want %x", got, want)
				} else if faults > 1 && len(got) > 0 {
					t.Errorf("after two faults the client got %x", got)
				}
				if got := bad.peers[relay.Upstream].got(); !bytes.HasPrefix(got, text) || bytes.Contains(got, []byte("S3CRET")) {
					t.Errorf("the upstream got %q", got)
				}
				bad.advance(limits.CloseTimeout * 3)
				if result := l.group.done[0].result; result.Cause != relay.Internal {
					t.Errorf("ended with %+v", result)
				}
				bad.leave()

				good.Send(relay.Client, text)
				if got := good.peers[relay.Upstream].got(); !bytes.HasSuffix(got, text) || good.core.Ended() {
					t.Errorf("the other session got %q: %+v", got, good.core.Result())
				}
				good.stop()
			})
		}
	}
}

// A touchy owner panics whenever it is told something.
type touchy struct{ *ledger }

func (touchy) Relayed(relay.Side, relay.Stats) { panic("touchy") }
func (touchy) Panicked(any, []byte)            { panic("touchy") }

// TestPanickingOwner ends a session whose owner panics, also when it is told
// so.
func TestPanickingOwner(t *testing.T) {
	r := &rig{t: t, loop: newLoopByHand(t, wheelTick), ledger: &ledger{}}
	r.hooks = touchy{r.ledger}
	r.begin(wiring{name: "unix", network: "unix", tls: tls.VersionTLS13}, testLimits(), nil, [2][]byte{})
	r.Send(relay.Client, sends(relay.Client, frame.OpText, []byte("good")))
	r.advance(tellEvery + wheelTick)
	wantTold(t, r.peers[relay.Client], 1011)
	wantTold(t, r.peers[relay.Upstream], 1011)
	r.advance(time.Minute)
	if len(r.loop.group.done) != 1 || r.loop.live != 0 || r.loop.wheel.next() != noTick {
		t.Errorf("%d sessions have ended, %d live", len(r.loop.group.done), r.loop.live)
	}
}

// TestWithoutDescriptor adds sessions of which one side has no descriptor, or
// is no transport: another driver may take them, since nothing has changed.
func TestWithoutDescriptor(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"pipe":              func(c net.Conn) net.Conn { return c },
		"transport":         func(c net.Conn) net.Conn { return NewTransport(c) },
		"TLS":               func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
		"TLS, on transport": func(c net.Conn) net.Conn { return tls.Server(NewTransport(c), &tls.Config{}) },
	} {
		for _, side := range []relay.Side{relay.Client, relay.Upstream} {
			t.Run(name+", "+side.String(), func(t *testing.T) {
				l := newLoopByHand(t, wheelTick)
				r := &rig{t: t, loop: l, ledger: &ledger{}}
				r.core = relay.New(testLimits(), nil, l.now)
				conns := r.connect([2]wiring{{network: "unix"}, {network: "unix"}})
				good := conns[side]
				ours, theirs := net.Pipe()
				conns[side] = wrap(ours)
				before := descriptors(t)
				if _, err := l.group.Add(r.core, conns[relay.Client], conns[relay.Upstream], [2][]byte{}, r.ledger); err != unix.ENOTSUP {
					t.Errorf("got %v, want ENOTSUP", err)
				}
				if after, n := descriptors(t), l.sessions.Load(); after != before || n != 0 || l.poll() != 0 {
					t.Errorf("%d descriptors, %d before; the loop counts %d sessions", after, before, n)
				}
				go theirs.Write([]byte("a"))
				if n, err := ours.Read(make([]byte, 9)); n != 1 || err != nil {
					t.Errorf("the pipe reads %d bytes, %v", n, err)
				}
				theirs.Close()
				ours.Close()
				other := conns[side.Other()]
				r.peers[side.Other()].send([]byte("b"))
				if n, err := other.Read(make([]byte, 9)); n != 1 || err != nil {
					t.Errorf("the other side reads %d bytes, %v", n, err)
				}
				good.Close()
				other.Close()
			})
		}
	}
}

// TestNothingIsLeftOfDescriptors adds sessions while descriptors run out, at
// the first duplicate and at the second: the connections are as they were.
func TestNothingIsLeftOfDescriptors(t *testing.T) {
	for left := range 2 {
		l := newLoopByHand(t, wheelTick)
		r := &rig{t: t, loop: l, ledger: &ledger{}}
		r.hooks = r.ledger
		r.core = relay.New(testLimits(), nil, l.now)
		conns := r.connect([2]wiring{{network: "tcp"}, {network: "tcp"}})
		before := descriptors(t)
		var failed error
		withDescriptors(t, left, func() {
			_, failed = l.group.Add(r.core, conns[relay.Client], conns[relay.Upstream], [2][]byte{}, r.ledger)
		})
		if failed != unix.EMFILE {
			t.Errorf("with %d descriptors left: %v, want EMFILE", left, failed)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors, %d before", after, before)
		}
		if n := l.sessions.Load(); n != 0 || l.poll() != 0 {
			t.Errorf("the loop counts %d sessions", n)
		}
		// Another driver may take them, or the same one later.
		r.hand(conns, [2][]byte{})
		r.rest()
		text := sends(relay.Client, frame.OpText, []byte("still here"))
		r.Send(relay.Client, text)
		if got := r.peers[relay.Upstream].got(); !bytes.Equal(got, text) {
			t.Errorf("afterwards %q has crossed", got)
		}
		r.stop()
	}
}

// A group answers once all of its loops do, and when it is closed.
func TestAnswer(t *testing.T) {
	g, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := g.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	g.loops[1].post(func() { <-release })
	for range 3 {
		if g.Answer(soon()) == nil {
			t.Error("it answers although a loop is stuck")
		}
	}
	close(release)
	for range 2 {
		if err := g.Answer(t.Context()); err != nil {
			t.Error(err)
		}
	}
	g.Close()
	if err := g.Answer(soon()); err != nil {
		t.Errorf("closed: %v", err)
	}
}
