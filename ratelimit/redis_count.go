package ratelimit

import (
	"sync"
	"time"
)

// How long Redis remembers what a gateway has in use without hearing from it, and how often it hears.
const (
	countTTL   = 30 * time.Second
	countEvery = countTTL / 3
)

// counts are the places that are taken, by limit and key. How many of this gateway is the number of times that an entry is held; what all have
// together is counted in Redis, where each gateway writes its own number: whatever was lost on the way is right again with the next one.
type counts struct {
	*table[*tally]
	gateway string // this one's name in Redis
	nodes   int
	timeout time.Duration
	ask     func(question) bool
	alone   func() // counts a decision that was made without Redis
}

// A tally is what is known of a count beside the number of this gateway. It is guarded by the lock of its shard.
type tally struct {
	key    string    // in Redis
	told   int64     // the number of this gateway that Redis knows
	queued bool      // a telling is under way
	left   time.Time // when the number was last 0
}

const (
	unknown   = -1 // the told of a tally when a question got no answer
	unchanged = -1 // the instead of a claim that changes nothing where it is refused
)

// idleAt is from when a tally that nobody holds may be forgotten: when Redis has forgotten it too.
func (t *tally) idleAt() time.Time {
	if t.told == 0 && !t.queued {
		return time.Time{}
	}
	return t.left.Add(countTTL)
}

// acquire is Store.Acquire. Where Redis does not answer in time, it decides by this gateway's share of the limit, which is at least one.
func (c *counts) acquire(l *Limit, key string, now time.Time) (release func(), ok bool) {
	s, e := c.find(l, key, now)
	defer s.mu.Unlock()
	if e.held >= l.Max {
		s.settle(e)
		return func() {}, false
	}
	e.held++
	ok, answered := c.claim(s, e, l, unchanged)
	if !answered {
		ok = e.held <= max(l.Max/int64(c.nodes), 1)
	}
	if !ok {
		c.giveBack(s, e, now)
		return func() {}, false
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.giveBack(s, e, time.Now())
	}), true
}

// keep is Store.Keep. Of gateways that ask at the same time no two give up a place of which one is enough: Redis counts the one that it refuses as
// given back.
func (c *counts) keep(l *Limit, key string, now time.Time) (ok bool) {
	s, e := c.find(l, key, now)
	defer s.mu.Unlock()
	if e.held == 0 {
		s.settle(e)
		return true
	}
	ok, answered := c.claim(s, e, l, e.held-1)
	if !answered {
		ok = e.held <= l.Max
	}
	return ok
}

// claim asks Redis whether all that this gateway has may be in use, and waits for the answer, if there is one in time. Where it may not, Redis
// counts instead of it from then on. s is locked, and is not meanwhile.
func (c *counts) claim(s *shard[*tally], e *entry[*tally], l *Limit, instead int64) (granted, answered bool) {
	q := &claim{counts: c, shard: s, entry: e, mine: e.held, most: l.Max, instead: instead, granted: make(chan bool, 1)}
	if c.ask(q) {
		s.mu.Unlock()
		granted = q.wait(c.timeout)
		s.mu.Lock()
	}
	if !q.answered {
		q.late = true
		c.alone()
	}
	return granted, q.answered
}

// giveBack undoes one e.held++. s is locked.
func (c *counts) giveBack(s *shard[*tally], e *entry[*tally], now time.Time) {
	if e.held--; e.held == 0 {
		e.value.left = now
	}
	c.settle(s, e)
}

// settle tells Redis a number that is not what it knows, and forgets a 0 that it knows. After a question without an answer it waits for the next
// time that all are told. s is locked.
func (c *counts) settle(s *shard[*tally], e *entry[*tally]) {
	if told := e.value.told; told != e.held && told != unknown && !e.value.queued {
		e.value.queued = c.ask(&telling{c, s, e, 0})
	}
	s.settle(e)
}

// tellAll returns the tellings of all numbers but those that are under way.
func (c *counts) tellAll() []question {
	var all []question
	for s := range c.all() {
		s.mu.Lock()
		for _, e := range s.queue {
			if !e.value.queued && (e.held > 0 || e.value.told != 0) {
				e.value.queued = true
				all = append(all, &telling{c, s, e, 0})
			}
		}
		s.mu.Unlock()
	}
	return all
}

// args are the arguments of the script: at most most may be in use by all gateways, or any number if it is -1. Where that are too many, this gateway
// has instead, or what it had before if that is -1.
func (c *counts) args(mine, most, instead int64) []any {
	return []any{c.gateway, mine, most, countTTL.Milliseconds(), instead}
}

// A claim asks Redis whether as many may be in use.
type claim struct {
	counts  *counts
	shard   *shard[*tally]
	entry   *entry[*tally]
	mine    int64 // of this gateway, with the one that is claimed and those claimed before
	most    int64
	instead int64     // what this gateway has where they may not, or unchanged
	granted chan bool // buffered, since nobody may be waiting any more

	answered, late bool // guarded by the shard's lock
}

// wait waits for the answer.
func (q *claim) wait(timeout time.Duration) (granted bool) {
	patience := time.NewTimer(timeout)
	defer patience.Stop()
	select {
	case granted = <-q.granted:
		return granted
	case <-patience.C:
		return false
	}
}

func (q *claim) question(time.Time) (s script, key string, args []any) {
	return countPlaces, q.entry.value.key, q.counts.args(q.mine, q.most, q.instead)
}

func (q *claim) answer(_ time.Time, reply []int64) (valid bool) {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	defer close(q.granted)
	valid = len(reply) == 1 && (reply[0] == 0 || reply[0] == 1)
	switch {
	case !valid:
		q.entry.value.told = unknown
	case reply[0] == 1:
		q.entry.value.told = q.mine
	case q.instead != unchanged:
		q.entry.value.told = q.instead
	}
	if q.late {
		q.counts.settle(q.shard, q.entry)
		return valid
	}
	q.answered = valid
	q.granted <- valid && reply[0] == 1
	return valid
}

// A telling tells Redis the number of this gateway.
type telling struct {
	counts *counts
	shard  *shard[*tally]
	entry  *entry[*tally]
	mine   int64
}

func (q *telling) question(time.Time) (s script, key string, args []any) {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	q.mine = q.entry.held
	return countPlaces, q.entry.value.key, q.counts.args(q.mine, -1, unchanged)
}

func (q *telling) answer(_ time.Time, reply []int64) (valid bool) {
	valid = len(reply) == 1 && reply[0] == 1
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	t := q.entry.value
	t.queued = false
	if t.told = q.mine; !valid {
		t.told = unknown
	}
	q.counts.settle(q.shard, q.entry)
	return valid
}
