package wstest

import (
	"testing"
	"time"
)

// What SetWall relies on is not promised by package time.
func TestSetWall(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour, time.Second, -5 * time.Second, 0} {
		set := SetWall(now, by)
		if set.Sub(now) != 0 || set.Round(0).Sub(now.Round(0)) != by || set.Nanosecond() != now.Nanosecond() {
			t.Errorf("set by %v: %v later by the monotonic clock and %v by the wall clock", by, set.Sub(now), set.Round(0).Sub(now.Round(0)))
		}
	}
}
