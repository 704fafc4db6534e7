package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/relay"
)

// Row X-12: whatever becomes of the wall clock, pings, timeouts, lifetimes and rates go by the monotonic one. Many sessions, each at another point of
// its life, are told the same times by a clock that is set amid them and by one that is not: they do the same at the same times.
func TestWallClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, time.Second, -time.Second, -5 * time.Second} {
		t.Run(by.String(), func(t *testing.T) {
			start := time.Now()
			life := func(by time.Duration) (lines []string) {
				for i := range 40 {
					l := relay.Defaults()
					l.Random = func() [4]byte { return [4]byte{1, 2, 3, 4} }
					l.IdleTimeout, l.MaxLifetime = 90*time.Second, 150*time.Second
					l.From[relay.Client].Rates = []relay.Rate{{Of: relay.Messages, PerSecond: 0.2, Burst: 2, Action: relay.ActDrop}}
					s := relay.New(&l, nil, start)
					for at := range 200 {
						now := start.Add(time.Duration(at) * time.Second)
						if at > 60 {
							now = wstest.SetWall(now, by)
						}
						if i%2 == 0 && at%3 == i%3 && at < 100 {
							s.Feed(relay.Client, wstest.MaskedFrame(0x81, []byte("hello"), [4]byte{1, 2, 3, 4}), now)
						}
						s.Tick(now)
						for op, ok := s.Next(); ok; op, ok = s.Next() {
							lines = append(lines, fmt.Sprintf("%d at %d: %v %v %x", i, at, op.Kind, op.Side, op.Data))
							if op.Kind == relay.Write {
								s.Written(op.Side, len(op.Data), now)
							}
						}
						if pinged := at%7 == i%7; pinged && i%4 > 0 { // others are given up for want of an answer
							s.Feed(relay.Client, wstest.MaskedFrame(0x8a, []byte{1, 2, 3, 4}, [4]byte{1, 2, 3, 4}), now)
							s.Feed(relay.Upstream, wstest.ServerFrame(0x8a, []byte{1, 2, 3, 4}), now)
						}
					}
					lines = append(lines, fmt.Sprintf("%d: %+v", i, s.Result()))
				}
				return lines
			}
			want, got := life(0), life(by)
			if len(want) < 500 {
				t.Fatalf("only %d things happen", len(want))
			}
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Fatalf("with the clock set by %v: %d things happen, want %d; the first other one is %q, want %q", by, len(got), len(want), got[min(i, len(got)-1)], want[i])
				}
			}
		})
	}
}

// Row X-12: the end of a token does follow the wall clock, and ends the sessions of that token alone.
func TestTokenFollowsTheWallClock(t *testing.T) {
	start := time.Now()
	ended := func(until time.Duration, by time.Duration) bool {
		l := relay.Defaults()
		l.Random = func() [4]byte { return [4]byte{} }
		l.PingInterval, l.PongTimeout, l.IdleTimeout = 0, 0, 0
		s := relay.New(&l, &relay.Grant{Until: start.Round(0).Add(until)}, start)
		s.Tick(wstest.SetWall(start.Add(time.Minute), by))
		return s.Ended()
	}
	for _, tt := range []struct {
		until, by time.Duration
		want      bool
	}{
		{2 * time.Minute, 0, false},
		{2 * time.Minute, time.Hour, true},
		{2 * time.Hour, time.Hour, false},
		{30 * time.Second, 0, true},
		{30 * time.Second, -time.Hour, false},
		{30 * time.Second, -5 * time.Second, true},
		{61 * time.Second, time.Second, true}, // a leap second
	} {
		if got := ended(tt.until, tt.by); got != tt.want {
			t.Errorf("a token of %v, a minute later with the clock set by %v: ended %t, want %t", tt.until, tt.by, got, tt.want)
		}
	}
}
