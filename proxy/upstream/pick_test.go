package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// drainPick takes every server of a pick and keeps the places.
func drainPick(k *Pick) (names []string, leases []*Lease) {
	for l := k.Next(); l != nil; l = k.Next() {
		names = append(names, strings.TrimSuffix(l.Server().String(), ":80"))
		leases = append(leases, l)
	}
	return names, leases
}

// Each strategy offers every server once, whatever was taken before.
func TestPickOffersEachServerOnce(t *testing.T) {
	t.Parallel()
	for name := range strategies {
		p := mustCompile(t, Config{Servers: urls("ws://a", "ws://b", "ws://c", "ws://d"), Balance: name})
		for range 20 {
			names, leases := drainPick(p.Pick(&Facts{}))
			seen := map[string]bool{}
			for i, n := range names {
				seen[n] = true
				leases[i].Release()
			}
			if len(names) != 4 || len(seen) != 4 {
				t.Errorf("%s: got %q, want each server once", name, names)
			}
		}
	}
}

// A cap holds over all who pick at once, and a place that is given back is free.
func TestPickHoldsCaps(t *testing.T) {
	t.Parallel()
	for name := range strategies {
		p := mustCompile(t, Config{Balance: name, Servers: []ServerConfig{{URL: "ws://a", MaxConnections: 3}, {URL: "ws://b", MaxConnections: 5}}})
		var mu sync.Mutex
		var held []*Lease
		full := 0
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				k := p.Pick(&Facts{})
				l := k.Next()
				mu.Lock()
				defer mu.Unlock()
				if l != nil {
					held = append(held, l)
				} else if errors.Is(k.Err(), ErrFull) {
					full++
				}
			})
		}
		wg.Wait()
		a, b := p.Servers()[0], p.Servers()[1]
		if len(held) != 8 || full != 32 || a.Live() != 3 || b.Live() != 5 {
			t.Fatalf("%s: %d leases, %d told full, %d and %d live, want 8, 32, 3 and 5", name, len(held), full, a.Live(), b.Live())
		}
		held[0].Release()
		held[0].Release() // no second place
		k := p.Pick(&Facts{})
		if l := k.Next(); l == nil || l.Server() != held[0].Server() || k.Next() != nil {
			t.Errorf("%s: the free place was not given", name)
		}
	}
}

func TestPickTellsWhyNot(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: []ServerConfig{{URL: "ws://a", MaxConnections: 1}, {URL: "ws://b"}}})
	a, b := p.Servers()[0], p.Servers()[1]
	b.Mark(Ejected)
	k := p.Pick(&Facts{})
	if l := k.Next(); l.Server() != a || k.Err() != nil || k.Next() != nil || k.Err() != nil {
		t.Errorf("one server could be tried, yet: %v", k.Err())
	}
	if k := p.Pick(&Facts{}); k.Next() != nil || !errors.Is(k.Err(), ErrFull) {
		t.Errorf("one server is full: got %v", k.Err())
	}
	a.Mark(Unhealthy)
	if k := p.Pick(&Facts{}); k.Next() != nil || !errors.Is(k.Err(), ErrDown) {
		t.Errorf("all are down: got %v", k.Err())
	}
}

// Reasons are independent of each other.
func TestServerAvailability(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: urls("ws://a")})
	s, now := p.Servers()[0], time.Now()
	s.Mark(Ejected)
	s.Mark(Draining)
	s.Mark(Draining)
	s.Clear(Ejected, now)
	s.Clear(Unhealthy, now)
	if s.Available() {
		t.Error("available while it drains")
	}
	if s.state.eased.Load() != 0 {
		t.Error("eased in while it drains")
	}
	s.Clear(Draining, now.Add(time.Minute))
	if !s.Available() || time.Duration(s.state.eased.Load()) < time.Minute {
		t.Errorf("available %v, eased in since %v", s.Available(), time.Duration(s.state.eased.Load()))
	}
}

// Whoever dials counts what became of it; who was not waited for has not failed.
func TestLeaseReports(t *testing.T) {
	t.Parallel()
	s := serverOf(t, "ws://a", hang)
	p := mustCompile(t, Config{Servers: urls("ws://a")})
	s.registry, s.state = p.registry, p.Servers()[0].state
	l := p.registry.acquire(s, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ctx, Hop{}, nil); err == nil || s.state.failures.Load() != 0 {
		t.Errorf("got %v and %d failures, want an error that is not the server's", err, s.state.failures.Load())
	}
	for i := range 3 {
		l.Failed(fmt.Errorf("failure %d", i), time.Now())
	}
	l.Succeeded(time.Now())
	if n := s.state.failures.Load(); n != 3 {
		t.Errorf("%d failures counted, want 3", n)
	}
}
