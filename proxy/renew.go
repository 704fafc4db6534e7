package proxy

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/proxy/relay"
)

const (
	maxRenewals    = 64 // tokens that are verified at once
	renewalTimeout = 10 * time.Second

	reasonNotRenewed = "token not renewed"
	reasonBusy       = "try again later"
)

// renewals verify the new tokens that clients bring over their connections:
// that may wait for keys, for which no session waits.
type renewals struct {
	wg   sync.WaitGroup // renewLoop of each
	busy chan struct{}
}

// A renewing is what an inspector remembers of renewals. It is the session's.
type renewing struct {
	*policy.Renewal
	conn     *connection
	underWay bool
	failures int
}

// renewingOf is that of a session, nil where its route knows no renewal now.
func renewingOf(core *relay.Session) *renewing {
	if x, ok := core.Grant().Inspectors[relay.Client].(*inspector); ok {
		return x.renew
	}
	return nil
}

// bind tells a grant whose it is.
func (c *connection) bind(grant *relay.Grant) {
	if grant == nil {
		return
	}
	if x, ok := grant.Inspectors[relay.Client].(*inspector); ok && x.renew != nil {
		x.renew.conn = c
	}
}

// begin has a token verified. What comes of it is told in the session. It
// returns what becomes of the message.
func (r *renewing) begin(token string) relay.Verdict {
	out := relay.Verdict{Action: relay.ActTake}
	if r.conn == nil {
		return out // a test of policies
	}
	s := r.conn.server
	if !r.underWay {
		select {
		case s.renewals.busy <- struct{}{}:
			r.underWay = true
			s.renewals.wg.Go(func() { s.renewLoop(r.conn, r.Renewal, token) })
			return out
		default:
		}
	}
	s.countRenewal(r.conn, reasonBusy)
	if out.Reply = r.answer(time.Time{}, reasonBusy); r.failures >= r.Attempts {
		out.Reply, out.Reason = "", reasonNotRenewed
	}
	return out
}

// answer is what the client is told, of a token that expires at a time or was
// not taken for a reason.
func (r *renewing) answer(expires time.Time, reason string) string {
	m := map[string]any{"type": r.Reply}
	if reason == "" {
		r.failures = 0
		m["exp"] = expires.Unix()
	} else {
		r.failures++
		m["error"] = reason
	}
	text, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(text)
}

// renewLoop is the goroutine of one renewal.
func (s *Server) renewLoop(c *connection, by *policy.Renewal, token string) {
	defer func() { <-s.renewals.busy }()
	ctx, cancel := context.WithTimeout(s.ctx, renewalTimeout)
	defer cancel()
	var reason string
	claims, err := by.Verify(ctx, token, time.Now())
	if err != nil {
		reason = err.Error()
	} else {
		reason = s.renew(c, claims)
	}
	s.countRenewal(c, reason)
	s.sessions.do(c, func(core *relay.Session, now time.Time) {
		r := renewingOf(core)
		if r == nil {
			return
		}
		r.underWay = false
		var expires time.Time
		if reason == "" {
			expires = claims.Expires
		}
		if core.Say(relay.Client, r.answer(expires, reason), now); r.failures >= r.Attempts {
			core.Refuse(reasonNotRenewed, now)
		}
	})
}

// renew brings a connection under the claims of a new token, or returns the
// reason why not.
func (s *Server) renew(c *connection, claims *jwt.Claims) (reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return "connection ended"
	}
	a, record, err := c.under.policy.Renew(c.known(), c.client().Addr(), c.under.name, c.held, claims, time.Now())
	if err != nil {
		return err.Error()
	}
	s.logReview(c, c.under, a)
	if d := a.Refused(); d != nil {
		return d.Refusal.Reason
	}
	c.later.Store(&later{c.client(), record})
	s.adopt(c, c.under, a)
	if s.shared.policies.Revoked.Has(record.Names(), time.Now()) { // meanwhile
		s.sessions.do(c, revoke)
	}
	return ""
}

// countRenewal counts and logs one: reason says why it was refused.
func (s *Server) countRenewal(c *connection, reason string) {
	outcome := policy.OutcomeAdmitted
	if reason != "" {
		outcome = policy.OutcomeRefused
	}
	s.metrics.renewals.WithLabelValues(c.route.Load().name, outcome).Inc()
	s.log.Info("renewal", append(c.attrs(), "outcome", outcome, "reason", reason)...)
}
