package ratelimit

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// failOn makes the questions fail whose turn it is, counted from 0.
func (m *fakeRedis) failOn(turn func(n int64) bool) {
	var asked atomic.Int64
	m.on(func(p *server.Peer, _ string, _ ...string) bool {
		if !turn(asked.Add(1) - 1) {
			return false
		}
		p.WriteError("ERR of a test")
		return true
	})
}

// Three failures in a row make Redis count as away; one answer in between begins anew.
func TestFailuresInARow(t *testing.T) {
	for name, test := range map[string]struct {
		fails func(n int64) bool
		up    bool
	}{
		"two, then an answer, again and again": {func(n int64) bool { return n%3 < 2 }, true},
		"three":                                {func(n int64) bool { return n < 3 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *fakeRedis) {
				g := m.gateway(t, 1)
				defer g.Close()
				m.failOn(test.fails)
				l := &Limit{Name: "l", Max: 1000}
				for range 12 {
					g.Acquire(l, "user", time.Now())
				}
				if got := g.link.up.Load(); got != test.up {
					t.Errorf("up %t, want %t", got, test.up)
				}
				g.log.take()
			})
		})
	}
}

// One reply that cannot be one is enough: the next may be that of somebody else (CVE-2025-29923).
func TestNonsenseEndsTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 1)
		defer g.Close()
		nonsense("0", 1).begin(t, m)
		g.Acquire(&Limit{Name: "l", Max: 5}, "user", time.Now())
		m.on(nil)
		g.expect(t, 0, true, true)
		pass(connectEvery)
		g.expect(t, 1, true, true)
		g.logged(t, there, errNonsense.Error(), there)
	})
}

// What Redis comes to after its time is not done, since the gateway has decided by then, and may ask again.
func TestLateQuestionsAreNotDone(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 4)
		defer g.Close()
		l := &Limit{Name: "l", Max: 4}
		if got, _ := acquire(g, l, "user", 1); got != 1 {
			t.Fatal("no place")
		}
		late(100*ms).begin(t, m)
		if got, _ := acquire(g, l, "user", 1); got != 0 {
			t.Fatal("more than the share without an answer")
		}
		m.on(nil)
		pass(200 * ms)
		other := m.gateway(t, 4)
		defer other.Close()
		got, _ := acquire(other, l, "user", 10)
		expectPlaces(t, "what is left", got, 3)
	})
}
