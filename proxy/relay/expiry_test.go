package relay

import (
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/frame"
)

// expiring is a session whose client is admitted for a minute, without other timers.
func expiring(start time.Time) *Session {
	l := Defaults()
	l.PingInterval, l.PongTimeout, l.IdleTimeout = 0, 0, 0
	l.Random = func() [4]byte { return [4]byte{1, 2, 3, 4} }
	return New(&l, &Grant{Until: start.Round(0).Add(time.Minute)}, start)
}

// closes drains a session and returns the codes of the Close frames that it wrote.
func closes(s *Session) (codes [2]frame.StatusCode) {
	for op, ok := s.Next(); ok; op, ok = s.Next() {
		if op.Kind == Write {
			s.Written(op.Side, len(op.Data), s.start.Add(s.now))
		}
	}
	return s.Result().Told
}

// A session ends with 1008 when what admitted it does, also one that nobody speaks in, and not before.
func TestExpiry(t *testing.T) {
	start := time.Now()
	s := expiring(start)
	if got := s.Deadline(); !got.Equal(start.Add(time.Minute)) {
		t.Fatalf("the deadline is %v after the start, want a minute", got.Sub(start))
	}
	s.Tick(start.Add(59 * time.Second))
	if s.Ended() {
		t.Fatal("ended early")
	}
	s.Tick(start.Add(time.Minute))
	if codes := closes(s); s.Result().Cause != TokenExpired || codes != [2]frame.StatusCode{Client: 1008, Upstream: 1001} || s.Result().Reason != "token expired" {
		t.Errorf("got %+v", s.Result())
	}
}

// It follows the wall clock: set back by an hour it ends an hour later, set forward it ends at the next tick. The session's own timers do not.
func TestExpiryFollowsTheWallClock(t *testing.T) {
	start := time.Now()
	back := expiring(start)
	late := start.Add(time.Minute) // by the monotonic clock
	set := late.Round(0).Add(-time.Hour)
	back.Tick(set.Add(0))
	if back.Ended() {
		t.Error("ended although the clock says that there is time")
	}
	if got := back.expires; got < time.Hour {
		t.Errorf("expected in %v, want an hour", got)
	}
	forward := expiring(start)
	forward.Tick(start.Round(0).Add(time.Hour))
	if forward.Result().Cause != TokenExpired {
		t.Error("goes on although the clock says that it is over")
	}
}

// One that was over at the handshake ends at once.
func TestExpiredFromTheStart(t *testing.T) {
	start := time.Now()
	l := Defaults()
	l.Random = func() [4]byte { return [4]byte{} }
	s := New(&l, &Grant{Until: start.Add(-time.Second)}, start)
	if got := s.Deadline(); got.After(start) {
		t.Fatalf("the deadline is %v after the start", got.Sub(start))
	}
	if s.Tick(start); s.Result().Cause != TokenExpired {
		t.Errorf("got %+v", s.Result())
	}
}
