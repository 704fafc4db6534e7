package reactor

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// TestTurnOfMany has both sides of many sessions speak before one turn: what
// is read together stays apart, though it fills the room for it more than once.
func TestTurnOfMany(t *testing.T) {
	const sessions, size = 20, 3000
	if sessions*2*size < smallRoom+smallRead || size > smallRead {
		t.Fatal("the room for small reads is not filled")
	}
	for _, w := range []wiring{{name: "plain", network: "unix"}, {name: "TLS", network: "unix", tls: tls.VersionTLS13}} {
		t.Run(w.name, func(t *testing.T) {
			l := newLoopByHand(t, wheelTick)
			var rigs []*rig
			for range sessions {
				rigs = append(rigs, newRig(t, l, w, testLimits(), nil, [2][]byte{}))
			}
			sent := make([][2][]byte, sessions)
			for i, r := range rigs {
				for _, from := range []relay.Side{relay.Client, relay.Upstream} {
					sent[i][from] = sends(from, frame.OpText, bytes.Repeat([]byte{'A' + byte(i), 'a' + byte(from)}, size/2))
					r.peers[from].send(sent[i][from])
				}
			}
			l.turn(l.poll(), l.now)
			for _, r := range rigs {
				for _, p := range r.peers {
					p.act(l.now)
				}
			}
			for i, r := range rigs {
				for _, from := range []relay.Side{relay.Client, relay.Upstream} {
					if got := r.peers[from.Other()].got(); !bytes.Equal(got, sent[i][from]) {
						t.Errorf("session %d, %v: %d bytes have crossed, and not as they were sent (%d)", i, from, len(got), len(sent[i][from]))
					}
				}
			}
			if len(l.fed) > 0 || l.kept > 0 {
				t.Errorf("%d sessions are left, %d bytes", len(l.fed), l.kept)
			}
			for _, r := range rigs {
				r.leave()
			}
		})
	}
}

// TestOwnersAreToldLater tells an owner of messages once in a while, and not of
// each one.
func TestOwnersAreToldLater(t *testing.T) {
	r := newRig(t, newLoopByHand(t, wheelTick), wiring{network: "unix"}, testLimits(), nil, [2][]byte{})
	for range 5 {
		r.Send(relay.Client, sends(relay.Client, frame.OpText, []byte("hello")))
	}
	if got := r.ledger.more[relay.Client].Messages; got != 0 {
		t.Errorf("told of %d messages at once", got)
	}
	r.advance(tellEvery + wheelTick)
	if got := r.ledger.more[relay.Client].Messages; got != 5 {
		t.Errorf("told of %d messages, want 5", got)
	}
	r.stop()
}
