package upstream

import (
	"context"
	"net"
	"time"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// checking is who checks a server, and when next. A reload hands it over: two pools do not check one server.
type checking struct {
	owner *Pool
	due   time.Time
}

// checkLoop checks a server, one check after the other, until ctx ends or another pool has taken over.
func (p *Pool) checkLoop(ctx context.Context, s *Server) {
	k := p.settings.checks
	for wait := p.registry.takeOver(p, s.state, time.Now()); sleep(ctx, wait); {
		wait = k.Next(random())
		if !p.registry.mayCheck(p, s.state, time.Now().Add(wait)) {
			return
		}
		err := s.check(ctx, k)
		if ctx.Err() != nil {
			return
		}
		p.registry.checked(p, s.state, err, time.Now())
	}
}

// takeOver makes a pool the one that checks a server, and returns after how long that is due: as it was due before, within the pool's own times.
func (r *Registry) takeOver(p *Pool, st *state, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.checks.owner = p
	if k := p.settings.checks; !st.checks.due.IsZero() {
		return min(max(st.checks.due.Sub(now), 0), k.Next(random()))
	}
	return p.settings.checks.First(random())
}

// mayCheck says whether a pool still has a server to check, and notes when the check after this one is due.
func (r *Registry) mayCheck(p *Pool, st *state, next time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st.checks.owner != p {
		return false
	}
	st.checks.due = next
	return true
}

// checked takes the result of a check, unless another pool has taken over meanwhile.
func (r *Registry) checked(p *Pool, st *state, err error, now time.Time) {
	if err != nil {
		st.failed.Add(1)
	} else {
		st.passed.Add(1)
	}
	r.judge(st, now, err, func(h *health.Server, rules *health.Rules) {
		if st.checks.owner == p {
			h.Checked(rules, err == nil)
		}
	})
}

// check makes one check, over a connection like those of clients.
func (s *Server) check(ctx context.Context, k *health.Checks) error {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	conn, err := s.DialWrapped(ctx, Hop{}, func(c net.Conn) net.Conn { return c })
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	deadline, _ := ctx.Deadline()
	return k.Check(conn, s.target.authority(), deadline)
}
