package forward

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

func key(n int) cacheKey { return keyOf([]field{{"Cookie", fmt.Sprint(n)}}) }

func TestCacheOfAdmissions(t *testing.T) {
	now := time.Now()
	c := newCache(time.Minute)
	has := func(n int, at time.Time) bool {
		_, ok := c.get(key(n), at)
		return ok
	}
	if has(1, now) {
		t.Error("an empty cache has something")
	}
	a := Answer{Allow: true, Fields: [][2]string{{"X-Auth-User", "alice"}}}
	c.put(key(1), a, now)
	if got, ok := c.get(key(1), now.Add(time.Minute-1)); !ok || fmt.Sprint(got) != fmt.Sprint(a) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if has(1, now.Add(time.Minute)) || has(2, now) {
		t.Error("an admission holds too long, or for somebody else")
	}
	c.put(key(1), a, now.Add(time.Minute))
	if !has(1, now.Add(2*time.Minute-1)) {
		t.Error("an admission that is given again does not hold")
	}
}

// The newest take the place of the oldest, and no more are kept than may be.
func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	c := newCache(time.Minute)
	for n := range 3*maxCached + 7 {
		c.put(key(n), admitted, now)
		c.put(key(n), admitted, now) // not twice
		if len(c.entries) > maxCached || len(c.ring) > maxCached {
			t.Fatalf("%d entries, %d in the ring", len(c.entries), len(c.ring))
		}
		if _, ok := c.get(key(n-maxCached+1), now); n >= maxCached && !ok {
			t.Fatalf("of %d the oldest that has room is gone", n)
		}
		if _, ok := c.get(key(n-maxCached), now); ok {
			t.Fatalf("of %d one too many is there", n)
		}
	}
}

// Requests that differ in anything that the service sees do not share a key.
func TestCacheKeys(t *testing.T) {
	x := compile(t, Config{URL: goodURL, Headers: []string{"A", "B"}})
	seen := make(map[cacheKey]int)
	for i, q := range []Query{
		query(), query("A", ""), query("A", "", "A", ""), query("B", ""), query("A", "1"), query("B", "1"), query("A", "1", "B", "2"),
		query("A", "1", "A", "2"), query("A", "2", "A", "1"), query("A", "12"), query("A", "1, 2"), query("A", "1\x00B", "B", ""),
		{Method: "POST"}, {Proto: "POST"}, {Host: "POST"}, {URI: "POST"}, {For: "POST"}, {},
	} {
		k := keyOf(x.fields(q))
		if other, ok := seen[k]; ok {
			t.Errorf("queries %d and %d have the same key", other, i)
		}
		seen[k] = i
	}
	if keyOf(x.fields(query("A", "1", "C", "3"))) != keyOf(x.fields(query("A", "1"))) {
		t.Error("a field that the service does not see makes a difference")
	}
}

// Admissions are remembered, refusals and failures are not.
func TestCachedAnswers(t *testing.T) {
	var code atomic.Int32
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Auth-User", r.Header.Get("Cookie"))
		w.WriteHeader(int(code.Load()))
	})
	x := compile(t, Config{URL: s.URL, ResponseHeaders: []string{"X-Auth-User"}, Cache: strictyaml.Duration(time.Minute), OnFailure: "dangerously_allow"})
	ask := func(user string, status int, want Answer, failure string, asked int) {
		t.Helper()
		code.Store(int32(status))
		check(t, x, query("Cookie", user), want, failure)
		if got := s.asked(); got != asked {
			t.Errorf("the service was asked %d times, want %d", got, asked)
		}
	}
	alice, bob := Answer{Allow: true, Fields: [][2]string{{"X-Auth-User", "alice"}}}, Answer{Allow: true, Fields: [][2]string{{"X-Auth-User", "bob"}}}
	ask("alice", 403, Answer{Status: 403}, "", 1)
	ask("alice", 500, admitted, "status 500", 2)
	ask("alice", 404, unavailable, "status 404", 3)
	ask("alice", 200, alice, "", 4)
	ask("alice", 403, alice, "", 4)
	ask("bob", 403, Answer{Status: 403}, "", 5)
	ask("bob", 200, bob, "", 6)
	ask("bob", 500, bob, "", 6)
}

// Without a cache each request is asked about.
func TestNoCache(t *testing.T) {
	s := newService(t, status(200))
	x := compile(t, Config{URL: s.URL})
	for range 3 {
		check(t, x, query("Cookie", "a"), admitted, "")
	}
	if n := s.asked(); n != 3 {
		t.Errorf("the service was asked %d times", n)
	}
}

// Many users at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	s := newService(t, status(200))
	x := compile(t, Config{URL: s.URL, Cache: strictyaml.Duration(time.Minute)})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 50 {
				check(t, x, query("Cookie", fmt.Sprint(n)), admitted, "")
			}
		})
	}
	all.Wait()
	if n := s.asked(); n < 50 || n > 8*50 {
		t.Errorf("the service was asked %d times", n)
	}
}
