package jwks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/policy/jwt"
)

const unavailable = "token keys unavailable"

// Whoever comes before the first keys waits for them.
func TestFirstLookupWaits(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		if s.Ready() {
			t.Error("ready without keys")
		}
		check(t, s, "a", "found", 50*time.Millisecond)
		if !s.Ready() {
			t.Error("not ready with keys")
		}
		check(t, s, "a", "found", 0)
		check(t, s, "", "not found", 0) // a token without a kid: the set as it is
		r.checkFetches(1)
	})
}

// A source that was not started serves nothing, and waits for nothing.
func TestSourceThatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newIssuer("a"))
		s := r.source(Config{URL: testURL})
		check(t, s, "a", unavailable, 0)
		r.checkFetches(0)
		r.checkSeries(map[string]float64{})
	})
}

// The known trap: keyfunc refused 19 of 20.
func TestTokensRightAfterARotation(t *testing.T) {
	bubble(t, newIssuer("old"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		r.issuer.publish("new")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { check(t, s, "new", "found", 50*time.Millisecond) })
		}
		wg.Wait()
		check(t, s, "new", "found", 0)
		check(t, s, "old", "not found", 0)
		r.checkFetches(2)
	})
}

// A fetch that began before the rotation cannot find the new key: those who joined it wait for one more.
func TestRotationDuringAFetch(t *testing.T) {
	bubble(t, newIssuer("old"), func(t *testing.T, r *rig, s *Source) {
		advance(10*time.Minute + 60*time.Millisecond) // into the timed fetch
		r.checkFetches(2)
		r.issuer.publish("new")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { check(t, s, "new", "found", 90*time.Millisecond) })
		}
		wg.Wait()
		r.checkFetches(3)
	})
}

// J-23 of security.md: a flood of made-up kids costs the issuer one fetch, and those who have good tokens nothing.
func TestUnknownKids(t *testing.T) {
	bubble(t, newIssuer("a", "b"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		var slowest atomic.Int64
		var wg sync.WaitGroup
		for i := range 10_000 {
			wg.Go(func() {
				got, took := lookup(s, fmt.Sprintf("junk-%d", i))
				if got != "not found" {
					t.Errorf("a made-up kid is %s", got)
				}
				slowest.Store(max(slowest.Load(), int64(took)))
			})
			if i%10 == 0 {
				check(t, s, "a", "found", 0)
			}
			advance(time.Millisecond)
		}
		wg.Wait()
		r.checkFetches(2)
		if got := time.Duration(slowest.Load()); got > 50*time.Millisecond {
			t.Errorf("the slowest took %v", got)
		}
		if len(s.plan.asked) > maxKids || len(s.plan.missing) > maxKids {
			t.Errorf("%d and %d kids are remembered", len(s.plan.asked), len(s.plan.missing))
		}
	})
}

// The same while the issuer does not answer: those who wait do so for 5 s at most.
func TestUnknownKidsAndADeadIssuer(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		r.issuer.change(func() { r.issuer.delay = time.Hour })
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { check(t, s, fmt.Sprint(i), "not found", fetchTimeout) })
		}
		check(t, s, "a", "found", 0)
		wg.Wait()
		r.checkFetches(2)
		check(t, s, "late", "not found", 0)
	})
}

// The context of a lookup ends its wait, not the fetch.
func TestLookupThatIsGivenUp(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		before := time.Now()
		if _, err := s.Keys(ctx, "a"); !errors.Is(err, jwt.ErrUnavailable) || time.Since(before) != 20*time.Millisecond {
			t.Errorf("got error %v after %v", err, time.Since(before))
		}
		check(t, s, "a", "found", 30*time.Millisecond)
		r.checkFetches(1)
	})
}

// A missing kid is looked for again when its time is over, and found if the issuer has it by then.
func TestMissingKid(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		check(t, s, "b", "not found", 50*time.Millisecond)
		r.issuer.publish("a", "b")
		for range 4 {
			advance(time.Minute)
			check(t, s, "b", "not found", 0)
		}
		r.checkFetches(2)
		advance(time.Minute)
		check(t, s, "b", "found", 50*time.Millisecond)
		r.checkFetches(3)
	})
}

// A missing kid is found at once when another fetch brings it.
func TestMissingKidThatComes(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		check(t, s, "b", "not found", 50*time.Millisecond)
		r.issuer.publish("a", "b")
		advance(30 * time.Second)
		check(t, s, "c", "not found", 50*time.Millisecond)
		check(t, s, "b", "found", 0)
	})
}

func TestTimedRefresh(t *testing.T) {
	for cacheControl, want := range map[string]time.Duration{
		"":                      10 * time.Minute,
		"max-age=300":           5 * time.Minute,
		"max-age=0":             time.Minute,
		"public, max-age=86401": 24 * time.Hour,
		"no-store":              time.Minute,
	} {
		t.Run(cacheControl, func(t *testing.T) {
			i := newIssuer("a")
			i.says(cacheControl)
			bubble(t, i, func(t *testing.T, r *rig, s *Source) {
				advance(50 * time.Millisecond)
				i.publish("a", "b")
				advance(want - time.Nanosecond)
				r.checkFetches(1)
				advance(time.Nanosecond)
				r.checkFetches(2)
				advance(50 * time.Millisecond)
				check(t, s, "b", "found", 0)
			})
		})
	}
}

// Keys serve an hour beyond their lifetime while the issuer cannot be reached, and not a moment longer.
func TestStaleKeys(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(50 * time.Millisecond)
		r.issuer.fail(errors.New("connection refused"))
		advance(70*time.Minute - time.Nanosecond)
		check(t, s, "a", "found", 0)
		if !s.Ready() {
			t.Error("not ready with stale keys")
		}
		advance(time.Nanosecond)
		check(t, s, "a", unavailable, 0)
		if s.Ready() {
			t.Error("ready with keys that are too old")
		}
		r.issuer.fail(nil)
		advance(time.Minute + 50*time.Millisecond)
		check(t, s, "a", "found", 0)
	})
}

func TestMaxStaleIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newIssuer("a"))
		s := r.source(Config{URL: testURL, MaxStale: time.Minute})
		r.Start([]*Source{s})
		advance(50 * time.Millisecond)
		r.issuer.fail(errors.New("connection refused"))
		advance(11*time.Minute - time.Nanosecond)
		check(t, s, "a", "found", 0)
		advance(time.Nanosecond)
		check(t, s, "a", unavailable, 0)
	})
}

// A gateway that starts before its issuer has no keys, says so at once, and gets them soon after.
func TestIssuerThatComesLate(t *testing.T) {
	i := newIssuer("a")
	i.fail(errors.New("connection refused"))
	bubble(t, i, func(t *testing.T, r *rig, s *Source) {
		check(t, s, "a", unavailable, 50*time.Millisecond) // the first try
		check(t, s, "a", unavailable, 0)
		if s.Ready() {
			t.Error("ready without keys")
		}
		advance(10 * time.Second) // tries at 0, 1, 3 and 7 s
		r.checkFetches(4)
		i.fail(nil)
		advance(6 * time.Second) // and at 15 s
		check(t, s, "a", "found", 0)
		r.checkFetches(5)
	})
}

// What is no key set, or an empty one, does not replace keys that serve.
func TestBadAnswers(t *testing.T) {
	for name, bad := range map[string]answer{
		"redirect":   {status: 302, body: document("b")},
		"error":      {status: 500, body: document("b")},
		"no content": {status: 204, body: []byte{}},
		"page":       {status: 200, body: []byte("<html>S3CRET</html>")},
		"no key":     {status: 200, body: document()},
		"no good":    {status: 200, body: []byte(`{"keys":[{"kty":"oct","kid":"b","k":"UzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVU"}]}`)},
		"too large":  {status: 200, body: append(document("b"), make([]byte, jwt.MaxKeySet)...)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
				advance(time.Second)
				r.issuer.change(func() { r.issuer.answer = bad })
				check(t, s, "b", "not found", 50*time.Millisecond)
				check(t, s, "a", "found", 0)
				synctest.Wait() // the log is written behind the answer
				if lines := r.log.with("level=WARN"); len(lines) != 1 {
					t.Errorf("warned of it in %q", lines)
				}
				for _, secret := range []string{"S3CRET", "UzNDUkVU"} {
					if lines := r.log.with(secret); len(lines) > 0 {
						t.Errorf("the log shows %q", lines)
					}
				}
			})
		})
	}
}

// The log tells of the first keys, of changes, and once when the issuer is back.
func TestLogOfFetches(t *testing.T) {
	bubble(t, newIssuer("a"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Hour)
		if lines := r.log.with("token keys"); len(lines) != 1 {
			t.Errorf("after an hour without change: %q", lines)
		}
		r.issuer.publish("a", "b")
		advance(time.Hour)
		if lines := r.log.with("keys=2 again=10m0s"); len(lines) != 1 {
			t.Errorf("of a second key: %q", lines)
		}
		r.issuer.fail(errors.New("connection refused"))
		advance(time.Second)
		r.issuer.fail(nil)
		advance(time.Hour)
		if lines := r.log.with("token keys"); len(lines) != 4 {
			t.Errorf("after a failure: %q", lines)
		}
		if lines := r.log.with(`error="connection refused" usable=true again=1s`); len(lines) != 1 {
			t.Errorf("of a failure: %q", lines)
		}
	})
}

// Keys that cannot be used are passed over, and the log says once why.
func TestSkippedKeys(t *testing.T) {
	issuer := newIssuer()
	secret := `{"kty":"oct","kid":"b","k":"UzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVU"},`
	issuer.answer.body = bytes.Replace(document("a"), []byte("["), []byte("["+secret), 1) // before the first fetch
	bubble(t, issuer, func(t *testing.T, r *rig, s *Source) {
		check(t, s, "a", "found", 50*time.Millisecond)
		check(t, s, "b", "not found", 50*time.Millisecond)
		advance(time.Hour)
		if lines := r.log.with("keys=1 again=10m0s skipped=1 first="); len(lines) != 1 || strings.Contains(lines[0], "UzNDUkVU") {
			t.Errorf("the log says %q", lines)
		}
	})
}

// Once keys are there a lookup allocates nothing.
func TestLookupOfAKnownKidAllocatesNothing(t *testing.T) {
	i := newIssuer("a")
	i.delay = 0
	r := newRig(t, i)
	s := r.source(Config{URL: testURL})
	r.Start([]*Source{s})
	ctx := t.Context()
	if _, err := s.Keys(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.Keys(ctx, "a") }); n > 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}
