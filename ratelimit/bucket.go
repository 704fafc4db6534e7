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

// NewBucket makes a full bucket. One of a Rate that is no limit (zero, negative, not a number, over MaxEvents) admits nothing.
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

// RetryAfter is how long after now Allow will admit, if nobody else takes the token: 0 if it does now. It takes no token.
func (b *Bucket) RetryAfter(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate.PerSecond == 0 {
		return Never
	}
	at := b.at(now)
	missing := 1 - b.limiter.TokensAt(at)
	if missing <= 0 {
		return 0
	}
	wait := math.Ceil(missing / b.rate.PerSecond * float64(time.Second))
	return at.Sub(now) + time.Duration(wait)
}

// at keeps time from running backwards. b.mu is held.
func (b *Bucket) at(now time.Time) time.Time {
	if now.Before(b.last) {
		return b.last
	}
	b.last = now
	return now
}
