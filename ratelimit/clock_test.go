package ratelimit

import (
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// Row X-12: a wall clock that is set gives no tokens, and takes none.
func TestWallClockGivesNothing(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, time.Second, -5 * time.Second} {
		now := time.Now()
		s, l := NewLocal(10), &Limit{Name: "l", Rate: Rate{PerSecond: 1, Burst: 3}}
		for range 3 {
			if ok, _ := s.Take(l, "k", 1, now); !ok {
				t.Fatal("a full bucket refuses")
			}
		}
		if ok, wait := s.Take(l, "k", 1, wstest.SetWall(now, by)); ok || wait <= 0 || wait > time.Second {
			t.Errorf("set by %v: %t, wait %v; want a refusal for a second at most", by, ok, wait)
		}
		if ok, _ := s.Take(l, "k", 1, wstest.SetWall(now.Add(time.Second), by)); !ok {
			t.Errorf("set by %v: refused a second later, when there is a token", by)
		}
	}
}
