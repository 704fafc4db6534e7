package ratelimit

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A client that keeps to the limit notices nothing: not the start, not the latency, not an outage.
func TestLeaseOfLawfulClient(t *testing.T) {
	r := Rate{50, 100}
	for name, test := range map[string]struct {
		nodes   int
		latency time.Duration
		away    bool
	}{
		"one gateway":             {1, ms, false},
		"one gateway, slow":       {1, 40 * ms, false},
		"one gateway, no Redis":   {1, 0, true},
		"three gateways":          {3, ms, false},
		"three gateways, slow":    {3, 20 * ms, false},
		"no answer comes in time": {1, 60 * ms, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(test.nodes, 25, r)
			w.delay = func() time.Duration { return test.latency / 2 }
			if test.away {
				w.away()
			}
			for i := range 100 / test.nodes { // at once
				if !w.take(0, 1) {
					t.Fatalf("message %d of the first burst was refused", i)
				}
			}
			w.pass(2 * time.Second)
			for i := range 3000 {
				w.pass(time.Second / 45)
				if !w.take(0, 1) {
					t.Fatalf("message %d at 45/s was refused", i)
				}
			}
		})
	}
}

// A client far over the limit gets what the limit says, neither more nor much less, wherever it connects.
func TestLeasesOfGreedyClient(t *testing.T) {
	const span = 20 * time.Second
	for _, r := range []Rate{{50, 100}, {1000, 1000}, {2, 5}, {20, 4}} {
		for nodes := range 5 {
			w := newWorld(nodes+1, 25, r)
			w.delay = func() time.Duration { return ms / 2 }
			for w.now.Before(epoch.Add(span)) {
				for node := range w.leases {
					w.take(node, 1)
				}
				w.pass(time.Duration(float64(time.Second) / r.PerSecond / 3))
			}
			total := 0
			for _, a := range w.admits {
				total += a.n
			}
			want := float64(r.Burst) + r.PerSecond*span.Seconds()
			most := r.PerSecond*span.Seconds() + bound(w.leases[0].terms, r, w.timeout, 1, 0)
			if float64(total) > most || float64(total) < want*0.94 {
				t.Errorf("%v on %d gateways: %d in %v, want about %.0f, at most %.0f", r, nodes+1, total, span, want, most)
			}
		}
	}
}

// One gateway alone gives a burst as exactly as without Redis: 200 of 400 at once, and after that the rate.
func TestLeaseOfOneGateway(t *testing.T) {
	for _, latency := range []time.Duration{0, ms, 30 * ms} {
		r := Rate{100, 200}
		w := newWorld(1, 25, r)
		w.delay = func() time.Duration { return latency / 2 }
		w.leases[0].warm(w.now)
		w.pass(time.Second)
		for range 400 {
			w.take(0, 1)
		}
		if len(w.admits) != 200 {
			t.Errorf("latency %v: %d of a burst of 200", latency, len(w.admits))
		}
		for range 20_000 {
			w.take(0, 1)
			w.pass(ms)
		}
		if total := len(w.admits); total < 200+2000*95/100 || total > 200+2000+50+25 { // a batch that was leased before, and what is taken while a question is under way
			t.Errorf("latency %v: %d in 20 s at 100/s burst 200", latency, total)
		}
	}
}

// What a lease asks, and what it makes of answers. The burst of 40 is shared by 2 gateways: the share is 20, a batch 10.
func TestLeaseAsks(t *testing.T) {
	l, queue := newAsked(Rate{10, 40})
	take := func(at time.Duration, n int, ok bool, wait time.Duration) {
		t.Helper()
		if gotOK, gotWait := l.TakeN(epoch.Add(at), n); gotOK != ok || gotWait != wait {
			t.Errorf("TakeN(%v, %d) = %t, %v, want %t, %v", at, n, gotOK, gotWait, ok, wait)
		}
	}
	// each is 100 ms: us per token, burst, taken, wanted, worth coming back for
	asks := func(at time.Duration, want ...any) {
		t.Helper()
		if len(*queue) != 1 {
			t.Fatalf("%d questions at %v, want 1", len(*queue), at)
		}
		_, key, got := l.question(epoch.Add(at))
		if *queue = nil; key != "key" || !slices.Equal(got, append([]any{1e5, 40}, want...)) {
			t.Errorf("at %v it asks %v, want %v", at, got[2:], want)
		}
	}
	answer := func(at time.Duration, valid bool, reply ...int64) {
		t.Helper()
		if got := l.answer(epoch.Add(at), reply); got != valid {
			t.Errorf("the reply %v is valid: %t", reply, got)
		}
	}

	take(0, 41, false, Never)
	take(0, -1, false, Never)
	take(0, 0, true, 0)
	if len(*queue) > 0 {
		t.Fatal("a question before anybody wanted anything")
	}
	take(0, 3, true, 0) // of the share
	take(10*ms, 2, true, 0)
	asks(20*ms, 5, 10, 3)
	take(21*ms, 1, true, 0)
	answer(22*ms, true, 10, 0)
	asks(23*ms, 1, 0, 3) // the one that was taken meanwhile
	answer(24*ms, true, 0, 0)
	take(25*ms, 4, true, 0)
	if len(*queue) > 0 {
		t.Fatal("a question although there is more than half a batch")
	}
	take(26*ms, 1, true, 0)
	asks(27*ms, 0, 5, 3)
	take(28*ms, 5, true, 0)
	take(29*ms, 15, false, 5*ms) // the share has 9 and a little: 6 were taken, and half of 10 leased ones
	take(29*ms, 8, true, 0)
	answer(30*ms, true, 5, 0)
	asks(31*ms, 8, 10, 10) // somebody wanted 15, and there are 5
	answer(32*ms, true, 2, 200_000)
	take(33*ms, 8, false, 199*ms)
	take(33*ms, 7, true, 0)
	take(33*ms, 1, false, 199*ms)
	if len(*queue) > 0 {
		t.Fatal("a question although Redis has said until when it has none")
	}
	take(232*ms, 1, true, 0) // of the share
	asks(233*ms, 1, 10, 8)
	answer(280*ms, false)
	asks(290*ms, 1, 10, 3) // the debt is told until Redis has heard it
	answer(291*ms, true, 0, 1<<62)
	take(300*ms, 1, false, 4*time.Second-9*ms) // no wait is longer than what fills a bucket
}

// What a lease lacks comes from the share, and what it has goes first.
func TestLeaseAndShare(t *testing.T) {
	l, _ := newAsked(Rate{10, 40})
	l.question(epoch)
	l.answer(epoch, []int64{10, 0})
	if ok, _ := l.TakeN(epoch, 14); !ok {
		t.Fatal("10 leased and 20 of the share are not 14")
	}
	if l.tokens != 0 || l.debt != 4 {
		t.Errorf("%d tokens and a debt of %d, want 0 and 4", l.tokens, l.debt)
	}
}

func TestLeaseTakesBack(t *testing.T) {
	l, _ := newAsked(Rate{10, 40})
	l.TakeN(epoch, 20)
	for _, n := range []int{5, 0, -3, math.MinInt} {
		l.GiveN(epoch, n)
	}
	if l.tokens != 5 || l.debt != 20 {
		t.Errorf("%d tokens and a debt of %d, want 5 and 20", l.tokens, l.debt)
	}
	if l.GiveN(epoch, 100); l.tokens != 40 {
		t.Errorf("%d tokens of a burst of 40", l.tokens)
	}
	if ok, _ := l.TakeN(epoch, 40); !ok {
		t.Error("what was given back is not there")
	}
}

// newAsked returns a lease of the second of two gateways, and what it asks.
func newAsked(r Rate) (*lease, *[]question) {
	queue := new([]question)
	ask := func(q question) bool {
		*queue = append(*queue, q)
		return true
	}
	return newLease(&terms{nodes: 2, percent: 50, timeout: 50 * ms, ask: ask, there: func() bool { return true }, alone: func() {}}, "key", r), queue
}

// Replies that cannot be leave everything as if there had been none.
func TestLeaseDiscardsNonsense(t *testing.T) {
	for name, reply := range map[string][]int64{
		"none":             nil,
		"too short":        {5},
		"too long":         {5, 0, 0},
		"negative":         {-1, 0},
		"more than wanted": {11, 0},
		"no number":        {math.MinInt64, math.MinInt64}, // what Redis makes of NaN
		"very many":        {math.MaxInt64, 0},
		"negative wait":    {5, -1},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newAsked(Rate{10, 40})
			l.TakeN(epoch, 20)
			l.question(epoch)
			if l.answer(epoch, reply) {
				t.Error("it is valid")
			}
			if l.tokens != 0 || l.debt != 20 || !l.until.IsZero() || !l.owing.Equal(epoch) {
				t.Errorf("%d tokens, debt %d since %v, until %v", l.tokens, l.debt, l.owing, l.until)
			}
			if ok, _ := l.TakeN(epoch, 1); ok {
				t.Error("it gave tokens")
			}
		})
	}
}

// Without Redis a gateway admits its share: 5/s burst 20 of 10/s burst 40.
func TestLeaseAlone(t *testing.T) {
	w := newWorld(2, 50, Rate{10, 40})
	w.away()
	total := 0
	for range 1000 {
		if w.take(0, 1) {
			total++
		}
		w.pass(10 * ms)
	}
	if total < 20+50-1 || total > 20+50 || w.alone == 0 {
		t.Errorf("%d in 10 s, want 70; %d decisions alone", total, w.alone)
	}
	if ok, wait := w.leases[0].TakeN(w.now, 40); ok || wait != awayWait {
		t.Errorf("more than the share: %t, wait %v, want a second", ok, wait)
	}
	// All of it is told, as taken in the last 10 s, when Redis comes back: then the bucket there is not full.
	w.there()
	w.pass(time.Second)
	if full := w.redis["key"].full - float64(w.now.UnixMicro()); full < -1e6 || full > 4e6 {
		t.Errorf("the bucket in Redis is full in %.1f s", full/1e6)
	}
}

func TestLeaseRateChanges(t *testing.T) {
	l, queue := newAsked(Rate{10, 40})
	l.TakeN(epoch, 20)
	l.setRate(epoch, Rate{100, 4})
	if ok, wait := l.TakeN(epoch, 5); ok || wait != Never {
		t.Errorf("more than the new burst: %t, %v", ok, wait)
	}
	if ok, _ := l.TakeN(epoch, 1); ok {
		t.Error("the share is as if nothing had been taken")
	}
	_, _, args := l.question(epoch)
	if want := []any{1e4, 4, 20, 1, 1}; len(*queue) != 1 || !slices.Equal(args, want) {
		t.Errorf("it asks %v, want %v", args, want)
	}
	l.answer(epoch, []int64{1, 0})
	l.setRate(epoch, Rate{100, 4})
	if ok, _ := l.TakeN(epoch, 1); !ok {
		t.Error("the same rate again took the lease")
	}

	l, _ = newAsked(Rate{10, 40})
	l.question(epoch)
	l.answer(epoch, []int64{9, 1e6})
	l.setRate(epoch, Rate{10, 4})
	if l.tokens != 4 || !l.until.IsZero() {
		t.Errorf("%d tokens of a burst of 4; Redis has none until %v by another rate", l.tokens, l.until)
	}
}

// A lease may be forgotten when neither it nor Redis would notice.
func TestLeaseIdle(t *testing.T) {
	l, _ := newAsked(Rate{10, 40})
	idle := func(want time.Duration) {
		t.Helper()
		if got := l.idleAt().Sub(epoch); got != want {
			t.Errorf("idle at %v, want %v", got, want)
		}
	}
	if !l.idleAt().IsZero() {
		t.Error("a new lease is worth keeping")
	}
	l.TakeN(epoch, 1)
	idle(200 * ms) // the share gains 5/s
	l.question(epoch)
	l.answer(epoch, []int64{10, 0})
	idle(time.Second) // 10 tokens
	l.TakeN(epoch, 7)
	idle(800 * ms) // the share gave 1, and 3 as its part of 7
	l.question(epoch)
	l.answer(epoch, []int64{0, 900_000})
	idle(900 * ms)
}

func TestLeaseWarm(t *testing.T) {
	l, queue := newAsked(Rate{10, 40})
	l.warm(epoch)
	l.warm(epoch)
	if len(*queue) != 1 {
		t.Fatalf("%d questions of a new session, want 1", len(*queue))
	}
	l.question(epoch)
	l.answer(epoch, []int64{3, 100_000})
	l.warm(epoch)
	l.TakeN(epoch, 3)
	l.warm(epoch)
	if len(*queue) != 1 {
		t.Error("a question although there are tokens, or none to be had")
	}
}

func TestLeaseAllocatesNothing(t *testing.T) {
	l, _ := newAsked(Rate{1e6, 1e6})
	l.question(epoch)
	l.answer(epoch, []int64{250_000, 0})
	now := epoch
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Microsecond)
		l.TakeN(now, 1)
		l.TakeN(now, 400_000)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// The law: whatever Redis does, in any time no more is admitted over all gateways than the bound says.
func TestLeasesKeepTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{float64(rapid.SampledFrom([]int{1, 7, 50, 1000}).Draw(t, "rate")), rapid.SampledFrom([]int{1, 5, 40, 500}).Draw(t, "burst")}
		nodes := rapid.IntRange(1, 4).Draw(t, "nodes")
		w := newWorld(nodes, rapid.IntRange(1, 100).Draw(t, "percent"), r)
		latency := rapid.IntRange(0, 60).Draw(t, "latency")
		loss := rapid.IntRange(0, 30).Draw(t, "loss")
		seed := rapid.Uint64().Draw(t, "seed")
		random := func(n int) int { // cheaper than to draw, and shrunk by its seed alone
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33) % n
		}
		w.delay = func() time.Duration { return time.Duration(random(latency+1)) * ms / 2 }
		w.lost = func() bool { return random(100) < loss }
		for range rapid.IntRange(10, 60).Draw(t, "phases") {
			switch rapid.SampledFrom([]string{"flood", "flood", "flood one", "rest", "away", "there", "forget"}).Draw(t, "phase") {
			case "flood":
				for range 300 {
					w.take(random(nodes), 1+random(min(r.Burst, 3)))
					w.pass(time.Duration(random(int(3e9/r.PerSecond)/10+1)) * 1)
				}
			case "flood one":
				node := random(nodes)
				for range 300 {
					w.take(node, 1)
					w.pass(time.Duration(random(int(3e9/r.PerSecond)/10 + 1)))
				}
			case "rest":
				w.pass(time.Duration(random(5000)) * ms)
			case "away":
				w.away()
			case "there":
				w.there()
			case "forget":
				clear(w.redis)
				w.outages++
			}
		}
		if got, most := w.excess(r), bound(w.leases[0].terms, r, w.timeout, min(r.Burst, 3), w.outages); got > most {
			t.Errorf("%v on %d gateways: %v more than R*t, at most %v", r, nodes, got, most)
		}
	})
}
