package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// acquire takes up to n places and returns how many there were, and what gives them back.
func acquire(s Store, l *Limit, key string, n int) (got int, giveBack func()) {
	var releases []func()
	for range n {
		if release, ok := s.Acquire(l, key, time.Now()); ok {
			releases = append(releases, release)
		}
	}
	return len(releases), func() {
		for _, release := range releases {
			release()
			release()
		}
		synctest.Wait()
	}
}

func expectPlaces(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d places, want %d", what, got, want)
	}
}

func TestGatewaysShareACount(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		a, b := m.gateway(t, 2), m.gateway(t, 2)
		l := &Limit{Name: "l", Max: 5}
		ofA, giveBackA := acquire(a, l, "user", 3)
		ofB, giveBackB := acquire(b, l, "user", 10)
		expectPlaces(t, "the first gateway", ofA, 3)
		expectPlaces(t, "the second gateway", ofB, 2)
		other, giveBackOther := acquire(b, l, "another user", 10)
		expectPlaces(t, "another key", other, 5)
		pass(time.Hour) // none is lost with time
		none, _ := acquire(a, l, "user", 10)
		expectPlaces(t, "an hour later", none, 0)

		giveBackA()
		more, giveBackMore := acquire(b, l, "user", 10)
		expectPlaces(t, "what the first gateway gave back", more, 3)
		_, again := acquire(b, &Limit{Name: "l", Max: 7}, "user", 1)
		none, _ = acquire(b, &Limit{Name: "l", Max: 4}, "user", 1)
		expectPlaces(t, "after the maximum became less", none, 0)
		for _, giveBack := range []func(){giveBackB, giveBackMore, giveBackOther, again} {
			giveBack()
		}
		if n := m.countKeys(); n != 0 {
			t.Errorf("%d keys are left in Redis", n)
		}
		for _, g := range []*gateway{a, b} {
			if n := g.counts.len(); n != 0 {
				t.Errorf("%d keys are left", n)
			}
			g.expect(t, 1, false, false)
			g.Close()
		}
	})
}

// Where a maximum becomes less, as many places go as are too many, and no more, whichever gateway asks first.
func TestPlacesAreKept(t *testing.T) {
	for most := range int64(5) {
		inBubble(t, func(t *testing.T, m *fakeRedis) {
			a, b := m.gateway(t, 2), m.gateway(t, 2)
			l, lower := &Limit{Name: "l", Max: 9}, &Limit{Name: "l", Max: most}
			var lost atomic.Int64
			var gateways sync.WaitGroup
			for g, n := range map[*gateway]int{a: 2, b: 1} {
				var releases []func()
				for range n {
					release, _ := g.Acquire(l, "user", time.Now())
					releases = append(releases, release)
				}
				synctest.Wait()
				defer g.Close()
				gateways.Go(func() {
					time.Sleep(time.Second)
					for _, release := range releases {
						if !g.Keep(lower, "user", time.Now()) {
							lost.Add(1)
							release()
						}
					}
				})
			}
			gateways.Wait()
			if got, want := lost.Load(), max(3-most, 0); got != want {
				t.Errorf("%d places of 3 were lost for a maximum of %d, want %d", got, most, want)
			}
			free, _ := acquire(a, lower, "user", 9)
			expectPlaces(t, "more", free, max(int(most)-3, 0))
		})
	}
}

// Without Redis nobody is sent away for what others may have.
func TestPlacesAreKeptWithoutRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 4)
		l := &Limit{Name: "l", Max: 4}
		for range 3 {
			g.Acquire(l, "user", time.Now())
		}
		m.on(func(p *server.Peer, _ string, _ ...string) bool {
			p.WriteError("LOADING")
			return true
		})
		if !g.Keep(l, "user", time.Now()) {
			t.Error("a place of three is lost where the maximum is 4")
		}
		if g.Keep(&Limit{Name: "l", Max: 2}, "user", time.Now()) {
			t.Error("all three are kept where the maximum is 2")
		}
		m.on(nil)
		g.Close()
	})
}

// A gateway that dies holds its places for 30 s. One that ends gives them back.
func TestGatewayDies(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		a, b := m.gateway(t, 1), m.gateway(t, 1)
		defer b.Close()
		l := &Limit{Name: "l", Max: 5}
		acquire(a, l, "user", 5)
		a.link.tellAll = func() []question { return nil } // it is dead: Redis hears nothing any more
		for after, want := range []int{0, 0, 0, 5} {
			got, giveBack := acquire(b, l, "user", 10)
			expectPlaces(t, fmt.Sprintf("%d s after its death", 10*after), got, want)
			giveBack()
			pass(10 * time.Second)
		}
		a.Close()

		c := m.gateway(t, 1)
		got, giveBack := acquire(c, l, "user", 5)
		expectPlaces(t, "a new gateway", got, 5)
		giveBack()
		c.Close()
		got, _ = acquire(b, l, "user", 10)
		expectPlaces(t, "after it has ended", got, 5)
	})
}

// Redis that lost everything is told again within 10 s, and at once where the loss was noticed.
func TestCountsAreToldAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		a, b := m.gateway(t, 1), m.gateway(t, 1)
		defer a.Close()
		defer b.Close()
		l := &Limit{Name: "l", Max: 5}
		acquire(a, l, "user", 5)
		m.FlushAll()
		pass(countEvery)
		got, _ := acquire(b, l, "user", 5)
		expectPlaces(t, "10 s after the loss", got, 0)

		// With more keys than one round trip holds.
		for i := range 3 * batchLength {
			acquire(a, l, fmt.Sprint(i), 1)
		}
		m.FlushAll()
		pass(countEvery)
		if n := m.countKeys(); n != 3*batchLength+1 {
			t.Errorf("%d keys in Redis, want %d", n, 3*batchLength+1)
		}
	})
}

// Nobody waits longer than 50 ms, and what comes later is set right.
func TestClaimIsLate(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 4)
		defer g.Close()
		l := &Limit{Name: "l", Max: 4}
		var asked atomic.Int64
		m.on(func(*server.Peer, string, ...string) bool {
			if asked.Add(1) <= 2 {
				<-time.After(40 * ms)
			}
			return false
		})
		// The first question is answered after 40 ms; the second one waits for that, and is granted after 80 ms, when it was refused.
		var all sync.WaitGroup
		var got atomic.Int64
		var releases sync.Map
		for i := range 2 {
			all.Go(func() {
				start := time.Now()
				if release, ok := g.Acquire(l, "user", start); ok {
					got.Add(1)
					releases.Store(i, release)
				}
				if took := time.Since(start); took > 50*ms {
					t.Errorf("waited %v", took)
				}
			})
			synctest.Wait() // the first question is under way
		}
		all.Wait()
		if n := got.Load(); n != 1 {
			t.Errorf("%d places, want the one that was granted, which is the share too", n)
		}
		pass(time.Second) // before all are told again anyway
		other := m.gateway(t, 4)
		left, giveBack := acquire(other, l, "user", 10)
		expectPlaces(t, "what is left for another gateway", left, 3)
		giveBack()
		releases.Range(func(_, release any) bool { release.(func())(); return true })
		pass(countEvery)
		left, giveBack = acquire(other, l, "user", 10)
		expectPlaces(t, "after all were given back", left, 4)
		giveBack()
		other.Close()
	})
}

// A count without Redis is the gateway's share, at least one.
func TestCountAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		m.refuse.Store(true)
		g := m.gateway(t, 4)
		defer g.Close()
		for most, want := range []int{0, 1, 1, 1, 1, 1, 1, 1, 2, 2} {
			got, giveBack := acquire(g, &Limit{Name: fmt.Sprint(most), Max: int64(most)}, "user", 10)
			expectPlaces(t, fmt.Sprintf("a limit of %d for 4 gateways", most), got, want)
			giveBack()
		}
		if n := g.counts.len(); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		g.expect(t, 0, true, true)
	})
}

// What is given back while Redis is away is remembered until Redis has forgotten it as well.
func TestGivenBackWhileAway(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g, other := m.gateway(t, 1), m.gateway(t, 1)
		defer g.Close()
		defer other.Close()
		l := &Limit{Name: "l", Max: 5}
		_, giveBack := acquire(g, l, "user", 5)
		m.refuse.Store(true)
		m.on(func(p *server.Peer, _ string, _ ...string) bool {
			p.Close()
			return true
		})
		giveBack()
		for i := range 5 {
			acquire(g, l, fmt.Sprint(i), 1) // what may be forgotten is, when another comes
		}
		pass(5 * time.Second)
		m.refuse.Store(false)
		m.on(nil)
		pass(countEvery)
		got, _ := acquire(other, l, "user", 10)
		expectPlaces(t, "told when Redis is back", got, 5)
	})
}

// Many goroutines of several gateways: never more than the limit, and nothing is left.
func TestCountIsSharedByMany(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		gateways := []*gateway{m.gateway(t, 3), m.gateway(t, 3), m.gateway(t, 3)}
		l := &Limit{Name: "l", Max: 10}
		var inside, most, admitted atomic.Int64
		var all sync.WaitGroup
		for worker := range 30 {
			all.Go(func() {
				for i := range 20 {
					release, ok := gateways[worker%3].Acquire(l, "user", time.Now())
					if ok {
						admitted.Add(1)
						n := inside.Add(1)
						for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
						}
						<-time.After(time.Duration(worker+i) * ms)
						inside.Add(-1)
					}
					release()
				}
			})
		}
		all.Wait()
		pass(time.Second)
		if most.Load() > 10 || admitted.Load() < 10 {
			t.Errorf("%d at once of 10, %d in all", most.Load(), admitted.Load())
		}
		for _, g := range gateways {
			if n := g.counts.len(); n != 0 {
				t.Errorf("%d keys are left", n)
			}
			g.expect(t, 1, false, false)
			g.Close()
		}
		if n := m.countKeys(); n != 0 {
			t.Errorf("%d keys are left in Redis", n)
		}
	})
}
