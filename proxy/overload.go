package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/proxy/relay"
)

const (
	lookEvery   = 250 * time.Millisecond // at what is used; sooner where handshakes come,
	lookSoonest = 10 * time.Millisecond  // but no sooner than this
	idleAfter   = 5                      // seconds without a frame, after which a connection is idle
	slowAccept  = 100 * time.Millisecond // between two connections while others are closed
	retryAfter  = 10 * time.Second       // at least, for who is refused
)

// A shortage says how much of a resource is used, and what follows.
type shortage int32

const (
	plenty   shortage = iota
	refusing          // no new sessions
	closing           // and the oldest idle ones are closed
)

// The used shares of a limit at which a shortage begins and, lower, so that it
// does not come and go with each connection, ends.
var shares = [...]struct{ begins, ends float64 }{refusing: {0.90, 0.87}, closing: {0.95, 0.92}}

// next is the shortage that follows s where such a share of the limit is used.
func (s shortage) next(used float64) shortage {
	for worse := closing; worse > plenty; worse-- {
		if used >= shares[worse].begins || s >= worse && used >= shares[worse].ends {
			return worse
		}
	}
	return plenty
}

// A usage is what is used of a resource. Without a limit it is never short.
type usage struct{ used, limit uint64 }

func (u usage) share() float64 {
	if u.limit == 0 {
		return 0
	}
	return float64(u.used) / float64(u.limit)
}

// excess is the used share of the limit beyond which sessions are refused, 0
// where it is below.
func (u usage) excess() float64 { return max(u.share()-shares[refusing].begins, 0) }

// A resource is what there may be too little of.
type resource struct {
	name     string
	measure  func() usage
	victims  func(u usage, sessions int) int // how many must go, that there is no excess
	outdated func(sessions int) bool         // whether measure does not know yet what sessions have left that ended; nil: it always does
	usage    usage                           // of the latest look; of the lock of overload
	shortage atomic.Int32
	share    atomic.Uint64 // math.Float64bits of the used share of the limit
}

// An overload keeps the gateway from what would end it: from more memory or
// descriptors than it may have. It first refuses new sessions, then closes those
// that have been idle longest; it never touches one with a message under way
// before. The zero overload is never short of anything.
type overload struct {
	log       *slog.Logger
	start     time.Time
	epoch     atomic.Uint32 // seconds since start, as connections note when they were active
	resources []*resource
	collect   func() // has measure know it

	mu     sync.Mutex
	last   time.Time // of the latest look
	stop   context.CancelFunc
	looker sync.WaitGroup // lookLoop
}

// init is called once, before anything else.
func (o *overload) init(log *slog.Logger, registry *prometheus.Registry, resources ...*resource) {
	o.log, o.start, o.resources, o.collect = log, time.Now(), resources, tidy
	for _, r := range resources {
		labels := prometheus.Labels{"resource": r.name}
		registry.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "framegate_overload", ConstLabels: labels,
				Help: "1 while new sessions are refused for want of a resource, 2 while idle ones are closed as well."},
				func() float64 { return float64(r.shortage.Load()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "framegate_resource_used_ratio", ConstLabels: labels,
				Help: "Used share of what there may be of a resource; 0 without a limit."},
				func() float64 { return math.Float64frombits(r.share.Load()) }))
	}
}

// worst is the worst shortage.
func (o *overload) worst() (worst shortage) {
	for _, r := range o.resources {
		worst = max(worst, shortage(r.shortage.Load()))
	}
	return worst
}

// refuses reports whether there may be no new session. Handshakes can come
// faster than lookLoop looks.
func (o *overload) refuses(now time.Time) bool {
	if len(o.resources) > 0 && o.mu.TryLock() {
		if now.Sub(o.last) >= lookSoonest {
			o.look(now)
		}
		o.mu.Unlock()
	}
	return o.worst() >= refusing
}

// look measures. The lock is held.
func (o *overload) look(now time.Time) {
	o.last = now
	o.epoch.Store(uint32(now.Sub(o.start) / time.Second))
	for _, r := range o.resources {
		r.usage = r.measure()
		share := r.usage.share()
		r.share.Store(math.Float64bits(share))
		before := shortage(r.shortage.Load())
		after := before.next(share)
		r.shortage.Store(int32(after))
		if before != after {
			level := slog.LevelWarn
			if after == plenty {
				level = slog.LevelInfo
			}
			o.log.Log(context.Background(), level, "overload", "resource", r.name, "state", after.String(), "used", math.Round(share*1000)/1000)
		}
	}
}

func (s shortage) String() string {
	return [...]string{plenty: "over", refusing: "refusing new sessions", closing: "closing idle sessions"}[s]
}

// startLooking watches over sessions until close.
func (o *overload) startLooking(all *sessions) {
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.looker.Go(func() { o.lookLoop(ctx, all) })
}

// lookLoop looks, and closes what must be closed.
func (o *overload) lookLoop(ctx context.Context, all *sessions) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			count := all.count()
			o.mu.Lock()
			o.look(now)
			n, outdated := o.excess(count), o.outdated(count)
			o.mu.Unlock()
			o.relieve(all, n)
			if outdated {
				o.collect()
			}
		case <-ctx.Done():
			return
		}
	}
}

// excess is how many of so many sessions must go. The lock is held.
func (o *overload) excess(sessions int) (n int) {
	for _, r := range o.resources {
		if shortage(r.shortage.Load()) == closing {
			n = max(n, r.victims(r.usage, sessions))
		}
	}
	return n
}

// outdated reports whether what there is too little of may have become free. The
// lock is held.
func (o *overload) outdated(sessions int) (yes bool) {
	for _, r := range o.resources {
		if r.outdated != nil && r.outdated(sessions) && shortage(r.shortage.Load()) >= refusing {
			yes = true
		}
	}
	return yes
}

// relieve closes the n sessions that have been idle longest, as far as so many
// are idle.
func (o *overload) relieve(all *sessions, n int) {
	if epoch := o.epoch.Load(); n > 0 && epoch > idleAfter {
		for _, f := range all.oldestIdle(n, epoch-idleAfter) {
			f.Fail(relay.Overload)
		}
	}
}

// oldestIdle returns the sessions that were last active longest ago, and not
// after a time, for as long as they and those that it has returned before, which
// are ending, are n at most.
func (s *sessions) oldestIdle(n int, until uint32) []failer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []*connection
	for c := range s.all {
		switch {
		case c.sacrificed:
			n--
		case c.active.Load() <= until:
			idle = append(idle, c)
		}
	}
	slices.SortFunc(idle, func(a, b *connection) int {
		return cmp.Or(cmp.Compare(a.active.Load(), b.active.Load()), cmp.Compare(a.start, b.start))
	})
	list := make([]failer, min(len(idle), max(n, 0)))
	for i := range list {
		idle[i].sacrificed = true
		list[i] = s.all[idle[i]]
	}
	return list
}

// close ends lookLoop.
func (o *overload) close() {
	if o.stop != nil {
		o.stop()
		o.looker.Wait()
	}
}
