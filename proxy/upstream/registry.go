package upstream

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// A Key names a server over all configurations: a server that another pool lists too is another one there.
type Key struct {
	Pool    string
	Address string // host:port, or unix:/path
}

// Registry knows what outlives configurations: the state of each server, and where names have led. It is safe for concurrent use.
type Registry struct {
	start time.Time // that states count from
	log   *slog.Logger
	key   []byte // of cookies of pools that have none

	mu     sync.Mutex // held by whoever changes what follows; numbers may be read without it
	states map[Key]*state
	names  map[nameKey]*found
}

// NewRegistry makes an empty registry. Times that it is told are not before now.
func NewRegistry(now time.Time, log *slog.Logger) *Registry {
	return &Registry{start: now, log: log, states: map[Key]*state{}, names: map[nameKey]*found{}}
}

// state is what is known of one server.
type state struct {
	key   Key
	lists int          // sets that have the server; under Registry.mu
	live  atomic.Int64 // leases; changed under Registry.mu
	down  atomic.Uint32
	eased atomic.Int64 // since when it is being eased in, from Registry.start; 0 for a server that need not be

	picks, failures atomic.Uint64

	// Under Registry.mu.
	rules  *health.Rules // of the configuration that came last
	health health.Server
	checks checking

	passed, failed, ejections atomic.Uint64 // checks by how they ended, and ejections
}

// A Reason keeps connections from a server. There may be several.
type Reason uint32

// The reasons. Live connections of a server stay, whatever keeps new ones from it.
const (
	Unhealthy Reason = 1 << iota // by active checks
	Ejected                      // for a while, since connections failed
	Draining                     // somebody has asked for it
	Unproven                     // no check has ended yet; it is used where no other server is left
)

// SetKey sets the key for the cookies of pools that have none of their own. It is called before the first of these is attached.
func (r *Registry) SetKey(key []byte) { r.key = key }

// HasKey reports whether SetKey was called.
func (r *Registry) HasKey() bool { return r.key != nil }

// adopt gives servers their states: those that there are, or new ones. Servers that come to a pool later than its first ones are eased in.
func (r *Registry) adopt(pool string, servers []*Server, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := true
	for key := range r.states {
		first = first && key.Pool != pool
	}
	for _, s := range servers {
		key := Key{pool, s.String()}
		st := r.states[key]
		if st == nil {
			st = &state{key: key}
			if !first {
				st.ease(r.since(now))
			}
			r.states[key] = st
		}
		if st.lists == 0 { // it was removed while it had connections: its drain went with that
			st.down.And(^uint32(Draining))
		}
		st.lists++
		st.rules = s.rules
		st.settle(now)
		s.registry, s.state = r, st
	}
}

// since is a time as states keep it. It is never 0, which means none.
func (r *Registry) since(now time.Time) time.Duration { return max(now.Sub(r.start), 1) }

func (s *state) ease(since time.Duration) { s.eased.Store(int64(since)) }

// drop tells that a set does not have these servers any more.
func (r *Registry) drop(servers []*Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range servers {
		s.state.lists--
		r.forget(s.state)
	}
}

// forget lets the state of a server go that nothing lists and that has no connection. The lock is held.
func (r *Registry) forget(st *state) {
	if st.lists == 0 && st.live.Load() == 0 && r.states[st.key] == st {
		delete(r.states, st.key)
	}
}

// acquire takes a place at a server. It returns nil where the server has as many connections as it may, or is being tried by another one.
func (r *Registry) acquire(s *Server, now time.Time) *Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A request of an older configuration may come to a server that has been forgotten since, and even been listed anew.
	st := r.states[s.state.key]
	if st == nil {
		st = s.state
		r.states[st.key] = st
	}
	trial := st.health.State(st.rules, now) == health.Trial
	if s.most > 0 && st.live.Load() >= int64(s.most) || trial && !st.health.Usable(st.rules, now) {
		r.forget(st)
		return nil
	}
	st.health.Begin(st.rules, now)
	st.live.Add(1)
	st.picks.Add(1)
	return &Lease{server: s, state: st, trial: trial}
}

// release gives a place back.
func (r *Registry) release(l *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.released {
		return
	}
	if l.trial { // and has told nothing
		l.state.health.Abandoned()
	}
	l.released = true
	l.state.live.Add(-1)
	r.forget(l.state)
}

// Mark keeps new connections from a server.
func (s *Server) Mark(why Reason) { s.state.down.Or(uint32(why)) }

// Clear ends a reason. A server that none is left for is eased in again.
func (s *Server) Clear(why Reason, now time.Time) {
	if before := s.state.down.And(^uint32(why)); before != 0 && before&^uint32(why) == 0 {
		s.state.ease(s.registry.since(now))
	}
}

// Available reports whether new connections may go to the server.
func (s *Server) Available() bool { return s.state.down.Load() == 0 }

// Live returns how many connections the server has now, over all configurations.
func (s *Server) Live() int64 { return s.state.live.Load() }

// easedIn is what the server counts for at a time, from 0.05 to 1, where new ones are eased in over a duration.
func (s *Server) easedIn(over time.Duration, now time.Time) float64 {
	since := time.Duration(s.state.eased.Load())
	if since == 0 || over == 0 {
		return 1
	}
	age := s.registry.since(now) - since
	return min(max(float64(age)/float64(over), 0.05), 1)
}

// full reports whether the server has as many connections as it may.
func (s *Server) full() bool { return s.most > 0 && s.Live() >= int64(s.most) }

// Key returns the name under which the registry knows the server.
func (s *Server) Key() Key { return s.state.key }
