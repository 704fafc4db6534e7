package ratelimit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Never is the RetryAfter of a bucket that admits nothing at any time.
const Never time.Duration = math.MaxInt64

// Bucket is a token bucket: it starts with Burst tokens and gains PerSecond of them each second, up to Burst.
type Bucket struct {
	// rate.Limiter takes a time before the last one as a reset of its clock, and would then give the tokens between the two twice. Callers that
	// read their clocks at the same time come in any order.
	mu      sync.Mutex
	last    time.Time
	limiter *rate.Limiter
	rate    Rate
}

// NewBucket makes a full bucket. One of a Rate that is no limit (zero, negative, not a number, over MaxBytes) admits nothing.
func NewBucket(r Rate) *Bucket {
	if !r.valid() {
		r = Rate{}
	}
	return &Bucket{limiter: rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst), rate: r}
}

// Allow takes one token and tells whether there was one. It allocates nothing.
func (b *Bucket) Allow(now time.Time) bool { return b.AllowN(now, 1) }

// AllowN takes n tokens and tells whether there were so many; otherwise it takes none. More than the burst are never there. n == 0 is
// always allowed, a negative n never.
func (b *Bucket) AllowN(now time.Time, n int) bool {
	if n <= 0 {
		return n == 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limiter.AllowN(b.at(now), n)
}

// TakeN is AllowN that also says how long after now it may succeed, if nobody else takes the tokens: 0 if it did now, Never for more than the
// burst and for a negative n.
func (b *Bucket) TakeN(now time.Time, n int) (ok bool, wait time.Duration) {
	switch {
	case n < 0:
		return false, Never
	case n == 0:
		return true, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limiter.AllowN(b.at(now), n) {
		return true, 0
	}
	return false, b.wait(now, n)
}

// GiveN gives n tokens back that were taken, up to the burst.
func (b *Bucket) GiveN(now time.Time, n int) {
	if n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limiter.AllowN(b.at(now), -n)
}

// RetryAfter is how long after now Allow will admit, if nobody else takes the token: 0 if it does now. It takes no token.
func (b *Bucket) RetryAfter(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wait(now, 1)
}

// SetRate changes the rate from now on. What was taken stays taken: a bucket keeps its tokens, up to the new burst, and only one that was full
// is full again.
func (b *Bucket) SetRate(now time.Time, r Rate) {
	if !r.valid() {
		r = Rate{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r == b.rate {
		return
	}
	at := b.at(now)
	if b.missing(at, b.rate.Burst) <= 0 {
		b.limiter = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
	} else {
		b.limiter.SetLimitAt(at, rate.Limit(r.PerSecond))
		b.limiter.SetBurstAt(at, r.Burst)
	}
	b.rate = r
}

// taken is how many tokens are missing until b is full, rounded up.
func (b *Bucket) taken(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(math.Ceil(b.missing(b.at(now), b.rate.Burst)))
}

// idleAt is when b will be full, if nobody takes tokens until then: from then on it is as good as a new one. It is a zero time for a bucket
// that nobody has used.
func (b *Bucket) idleAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() || b.rate.Burst == 0 {
		return time.Time{}
	}
	return b.last.Add(b.rate.timeFor(b.missing(b.last, b.rate.Burst)))
}

// wait is how long after now there will be n tokens, n > 0. b.mu is held.
func (b *Bucket) wait(now time.Time, n int) time.Duration {
	if n > b.rate.Burst {
		return Never
	}
	at := b.at(now)
	missing := b.missing(at, n)
	if missing <= 0 {
		return 0
	}
	return at.Sub(now) + b.rate.timeFor(missing)
}

// missing is how many of n tokens are not there. b.mu is held.
func (b *Bucket) missing(at time.Time, n int) float64 {
	return float64(n) - b.limiter.TokensAt(at)
}

// at keeps time from running backwards. b.mu is held.
func (b *Bucket) at(now time.Time) time.Time {
	if now.Before(b.last) {
		return b.last
	}
	b.last = now
	return now
}
