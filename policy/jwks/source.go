package jwks

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/policy/jwt"
)

// waitTimeout is how long a lookup waits for a fetch, at most.
const waitTimeout = 5 * time.Second

// A Source is one set of keys that is kept fresh while it runs. It is made by [Cache.Source] and begun and ended by [Cache.Start]. All methods may
// be called at the same time.
type Source struct {
	cfg    Config
	host   string // of the URL, with its port: the label of the metrics
	get    func(context.Context, Config) (answer, error)
	log    *slog.Logger
	counts *prometheus.CounterVec // host, result

	current atomic.Pointer[keys] // nil before the first
	wake    chan struct{}        // asks the goroutine for a fetch, under mu; holds one

	mu      sync.Mutex
	plan    plan
	flight  chan struct{} // closed when the fetch that is due or under way has ended; nil without one
	started time.Time
	stop    func() // ends the goroutine; nil while there is none
}

// keys is one fetched set. It is never changed.
type keys struct {
	set     *jwt.KeySet
	skipped int // keys of the document that cannot be used
	fetched time.Time
	until   time.Time // may serve no longer
}

// Ready says whether there are keys that may serve.
func (s *Source) Ready() bool { return s.usable() != nil }

// usable returns the newest set, or nil when there is none that may serve.
func (s *Source) usable() *jwt.KeySet {
	if k := s.current.Load(); k != nil && time.Now().Before(k.until) {
		return k.set
	}
	return nil
}

// Keys returns the newest set of keys, at once if it has kid or kid is empty. Otherwise it waits for the fetch under way, if that may find kid,
// as long as ctx lasts and at most 5 s. A set without kid says that the issuer has no such key, or none that can be known now. The error is
// jwt.ErrUnavailable: no keys were fetched yet, or the last ones are too old.
func (s *Source) Keys(ctx context.Context, kid string) (*jwt.KeySet, error) {
	if set := s.usable(); serves(set, kid) {
		return set, nil
	}
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	// Twice, since a fetch that was under way already may have begun before the issuer had the key.
	for range 2 {
		flight := s.ask(kid)
		if flight == nil {
			break
		}
		select {
		case <-flight:
		case <-ctx.Done():
		}
	}
	if set := s.usable(); set != nil {
		return set, nil
	}
	return nil, jwt.ErrUnavailable
}

// serves says whether a lookup of kid need not wait for another set.
func serves(set *jwt.KeySet, kid string) bool { return set != nil && (kid == "" || set.Has(kid)) }

// ask returns what is closed when a fetch has looked for kid, or nil when none will soon or the newest one has found it.
func (s *Source) ask(kid string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.stop == nil || serves(s.usable(), kid) || !s.plan.wants(kid, now) {
		return nil
	}
	if s.flight == nil && s.plan.grant(now) {
		s.flight = make(chan struct{})
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return s.flight
}

// start begins to keep the keys fresh, in a goroutine of wg, unless that is done already.
func (s *Source) start(wg *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	s.started, s.stop = time.Now(), stop
	s.flight = make(chan struct{}) // the first fetch is due: whoever comes now waits for it
	wg.Go(func() { s.run(ctx) })
}

// halt makes the goroutine end. It does not wait for it.
func (s *Source) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
}

// holds returns the number of keys that may serve, and since when they have been there or awaited. It is false of a source that does not run.
func (s *Source) holds() (n int, since time.Time, runs bool) {
	s.mu.Lock()
	since, runs = s.started, s.stop != nil
	s.mu.Unlock()
	if k := s.current.Load(); k != nil {
		since = k.fetched
	}
	if set := s.usable(); set != nil {
		n = set.Len()
	}
	return n, since, runs
}

// run fetches, when it is time and when asked to, until ctx ends.
func (s *Source) run(ctx context.Context) {
	defer s.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		timer.Reset(s.fetch(ctx))
	}
}

// end lets go whoever waits.
func (s *Source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.stop = nil
	s.land()
}

// land ends the flight. s.mu is held.
func (s *Source) land() {
	if s.flight != nil {
		close(s.flight)
		s.flight = nil
	}
}

// begin opens a flight, unless somebody waits for this one already, and returns the kids that it looks for.
func (s *Source) begin() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
	select {
	case <-s.wake: // asked for just as it was time anyway
	default:
	}
	return s.plan.begin()
}

// fetch fetches once and returns how long to wait for the next time.
func (s *Source) fetch(ctx context.Context) time.Duration {
	asked := s.begin()
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	a, err := s.get(limited, s.cfg)
	result := resultUnreachable
	var set *jwt.KeySet
	var skipped []error
	if err == nil {
		set, skipped, result, err = a.parse()
	}
	if ctx.Err() != nil {
		return 0 // to be ended, which says nothing about the issuer
	}
	s.counts.WithLabelValues(s.host, result).Inc()
	if err != nil {
		return s.failed(err)
	}
	return s.succeeded(asked, set, skipped, lifetime(a.header))
}

// succeeded takes over a set that was fetched, with the keys that it was made without.
func (s *Source) succeeded(asked map[string]bool, set *jwt.KeySet, skipped []error, life time.Duration) time.Duration {
	now := time.Now()
	before := s.current.Swap(&keys{set: set, skipped: len(skipped), fetched: now, until: now.Add(life + s.cfg.maxStale())})
	s.mu.Lock()
	failures := s.plan.failures
	s.plan.succeeded(asked, set.Has, now)
	s.land()
	s.mu.Unlock()
	level := slog.LevelDebug
	if before == nil || failures > 0 || before.skipped != len(skipped) || before.set.Len() != set.Len() {
		level = slog.LevelInfo
	}
	attrs := []any{"host", s.host, "keys", set.Len(), "again", life.String()}
	if len(skipped) > 0 {
		attrs = append(attrs, "skipped", len(skipped), "first", skipped[0].Error())
	}
	s.log.Log(context.Background(), level, "token keys fetched", attrs...)
	return life
}

// failed leaves the keys as they are.
func (s *Source) failed(err error) time.Duration {
	s.mu.Lock()
	wait := s.plan.failed()
	s.land()
	s.mu.Unlock()
	s.log.Warn("token keys not fetched", "host", s.host, "error", err.Error(), "usable", s.Ready(), "again", wait.String())
	return wait
}
