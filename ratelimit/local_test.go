package ratelimit

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var _ Store = (*Local)(nil)

func limit(name string, r Rate) *Limit { return &Limit{Name: name, Rate: r} }

func TestTakeIsByLimitAndKey(t *testing.T) {
	s := NewLocal(DefaultMaxKeys)
	a, b := limit("a", Rate{1, 2}), limit("b", Rate{1, 2})
	for _, step := range []struct {
		limit *Limit
		key   string
		n     int
		ok    bool
		wait  time.Duration
	}{
		{a, "x", 2, true, 0},
		{a, "x", 1, false, time.Second},
		{a, "y", 2, true, 0},
		{b, "x", 2, true, 0},
		{a, "", 2, true, 0},
		{limit("a", Rate{1, 2}), "x", 1, false, time.Second}, // the name is what counts
		{a, "x", 3, false, Never},
		{a, "z", 0, true, 0},
		{a, "z", -1, false, Never},
		{limit("none", Rate{}), "x", 1, false, Never},
	} {
		if ok, wait := s.Take(step.limit, step.key, step.n, epoch); ok != step.ok || wait != step.wait {
			t.Errorf("Take(%s, %q, %d) = %t, %v, want %t, %v", step.limit.Name, step.key, step.n, ok, wait, step.ok, step.wait)
		}
	}
}

// A reload makes new Limits. The state is under their names, and a new rate is that of the buckets that are there.
func TestStateSurvivesReload(t *testing.T) {
	s := NewLocal(10)
	held := s.Bucket(limit("l", Rate{1, 10}), "k", epoch)
	defer held.Release()
	if ok, _ := s.Take(limit("l", Rate{1, 10}), "k", 10, epoch); !ok {
		t.Fatal("a new bucket is not full")
	}
	if ok, wait := s.Take(limit("l", Rate{10, 5}), "k", 1, epoch); ok || wait != 100*ms {
		t.Errorf("after a reload: %t, %v, want an empty bucket that gains 10/s", ok, wait)
	}
	if ok, wait := held.TakeN(epoch, 1); ok || wait != 100*ms {
		t.Errorf("in the hands of a session: %t, %v, want the new rate", ok, wait)
	}

	one, two := &Limit{Name: "c", Max: 1}, &Limit{Name: "c", Max: 2}
	first, ok1 := s.Acquire(one, "k", epoch)
	_, ok2 := s.Acquire(one, "k", epoch)
	second, ok3 := s.Acquire(two, "k", epoch)
	if !ok1 || ok2 || !ok3 {
		t.Fatalf("places of 1, then 2: %t, %t, %t", ok1, ok2, ok3)
	}
	if _, ok := s.Acquire(one, "k", epoch); ok {
		t.Error("a place although the maximum is below what is taken")
	}
	first()
	second()
}

func TestAcquire(t *testing.T) {
	s := NewLocal(10)
	l := &Limit{Name: "l", Max: 2}
	first, ok1 := s.Acquire(l, "k", epoch)
	second, ok2 := s.Acquire(l, "k", epoch)
	refused, ok3 := s.Acquire(l, "k", epoch)
	other, ok4 := s.Acquire(l, "other", epoch)
	if !ok1 || !ok2 || ok3 || !ok4 {
		t.Fatalf("two places for a key: %t, %t, %t; another key: %t", ok1, ok2, ok3, ok4)
	}
	refused()
	for range 3 {
		first()
	}
	third, ok := s.Acquire(l, "k", epoch)
	if _, more := s.Acquire(l, "k", epoch); !ok || more {
		t.Errorf("after one was released three times and a refusal once: %t, %t", ok, more)
	}
	first()
	second()
	third()
	other()
	if _, places := s.Keys(); places != 0 {
		t.Errorf("%d keys at the end", places)
	}
	for _, most := range []int64{0, -1} {
		if release, ok := s.Acquire(&Limit{Name: "none", Max: most}, "k", epoch); ok || release == nil {
			t.Errorf("Max %d admits", most)
		}
	}
	if _, places := s.Keys(); places != 0 {
		t.Errorf("%d keys after refusals", places)
	}
}

// 1,000 addresses of one /64 are one client, and 65 connections of one IPv4 address one too many.
func TestLimitPerAddress(t *testing.T) {
	s := NewLocal(DefaultMaxKeys)
	l := &Limit{Name: "l", Max: 64, Rate: Rate{10, 40}}
	base := netip.MustParseAddr("2001:db8:1:2::").As16()
	admitted, places := 0, 0
	for i := range 1000 {
		base[8], base[14], base[15] = byte(i%7), byte(i>>8), byte(i)
		if ok, _ := s.Take(l, AddressKey(netip.AddrFrom16(base)), 1, epoch); ok {
			admitted++
		}
		if _, ok := s.Acquire(l, AddressKey(netip.AddrFrom16(base)), epoch); ok {
			places++
		}
	}
	if admitted != 40 || places != 64 {
		t.Errorf("%d handshakes and %d connections of a /64, want 40 and 64", admitted, places)
	}
	for i := range 65 {
		_, ok := s.Acquire(l, AddressKey(netip.MustParseAddr("192.0.2.7")), epoch)
		if ok != (i < 64) {
			t.Errorf("connection %d: %t", i+1, ok)
		}
	}
}

// naive is a Store without bounds: a Bucket and a number for each limit and key.
type naive struct {
	buckets map[[2]string]*Bucket
	places  map[[2]string]int64
}

func (s *naive) take(l *Limit, key string, n int, now time.Time) (bool, time.Duration) {
	id := [2]string{l.Name, key}
	if s.buckets[id] == nil {
		s.buckets[id] = NewBucket(l.Rate)
	}
	return s.buckets[id].TakeN(now, n)
}

// The law: as long as there is room for the keys in use, forgetting the others makes no difference. And there is room as long as fewer keys are
// in use than the store may hold.
func TestLocalEqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 12
		s := NewLocal(rapid.IntRange(1, keys).Draw(t, "maxKeys"))
		model := naive{map[[2]string]*Bucket{}, map[[2]string]int64{}}
		limits := []*Limit{{"slow", Rate{1, 3}, 2}, {"fast", Rate{64, 4}, 1}}
		held := map[[2]string][]*Shared{}
		var releases []func()
		now := epoch
		for range rapid.IntRange(50, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 500).Draw(t, "ms")) * ms)
			l := limits[rapid.IntRange(0, 1).Draw(t, "limit")]
			key := fmt.Sprint(rapid.IntRange(1, keys/2).Draw(t, "key"))
			id := [2]string{l.Name, key}
			n := rapid.IntRange(0, 5).Draw(t, "n")
			busy := model.busy(held, now)
			switch rapid.SampledFrom([]string{"take", "hold", "held", "drop", "acquire", "release"}).Draw(t, "op") {
			case "take":
				if s.Overflows() == 0 {
					ok, wait := s.Take(l, key, n, now)
					wantOK, wantWait := model.take(l, key, n, now)
					if s.Overflows() == 0 && (ok != wantOK || wait != wantWait) {
						t.Fatalf("Take(%v, %d, %v) = %t, %v, want %t, %v", id, n, now.Sub(epoch), ok, wait, wantOK, wantWait)
					}
				}
			case "hold":
				model.take(l, key, 0, now)
				held[id] = append(held[id], s.Bucket(l, key, now))
			case "held":
				if len(held[id]) > 0 && s.Overflows() == 0 {
					ok, _ := held[id][0].TakeN(now, n)
					if want, _ := model.take(l, key, n, now); ok != want {
						t.Fatalf("TakeN(%v, %d, %v) = %t, want %t", id, n, now.Sub(epoch), ok, want)
					}
				}
			case "drop":
				if of := held[id]; len(of) > 0 {
					of[0].Release()
					of[0].Release()
					held[id] = of[1:]
				}
			case "acquire":
				release, ok := s.Acquire(l, key, now)
				if want := model.places[id] < l.Max; s.Overflows() == 0 && ok != want {
					t.Fatalf("Acquire(%v) = %t, want %t", id, ok, want)
				}
				if ok {
					model.places[id]++
					releases = append(releases, func() { release(); model.places[id]-- })
				}
			case "release":
				if len(releases) > 0 {
					releases[0]()
					releases = releases[1:]
				}
			}
			if s.Overflows() > 0 && busy+1 < s.buckets.shards[0].max && model.taken()+1 < s.places.shards[0].max {
				t.Fatalf("no room for %v with %d keys in use", id, busy)
			}
			if s.Overflows() > 0 {
				return
			}
		}
		for _, release := range releases {
			release()
		}
		if _, places := s.Keys(); places != 0 {
			t.Errorf("%d keys with places at the end", places)
		}
	})
}

// busy is how many keys have a bucket that is not full or is held.
func (s *naive) busy(held map[[2]string][]*Shared, now time.Time) int {
	n := 0
	for id, b := range s.buckets {
		if len(held[id]) > 0 || b.idleAt().After(now) {
			n++
		}
	}
	return n
}

// taken is how many keys have places.
func (s *naive) taken() int {
	n := 0
	for _, places := range s.places {
		if places > 0 {
			n++
		}
	}
	return n
}

// B + R*t within one message, for a limit on which many handles and the store itself take at all times.
func TestLocalIsExact(t *testing.T) {
	for r, n := range map[Rate]int{{50, 100}: 1, {1000, 1}: 1, {10.0 / 60, 5}: 1, {7, 3}: 1, {256 << 10, 1 << 20}: 1000} {
		s := NewLocal(10)
		l := limit("l", r)
		held := []*Shared{s.Bucket(l, "k", epoch), s.Bucket(l, "k", epoch)}
		const span = 100 * time.Second
		admitted, now := 0, epoch
		for i := 0; !now.After(epoch.Add(span)); i++ {
			var wait time.Duration
			var ok bool
			if i%3 < 2 {
				ok, wait = held[i%3].TakeN(now, n)
			} else {
				ok, wait = s.Take(l, "k", n, now)
			}
			if ok {
				admitted += n
			} else {
				now = now.Add(wait)
			}
		}
		if want := float64(r.Burst) + r.PerSecond*span.Seconds(); math.Abs(float64(admitted)-want) > float64(n) {
			t.Errorf("%v admitted %d in %v, want %.0f", r, admitted, span, want)
		}
	}
}

// Many at once on few keys: none is over its limit, nothing is lost, and no state remains. The workers' clocks are up to a second apart, so
// the buckets that are counted are held throughout: one that a fast clock finds full, and has forgotten, would be new for a slow one.
func TestLocalIsShared(t *testing.T) {
	s := NewLocal(50)
	rate := &Limit{Name: "r", Rate: Rate{1000, 50}}
	for k := range 4 {
		defer s.Bucket(rate, fmt.Sprint(k), epoch).Release()
	}
	count := &Limit{Name: "c", Max: 3}
	var admitted [4]atomic.Int64
	var inside [4]atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				now := epoch.Add(time.Duration(i) * ms / 2) // 1 s
				k := (worker + i) % 4
				key := fmt.Sprint(k)
				s.Take(rate, fmt.Sprint("other", worker, i), 1, now)
				if ok, _ := s.Take(rate, key, 1, now); ok {
					admitted[k].Add(1)
				}
				held := s.Bucket(rate, key, now)
				if ok, _ := held.TakeN(now, 1); ok {
					admitted[k].Add(1)
				}
				held.Release()
				release, ok := s.Acquire(count, key, now)
				if ok {
					if n := inside[k].Add(1); n > 3 {
						t.Errorf("%d places of 3", n)
					}
					inside[k].Add(-1)
				}
				release()
				release()
			}
		})
	}
	all.Wait()
	for k := range admitted {
		if n := admitted[k].Load(); n > 50+1000+1 {
			t.Errorf("key %d: %d admitted in a second at 1000/s burst 50", k, n)
		}
	}
	if buckets, places := s.Keys(); buckets > 51 || places != 0 {
		t.Errorf("%d buckets and %d counts at the end", buckets, places)
	}
}

func TestLocalAllocatesNothing(t *testing.T) {
	s := NewLocal(DefaultMaxKeys)
	l := limit("l", Rate{1000, 10})
	held := s.Bucket(l, "key", epoch)
	defer held.Release()
	now := epoch
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Microsecond)
		s.Take(l, "key", 1, now)
		held.TakeN(now, 1)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
