package proxy

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/ratelimit"
)

func TestPaceSpan(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		pace pace
		n    int
		want time.Duration
	}{
		"the window":                             {pace{window: 30 * time.Second}, 1, 30 * time.Second},
		"the rate is not reached":                {pace{window: 30 * time.Second, rate: 1000}, 30_000, 30 * time.Second},
		"the rate makes it longer":               {pace{window: 30 * time.Second, rate: 1000}, 50_000, 50 * time.Second},
		"the rate alone":                         {pace{rate: 100}, 250, 2500 * time.Millisecond},
		"the end of the time is before the rate": {pace{window: 30 * time.Second, rate: 10, most: 45 * time.Second}, 50_000, 45 * time.Second},
		"and before the window":                  {pace{window: time.Hour, most: time.Minute}, 3, time.Minute},
		"nothing":                                {pace{rate: 5}, 0, 0},
	} {
		if got := row.pace.span(row.n); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

// Each close has a part of the window of its own and comes somewhere in it.
func TestPaceAt(t *testing.T) {
	t.Parallel()
	p := pace{window: 10 * time.Second}
	for _, row := range []struct {
		i      int
		jitter float64
		want   time.Duration
	}{{0, 0, 0}, {0, 0.5, 500 * time.Millisecond}, {3, 0.25, 3250 * time.Millisecond}, {9, 0.9, 9900 * time.Millisecond}} {
		if got := p.at(row.i, 10, row.jitter); got != row.want {
			t.Errorf("close %d with jitter %v comes at %v, want %v", row.i, row.jitter, got, row.want)
		}
	}
}

func TestSessionsDrainIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, window = 60, 30 * time.Second
		s := &sessions{}
		fakes := enterFakes(s, n)
		start := time.Now()
		s.drain(t.Context(), drainOrder(nil, relay.Drain), pace{window: window})
		var at []time.Duration
		order := make([]time.Duration, n)
		for i, f := range fakes {
			if len(f.failed) != 1 || f.cause != relay.Drain || f.aborted {
				t.Fatalf("session %d was told %d times, %v, aborted %t", i, len(f.failed), f.cause, f.aborted)
			}
			order[i] = f.failed[0].Sub(start)
			at = append(at, order[i])
		}
		slices.Sort(at)
		even := 0
		for i, d := range at {
			from := window * time.Duration(i) / n
			if d < from || d >= from+window/n {
				t.Errorf("close %d came after %v, want it in its part of the window, from %v on", i, d, from)
			}
			if d == from {
				even++
			}
		}
		if even > n/2 {
			t.Errorf("%d of %d closes came at the start of their part: there is no jitter", even, n)
		}
		if slices.Equal(order, at) { // one of 60! orders
			t.Error("the sessions were told in the order in which they had come")
		}
		if s.count() != n {
			t.Error("a session that was told is still there until it leaves")
		}
	})
}

func TestSessionsDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		fakes := enterFakes(s, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		start := time.Now()
		s.drain(ctx, drainOrder(nil, relay.Drain), pace{window: time.Second})
		wantAfter(t, start, 400*time.Millisecond)
		told := 0
		for _, f := range fakes {
			told += len(f.failed)
		}
		if told != 4 {
			t.Errorf("%d of 10 sessions were told after four tenths of the window, want 4", told)
		}
		s.abort()
		for i, f := range fakes {
			if !f.aborted {
				t.Errorf("session %d was not aborted", i)
			}
		}
	})
}

// A handshake may be under way when the others are ended. Its session must not outlive the gateway.
func TestSessionsEndThoseThatComeLate(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	early := enterFakes(s, 1)[0]
	s.drain(t.Context(), drainOrder(nil, relay.Drain), pace{})
	drained := enterFakes(s, 1)[0]
	s.abort()
	aborted := enterFakes(s, 1)[0]
	if len(early.failed) != 1 || len(drained.failed) != 1 || drained.cause != relay.Drain {
		t.Errorf("the first session was told %d times, the one that came during the drain %d times", len(early.failed), len(drained.failed))
	}
	if !aborted.aborted {
		t.Error("a session that came after the end was not aborted")
	}
}

// The drain of a route leaves the others alone, catches handshakes that were under way, and is over some time later.
func TestDrainSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Server{partial: newPartial()}
		gone, stays := &route{}, &route{}
		some, others := enterOn(&s.sessions, 100, gone), enterOn(&s.sessions, 100, stays)
		start := time.Now()
		d := drainConfig(time.Hour, 10*time.Second, time.Minute) // of these only the window matters
		s.drainSome(func(c *connection) bool { return c.route.Load() == gone }, relay.Removed, d)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		late := enterOn(&s.sessions, 1, gone)[0]
		time.Sleep(lateFor)
		synctest.Wait()
		after := enterOn(&s.sessions, 1, gone)[0]
		half := 0
		for i, f := range some {
			if len(f.failed) != 1 || f.cause != relay.Removed {
				t.Fatalf("session %d of the route was told %d times, %v", i, len(f.failed), f.cause)
			}
			if f.failed[0].Sub(start) < 5*time.Second {
				half++
			}
		}
		if half != 50 {
			t.Errorf("%d of 100 sessions were told in the first half of the window", half)
		}
		for i, f := range others {
			if len(f.failed) > 0 || f.aborted {
				t.Errorf("session %d of another route was ended", i)
			}
		}
		if len(late.failed) != 1 || len(after.failed) != 0 {
			t.Errorf("the session that came late was told %d times, one that came after the drain %d times, want 1 and 0", len(late.failed), len(after.failed))
		}
		s.partial.close()
	})
}

// A drain that is called off leaves what it has not closed, and no goroutine.
func TestDrainSomeIsCalledOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Server{partial: newPartial()}
		fakes := enterFakes(&s.sessions, 10)
		stop := s.drainSome(func(*connection) bool { return true }, relay.Drain, drainConfig(0, 10*time.Second, time.Minute))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		stop()
		synctest.Wait()
		late := enterFakes(&s.sessions, 1)[0]
		time.Sleep(time.Minute)
		told := len(late.failed)
		for _, f := range fakes {
			told += len(f.failed)
		}
		if told != 4 {
			t.Errorf("%d sessions were told, want those 4 of the time before it was called off", told)
		}
		s.partial.close()
		s.drainSome(func(*connection) bool { return true }, relay.Drain, drainConfig(0, 0, time.Minute))
		synctest.Wait()
		if len(late.failed) > 0 {
			t.Error("a drain began after the end of the gateway")
		}
	})
}

// All sessions must have been told before the hard stop cuts them.
func TestDrainConfigPace(t *testing.T) {
	t.Parallel()
	d := drainConfig(5*time.Second, 30*time.Second, 60*time.Second)
	d.Rate = ratelimit.Rate{PerSecond: 100, Burst: 100}
	p := d.pace(d.left())
	if got, want := p.span(50_000), 49500*time.Millisecond; got != want {
		t.Errorf("50,000 closes take %v, want %v of the 55 s before the hard stop", got, want)
	}
	if got, want := p.span(4000), 40*time.Second; got != want {
		t.Errorf("4,000 closes take %v, want %v", got, want)
	}
}

func TestDrainConfigMistakes(t *testing.T) {
	t.Parallel()
	for drain, want := range map[string]string{
		"{delay: 60s, hard_stop: 60s}": `drain.hard_stop: 1m0s leaves no time after a delay of 1m0s`,
		"{rate: 100/s burst 500}":      `drain.rate: a drain has no burst, want a rate such as 1000/s`,
		"{rate: 0/s}":                  `drain.rate: `,
	} {
		_, _, err := loadText(t, oneRoute("ws://127.0.0.1:9", "")+"drain: "+drain)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", drain, err, want)
		}
	}
}
