package relay

import (
	"math"
	"time"
)

// A Bucket is where a Rate takes its tokens from. Both methods are told the
// time, may be called for many sessions at once, and must not block.
type Bucket interface {
	// TakeN takes n tokens, which are at most the rate's Burst, and reports
	// whether there were so many. Otherwise it takes none and says after how
	// long there may be.
	TakeN(now time.Time, n int) (ok bool, wait time.Duration)
	// GiveN gives tokens back that TakeN took: what they were for was refused
	// by another rate.
	GiveN(now time.Time, n int)
}

// A bucket is that of one rate of one side of one session. It takes a tenth of
// the time that a rate.Limiter takes, which every message would feel, and a
// fifth of the memory: nobody else uses it, so it has no lock, and it counts in
// the session's time.
type bucket struct {
	tokens float64
	at     time.Duration // for which tokens holds
}

// newBuckets returns those of a side's rates, full.
func newBuckets(rates []Rate, now time.Duration) []bucket {
	buckets := make([]bucket, len(rates))
	for i := range buckets {
		buckets[i] = bucket{float64(rates[i].Burst), now}
	}
	return buckets
}

// shared returns the bucket of the rate i of a side that the session shares
// with others, or nil where it uses its own.
func (s *Session) shared(from Side, i int) Bucket {
	if all := s.granted(from).Buckets[from]; i < len(all) {
		return all[i]
	}
	return nil
}

// fill adds what was gained since the bucket was last looked at.
func (b *bucket) fill(r *Rate, now time.Duration) {
	b.tokens = min(b.tokens+float64(now-b.at)*r.PerSecond*1e-9, float64(r.Burst))
	b.at = now
}

// take is TakeN. What is missing for less than a nanosecond is not missing: so
// much is lost by rounding.
func (b *bucket) take(r *Rate, now time.Duration, n int64) (ok bool, wait time.Duration) {
	b.fill(r, now)
	missing := (float64(n) - b.tokens) / r.PerSecond // seconds
	if missing < 1e-9 {
		b.tokens -= float64(n)
		return true, 0
	}
	return false, time.Duration(math.Ceil(min(missing, longestWait.Seconds()) * 1e9))
}

// give is GiveN. No more is given than was taken, and what was gained meanwhile
// fill cuts.
func (b *bucket) give(n int64) { b.tokens += float64(n) }

// adopt takes over from the bucket of a rate that had other numbers. What was
// taken stays taken; only one that was full is full.
func (b *bucket) adopt(r *Rate, before bucket, was *Rate, now time.Duration) {
	before.fill(was, now)
	if before.tokens < float64(was.Burst) {
		b.tokens = min(before.tokens, float64(r.Burst))
	}
}
