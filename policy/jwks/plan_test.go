package jwks

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestPlan runs scripts of what happens to a plan. A step is at a second, and says what must come of it.
func TestPlan(t *testing.T) {
	type step struct {
		at   float64 // seconds since the start
		do   string  // want KID, note KID, begin, found KIDS, failed
		kids []string
		want string // fetch, wait or known missing; of failed the time to the next try
	}
	want := func(at float64, kid, outcome string) step { return step{at, "want", []string{kid}, outcome} }
	note := func(at float64, kid string) step { return step{at, "note", []string{kid}, ""} }
	begin := func(at float64) step { return step{at, "begin", nil, ""} }
	found := func(at float64, kids ...string) step { return step{at, "found", kids, ""} }
	failed := func(at float64, wait string) step { return step{at, "failed", nil, wait} }

	for name, steps := range map[string][]step{
		"one fetch per 30 s for kids that are not found": {
			want(0, "a", "fetch"), begin(0), want(0.1, "b", "wait"), found(0.2),
			want(0.2, "c", "wait"), want(29.9, "d", "wait"), want(30, "e", "fetch"),
		},
		"the interval counts from when the fetch was granted": {
			want(10, "a", "fetch"), begin(10), found(15), want(39.9, "b", "wait"), want(40, "b", "fetch"),
		},
		"one more at once after a kid was found": {
			want(0, "a", "fetch"), begin(0), found(0.2, "a"), want(1.1, "b", "wait"), want(1.2, "b", "fetch"),
			begin(1.2), found(1.3), want(2.5, "c", "wait"), want(31.1, "c", "wait"), want(31.2, "c", "fetch"),
		},
		"a kid that was found by a fetch that came with time frees the next too": {
			want(0, "a", "fetch"), begin(0), found(0.2), want(5, "b", "wait"), begin(10), found(10, "b"),
			want(10.9, "c", "wait"), want(11, "c", "fetch"),
		},
		"a kid that was found by a fetch that nobody had to ask for frees nothing that is not taken": {
			begin(0), want(0, "a", "fetch"), begin(0), found(0.1, "a"), want(1, "b", "wait"), want(1.1, "b", "fetch"),
			begin(1.1), found(1.2, "b"), want(60, "c", "fetch"),
		},
		"the first fetch finds a kid, and the next one is free": {
			note(0, "a"), begin(0), found(0.1, "a"), want(0.1, "b", "fetch"),
		},
		"a missing kid is not looked for again for 300 s": {
			want(0, "a", "fetch"), begin(0), found(1), want(1, "a", "missing"), want(31, "a", "missing"),
			want(300.9, "a", "missing"), want(301, "a", "fetch"),
		},
		"a kid that came while a fetch was under way is not missing by it": {
			begin(0), want(0.1, "a", "fetch"), found(0.2), want(0.3, "a", "wait"), begin(1), found(1.5), want(1.5, "a", "missing"),
		},
		"a kid that was granted no fetch is missing by the next, whoever caused it": {
			want(0, "a", "fetch"), begin(0), found(0.1), want(1, "b", "wait"), want(30, "c", "fetch"), begin(30), found(30.1),
			want(30.2, "b", "missing"), want(30.2, "c", "missing"),
		},
		"while fetches fail only time leads to the next": {
			want(0, "a", "fetch"), begin(0), failed(1, "1s"), want(40, "a", "wait"), begin(40), failed(40, "2s"),
			begin(42), failed(42, "4s"), failed(46, "8s"), failed(54, "16s"), failed(70, "32s"), failed(102, "1m0s"), failed(162, "1m0s"),
			begin(222), found(222), want(222, "b", "fetch"), begin(222), failed(224, "1s"),
		},
		"a failed fetch makes no kid missing": {
			want(0, "a", "fetch"), begin(0), failed(1, "1s"), begin(2), found(2), want(2, "a", "wait"), want(30, "a", "fetch"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			var p plan
			var asked map[string]bool
			for i, s := range steps {
				now := start.Add(time.Duration(s.at * float64(time.Second)))
				var got string
				switch s.do {
				case "want":
					got = outcome(&p, s.kids[0], now)
				case "note":
					p.wants(s.kids[0], now)
				case "begin":
					asked = p.begin()
				case "found":
					p.succeeded(asked, func(kid string) bool { return slices.Contains(s.kids, kid) }, now)
				case "failed":
					got = p.failed().String()
				}
				if got != s.want {
					t.Errorf("step %d %+v: got %q", i, s, got)
				}
			}
		})
	}
}

func outcome(p *plan, kid string, now time.Time) string {
	switch {
	case !p.wants(kid, now):
		return "missing"
	case p.grant(now):
		return "fetch"
	}
	return "wait"
}

// TestPlanIsBounded sends more kids than are remembered, and sees the old ones forgotten.
func TestPlanIsBounded(t *testing.T) {
	now := time.Now()
	none := func(string) bool { return false }
	var p plan
	for round := range 20 {
		for i := range 10 * maxKids {
			p.wants(fmt.Sprint(round, " ", i), now)
		}
		if len(p.asked) != maxKids {
			t.Fatalf("round %d: %d kids are to be looked for, want %d", round, len(p.asked), maxKids)
		}
		p.succeeded(p.begin(), none, now)
		if len(p.missing) != maxKids || len(p.asked) != 0 {
			t.Fatalf("round %d: %d kids are missing, %d asked", round, len(p.missing), len(p.asked))
		}
		now = now.Add(askEvery)
	}
	now = now.Add(missingFor)
	p.succeeded(p.begin(), none, now)
	if len(p.missing) != 0 {
		t.Errorf("%d kids are missing after their time", len(p.missing))
	}
}
