package ratelimit

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// A step asks for n tokens at a time after epoch.
type step struct {
	at    time.Duration
	n     int
	allow bool
}

func TestBucket(t *testing.T) {
	for name, test := range map[string]struct {
		rate  Rate
		steps []step
	}{
		"burst, then the rate": {Rate{10, 3}, []step{
			{0, 1, true}, {0, 1, true}, {0, 1, true}, {0, 1, false},
			{99 * ms, 1, false}, {100 * ms, 1, true}, {100 * ms, 1, false}, {200 * ms, 1, true},
		}},
		"a rest fills it, no further than the burst": {Rate{10, 2}, []step{
			{0, 2, true}, {time.Hour, 2, true}, {time.Hour, 1, false},
		}},
		"many at once": {Rate{100, 10}, []step{
			{0, 11, false}, {0, 10, true}, {50 * ms, 6, false}, {50 * ms, 5, true}, {50 * ms, 1, false},
		}},
		"more than the burst never": {Rate{100, 10}, []step{
			{0, 11, false}, {time.Hour, 11, false}, {time.Hour, math.MaxInt, false}, {time.Hour, 10, true},
		}},
		"a refusal takes nothing": {Rate{1, 5}, []step{
			{0, 3, true}, {0, 3, false}, {0, 3, false}, {0, 2, true},
		}},
		"slow": {Rate{10.0 / 60, 1}, []step{
			{0, 1, true}, {5999 * ms, 1, false}, {6 * time.Second, 1, true}, {6 * time.Second, 1, false},
		}},
		"none and less": {Rate{1, 1}, []step{
			{0, 0, true}, {0, 1, true}, {0, 0, true}, {0, -1, false}, {0, math.MinInt, false}, {0, 1, false},
		}},
		"time that runs backwards gives nothing": {Rate{10, 2}, []step{
			{time.Second, 2, true}, {0, 1, false}, {time.Second, 1, false}, {0, 1, false}, {time.Second, 1, false},
			{1100 * ms, 1, true}, {-time.Hour, 1, false}, {1100 * ms, 1, false}, {1200 * ms, 1, true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBucket(test.rate)
			for i, s := range test.steps {
				if got := b.AllowN(epoch.Add(s.at), s.n); got != s.allow {
					t.Fatalf("step %d: AllowN(%v, %d) = %t", i, s.at, s.n, got)
				}
			}
		})
	}
}

// A limit of 0, or what is no number, is never "unlimited".
func TestBucketOfNoLimitAdmitsNothing(t *testing.T) {
	for _, r := range []Rate{{}, {0, 5}, {5, 0}, {-1, 5}, {5, -1}, {math.NaN(), 5}, {math.Inf(1), 5}, {math.MaxFloat64, 5}, {MaxBytes + 1, 5}, {5, MaxBytes + 1}} {
		b := NewBucket(r)
		for _, at := range []time.Duration{0, time.Second, 1000 * time.Hour} {
			if b.Allow(epoch.Add(at)) || b.AllowN(epoch.Add(at), 2) {
				t.Errorf("%+v admits", r)
			}
			if got := b.RetryAfter(epoch.Add(at)); got != Never {
				t.Errorf("%+v: RetryAfter %v", r, got)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	b := NewBucket(Rate{10, 2})
	for _, s := range []struct {
		at   time.Duration
		take int
		want time.Duration
	}{
		{0, 0, 0}, {0, 1, 0}, {0, 1, 100 * ms}, {40 * ms, 0, 60 * ms}, {100 * ms, 0, 0}, {100 * ms, 1, 100 * ms},
		{50 * ms, 0, 150 * ms}, // asked by somebody whose clock is behind
		{time.Hour, 0, 0},
	} {
		if s.take > 0 && !b.AllowN(epoch.Add(s.at), s.take) {
			t.Fatalf("no token at %v", s.at)
		}
		if got := b.RetryAfter(epoch.Add(s.at)); got != s.want {
			t.Errorf("RetryAfter(%v) = %v, want %v", s.at, got, s.want)
		}
	}
}

// TakeN is AllowN with RetryAfter for any number.
func TestTakeN(t *testing.T) {
	b := NewBucket(Rate{100, 10})
	for i, s := range []struct {
		at   time.Duration
		n    int
		ok   bool
		wait time.Duration
	}{
		{0, 11, false, Never}, {0, -1, false, Never}, {0, math.MinInt, false, Never}, {0, math.MaxInt, false, Never},
		{0, 0, true, 0}, {0, 10, true, 0}, {0, 0, true, 0}, {0, 1, false, 10 * ms}, {0, 10, false, 100 * ms},
		{50 * ms, 10, false, 50 * ms}, {50 * ms, 5, true, 0}, {0, 5, false, 100 * ms}, {150 * ms, 10, true, 0},
	} {
		if ok, wait := b.TakeN(epoch.Add(s.at), s.n); ok != s.ok || wait != s.wait {
			t.Errorf("step %d: TakeN(%v, %d) = %t, %v, want %t, %v", i, s.at, s.n, ok, wait, s.ok, s.wait)
		}
	}
	if ok, wait := NewBucket(Rate{}).TakeN(epoch, 1); ok || wait != Never {
		t.Errorf("a bucket that admits nothing: %t, wait %v", ok, wait)
	}
	slow := NewBucket(Rate{1.0 / 3600, MaxEvents})
	slow.AllowN(epoch, MaxEvents)
	if ok, wait := slow.TakeN(epoch, MaxEvents); ok || wait < 1000*time.Hour || wait == Never {
		t.Errorf("in 114,000 years: %t, wait %v", ok, wait)
	}
}

func TestSetRate(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		before, after Rate
		taken         int
		at            time.Duration // of the change
		steps         []step
	}{
		"full stays full":       {Rate{10, 2}, Rate{10, 5}, 0, 0, []step{{0, 5, true}, {0, 1, false}}},
		"full again is full":    {Rate{10, 2}, Rate{10, 5}, 2, second, []step{{second, 5, true}, {second, 1, false}}},
		"taken stays taken":     {Rate{10, 2}, Rate{10, 5}, 2, 0, []step{{0, 1, false}, {100 * ms, 1, true}, {600 * ms, 5, true}}},
		"no more than it holds": {Rate{10, 9}, Rate{10, 2}, 1, 0, []step{{0, 2, true}, {0, 1, false}, {second, 3, false}, {second, 2, true}}},
		"faster from now on":    {Rate{1, 2}, Rate{10, 2}, 2, 500 * ms, []step{{540 * ms, 1, false}, {550 * ms, 1, true}, {650 * ms, 1, true}}},
		"slower from now on":    {Rate{10, 2}, Rate{1, 2}, 2, 50 * ms, []step{{500 * ms, 1, false}, {550 * ms, 1, true}}},
		"to nothing":            {Rate{10, 2}, Rate{}, 1, 0, []step{{0, 1, false}, {time.Hour, 1, false}}},
		"to no number":          {Rate{10, 2}, Rate{math.NaN(), 2}, 0, 0, []step{{0, 1, false}}},
		"from nothing":          {Rate{}, Rate{10, 2}, 0, 0, []step{{0, 2, true}, {0, 1, false}}},
		"none":                  {Rate{10, 2}, Rate{10, 2}, 2, 0, []step{{0, 1, false}, {100 * ms, 1, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBucket(test.before)
			b.AllowN(epoch, test.taken)
			b.SetRate(epoch.Add(test.at), test.after)
			for i, s := range test.steps {
				if got := b.AllowN(epoch.Add(s.at), s.n); got != s.allow {
					t.Errorf("step %d: AllowN(%v, %d) = %t", i, s.at, s.n, got)
				}
			}
		})
	}
}

// A rate that changes back and forth under load gives nothing.
func TestSetRateGivesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	rates := []Rate{{100, 10}, {100, 1}, {50, 10}, {7, 3}, {1.0 / 3600, 5}}
	for range 300 {
		b := NewBucket(rates[0])
		b.AllowN(epoch, 10)
		admitted, now := 0, time.Duration(0)
		for range 1000 {
			now += time.Duration(random.Int64N(int64(5 * ms)))
			b.SetRate(epoch.Add(now), rates[random.IntN(len(rates))])
			if b.Allow(epoch.Add(now)) {
				admitted++
			}
		}
		if most := 10 + 100*now.Seconds(); float64(admitted) > most {
			t.Errorf("%d admitted in %v, at most %.1f", admitted, now, most)
		}
	}
}

// The law: after RetryAfter there is a token, and not much before.
func TestRetryAfterIsRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		r := Rate{PerSecond: float64(1+random.IntN(2000)) / []float64{1, 60, 3600}[random.IntN(3)], Burst: 1 + random.IntN(20)}
		b := NewBucket(r)
		now := epoch.Add(time.Duration(random.Int64N(int64(time.Hour))))
		for range r.Burst + random.IntN(5) {
			now = now.Add(time.Duration(random.Int64N(int64(100 * ms))))
			b.Allow(now)
		}
		wait := b.RetryAfter(now)
		if wait > time.Microsecond && b.Allow(now.Add(wait-time.Microsecond)) {
			t.Fatalf("%v: a token 1 us before RetryAfter %v", r, wait)
		}
		if !b.Allow(now.Add(wait)) {
			t.Fatalf("%v: no token after RetryAfter %v", r, wait)
		}
	}
}

// Over any time no more pass than burst + rate * time, whatever is asked and in whatever order the clocks come.
func TestBucketNeverAdmitsMore(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		r := Rate{PerSecond: float64(1 + random.IntN(1000)), Burst: 1 + random.IntN(100)}
		b := NewBucket(r)
		admitted, latest := 0, time.Duration(0)
		for range 2000 {
			at := latest + time.Duration(random.Int64N(int64(20*ms))) - 10*ms // back and forth
			latest = max(latest, at)
			if n := 1 + random.IntN(3); b.AllowN(epoch.Add(at), n) {
				admitted += n
			}
		}
		if most := float64(r.Burst) + r.PerSecond*(latest+10*ms).Seconds(); float64(admitted) > most+1e-6 {
			t.Errorf("%v admitted %d in %v, at most %.1f", r, admitted, latest, most)
		}
	}
}

func TestBucketFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(Rate{50, 100})
		admitted := 0
		end := time.Now().Add(time.Minute)
		for time.Now().Before(end) {
			if b.Allow(time.Now()) {
				admitted++
				continue
			}
			<-time.After(b.RetryAfter(time.Now()))
		}
		if admitted != 100+60*50-1 && admitted != 100+60*50 {
			t.Errorf("%d in a minute at 50/s burst 100", admitted)
		}
	})
}

func TestBucketIsShared(t *testing.T) {
	b := NewBucket(Rate{1000, 500})
	var admitted atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 1000 {
				at := epoch.Add(time.Duration(i)*ms + time.Duration(worker)*time.Microsecond)
				if b.Allow(at) {
					admitted.Add(1)
				}
				b.RetryAfter(at)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n > 500+1000 || n < 500 {
		t.Errorf("%d admitted in a second at 1000/s burst 500", n)
	}
}

func TestAllowAllocatesNothing(t *testing.T) {
	for name, b := range map[string]*Bucket{"open": NewBucket(Rate{1e9, 1e9}), "shut": NewBucket(Rate{1.0 / 3600, 1})} {
		now := epoch
		n := testing.AllocsPerRun(1000, func() {
			now = now.Add(time.Microsecond)
			b.Allow(now)
			b.AllowN(now, 100)
			b.RetryAfter(now)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	bucket := NewBucket(Rate{1e9, 1e9})
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		bucket.Allow(now)
	}
}

func BenchmarkAllowRefused(b *testing.B) {
	bucket := NewBucket(Rate{1.0 / 3600, 1})
	bucket.Allow(epoch)
	b.ReportAllocs()
	for b.Loop() {
		bucket.Allow(epoch)
	}
}

func BenchmarkAllowParallel(b *testing.B) {
	bucket := NewBucket(Rate{1e9, 1e9})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			bucket.Allow(epoch)
		}
	})
}
