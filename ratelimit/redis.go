package ratelimit

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Redis is a Store that several gateways share. See the package comment for what holds over all of them together.
type Redis struct {
	leases *table[*lease]
	counts *counts
	link   *link
}

// redisMeters are the series of a Redis.
type redisMeters struct {
	up                prometheus.Gauge
	errors, fallbacks prometheus.Counter
}

// NewRedis makes a store of at most maxKeys keys with a rate, and as many of which something is acquired, and starts its goroutine. It does not
// wait for Redis to be there. The caller closes it.
func NewRedis(c RedisConfig, maxKeys int, log *slog.Logger) (*Redis, error) {
	var mistake error
	options := c.compile(func(path, format string, args ...any) {
		if mistake == nil {
			mistake = fmt.Errorf("redis."+path+": "+format, args...)
		}
	})
	if mistake != nil {
		return nil, mistake
	}
	return newRedis(c, options, maxKeys, log), nil
}

func newRedis(c RedisConfig, options *redis.Options, maxKeys int, log *slog.Logger) *Redis {
	logging.Disable() // the client's own log, which is for the whole process; what matters is in its errors
	k := &link{
		options: options, probe: redisKey(c.Prefix, "probe", "", ""), timeout: time.Duration(c.Timeout), log: log,
		meters: newRedisMeters(), queue: make(chan question, queueLength), done: make(chan struct{}),
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	terms := &terms{nodes: c.Nodes, percent: c.LeasePercent, timeout: k.timeout, ask: k.ask, there: k.up.Load, alone: k.meters.fallbacks.Inc}
	s := &Redis{link: k}
	s.leases = newTable(maxKeys, func(l *Limit, key string) *lease {
		return newLease(terms, redisKey(c.Prefix, "rate", l.Name, key), l.Rate)
	})
	s.counts = &counts{
		table: newTable(maxKeys, func(l *Limit, key string) *tally {
			return &tally{key: redisKey(c.Prefix, "count", l.Name, key)}
		}),
		gateway: rand.Text(), nodes: c.Nodes, timeout: k.timeout, ask: k.ask, alone: k.meters.fallbacks.Inc,
	}
	k.tellAll = s.tellAll
	go k.run()
	return s
}

// tellAll returns what Redis should hear again and again, and sees to it that it hears of debts that were made while it was away.
func (s *Redis) tellAll() []question {
	for shard := range s.leases.all() {
		shard.mu.Lock()
		for _, e := range shard.queue {
			e.value.settle()
		}
		shard.mu.Unlock()
	}
	return s.counts.tellAll()
}

// Take is that of Store.
func (s *Redis) Take(l *Limit, key string, n int, now time.Time) (ok bool, wait time.Duration) {
	if !l.Rate.valid() {
		return NewBucket(l.Rate).TakeN(now, n)
	}
	shard, e := s.leases.find(l, key, now)
	defer shard.mu.Unlock()
	e.value.setRate(now, l.Rate)
	return e.value.TakeN(now, n)
}

// Acquire is that of Store. It may wait for Redis.
func (s *Redis) Acquire(l *Limit, key string, now time.Time) (release func(), ok bool) {
	return s.counts.acquire(l, key, now)
}

// Keep is that of Store. It may wait for Redis, and without it only this gateway's places count: who was admitted is not sent away on suspicion.
func (s *Redis) Keep(l *Limit, key string, now time.Time) (ok bool) {
	return s.counts.keep(l, key, now)
}

// Bucket is that of Store.
func (s *Redis) Bucket(l *Limit, key string, now time.Time) *Shared {
	if !l.Rate.valid() {
		return &Shared{bucket: NewBucket(l.Rate), release: func() {}}
	}
	shard, e := s.leases.find(l, key, now)
	defer shard.mu.Unlock()
	e.value.setRate(now, l.Rate)
	e.value.warm(now)
	e.held++
	return &Shared{bucket: e.value, release: func() { shard.lockAndDrop(e) }}
}

// Close tells Redis what was given back, as far as it is there, and ends the goroutine. What is taken or acquired later is decided without Redis.
func (s *Redis) Close() { s.link.close() }

func newRedisMeters() *redisMeters {
	return &redisMeters{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framegate_redis_up", Help: "1 while limits are counted in Redis, 0 while each gateway admits its own share.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framegate_redis_errors_total", Help: "Round trips to Redis that failed, came too late or brought a reply that cannot be one.",
		}),
		fallbacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framegate_redis_fallbacks_total", Help: "Decisions by the gateway's own share of a limit, since Redis had not answered.",
		}),
	}
}

// Describe implements prometheus.Collector.
func (s *Redis) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, to) }

// Collect implements prometheus.Collector.
func (s *Redis) Collect(to chan<- prometheus.Metric) {
	to <- s.link.meters.up
	to <- s.link.meters.errors
	to <- s.link.meters.fallbacks
}
