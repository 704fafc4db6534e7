package proxy

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// lateFor is how long a drain of some sessions catches those whose handshake
// was under way when it began: longer than a handshake may take.
const lateFor = upgradeTimeout + writeTimeout + 5*time.Second

// An order ends sessions: those that there are when it is given and, until it
// is withdrawn, those that come late.
type order struct {
	which func(*connection) bool // nil: all of them
	end   func(failer)
}

func (o *order) meets(c *connection) bool { return o.which == nil || o.which(c) }

// drainOrder ends sessions between their messages.
func drainOrder(which func(*connection) bool, cause relay.Cause) *order {
	return &order{which, func(f failer) { f.Fail(cause) }}
}

// give makes an order hold for the sessions that come and returns those that
// there are, in random order.
func (s *sessions) give(o *order) []failer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, o)
	var list []failer
	for c, f := range s.all {
		if o.meets(c) {
			list = append(list, f)
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// withdraw ends an order.
func (s *sessions) withdraw(o *order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = slices.DeleteFunc(s.orders, func(other *order) bool { return o == other })
}

// A pace spreads closes over time, so that the clients do not all come back at
// once.
type pace struct {
	window time.Duration // over which they are spread
	rate   float64       // at most so many in a second, for longer than window if need be; 0: as many as there are
	most   time.Duration // in which all must be told, whatever rate says; 0: it takes as long as it takes
}

// span is how long n closes take.
func (p pace) span(n int) time.Duration {
	span := p.window
	if p.rate > 0 {
		span = max(span, time.Duration(float64(n)/p.rate*float64(time.Second)))
	}
	if p.most > 0 {
		span = min(span, p.most)
	}
	return span
}

// at is when the i-th of n comes, counted from 0: somewhere in the i-th part of
// the span, where jitter, which is below 1, says. Without it several gateways
// that drain together would close in step.
func (p pace) at(i, n int, jitter float64) time.Duration {
	return time.Duration(float64(p.span(n)) / float64(n) * (float64(i) + jitter))
}

// drain gives an order and carries it out, at its pace. It returns early when
// ctx ends. The order holds on for sessions that come late.
func (s *sessions) drain(ctx context.Context, o *order, p pace) { o.carry(ctx, s.give(o), p) }

// carry ends a list of sessions at a pace, or some of it when ctx ends before.
func (o *order) carry(ctx context.Context, list []failer, p pace) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i, f := range list {
		if wait := time.Until(start.Add(p.at(i, len(list), rand.Float64()))); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		o.end(f)
	}
}

// abort ends all sessions at once, and those that come later.
func (s *sessions) abort() {
	o := &order{end: failer.Abort}
	for _, f := range s.give(o) {
		o.end(f)
	}
}

// partial are the drains of some sessions, of a route or of a server, that go
// on beside the traffic of all others.
type partial struct {
	mu   sync.Mutex
	over bool
	wg   sync.WaitGroup // drainLoop of each
	ctx  context.Context
	stop context.CancelFunc
}

func newPartial() *partial {
	p := &partial{}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// drainSome drains the sessions that which names, and as the configuration says
// of all of them. The order holds when drainSome returns, and is carried out in
// the background. which is called with the sessions' lock held, also for
// handshakes that end within lateFor. What is not closed yet when stop is called
// stays.
func (s *Server) drainSome(which func(*connection) bool, cause relay.Cause, d DrainConfig) (stop func()) {
	p := s.partial
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return func() {}
	}
	ctx, cancel := context.WithCancel(p.ctx)
	o := drainOrder(which, cause)
	list := s.sessions.give(o)
	p.wg.Go(func() {
		defer cancel()
		s.sessions.drainLoop(ctx, o, list, d.pace(0))
	})
	return func() {
		cancel()
		s.sessions.withdraw(o) // now: who comes from here on is not drained
	}
}

// drainLoop is the goroutine of one partial drain.
func (s *sessions) drainLoop(ctx context.Context, o *order, list []failer, p pace) {
	defer s.withdraw(o)
	start := time.Now()
	o.carry(ctx, list, p)
	select {
	case <-time.After(time.Until(start.Add(lateFor))):
	case <-ctx.Done():
	}
}

// close ends the drains and waits for them.
func (p *partial) close() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.stop()
	p.wg.Wait()
}

// pace is that of a drain which must be over within most; 0 is no bound.
func (d DrainConfig) pace(most time.Duration) pace {
	return pace{window: time.Duration(d.Window), rate: d.Rate.PerSecond, most: most}
}

// left is the time, after the delay, in which all sessions must have been told,
// so that they are closed at the hard stop.
func (d DrainConfig) left() time.Duration {
	return max(time.Duration(d.HardStop-d.Delay)*9/10, time.Millisecond)
}

// compileDrain validates the section.
func compileDrain(d DrainConfig, report Report) {
	if d.HardStop <= d.Delay {
		report("hard_stop", "%v leaves no time after a delay of %v", time.Duration(d.HardStop), time.Duration(d.Delay))
	}
	if r := d.Rate; float64(r.Burst) != math.Ceil(r.PerSecond) {
		report("rate", "a drain has no burst, want a rate such as 1000/s")
	}
}
