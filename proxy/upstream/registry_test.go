package upstream

import (
	"math/rand/v2"
	"testing"
	"time"
)

// pools compiles and attaches configurations of one pool in turn, as reloads do.
type pools struct {
	t        *testing.T
	registry *Registry
	now      time.Time
	current  *Pool
}

func newPools(t *testing.T) *pools {
	now := time.Now()
	return &pools{t: t, registry: NewRegistry(now, quiet), now: now}
}

func (s *pools) load(servers ...string) *Pool {
	s.t.Helper()
	p := Compile("app", Config{Servers: urls(servers...)}, failOn(s.t))
	p.Attach(s.registry, s.now)
	if s.current != nil {
		s.current.Detach()
	}
	s.current = p
	return p
}

// server returns the server of a pool with this name.
func server(t *testing.T, p *Pool, name string) *Server {
	t.Helper()
	for _, s := range p.Servers() {
		if s.String() == name+":80" {
			return s
		}
	}
	t.Fatalf("no server %q", name)
	return nil
}

// Counts and availability survive reloads; what is known of a removed server lives as long as its last connection, and a server that comes
// back meanwhile is the same one.
func TestRegistrySurvivesReload(t *testing.T) {
	t.Parallel()
	w := newPools(t)
	first := w.load("ws://a", "ws://b")
	a := server(t, first, "a")
	lease := w.registry.acquire(a, w.now)
	a.Mark(Draining)
	second := w.load("ws://c", "ws://a")
	again := server(t, second, "a")
	if again == a || again.Live() != 1 || again.Available() {
		t.Errorf("after a reload %d live, available %v, want 1 and not", again.Live(), again.Available())
	}
	if len(w.registry.states) != 2 {
		t.Errorf("%d states, want those of a and c", len(w.registry.states))
	}
	w.load("ws://c")
	if again.Live() != 1 || len(w.registry.states) != 2 {
		t.Errorf("the state of a removed server is gone before its connection")
	}
	if back := server(t, w.load("ws://c", "ws://a"), "a"); back.Live() != 1 || !back.Available() {
		t.Errorf("a server that came back has %d live, want 1, and is available: %v; its drain ended when it was removed", back.Live(), back.Available())
	}
	w.load("ws://c")
	lease.Release()
	if a.Live() != 0 || len(w.registry.states) != 1 {
		t.Errorf("%d states, want that of c alone", len(w.registry.states))
	}
}

// A request that began before a reload may take a place at a server of its own configuration: the count is that of the server as it is now.
func TestRegistryCountsLatecomers(t *testing.T) {
	t.Parallel()
	w := newPools(t)
	old := w.load("ws://a", "ws://b")
	late, other := old.Pick(&Facts{}), old.Pick(&Facts{})
	w.load("ws://b")
	if len(w.registry.states) != 1 {
		t.Fatalf("%d states, want that of b", len(w.registry.states))
	}
	names, leases := drainPick(late)
	if len(names) != 2 || len(w.registry.states) != 2 {
		t.Errorf("got %q and %d states, want a known again", names, len(w.registry.states))
	}
	back := w.load("ws://a", "ws://b")
	_, more := drainPick(other)
	if got := server(t, back, "a").Live(); got != 2 {
		t.Errorf("%d live, want both latecomers", got)
	}
	for _, l := range append(leases, more...) {
		l.Release()
	}
	if n := server(t, back, "a").Live() + server(t, back, "b").Live(); n != 0 || len(w.registry.states) != 2 {
		t.Errorf("%d live and %d states in the end", n, len(w.registry.states))
	}
}

// Discovery replaces the servers of a pool in service.
func TestPoolSetServers(t *testing.T) {
	t.Parallel()
	w := newPools(t)
	p := w.load("ws://a", "ws://b")
	begun := p.Pick(&Facts{})
	lease := w.registry.acquire(server(t, p, "b"), w.now)
	next := Compile("app", Config{Servers: urls("ws://b", "ws://c")}, failOn(t)).listed
	p.setServers(next, w.now.Add(time.Minute))
	if names, _ := drainPick(begun); len(names) != 2 || names[0] != "a" {
		t.Errorf("a pick that had begun got %q, want the servers that it began with", names)
	}
	if got := server(t, p, "b").Live(); got != 2 {
		t.Errorf("%d live at b, want both", got)
	}
	if b, c := server(t, p, "b").state.eased.Load(), server(t, p, "c").state.eased.Load(); b != 0 || time.Duration(c) != time.Minute {
		t.Errorf("eased in since %v and %v, want the new one alone", b, time.Duration(c))
	}
	lease.Release()
	p.setServers(nil, w.now)
	if k := p.Pick(&Facts{}); k.Next() != nil || k.Err() != ErrDown {
		t.Errorf("a pool without servers: %v", k.Err())
	}
}

// In any order of reloads, picks and ends, a state's count is that of its leases, and no state is kept for nothing.
func TestRegistryKeepsCount(t *testing.T) {
	t.Parallel()
	w := newPools(t)
	names := []string{"ws://a", "ws://b", "ws://c", "ws://d"}
	held := map[*Lease]string{}
	seen := []*Pool{w.load(names...)}
	for range 3000 {
		switch rand.IntN(4) {
		case 0:
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			seen = append(seen, w.load(names[:1+rand.IntN(3)]...))
		case 1, 2:
			if l := seen[max(0, len(seen)-1-rand.IntN(3))].Pick(&Facts{}).Next(); l != nil {
				held[l] = l.Server().String()
			}
		case 3:
			for l := range held {
				l.Release()
				delete(held, l)
				break
			}
		}
	}
	want := map[string]int64{}
	for _, s := range w.current.Servers() {
		want[s.String()] = 0
	}
	for _, name := range held {
		want[name]++
	}
	if len(want) != len(w.registry.states) {
		t.Errorf("%d states, want %d", len(w.registry.states), len(want))
	}
	for name, n := range want {
		if st := w.registry.states[Key{"app", name}]; st == nil || st.live.Load() != n {
			t.Errorf("%s: %v live, want %d", name, st, n)
		}
	}
}
