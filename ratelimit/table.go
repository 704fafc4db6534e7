package ratelimit

import (
	"container/heap"
	"hash/maphash"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxKeys is how many keys a store keeps if nothing else is said. A key costs about 300 bytes.
const DefaultMaxKeys = 100_000

// maxShards bounds the locks of a table, and minShard is the least number of keys for one of them: keys spread over shards by chance, and a
// shard may be full when others are not yet.
const (
	maxShards = 64
	minShard  = 1024
)

// value is what a table keeps for a key.
type value interface {
	// idleAt is from when the value is as good as a new one, if nobody uses it until then. The zero time is any.
	idleAt() time.Time
}

// A table keeps values by limit and key: at most max of them, and one more for each limit, which all keys share for which there is no room.
//
// A value that is as good as a new one is forgotten, by those who add others: each looks at two, and at as many as it takes when the table is
// full. So there is always room unless all values are in use, and nobody needs to come around and clean. A value that somebody holds (hold,
// drop) is never forgotten.
type table[V value] struct {
	fresh     func(l *Limit, key string) V
	seeds     [2]maphash.Seed
	shards    []shard[V]
	overflow  shard[V]
	overflows atomic.Uint64 // how often there was no room
}

// id stands for a limit and a key. It has a fixed size, since keys are made by clients; two keys are never one id by chance (128 bits) or by
// intention (the seeds are secret).
type id [2]uint64

// shard is a part of a table under one lock.
type shard[V value] struct {
	mu      sync.Mutex
	max     int
	entries map[id]*entry[V]
	queue   queue[V] // all entries
}

// entry is a value and what is needed to forget it in time.
type entry[V value] struct {
	value V
	id    id
	held  int64     // how often
	at    time.Time // when to look whether it may be forgotten: it is not moved with each use, so that it comes rather too early
	index int       // in the queue, or forgotten
}

const forgotten = -1

func newTable[V value](maxKeys int, fresh func(l *Limit, key string) V) *table[V] {
	t := &table[V]{fresh: fresh, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	t.shards = make([]shard[V], min(max(maxKeys/minShard, 1), maxShards))
	for i := range t.shards {
		t.shards[i].init((maxKeys + i) / len(t.shards))
	}
	t.overflow.init(math.MaxInt) // one for each limit of the configuration
	return t
}

func (s *shard[V]) init(most int) {
	s.max, s.entries = most, make(map[id]*entry[V])
}

// find returns the entry for a key and its shard, which is locked: the caller unlocks it.
func (t *table[V]) find(l *Limit, key string, now time.Time) (*shard[V], *entry[V]) {
	id := t.id(l.Name, key)
	s := &t.shards[id[0]%uint64(len(t.shards))]
	s.mu.Lock()
	if e, ok := s.entries[id]; ok {
		return s, e
	}
	if s.room(now) {
		return s, s.add(id, t.fresh(l, key), now)
	}
	s.mu.Unlock()
	t.overflows.Add(1)
	return t.findOverflow(l, now)
}

// findOverflow is find for the keys for which there is no room.
func (t *table[V]) findOverflow(l *Limit, now time.Time) (*shard[V], *entry[V]) {
	id, s := t.id(l.Name, ""), &t.overflow
	s.mu.Lock()
	e, ok := s.entries[id]
	if !ok {
		s.room(now)
		e = s.add(id, t.fresh(l, ""), now)
	}
	return s, e
}

func (t *table[V]) id(name, key string) id {
	of := struct{ name, key string }{name, key}
	return id{maphash.Comparable(t.seeds[0], of), maphash.Comparable(t.seeds[1], of)}
}

// all yields the shards, unlocked.
func (t *table[V]) all() iter.Seq[*shard[V]] {
	return func(yield func(*shard[V]) bool) {
		for i := range t.shards {
			if !yield(&t.shards[i]) {
				return
			}
		}
		yield(&t.overflow)
	}
}

// len is the number of values that are kept.
func (t *table[V]) len() (n int) {
	for s := range t.all() {
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// room forgets what may be forgotten, and tells whether one more may be added. s is locked.
func (s *shard[V]) room(now time.Time) bool {
	for looked := 0; len(s.queue) > 0 && (looked < 2 || len(s.queue) >= s.max); looked++ {
		e := s.queue[0]
		if e.at.After(now) {
			break
		}
		if e.at = e.idleAt(); e.at.After(now) {
			heap.Fix(&s.queue, 0)
		} else {
			s.remove(e)
		}
	}
	return len(s.queue) < s.max
}

func (s *shard[V]) add(id id, v V, now time.Time) *entry[V] {
	e := &entry[V]{value: v, id: id, at: now}
	s.entries[id] = e
	heap.Push(&s.queue, e)
	return e
}

func (s *shard[V]) remove(e *entry[V]) {
	delete(s.entries, e.id)
	heap.Remove(&s.queue, e.index)
}

// drop undoes one e.held++. s is locked.
func (s *shard[V]) drop(e *entry[V]) {
	e.held--
	s.settle(e)
}

// settle forgets e if that may be done at any time; otherwise it learns when. s is locked.
func (s *shard[V]) settle(e *entry[V]) {
	if e.held > 0 || e.index == forgotten {
		return
	}
	if e.at = e.idleAt(); e.at.IsZero() {
		s.remove(e)
	} else {
		heap.Fix(&s.queue, e.index)
	}
}

func (s *shard[V]) lockAndDrop(e *entry[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
}

// idleAt is from when e may be forgotten, as far as is known now.
func (e *entry[V]) idleAt() time.Time {
	if e.held > 0 {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return e.value.idleAt()
}

// queue is a heap of entries, the one to look at next in front.
type queue[V value] []*entry[V]

func (q queue[V]) Len() int           { return len(q) }
func (q queue[V]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue[V]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *queue[V]) Push(x any) {
	e := x.(*entry[V])
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is for package heap.
func (q *queue[V]) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last], e.index = nil, forgotten
	*q = (*q)[:last]
	return e
}
