package proxy

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
)

// A verdict is what becomes of a live connection when the configuration has
// changed.
type verdict int

const (
	reviewUntouched verdict = iota // its route says what it said
	reviewAdopted                  // it lives on under another route of the name
	reviewRefused                  // a policy does not admit it any more
	reviewRemoved                  // what it came by or goes to is there no more
)

// reviews are the passes over the live connections after a reload, of which
// there is one at a time.
type reviews struct {
	mu     sync.Mutex
	over   bool
	stop   context.CancelFunc // of the latest
	wg     sync.WaitGroup     // reviewLoop
	counts *prometheus.CounterVec
}

// reviewAll has all live connections reviewed in the background, instead of
// what was left to do of that before.
func (s *Server) reviewAll(st *site) {
	r := &s.reviews
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
	}
	r.wg.Wait()
	if r.over {
		return
	}
	ctx, stop := context.WithCancel(s.ctx)
	r.stop = stop
	r.wg.Go(func() { s.reviewLoop(ctx, st) })
}

// close ends the latest review.
func (r *reviews) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.stop != nil {
		r.stop()
	}
	r.wg.Wait()
}

// reviewLoop is the goroutine of one review. The youngest connections come
// first: where a limit has become less than there are, they go.
func (s *Server) reviewLoop(ctx context.Context, st *site) {
	var counts [reviewRemoved + 1]int
	gone := map[*connection]bool{}
	refusals := pacer{rate: st.cfg.Drain.Rate.PerSecond}
	for _, c := range s.sessions.youngest() {
		v, reason := s.review(c, st)
		counts[v]++
		switch v {
		case reviewRemoved:
			gone[c] = true
		case reviewRefused:
			if !refusals.wait(ctx) {
				return
			}
			s.refuse(c, reason)
		}
		if ctx.Err() != nil {
			return
		}
	}
	if counts[reviewAdopted]+counts[reviewRefused]+counts[reviewRemoved] > 0 {
		s.log.Info("connections reviewed", "generation", st.generation,
			"untouched", counts[reviewUntouched], "adopted", counts[reviewAdopted], "refused", counts[reviewRefused], "removed", counts[reviewRemoved])
	}
	if len(gone) > 0 {
		stop := s.drainSome(func(c *connection) bool { return gone[c] }, relay.Removed, st.cfg.Drain)
		context.AfterFunc(ctx, stop)
	}
}

// reviewLate reviews a session whose handshake began under a site that is not
// the one that holds any more. It is called once the session can be found: so
// either it is found by the review of all, or it finds the new site here. For
// what was revoked meanwhile it is the same.
func (s *Server) reviewLate(c *connection, began *site) {
	if s.shared.policies.Revoked.Has(c.known().Names(), time.Now()) {
		s.sessions.do(c, revoke)
		return
	}
	st := s.site.Load()
	if st == began {
		return
	}
	switch v, reason := s.review(c, st); v {
	case reviewRefused:
		s.refuse(c, reason)
	case reviewRemoved:
		s.sessions.do(c, func(core *relay.Session, now time.Time) { core.Fail(relay.Removed, now) })
	}
}

// review decides about one connection, and brings it under the route of its
// name in st where that has changed.
func (s *Server) review(c *connection, st *site) (verdict, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := st.named(c.under.name)
	switch {
	case c.over:
		return reviewUntouched, ""
	case next == nil, !st.listensOn(c.record.Listener()):
		return s.reviewed(reviewRemoved), ""
	case next == c.under:
		return reviewUntouched, ""
	}
	if st.router.find(c.record.Host(), c.record.Path()) != next || !next.pool.Lists(c.lease.Server()) || c.compression == chained && next.compression == handshake.Inspect || !c.under.auth.same(next.auth) {
		return s.reviewed(reviewRemoved), ""
	}
	a := next.policy.Review(c.known(), c.client().Addr(), next.name, c.under.policy, c.held, time.Now())
	s.logReview(c, next, a)
	if d := a.Refused(); d != nil {
		c.giveBack()
		return s.reviewed(reviewRefused), d.Refusal.Reason
	}
	s.adopt(c, next, a)
	return s.reviewed(reviewAdopted), ""
}

// move takes note that the client of a connection is at another address, and
// asks what addresses decide about it.
func (s *Server) move(c *connection, to netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.client()
	if c.over || from == to {
		return
	}
	c.later.Store(&later{to, c.known()})
	if from.Addr() == to.Addr() {
		return // behind another port, as after a while behind NAT
	}
	a := c.under.policy.Move(c.known(), to.Addr(), c.under.name, c.held, time.Now())
	s.logReview(c, c.under, a)
	outcome, reason := policy.OutcomeAdmitted, ""
	if d := a.Refused(); d != nil {
		outcome, reason = policy.OutcomeRefused, d.Refusal.Reason
	}
	s.metrics.moves.WithLabelValues(outcome).Inc()
	s.log.Info("client moved", append(c.attrs(), "from", addressText(from), "outcome", outcome, "reason", reason)...)
	if reason != "" {
		c.giveBack()
		s.refuse(c, reason)
		return
	}
	s.adopt(c, c.under, a)
}

// giveBack gives back what a connection holds that is refused: not only once it
// has ended, since those that are reviewed behind it may need its places. Its
// lock is held.
func (c *connection) giveBack() {
	for _, h := range c.held {
		h.Release()
	}
	c.held = nil
}

// listensOn reports whether there is a listener of an address in the
// configuration.
func (st *site) listensOn(address string) bool {
	return slices.ContainsFunc(st.listeners, func(l *listener) bool { return l.address == address })
}

// adopt brings a connection under another route. Its lock is held.
func (s *Server) adopt(c *connection, next *route, a *policy.Admission) {
	grant := &relay.Grant{
		Deflate: c.compression != uncompressed, Until: a.End(), Buckets: next.buckets(s.shared.policies.Limits, a),
		Inspectors: next.inspectors(a, c.record.Subprotocol()),
	}
	c.bind(grant)
	dropped := a.Dropped()
	c.held, c.under = a.Keep(), next
	s.sessions.do(c, func(core *relay.Session, now time.Time) {
		continueInspection(core.Grant(), grant)
		c.route.Store(next)
		c.told = [2]uint64{}
		core.Adopt(next.limits, grant, now)
	})
	for _, h := range dropped {
		h.Release()
	}
}

// continueInspection lets the inspectors of a grant know what those before have
// seen of the stream of messages.
func continueInspection(old, next *relay.Grant) {
	for side := range next.Inspectors {
		x, ok := next.Inspectors[side].(*inspector)
		before, had := old.Inspectors[side].(*inspector)
		if ok && had {
			before.session.Claims, before.session.Route = x.session.Claims, x.session.Route
			x.session = before.session
			if x.renew != nil && before.renew != nil {
				x.renew.underWay, x.renew.failures = before.renew.underWay, before.renew.failures
			}
		}
	}
}

// logReview counts and logs what rules said of a live connection.
func (s *Server) logReview(c *connection, next *route, a *policy.Admission) {
	for i := range a.Decisions {
		d := &a.Decisions[i]
		next.meters.decided(d)
		if d.Refusal == nil {
			continue
		}
		text, mode := "connection refused", "enforce"
		if d.Shadow {
			text, mode = "would refuse connection", "shadow"
		}
		s.log.Info(text, append(c.attrs(), "policy", d.Policy, "rule", d.Name, "mode", mode, "outcome", d.Outcome(), "reason", d.Refusal.Reason)...)
	}
}

// refuse closes a connection, with the reason of the rule that does not admit
// it any more.
func (s *Server) refuse(c *connection, reason string) {
	s.sessions.do(c, func(core *relay.Session, now time.Time) { core.Refuse(reason, now) })
}

// String names a verdict in the metrics.
func (v verdict) String() string { return [...]string{"untouched", "adopted", "refused", "removed"}[v] }

// reviewed counts a verdict.
func (s *Server) reviewed(v verdict) verdict {
	s.reviews.counts.WithLabelValues(v.String()).Inc()
	return v
}

// register makes the series of reviews.
func (r *reviews) register(reg prometheus.Registerer) {
	r.counts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "framegate_reviews_total", Help: "Live connections that a reload has concerned, by what became of them.",
	}, []string{"outcome"})
	for _, v := range []verdict{reviewAdopted, reviewRefused, reviewRemoved} {
		r.counts.WithLabelValues(v.String())
	}
	reg.MustRegister(r.counts)
}

// A pacer lets things happen at a rate.
type pacer struct {
	rate  float64 // in a second
	start time.Time
	n     int
}

// wait waits for the turn of the next one. It returns false where ctx ends
// before.
func (p *pacer) wait(ctx context.Context) bool {
	if p.n == 0 {
		p.start = time.Now()
	}
	due := p.start.Add(time.Duration(float64(p.n) / p.rate * float64(time.Second)))
	p.n++
	select {
	case <-time.After(time.Until(due)):
		return true
	case <-ctx.Done():
		return false
	}
}

// youngest returns the live connections, those that came last first.
func (s *sessions) youngest() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*connection, 0, len(s.all))
	for c := range s.all {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *connection) int { return cmp.Compare(b.start, a.start) })
	return list
}

// do changes the session of a connection, if that has not ended.
func (s *sessions) do(c *connection, f func(core *relay.Session, now time.Time)) {
	s.mu.Lock()
	session := s.all[c]
	s.mu.Unlock()
	if session != nil {
		session.Do(f)
	}
}
