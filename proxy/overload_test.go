package proxy

import (
	"math"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/relay"
)

func TestShortageComesAndGoesByDegrees(t *testing.T) {
	t.Parallel()
	s := plenty
	for i, step := range []struct {
		used float64
		want shortage
	}{
		{0, plenty}, {0.899, plenty}, {0.90, refusing}, {0.88, refusing}, {0.869, plenty}, // not with each connection
		{0.94, refusing}, {0.95, closing}, {0.93, closing}, {0.919, refusing}, {0.94, refusing}, {0.96, closing},
		{0.5, plenty}, {2, closing}, {0.88, refusing}, {math.NaN(), plenty},
	} {
		if s = s.next(step.used); s != step.want {
			t.Fatalf("step %d, %v used: %v, want %v", i, step.used, s, step.want)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		u             usage
		share, excess float64
	}{
		{usage{50, 100}, 0.5, 0}, {usage{90, 100}, 0.9, 0}, {usage{97, 100}, 0.97, 0.07}, {usage{97, 0}, 0, 0},
	} {
		if row.u.share() != row.share || math.Abs(row.u.excess()-row.excess) > 1e-9 {
			t.Errorf("%v: share %v, excess %v", row.u, row.u.share(), row.u.excess())
		}
	}
}

func TestDescriptorsVictims(t *testing.T) {
	t.Parallel()
	// 32 of 1,000 are beyond the share at which sessions are refused.
	if n := descriptors().victims(usage{932, 1000}, 400); n != 16 {
		t.Errorf("%d sessions must go, want 16: each has two descriptors", n)
	}
}

// What sessions bring is known after a garbage collection only: until then no more of them are closed.
func TestMemoryVictims(t *testing.T) {
	t.Parallel()
	m := newMemoryMeter()
	runtime.GC()
	m.measure()
	if n := m.victims(usage{100, 100}, 500); n != 50 {
		t.Errorf("%d of 500 sessions must go, want 50 for a tenth of the memory", n)
	}
	if n := m.victims(usage{100, 100}, 450); n != 0 {
		t.Errorf("%d more sessions must go, before it is known what those have brought", n)
	}
}

// Garbage is no shortage; what lives is.
func TestMemoryMeter(t *testing.T) {
	m := newMemoryMeter()
	used := func() uint64 { return m.measure().used }
	runtime.GC()
	before := used()
	if before == 0 || before > 1<<30 {
		t.Errorf("%d bytes are used", before)
	}
	held := make([]byte, 64<<20)
	runtime.GC()
	if more := int64(used() - before); more < 60<<20 {
		t.Errorf("64 MiB more that live are %d bytes more", more)
	}
	runtime.KeepAlive(held)
	held = nil
	runtime.GC()
	if more := int64(used() - before); more > 16<<20 {
		t.Errorf("after they have died %d bytes are used more", more)
	}
}

func TestOpenDescriptors(t *testing.T) {
	before := openDescriptors()
	if before.limit == 0 {
		t.Skip("no limit of descriptors here")
	}
	for range 100 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after := openDescriptors(); int(after.used)-int(before.used) < 95 || after.used < 100 {
		t.Errorf("100 more files are %d descriptors instead of %d", after.used, before.used)
	}
}

// enterActive adds a session that was last active at a time.
func enterActive(s *sessions, active uint32) *fakeSession {
	f, c := &fakeSession{}, &connection{}
	c.active.Store(active)
	s.enter(c, func() (failer, bool) { return f, true })
	f.leave = func() { s.leave(c) }
	return f
}

func TestOldestIdle(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	all := map[uint32]*fakeSession{}
	for _, at := range []uint32{7, 3, 9, 1, 5, 8} {
		all[at] = enterActive(s, at)
	}
	is := func(got []failer, want ...uint32) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d sessions, want those of %v", len(got), want)
		}
		for i, at := range want {
			if got[i] != failer(all[at]) {
				t.Errorf("number %d is not that of %d", i, at)
			}
		}
	}
	is(s.oldestIdle(2, 7), 1, 3)
	is(s.oldestIdle(2, 7)) // they are ending
	is(s.oldestIdle(3, 7), 5)
	all[1].leave()
	all[3].leave()
	is(s.oldestIdle(9, 7), 7) // the others are not idle
	is(s.oldestIdle(0, 7))
}

// An overload is told once when it comes and goes, refuses sessions meanwhile, and closes the oldest idle ones when it becomes worse.
func TestOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, book := newLog()
		var used, victims atomic.Int64
		var o overload
		registry := prometheus.NewRegistry()
		o.init(log, registry, &resource{name: "memory", measure: func() usage { return usage{uint64(used.Load()), 100} }, victims: func(usage, int) int { return int(victims.Load()) }})
		all := &sessions{}
		old, older, busy := enterActive(all, 2), enterActive(all, 1), enterActive(all, 1<<30)
		o.startLooking(all)
		defer o.close()
		use := func(n int64) {
			used.Store(n)
			time.Sleep(2 * lookEvery)
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		for _, step := range []struct {
			used    int64
			refuses bool
		}{{89, false}, {90, true}, {88, true}, {86, false}, {94, true}} {
			if use(step.used); o.refuses(time.Now()) != step.refuses {
				t.Errorf("%d of 100 used: refuses %t", step.used, !step.refuses)
			}
		}
		for _, f := range []*fakeSession{old, older, busy} {
			if len(f.failed) > 0 {
				t.Error("a session was closed while it was enough to refuse new ones")
			}
		}
		victims.Store(1)
		use(95)
		if len(older.failed) != 1 || older.cause != relay.Overload || len(old.failed) != 0 {
			t.Errorf("one session must go: the oldest was told %d times, the next one %d times", len(older.failed), len(old.failed))
		}
		victims.Store(9)
		use(95)
		if len(older.failed) != 1 || len(old.failed) != 1 || len(busy.failed) != 0 {
			t.Errorf("all must go: told %d, %d and, which is not idle, %d times", len(older.failed), len(old.failed), len(busy.failed))
		}
		if got := gauge(t, registry, "framegate_overload"); got != 2 {
			t.Errorf("framegate_overload is %v, want 2", got)
		}
		use(10)
		used.Store(99) // a handshake need not wait for the next look
		time.Sleep(lookSoonest)
		if !o.refuses(time.Now()) {
			t.Error("a handshake is admitted on old news")
		}
		var states []any
		for _, line := range book.lines(t, "overload") {
			states = append(states, line["state"])
		}
		want := []any{"refusing new sessions", "over", "refusing new sessions", "closing idle sessions", "over", "closing idle sessions"}
		if len(states) != len(want) {
			t.Fatalf("the log has %q, want %q", states, want)
		}
		for i := range want {
			if states[i] != want[i] {
				t.Errorf("the log has %q, want %q", states, want)
			}
		}
	})
}

// Sessions that end leave memory that no measure knows before it is collected: that is done where new ones are refused meanwhile.
func TestOverloadCollects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, _ := newLog()
		var o overload
		var seen census
		var used, cycle atomic.Int64
		all := &sessions{}
		o.init(log, prometheus.NewRegistry(), &resource{name: "memory", measure: func() usage { return usage{uint64(used.Load()), 100} },
			victims: func(usage, int) int { return 0 }, outdated: func(n int) bool { return seen.shrunk(uint64(cycle.Load()), n) }})
		o.collect = func() { used.Store(int64(all.count())); cycle.Add(1) }
		var list []*fakeSession
		for range 95 {
			list = append(list, enterActive(all, 1<<30))
		}
		o.startLooking(all)
		defer o.close()
		end := func(n int) {
			for _, s := range list[:n] {
				s.leave()
			}
			list = list[n:]
			time.Sleep(2 * lookEvery)
			synctest.Wait()
		}
		used.Store(50)
		end(0)
		end(20)
		if n := cycle.Load(); n != 0 {
			t.Errorf("%d collections while there was no shortage", n)
		}
		used.Store(93)
		end(0) // 75 of 95 are left since the last collection
		if n := cycle.Load(); n != 1 || o.refuses(time.Now()) {
			t.Errorf("%d collections, refuses %t; want 1, and no shortage any more", n, o.refuses(time.Now()))
		}
		used.Store(93)
		end(7) // less than a tenth
		if n := cycle.Load(); n != 1 || !o.refuses(time.Now()) {
			t.Errorf("%d collections, refuses %t; want no more, and the shortage", n, o.refuses(time.Now()))
		}
		end(1)
		if n := cycle.Load(); n != 2 || o.refuses(time.Now()) {
			t.Errorf("%d collections, refuses %t; want 2, and no shortage any more", n, o.refuses(time.Now()))
		}
	})
}

// gauge is the value of the one series of a name.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no series %s", name)
	return 0
}

// Whoever is refused for an overload is told when to come back, each a little later than others, and is counted.
func TestOverloadRefusesHandshakes(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := newGateway(t, oneRoute("ws://"+up.Addr(), ""))
	g.overload.resources = []*resource{{name: "memory", measure: func() usage { return usage{91, 100} }, victims: func(usage, int) int { return 0 }}}
	g.Start()
	t.Cleanup(g.Close)
	seen := map[string]bool{}
	for range 20 {
		c := wstest.Dial(t, g.addr)
		c.Send(handshakeOf(t, "/", 0).Bytes())
		resp := c.Response()
		if resp.Status != 503 || !strings.Contains(string(resp.Body), "overloaded") {
			t.Fatalf("got %q %q", resp.Line, resp.Body)
		}
		wstest.CheckRefusal(t, resp)
		seen[resp.Get("Retry-After")] = true
	}
	if len(seen) < 2 || seen[""] {
		t.Errorf("20 clients were told to come back in %v seconds", seen)
	}
	if got := counted(g.metrics.handshakes.WithLabelValues(noRoute, resultOverload)); got != 20 {
		t.Errorf("%v handshakes were counted, want 20", got)
	}
	if up.Dials() > 0 {
		t.Error("the upstream was dialled")
	}
}
