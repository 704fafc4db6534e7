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

// unknown is the told of a tally when a question got no answer.
const unknown = -1

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
	q := &claim{counts: c, shard: s, entry: e, mine: e.held, most: l.Max, granted: make(chan bool, 1)}
	if c.ask(q) {
		s.mu.Unlock()
		ok = q.wait(c.timeout)
		s.mu.Lock()
	}
	if !q.answered {
		q.late = true
		c.alone()
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

// args are the arguments of the script: at most most may be in use by all gateways, or any number if it is -1.
func (c *counts) args(mine, most int64) []any {
	return []any{c.gateway, mine, most, countTTL.Milliseconds()}
}

// A claim asks Redis whether one more may be in use.
type claim struct {
	counts  *counts
	shard   *shard[*tally]
	entry   *entry[*tally]
	mine    int64 // of this gateway, with the one that is claimed and those claimed before
	most    int64
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
	return countPlaces, q.entry.value.key, q.counts.args(q.mine, q.most)
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
	return countPlaces, q.entry.value.key, q.counts.args(q.mine, -1)
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
