package ratelimit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCount(t *testing.T) {
	c := NewCount(2)
	first, ok1 := c.Acquire(nil)
	second, ok2 := c.Acquire(nil)
	if !ok1 || !ok2 || c.InUse() != 2 || c.Max() != 2 {
		t.Fatalf("two places: %t, %t, %d in use of %d", ok1, ok2, c.InUse(), c.Max())
	}
	refused, ok := c.Acquire(nil)
	if ok || refused == nil || c.InUse() != 2 {
		t.Fatalf("a third place: %t, %d in use", ok, c.InUse())
	}
	refused()
	if c.InUse() != 2 {
		t.Error("the release of a refusal gave a place back")
	}
	for range 3 {
		first()
	}
	if c.InUse() != 1 {
		t.Errorf("%d in use after one was released three times", c.InUse())
	}
	third, ok := c.Acquire(nil)
	if !ok {
		t.Fatal("a place that was given back is not there")
	}
	first() // belongs to a place that somebody else has by now
	if c.InUse() != 2 {
		t.Error("a late release took another one's place")
	}
	second()
	third()
	if c.InUse() != 0 {
		t.Errorf("%d in use at the end", c.InUse())
	}
}

func TestCountOfNothing(t *testing.T) {
	for _, max := range []int64{0, -1} {
		c := NewCount(max)
		if release, ok := c.Acquire(nil); ok || release == nil {
			t.Errorf("NewCount(%d) admits", max)
		}
	}
	if _, ok := new(Count).Acquire(nil); ok {
		t.Error("a zero Count admits")
	}
}

// Many take and give back, several give the same place back at the same time: the count is never over its maximum and ends at 0.
func TestCountIsShared(t *testing.T) {
	const places, workers = 5, 16
	c := NewCount(places)
	var inside, refused, admitted atomic.Int64
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 2000 {
				release, ok := c.Acquire(nil)
				if !ok {
					refused.Add(1)
					release()
					continue
				}
				admitted.Add(1)
				if n := inside.Add(1); n > places {
					t.Errorf("%d inside of %d", n, places)
				}
				if n := c.InUse(); n < 1 || n > places {
					t.Errorf("%d in use", n)
				}
				inside.Add(-1)
				var twice sync.WaitGroup
				for range 1 + random.IntN(2) {
					twice.Go(release)
				}
				release()
				twice.Wait()
			}
		})
	}
	all.Wait()
	if c.InUse() != 0 || admitted.Load()+refused.Load() != workers*2000 {
		t.Errorf("%d in use at the end, %d admitted, %d refused", c.InUse(), admitted.Load(), refused.Load())
	}
	for range places {
		if _, ok := c.Acquire(nil); !ok {
			t.Error("a place was lost")
		}
	}
}

func BenchmarkAcquire(b *testing.B) {
	c := NewCount(1)
	b.ReportAllocs()
	for b.Loop() {
		release, _ := c.Acquire(nil)
		release()
	}
}

func BenchmarkAcquireRefused(b *testing.B) {
	c := NewCount(0)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Acquire(nil)
	}
}

// A lower maximum takes no place away, and admits nobody before enough are given back.
func TestCountWithAnotherMaximum(t *testing.T) {
	c := NewCount(2)
	first, _ := c.Acquire(nil)
	second, _ := c.Acquire(nil)
	c.SetMax(1)
	if c.InUse() != 2 || c.Max() != 1 {
		t.Errorf("%d in use of %d", c.InUse(), c.Max())
	}
	first()
	if _, ok := c.Acquire(nil); ok {
		t.Error("one more is admitted at the new maximum")
	}
	second()
	if _, ok := c.Acquire(nil); !ok {
		t.Error("nobody is admitted under the new maximum")
	}
	c.SetMax(2)
	if _, ok := c.Acquire(nil); !ok {
		t.Error("nobody is admitted under the raised maximum")
	}
}

// A place of two counts is taken and given back of both, or of neither.
func TestCountWithAnother(t *testing.T) {
	own, all := NewCount(2), NewCount(1)
	release, ok := own.Acquire(all)
	if !ok || own.InUse() != 1 || all.InUse() != 1 {
		t.Fatalf("%t, %d and %d in use, want 1 of each", ok, own.InUse(), all.InUse())
	}
	if refused, ok := own.Acquire(all); ok || own.InUse() != 1 || all.InUse() != 1 {
		t.Errorf("a second place of a full count: %t, %d and %d in use, want 1 of each", ok, own.InUse(), all.InUse())
	} else if refused(); own.InUse() != 1 {
		t.Error("the release of a refusal gave a place back")
	}
	release()
	release()
	if own.InUse() != 0 || all.InUse() != 0 {
		t.Errorf("%d and %d in use at the end", own.InUse(), all.InUse())
	}
	if _, ok := NewCount(0).Acquire(all); ok || all.InUse() != 0 {
		t.Errorf("a count of nothing: %t, %d of the other in use", ok, all.InUse())
	}
}
