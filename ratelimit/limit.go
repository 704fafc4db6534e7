package ratelimit

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// A Limit is one limit of the configuration, for each of its keys: a Rate, or a number at once, or both. It is not changed once it is in use.
type Limit struct {
	// Name is its identity, such as policy/rule/key: limits of the same name share their state, and keep it when a reload changes the numbers.
	Name string
	Rate Rate  // of events; the zero Rate admits none
	Max  int64 // at once; 0 or less admits none
}

// A Store keeps the state of limits by key, such as an address or a user. Its memory is bounded, whatever the keys are.
type Store interface {
	// Take takes n events of a key from the limit's rate and tells whether there were so many; otherwise it takes none, and wait is how long
	// after now it may succeed (Never: at no time).
	Take(l *Limit, key string, n int, now time.Time) (ok bool, wait time.Duration)
	// Acquire takes one of the limit's places for a key, if there is one. release gives it back, once, however often it is called; it is
	// never nil.
	Acquire(l *Limit, key string, now time.Time) (release func(), ok bool)
	// Keep tells whether a place that is taken may stay although the limit's numbers have changed: with it no more are taken than there are now.
	// Where it may not, its release must be called next.
	Keep(l *Limit, key string, now time.Time) (ok bool)
	// Bucket is Take for one who takes often. It must be released.
	Bucket(l *Limit, key string, now time.Time) *Shared
}

// A Shared is a bucket of a Store in the hands of one of those who take from it, found once.
type Shared struct {
	bucket  bucket
	once    sync.Once
	release func()
}

// bucket is a *Bucket, or a *lease of Redis.
type bucket interface {
	TakeN(now time.Time, n int) (ok bool, wait time.Duration)
	GiveN(now time.Time, n int)
}

// TakeN is Store.Take. It allocates nothing.
func (s *Shared) TakeN(now time.Time, n int) (ok bool, wait time.Duration) {
	return s.bucket.TakeN(now, n)
}

// GiveN gives back what TakeN took: it was for something that did not come about.
func (s *Shared) GiveN(now time.Time, n int) { s.bucket.GiveN(now, n) }

// Release lets the store forget the bucket once it is full and nobody else holds it. A second call does nothing.
func (s *Shared) Release() { s.once.Do(s.release) }

// AddressKey is the key of a client's address: an IPv4 address, also in its IPv6 form, or the /64 of an IPv6 address, since whoever has one
// address of it usually has all of them. A zone is ignored.
func AddressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// RetryAfter is the value of a Retry-After header, in seconds: at least wait and at least 1, and then later by a share of that time or of 5 s,
// so that those who were refused together do not come back together. jitter is a random number from 0 to 1. No wait is over an hour.
func RetryAfter(wait time.Duration, jitter float64) (seconds int) {
	least := math.Ceil(min(max(wait, time.Second), time.Hour).Seconds())
	if !(jitter >= 0) { // or not a number
		jitter = 0
	}
	return int(least + min(jitter, 1)*max(least, 5))
}
