package jwks

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/policy/outbound"
)

// system is what a cache takes from the outside. Tests replace it.
type system struct {
	get func(context.Context, Config) (answer, error)
}

// Cache holds the sources of a server, over all its configurations. All methods may be called at the same time.
type Cache struct {
	log *slog.Logger
	sys system

	fetches   *prometheus.CounterVec // host, result
	keys, age *prometheus.Desc       // host

	wg sync.WaitGroup // the sources' goroutines

	mu      sync.Mutex
	closed  bool
	sources map[Config]*Source // those that run, and those made since the last Start
}

// New makes a cache without sources, and registers its metrics with reg. A nil log discards.
func New(log *slog.Logger, reg prometheus.Registerer) *Cache { return newCache(log, reg, system{get}) }

func newCache(log *slog.Logger, reg prometheus.Registerer, sys system) *Cache {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{
		log: log, sys: sys, sources: make(map[Config]*Source),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framegate_jwks_fetches_total", Help: "Fetches of token keys by the issuer's host and result.",
		}, []string{"host", "result"}),
		keys: prometheus.NewDesc("framegate_jwks_keys", "Token keys that can be used, over all key sets of a host.", []string{"host"}, nil),
		age: prometheus.NewDesc("framegate_jwks_age_seconds",
			"Time since token keys were fetched, or since the first try; of several key sets of a host the oldest.", []string{"host"}, nil),
	}
	reg.MustRegister(c.fetches, c)
	return c
}

// Source returns the source of cfg: the one that runs, or a new one. It starts nothing. The error lists the mistakes that Validate reports.
func (c *Cache) Source(cfg Config) (*Source, error) {
	if err := outbound.Problem(cfg.Validate); err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sources[cfg]
	if !ok {
		s = &Source{cfg: cfg, host: u.Host, get: c.sys.get, log: c.log, counts: c.fetches, wake: make(chan struct{}, 1)}
		c.sources[cfg] = s
	}
	return s, nil
}

// Start makes the sources of live run, and no others. It begins the new ones and ends those that are not wanted any more, which still serve the
// keys that they have, for as long as these may serve. live comes from Source, called since the last Start.
func (c *Cache) Start(live []*Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	wanted, hosts := make(map[Config]*Source), make(map[string]bool)
	for _, s := range live {
		wanted[s.cfg], hosts[s.host] = s, true
		for _, result := range results {
			c.fetches.WithLabelValues(s.host, result)
		}
		s.start(&c.wg)
	}
	for cfg, s := range c.sources {
		if wanted[cfg] != s {
			s.halt()
		}
		if !hosts[s.host] {
			c.fetches.DeletePartialMatch(prometheus.Labels{"host": s.host})
		}
	}
	c.sources = wanted
}

// Close ends all sources and waits for them. A second Close does nothing.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	for _, s := range c.sources {
		s.halt()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// Describe implements prometheus.Collector.
func (c *Cache) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.keys
	descriptions <- c.age
}

// Collect implements prometheus.Collector.
func (c *Cache) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	count, age := make(map[string]int), make(map[string]time.Duration)
	for _, s := range c.sources {
		if n, since, runs := s.holds(); runs {
			count[s.host] += n
			age[s.host] = max(age[s.host], now.Sub(since))
		}
	}
	for host := range count {
		metrics <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(count[host]), host)
		metrics <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age[host].Seconds(), host)
	}
}
