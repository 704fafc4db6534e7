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
	for _, r := range []Rate{{}, {0, 5}, {5, 0}, {-1, 5}, {5, -1}, {math.NaN(), 5}, {math.Inf(1), 5}, {math.MaxFloat64, 5}, {MaxEvents + 1, 5}, {5, MaxEvents + 1}} {
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
