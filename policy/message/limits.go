package message

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/framegate/framegate/policy/pattern"
	"github.com/framegate/framegate/ratelimit"
)

// limit is how often the operations that match a pattern may pass on one connection.
type limit struct {
	reaction
	operations pattern.Glob
	rate       ratelimit.Rate
}

// limiters are the states of a connection's limits. A time that runs backwards stands still.
type limiters struct {
	last time.Time
	all  []*rate.Limiter // made with the first operation that is limited
}

func (l *limiters) at(now time.Time) time.Time {
	if now.After(l.last) {
		l.last = now
	}
	return l.last
}

// checkLimits takes counts tokens from the limits of a policy if all of them have so many, and none otherwise.
func (in *inspection) checkLimits(p *part, counts []int) (refusal, bool) {
	state, o := &in.memory.limits, p.operations
	now := state.at(in.now)
	for k, n := range counts {
		if n > 0 && !hasTokens(state.limiter(in.Inspector, p.firstLimit+k), now, n) {
			return refusal{reaction: o.limits[k].reaction, reason: "operation rate exceeded", operation: []byte(o.limits[k].operations.String())}, false
		}
	}
	for k, n := range counts {
		if n > 0 {
			state.all[p.firstLimit+k].AllowN(now, n)
		}
	}
	return refusal{}, true
}

// limiter returns the state of one limit, full at first.
func (l *limiters) limiter(i *Inspector, k int) *rate.Limiter {
	if l.all == nil {
		l.all = make([]*rate.Limiter, len(i.limits))
	}
	if l.all[k] == nil {
		l.all[k] = rate.NewLimiter(rate.Limit(i.limits[k].rate.PerSecond), i.limits[k].rate.Burst)
	}
	return l.all[k]
}

// follow takes over what limits of the same name remember when a connection gets other rules: a reload is no new burst.
func (l *limiters) follow(old, next *Inspector, now time.Time) {
	before := l.all
	l.all = nil
	if before == nil {
		return
	}
	l.all = make([]*rate.Limiter, len(next.limits))
	for k, limit := range next.limits {
		for j, known := range old.limits {
			if known.rule != limit.rule || before[j] == nil {
				continue
			}
			l.all[k] = before[j]
			l.all[k].SetLimitAt(l.at(now), rate.Limit(limit.rate.PerSecond))
			l.all[k].SetBurstAt(l.at(now), limit.rate.Burst)
		}
	}
}

// hasTokens says whether AllowN would admit n; it allows for what floating-point arithmetic loses, as that does.
func hasTokens(l *rate.Limiter, now time.Time, n int) bool {
	const lost = 1e-6
	return n <= l.Burst() && l.TokensAt(now) >= float64(n)-lost
}
