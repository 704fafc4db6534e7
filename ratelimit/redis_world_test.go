package ratelimit

import (
	"fmt"
	"math"
	"time"
)

// bucketsInRedis is redis_take.lua in Go, for tests without a server.
type bucketsInRedis map[string]struct{ full, expiry float64 } // us

func (b bucketsInRedis) take(key string, now float64, args []any) (reply []int64) {
	each, burst := args[0].(float64), float64(args[1].(int))
	taken, want, need := float64(args[2].(int)), float64(args[3].(int)), float64(args[4].(int))
	kept := b[key]
	if kept.expiry <= now {
		kept.full = 0
	}
	full := min(max(kept.full, now), now+4*burst*each) + taken*each
	granted := max(0, min(want, math.Floor(burst-(full-now)/each)))
	kept.full = full + granted*each
	kept.expiry = now + min(kept.full-now+1e6, 2592000e6)
	b[key] = kept
	return []int64{int64(granted), int64(max(0, math.Ceil(kept.full-now-(burst-need)*each)))}
}

// A world is some gateways, each with a lease of one bucket, and a Redis that may be slow, lose what it is asked and what it answers, be away and
// forget. Time is that of the test.
type world struct {
	now     time.Time
	redis   bucketsInRedis
	up      bool
	delay   func() time.Duration // one way
	lost    func() bool
	leases  []*lease
	events  []event
	alone   int
	admits  []admitted
	timeout time.Duration

	outages int         // times that Redis was away, forgot, or did not answer two questions of a gateway in a row
	missing map[any]int // answers, by gateway
}

type event struct {
	at time.Time
	do func()
}

type admitted struct {
	at time.Time
	n  int
}

func newWorld(nodes, percent int, r Rate) *world {
	w := &world{
		now: epoch, redis: bucketsInRedis{}, up: true, timeout: 50 * ms, missing: map[any]int{},
		delay: func() time.Duration { return 0 }, lost: func() bool { return false },
	}
	t := &terms{nodes: nodes, percent: percent, timeout: w.timeout, ask: w.ask, there: func() bool { return w.up }, alone: func() { w.alone++ }}
	for range nodes {
		w.leases = append(w.leases, newLease(t, "key", r))
	}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.events = append(w.events, event{w.now.Add(d), do})
}

// ask is what a link does with a question.
func (w *world) ask(q question) bool {
	if !w.up {
		return false
	}
	w.after(0, func() {
		_, key, args := q.question(w.now)
		answered := false
		answer := func(reply []int64) {
			if !answered {
				answered = true
				if w.missing[q]++; reply != nil {
					w.missing[q] = 0
				} else if w.missing[q] == 2 {
					w.outages++
				}
				q.answer(w.now, reply)
			}
		}
		w.after(w.timeout, func() { answer(nil) })
		if w.lost() {
			return
		}
		w.after(w.delay(), func() {
			if !w.up {
				return
			}
			reply := w.redis.take(key, float64(w.now.UnixMicro()), args)
			if !w.lost() {
				w.after(w.delay(), func() { answer(reply) })
			}
		})
	})
	return true
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for {
		next := -1
		for i, e := range w.events {
			if !e.at.After(end) && (next < 0 || e.at.Before(w.events[next].at)) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		e := w.events[next]
		w.events = append(w.events[:next], w.events[next+1:]...)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// take takes n tokens on a gateway.
func (w *world) take(node, n int) bool {
	ok, wait := w.leases[node].TakeN(w.now, n)
	if ok {
		w.admits = append(w.admits, admitted{w.now, n})
	}
	if ok != (wait == 0) {
		panic(fmt.Sprintf("TakeN(%d) = %t, %v", n, ok, wait))
	}
	return ok
}

// excess is by how much more than R*t was admitted in any time t.
func (w *world) excess(r Rate) float64 {
	worst, running, last := 0.0, 0.0, epoch
	for _, a := range w.admits {
		running = max(running-r.PerSecond*a.at.Sub(last).Seconds(), 0) + float64(a.n)
		worst, last = max(worst, running), a.at
	}
	return worst
}

// bound is what excess may be over all gateways, as the package comment has it, if nobody takes more than largest tokens at a time.
func bound(t *terms, r Rate, timeout time.Duration, largest, outages int) float64 {
	atOnce := t.share(r).Burst + max(t.batch(r), largest)
	return float64(r.Burst*(1+outages)+t.nodes*atOnce) + r.PerSecond*2*timeout.Seconds()
}

// away and there are the ends of an outage.
func (w *world) away() {
	if w.up {
		w.outages++
	}
	w.up = false
}

func (w *world) there() {
	w.up = true
	for _, l := range w.leases {
		l.settle()
	}
}
