package ratelimit

import (
	"sync/atomic"
	"time"
)

// Local is a Store in this process.
//
// Where there are more keys in use than it may keep, the further ones share one bucket and one count of the limit's own size: they are limited
// too much rather than not at all. A key is in use while its bucket is not full, a Shared of it is held or one of its places is taken.
type Local struct {
	buckets *table[*Bucket]
	places  *table[places]
}

// places is the value for a key of which places are taken: how many is the number of times that the entry is held.
type places struct{}

func (places) idleAt() time.Time { return time.Time{} }

// NewLocal makes a store of at most maxKeys keys with a rate, and as many of which something is acquired.
func NewLocal(maxKeys int) *Local {
	return &Local{
		buckets: newTable(maxKeys, func(l *Limit, _ string) *Bucket { return NewBucket(l.Rate) }),
		places:  newTable(maxKeys, func(*Limit, string) places { return places{} }),
	}
}

// Take is that of Store. It allocates nothing for a key that is known.
func (s *Local) Take(l *Limit, key string, n int, now time.Time) (ok bool, wait time.Duration) {
	shard, e := s.buckets.find(l, key, now)
	defer shard.mu.Unlock()
	e.value.SetRate(now, l.Rate)
	return e.value.TakeN(now, n)
}

// Acquire is that of Store.
func (s *Local) Acquire(l *Limit, key string, now time.Time) (release func(), ok bool) {
	shard, e := s.places.find(l, key, now)
	defer shard.mu.Unlock()
	if e.held >= l.Max {
		shard.settle(e)
		return func() {}, false
	}
	e.held++
	return shard.releaser(e), true
}

// Keep is that of Store.
func (s *Local) Keep(l *Limit, key string, now time.Time) bool {
	shard, e := s.places.find(l, key, now)
	defer shard.mu.Unlock()
	defer shard.settle(e)
	return e.held <= l.Max
}

// releaser makes the function that gives a place back, once. One that lives as long as a connection is worth less than sync.OnceFunc takes.
func (s *shard[V]) releaser(e *entry[V]) func() {
	var released atomic.Bool
	return func() {
		if released.CompareAndSwap(false, true) {
			s.lockAndDrop(e)
		}
	}
}

// Bucket is that of Store.
func (s *Local) Bucket(l *Limit, key string, now time.Time) *Shared {
	shard, e := s.buckets.find(l, key, now)
	defer shard.mu.Unlock()
	e.value.SetRate(now, l.Rate)
	e.held++
	return &Shared{bucket: e.value, release: func() { shard.lockAndDrop(e) }}
}

// Keys is how many keys have a bucket, and how many a place.
func (s *Local) Keys() (buckets, places int) { return s.buckets.len(), s.places.len() }

// Overflows is how often there was no room for a key.
func (s *Local) Overflows() uint64 { return s.buckets.overflows.Load() + s.places.overflows.Load() }
