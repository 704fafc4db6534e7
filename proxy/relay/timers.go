package relay

import (
	"math"
	"time"
)

const never = time.Duration(math.MaxInt64)

// Deadline returns when Tick must be called next, if nothing else happens
// before. It is never zero.
func (s *Session) Deadline() time.Time { return s.start.Add(s.Due()) }

// Due is Deadline as a time since Start.
func (s *Session) Due() time.Duration {
	at := s.due(Client, s.due(Upstream, never))
	switch {
	case s.cause != None:
	case s.stopping != None:
		at = min(at, s.ending.stopBy)
	default:
		at = min(at, s.idleAt(), after(0, s.limits.MaxLifetime), s.expires)
	}
	if at == never {
		return s.now + time.Hour
	}
	return at
}

// Tick lets time pass.
func (s *Session) Tick(now time.Time) {
	s.advance(now)
	for _, side := range [2]Side{Client, Upstream} {
		s.tick(side)
	}
	if s.cause == None {
		switch {
		case s.stopping != None && s.now >= s.ending.stopBy:
			s.endStopped()
		case s.expired(now):
			s.fail(TokenExpired)
		case s.now >= after(0, s.limits.MaxLifetime):
			s.fail(Lifetime)
		case s.now >= s.idleAt():
			s.fail(Idle)
		}
	}
	s.settle()
}

// expired reports that Until has come. Only this follows the wall clock, of
// which a token speaks: where that was set meanwhile, it comes sooner or later
// than it was expected.
func (s *Session) expired(now time.Time) bool {
	if s.until == 0 {
		return false
	}
	s.expect(now)
	return s.expires <= s.now
}

// expect sets when Until comes, if nobody sets the clock.
func (s *Session) expect(now time.Time) {
	if s.expires = never; s.until != 0 {
		s.expires = s.now + max(time.Unix(0, s.until).Sub(now.Round(0)), 0)
	}
}

// after is at + d, or never where there is no limit.
func after(at, d time.Duration) time.Duration {
	if d == 0 {
		return never
	}
	return at + d
}

// idleAt is when nothing has happened for too long. What is delayed happens.
func (s *Session) idleAt() time.Duration {
	if s.half[Client].waits() || s.half[Upstream].waits() {
		return never
	}
	return after(s.busyAt, s.limits.IdleTimeout)
}

// due returns the earlier of at and what is due for a side.
func (s *Session) due(side Side, at time.Duration) time.Duration {
	h := &s.half[side]
	if h.closed {
		return at
	}
	if h.endAt > 0 {
		at = min(at, h.endAt)
	}
	if h.pending > 0 {
		at = min(at, after(h.wroteAt, s.limits.WriteTimeout))
	}
	if h.waits() {
		at = min(at, h.rules.backlog.until)
	}
	if s.cause != None || s.stuck(side) {
		return at
	}
	return min(at, s.silence(h), s.progress(h), s.assembly(h))
}

// stuck reports that a side's clocks stand still: the other one has not taken
// what this one sent, or a rate delays it, and whoever drives the session may
// not read more.
func (s *Session) stuck(side Side) bool {
	return s.half[side.Other()].pending > 0 || s.half[side].waits()
}

// unstick lets a side's clocks go on that have stood still since a time: what
// it could not send meanwhile is not held against it.
func (h *half) unstick(since, now time.Duration) {
	stood := now - since
	for _, at := range [...]*time.Duration{&h.frameAt, &h.messageAt, &h.quietAt} {
		*at = min(now, *at+stood)
	}
}

// silence is when a side must be pinged or has not answered.
func (s *Session) silence(h *half) time.Duration {
	if h.pinged {
		return after(h.quietAt, s.limits.PongTimeout)
	}
	return after(h.quietAt, s.limits.PingInterval)
}

// progress is when the frame under way must have come further.
func (s *Session) progress(h *half) time.Duration {
	if s.limits.FrameGrace == 0 || h.phase != relaying {
		return never
	}
	var got int64
	switch {
	case h.hold != nil:
		got = int64(h.hold.n)
	case h.left > 0:
		got = h.header.Length - h.left
	case !h.parser.Partial():
		return never
	}
	return h.frameAt + s.limits.FrameGrace + s.slowest(got)
}

// slowest is how long n bytes may take.
func (s *Session) slowest(n int64) time.Duration {
	if s.limits.MinProgress == 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(s.limits.MinProgress) * float64(time.Second))
}

// patience is when a side's part of the close must be done that begins now,
// behind what it has not taken yet.
func (s *Session) patience(h *half) time.Duration {
	return s.now + s.limits.CloseTimeout + s.slowest(int64(h.pending))
}

// assembly is when the message under way must be complete.
func (s *Session) assembly(h *half) time.Duration {
	if !h.sequence.Open() || h.phase != relaying {
		return never
	}
	return after(h.messageAt, s.limits.AssemblyTimeout)
}

// tick acts on what is due for a side.
func (s *Session) tick(side Side) {
	h := &s.half[side]
	if h.waits() && s.now >= h.rules.backlog.until {
		s.walkOn(side)
	}
	if h.closed {
		return
	}
	if h.endAt > 0 && s.now >= h.endAt {
		how := Close
		if h.pending > 0 || h.then == Abort {
			how = Abort
		}
		s.close(side, how)
		if s.cause == None { // it could not be written to, and has said nothing since
			s.end(lost(side), side, "")
		}
		return
	}
	if h.pending > 0 && s.now >= after(h.wroteAt, s.limits.WriteTimeout) {
		s.close(side, Abort)
		s.end(Stalled, side, "")
		return
	}
	if s.cause != None || s.stuck(side) {
		return
	}
	switch {
	case s.now >= s.progress(h):
		s.end(Slow, side, reasonSlowFrame)
	case s.now >= s.assembly(h):
		s.end(Slow, side, reasonSlowMsg)
	case s.now < s.silence(h):
	case h.pinged:
		s.end(NoPong, side, "")
		h.then = max(h.then, Close) // it is deaf: nothing more is awaited of it
	case s.midFrame(side):
		// Silent while it receives a large frame: the ping waits one interval.
		h.quietAt = s.now
	default:
		s.sendPing(side)
	}
}
