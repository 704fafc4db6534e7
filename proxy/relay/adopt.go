package relay

import "time"

// past is what held before Adopt, for a side that had begun a message then and
// has not ended it yet.
type past [2]struct {
	limits *Limits // nil for a side that is under those of the session
	grant  *Grant
}

// Adopt has other limits and another grant hold from now on. What a side sends
// is under them with its next message: one that it has begun ends under those
// that it began with. What a rate delays may go on at once. Deflate of the grant must be as it was. Rates that go by
// one name keep their tokens, whatever their numbers become: nobody has a burst
// for free.
func (s *Session) Adopt(limits *Limits, grant *Grant, now time.Time) {
	s.advance(now)
	for _, side := range [2]Side{Client, Upstream} {
		s.keep(side)
	}
	s.limits = limits
	s.hold(grant)
	s.expect(now)
	for _, side := range [2]Side{Client, Upstream} {
		h := &s.half[side]
		if !h.begun() {
			s.renew(side)
		}
		if h.waits() { // perhaps there is room
			s.walkOn(side)
		}
	}
	s.settle()
}

// begun reports that a message of the side is under way. One that a rate keeps
// from beginning is not: it need not wait for what a rate says no more.
func (h *half) begun() bool {
	switch {
	case h.left > 0, h.hold != nil, h.rules != nil && (h.rules.gathering || h.rules.dropping):
		return true
	case h.waits() && !h.rules.backlog.early:
		return !begins(h.header)
	}
	return h.sequence.Open()
}

// keep leaves a side under what holds now, unless it is under something older.
func (s *Session) keep(side Side) {
	if s.past == nil {
		s.past = new(past)
	}
	if p := &s.past[side]; p.limits == nil {
		p.limits, p.grant = s.limits, s.grant
	}
}

// renew brings a side between two messages under what holds now.
func (s *Session) renew(side Side) {
	before := s.past[side].limits
	if before == nil {
		return
	}
	s.past[side].limits, s.past[side].grant = nil, nil
	s.rebucket(side, before)
	if s.past[side.Other()].limits == nil {
		s.past = nil
	}
}

// under returns the limits that hold for what a side sends.
func (s *Session) under(from Side) *Limits {
	if s.past != nil && s.past[from].limits != nil {
		return s.past[from].limits
	}
	return s.limits
}

// granted is under for the grant.
func (s *Session) granted(from Side) *Grant {
	if s.past != nil && s.past[from].limits != nil {
		return s.past[from].grant
	}
	return s.grant
}

// rebucket makes the buckets of a side those of the rates that hold now. before
// are the limits whose buckets it has.
func (s *Session) rebucket(side Side, before *Limits) {
	if s.paces == nil || s.paces[side].buckets == nil {
		return // it makes its buckets with its first message
	}
	p := &s.paces[side]
	rates, old := s.limits.From[side].Rates, before.From[side].Rates
	buckets := newBuckets(rates, s.now)
	for i := range rates {
		for k := range old {
			if rates[i].continues(&old[k]) { // one that was shared is full
				buckets[i].adopt(&rates[i], p.buckets[k], &old[k], s.now)
			}
		}
	}
	p.buckets = buckets
}

// continues reports that a rate is another one with other numbers.
func (r *Rate) continues(old *Rate) bool { return r.Name != "" && r.Name == old.Name && r.Of == old.Of }
