package upstream

import (
	"context"
	"log/slog"
	"time"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// reasonOf is what the states of package health are to those who pick.
func reasonOf(s health.State) Reason {
	switch s {
	case health.Down:
		return Unhealthy
	case health.Ejected, health.Trial:
		return Ejected
	case health.Unchecked:
		return Unproven
	}
	return 0
}

// settle makes the reasons of a state those of its health, at once. The lock is held.
func (st *state) settle(now time.Time) {
	const mine = Unhealthy | Ejected | Unproven
	reason := reasonOf(st.health.State(st.rules, now))
	for {
		old := st.down.Load()
		if next := old&^uint32(mine) | uint32(reason); st.down.CompareAndSwap(old, next) {
			return
		}
	}
}

// judge has f tell the health of a server what has happened. A change is logged, with what has caused it, and a server that comes back is eased
// in.
func (r *Registry) judge(st *state, now time.Time, cause error, f func(*health.Server, *health.Rules)) {
	r.mu.Lock()
	before := st.health.State(st.rules, now)
	f(&st.health, st.rules)
	after := st.health.State(st.rules, now)
	st.settle(now)
	if after == health.Up && (before.Out() || before == health.Trial) {
		st.ease(r.since(now))
	}
	if after == health.Ejected && before != after {
		st.ejections.Add(1)
	}
	r.mu.Unlock()
	if before != after {
		r.tell(st, before, after, cause)
	}
}

// standing counts the servers of a pool, and those of them that get no new connections. The lock is held.
func (r *Registry) standing(pool string) (servers, out int) {
	for key, st := range r.states {
		if key.Pool != pool || st.lists == 0 {
			continue
		}
		if servers++; Reason(st.down.Load())&^Unproven != 0 {
			out++
		}
	}
	return servers, out
}

// tell writes the one line of a change.
func (r *Registry) tell(st *state, before, after health.State, cause error) {
	level := slog.LevelInfo
	attrs := []any{"upstream", st.key.Pool, "server", st.key.Address, "state", after.String(), "before", before.String()}
	if after.Out() {
		level = slog.LevelWarn
	}
	if cause != nil {
		attrs = append(attrs, "cause", cause.Error())
	}
	r.log.Log(context.Background(), level, "server state", attrs...)
}

// trialDue says whether a server whose ejection is over waits for the connection that tries it.
func (s *Server) trialDue(now time.Time) bool {
	if Reason(s.state.down.Load()) != Ejected {
		return false
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	h, rules := &s.state.health, s.state.rules
	return h.State(rules, now) == health.Trial && h.Usable(rules, now)
}
