package jwks

import (
	"maps"
	"time"
)

const (
	askEvery   = 30 * time.Second // between fetches for unknown kids that were not found
	askSoon    = time.Second      // after a fetch that found one: the issuer makes new keys, so the tokens are no junk
	missingFor = 5 * time.Minute  // nobody looks again for a kid that a fetch has not found
	maxKids    = 128              // that are remembered, of either kind

	firstRetry = time.Second
	maxRetry   = time.Minute
)

// plan decides which kids are worth a fetch, and when. It is told the time and does nothing by itself.
//
// Whoever sends tokens chooses their kids, so that unknown ones must cost the issuer nothing: 10,000 of them are one fetch. But a kid counts as
// missing only after a fetch that began later has not found it, else a good token that comes right after a rotation, and meets a fetch under way
// or one that was not granted, would be refused for minutes.
type plan struct {
	failures int                  // fetches in a row that failed
	askAgain time.Time            // no fetch for an unknown kid before
	asked    map[string]bool      // kids that the next fetch to begin will look for
	missing  map[string]time.Time // kids that a fetch has not found, and until when that holds
}

// wants notes that a token names a kid that is not in the set, and says whether a fetch could find it.
func (p *plan) wants(kid string, now time.Time) bool {
	if now.Before(p.missing[kid]) {
		return false
	}
	if len(p.asked) < maxKids {
		if p.asked == nil {
			p.asked = make(map[string]bool)
		}
		p.asked[kid] = true
	}
	return true
}

// grant says whether to fetch at once for the kids that are wanted. While fetches fail only time leads to the next.
func (p *plan) grant(now time.Time) bool {
	if p.failures > 0 || now.Before(p.askAgain) {
		return false
	}
	p.askAgain = now.Add(askEvery)
	return true
}

// begin returns the kids that the fetch that begins now looks for.
func (p *plan) begin() map[string]bool {
	asked := p.asked
	p.asked = nil
	return asked
}

// succeeded tells that a fetch has looked for the kids that begin returned.
func (p *plan) succeeded(asked map[string]bool, has func(kid string) bool, now time.Time) {
	p.failures = 0
	maps.DeleteFunc(p.missing, func(_ string, until time.Time) bool { return !now.Before(until) })
	for kid := range asked {
		switch {
		case has(kid):
			if soon := now.Add(askSoon); soon.Before(p.askAgain) {
				p.askAgain = soon
			}
		case len(p.missing) < maxKids:
			if p.missing == nil {
				p.missing = make(map[string]time.Time)
			}
			p.missing[kid] = now.Add(missingFor)
		}
	}
}

// failed tells that a fetch has failed, and returns how long to wait for the next.
func (p *plan) failed() time.Duration {
	p.failures++
	wait := firstRetry
	for range p.failures - 1 {
		if wait *= 2; wait >= maxRetry {
			return maxRetry
		}
	}
	return wait
}
