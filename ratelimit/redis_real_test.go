package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * ms)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v", what, patience)
		}
	}
}

// stores starts gateways that reach Redis at addr.
func stores(t *testing.T, addr string, n int) []*Redis {
	t.Helper()
	var all []*Redis
	for range n {
		c := RedisConfig{URL: "redis://" + addr, Prefix: "t:", Timeout: strictyaml.Duration(50 * ms), Nodes: n, LeasePercent: 25}
		s, err := NewRedis(c, 1000, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		all = append(all, s)
	}
	waitUp(t, all, true)
	return all
}

func waitUp(t *testing.T, all []*Redis, up bool) {
	t.Helper()
	waitFor(t, fmt.Sprintf("up %t", up), func() bool {
		for _, s := range all {
			if s.link.up.Load() != up {
				return false
			}
		}
		return true
	})
}

// Three gateways and one user who sends ten times the limit to all of them: over all that Redis does, what gets through is within the bound of
// the package comment.
func TestThreeGatewaysOneRedis(t *testing.T) {
	server := wstest.StartRedis(t)
	proxy := wstest.NewDetour(t, server.Addr)
	all := stores(t, proxy.Addr(), 3)
	r := Rate{200, 100}
	l := &Limit{Name: "l", Rate: r}
	terms := &terms{nodes: 3, percent: 25}
	w := &world{now: time.Now()}
	begin := w.now
	flood := func(what string, d time.Duration, outages int) {
		t.Helper()
		before, start := len(w.admits), time.Now()
		tick := time.NewTicker(1500 * time.Microsecond) // 3 * 667 each second
		defer tick.Stop()
		for now := start; now.Sub(start) < d; now = <-tick.C {
			now = time.Now()
			for _, s := range all {
				if ok, _ := s.Take(l, "user", 1, now); ok {
					w.admits = append(w.admits, admitted{epoch.Add(now.Sub(begin)), 1})
				}
			}
		}
		got, span := len(w.admits)-before, time.Since(start)
		excess, most := w.excess(r), bound(terms, r, 50*ms, 1, outages)
		t.Logf("%s: %d in %v, in all at most %.0f over the rate, bound %.0f", what, got, span, excess, most)
		if excess > most {
			t.Errorf("%s: %.0f more than the rate, at most %.0f", what, excess, most)
		}
		if float64(got) < 0.5*r.PerSecond*span.Seconds() {
			t.Errorf("%s: only %d in %v at %v", what, got, span, r)
		}
	}
	flood("healthy", 2*time.Second, 0)

	proxy.Hold()
	flood("5 s of latency", 5*time.Second, 1)
	proxy.Release()
	waitUp(t, all, true)
	flood("after the latency", time.Second, 1)

	server.Kill()
	flood("killed", 2*time.Second, 2)
	waitUp(t, all, false)
	server.Restart()
	waitUp(t, all, true)
	flood("restarted, and empty", 2*time.Second, 3)
}

// Three gateways, many connections of one user at once: never more than the limit, and all are given back.
func TestThreeGatewaysCount(t *testing.T) {
	server := wstest.StartRedis(t)
	all := stores(t, server.Addr, 3)
	l := &Limit{Name: "l", Max: 10}
	var inside, worst, granted atomic.Int64
	var done sync.WaitGroup
	for worker := range 30 {
		done.Go(func() {
			for range 20 {
				release, ok := all[worker%3].Acquire(l, "user", time.Now())
				if ok {
					granted.Add(1)
					n := inside.Add(1)
					for seen := worst.Load(); n > seen && !worst.CompareAndSwap(seen, n); seen = worst.Load() {
					}
					inside.Add(-1)
				}
				release()
			}
		})
	}
	done.Wait()
	// A machine that is too busy to answer in 50 ms makes the gateways decide alone, by their share of 3 each.
	if worst.Load() > 10+3*3 || granted.Load() == 0 {
		t.Errorf("%d at once of 10, %d in all", worst.Load(), granted.Load())
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	waitFor(t, "an empty count", func() bool {
		return client.Exists(context.Background(), redisKey("t:", "count", "l", "user")).Val() == 0
	})
}

// Real Lua reads numbers as it likes.
func TestRealRedisSurvivesNonsense(t *testing.T) {
	server := wstest.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
	defer client.Close()
	ctx := context.Background()
	for i, kept := range []string{"", "nan", "-nan", "inf", "-inf", "1e999", "many", "-5", "0x10", "99999999999999999999", "\x00"} {
		key := "k" + strconv.Itoa(i)
		client.Set(ctx, key, kept, 0)
		reply, err := parseReply(scripts()[takeTokens].Run(ctx, client, []string{key}, "7", int64(1)<<52, 1e5, 20, 0, 100, 1), "7")
		if err != nil || len(reply) != 2 || reply[0] < 0 || reply[0] > 20 || reply[1] > (8*time.Second).Microseconds() {
			t.Errorf("%q: %v, %v", kept, reply, err)
		}
		if ttl := client.PTTL(ctx, key).Val(); ttl <= 0 || ttl > 10*time.Second {
			t.Errorf("%q stays %v", kept, ttl)
		}
		client.Del(ctx, key)
		client.HSet(ctx, key, "a", kept, "b", "5 "+kept)
		reply, err = parseReply(scripts()[countPlaces].Run(ctx, client, []string{key}, "7", int64(1)<<52, "me", 1, 1, 30_000), "7")
		if err != nil || len(reply) != 1 || reply[0] != 1 && kept != "99999999999999999999" {
			t.Errorf("%q: %v, %v", kept, reply, err)
		}
	}
}
