package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	_ Store                = (*Redis)(nil)
	_ prometheus.Collector = (*Redis)(nil)
)

// takeAll takes single tokens until there are none, waiting for answers.
func takeAll(s Store, l *Limit, key string) (n int) {
	for refused := 0; refused < 20; {
		if ok, _ := s.Take(l, key, 1, time.Now()); ok {
			n, refused = n+1, 0
			continue
		}
		refused++
		pass(answerWait)
	}
	return n
}

func TestGatewaysShareALimit(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		a, b := m.gateway(t, 2), m.gateway(t, 2)
		defer a.Close()
		defer b.Close()
		a.logged(t, there)
		l := &Limit{Name: "l", Rate: Rate{1.0 / 3600, 100}}
		if n := takeAll(a, l, "user"); n != 100 {
			t.Errorf("one gateway gives %d of a burst of 100", n)
		}
		// Only what a gateway admits before Redis has answered, which is its share.
		if n := takeAll(b, l, "user"); n > 50 {
			t.Errorf("the other one gives %d more", n)
		}
		if ok, _ := b.Take(l, "user", 1, time.Now()); ok {
			t.Error("still not empty")
		}
		if n := takeAll(b, l, "another user"); n != 100 {
			t.Errorf("another key gives %d of 100", n)
		}
		a.expect(t, 1, false, true)
	})
}

// What a session finds when it begins is leased already: Redis knows at once, and no decision is made alone.
func TestSharedBucketInRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 1)
		defer g.Close()
		l := &Limit{Name: "l", Rate: Rate{1.0 / 3600, 100}}
		held := g.Bucket(l, "user", time.Now())
		other := g.Bucket(l, "user", time.Now())
		synctest.Wait()
		for range 40 {
			if ok, _ := held.TakeN(time.Now(), 1); !ok {
				t.Fatal("refused")
			}
			synctest.Wait()
		}
		g.expect(t, 1, false, false)
		held.Release()
		held.Release()
		if n := takeAll(g, l, "user"); n < 60 || n > 60+50 {
			t.Errorf("%d left of 100, want 60, and a batch of 50 at most", n)
		}
		if ok, _ := other.TakeN(time.Now(), 1); ok {
			t.Error("two sessions have two buckets")
		}
		other.Release()
		if len(m.Keys()) != 2 { // and the one that connections are tried with
			t.Errorf("the keys in Redis are %v", m.Keys())
		}
	})
}

func TestRedisRefusesWhatIsNoLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		g := m.gateway(t, 1)
		defer g.Close()
		none := &Limit{Name: "none"}
		if ok, wait := g.Take(none, "k", 1, time.Now()); ok || wait != Never {
			t.Errorf("Take: %t, %v", ok, wait)
		}
		held := g.Bucket(none, "k", time.Now())
		if ok, wait := held.TakeN(time.Now(), 1); ok || wait != Never {
			t.Errorf("TakeN: %t, %v", ok, wait)
		}
		held.Release()
		if _, ok := g.Acquire(none, "k", time.Now()); ok {
			t.Error("Acquire admits")
		}
	})
}

// A store that was never connected, and one that is closed, admit the share.
func TestWithoutRedis(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeRedis) {
		m.refuse.Store(true)
		g := m.gateway(t, 4)
		l := &Limit{Name: "l", Rate: Rate{1.0 / 3600, 100}, Max: 8}
		if n := takeAll(g, l, "user"); n != 25 {
			t.Errorf("without Redis %d of a burst of 100 for 4 gateways", n)
		}
		pass(time.Minute)
		g.logged(t, away)
		g.expect(t, 0, true, true)
		m.refuse.Store(false)
		pass(connectEvery)
		g.logged(t, there)
		g.Close()
		if n := takeAll(g, l, "another"); n != 25 {
			t.Errorf("after Close %d of a burst of 100 for 4 gateways", n)
		}
		for i := range 3 {
			if _, ok := g.Acquire(l, "another", time.Now()); ok != (i < 2) {
				t.Errorf("place %d of the 2 of this gateway: %t", i, ok)
			}
		}
	})
}
