package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Set is what is known of a name. The zero value knows nothing.
type Set struct {
	servers  []Found // the last good answer, ordered by priority and address
	failures int     // in a row
}

var errEmpty = errors.New("no addresses")

// Answered takes the answer of a lookup. judge says why an address must not be used; nil is for those that may. What was known stays where an
// answer has failed, is empty, or holds nothing that may be used: then problem says which. An answer that is good in part has a problem too.
func (s *Set) Answered(r *Rules, answer []Found, failure error, judge func(netip.Addr) error) (changed bool, problem error) {
	good, refused := judged(answer, judge)
	if problem = failure; failure == nil && len(good) == 0 {
		problem = cmp.Or(refused, errEmpty)
	}
	if problem != nil {
		s.failures++
		return false, problem
	}
	s.failures = 0
	if problem = refused; len(good) > r.MaxAddresses {
		problem = fmt.Errorf("%d addresses, of which %d are used", len(good), r.MaxAddresses)
		good = s.bounded(good, r.MaxAddresses)
	}
	changed = !slices.Equal(s.servers, good)
	s.servers = good
	return changed, problem
}

// judged returns the addresses that may be used, each once, in order.
func judged(answer []Found, judge func(netip.Addr) error) (good []Found, refused error) {
	for _, f := range answer {
		if err := judge(f.Address.Addr()); err != nil {
			refused = err
			continue
		}
		good = append(good, f)
	}
	slices.SortFunc(good, func(a, b Found) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight))
	})
	good = slices.CompactFunc(good, func(a, b Found) bool { return a.Address == b.Address })
	slices.SortStableFunc(good, func(a, b Found) int { return cmp.Compare(a.Priority, b.Priority) })
	return good, refused
}

// bounded keeps so many: those that are in use first, so that an answer over the bound does not move servers about.
func (s *Set) bounded(good []Found, most int) []Found {
	used := map[netip.AddrPort]bool{}
	for _, f := range s.servers {
		used[f.Address] = true
	}
	slices.SortStableFunc(good, func(a, b Found) int {
		switch {
		case used[a.Address] == used[b.Address]:
			return 0
		case used[a.Address]:
			return -1
		}
		return 1
	})
	good = good[:most]
	slices.SortStableFunc(good, func(a, b Found) int { return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Address.Compare(b.Address)) })
	return good
}

// Servers returns the last good answer, ordered by priority and address. It is not to be changed.
func (s *Set) Servers() []Found { return s.servers }

// firstRetry is the time to the next lookup after the first that failed.
const firstRetry = time.Second

// Next returns the time from a lookup to the next one; random is from [0, 1). Failed ones are repeated sooner, at times that double.
func (s *Set) Next(r *Rules, random float64) time.Duration {
	if s.failures == 0 {
		return r.MinInterval + time.Duration(random*float64(r.MaxInterval-r.MinInterval))
	}
	wait := firstRetry
	for range s.failures - 1 {
		if wait *= 2; wait >= r.MaxInterval {
			break
		}
	}
	wait = min(wait, r.MaxInterval)
	return wait/2 + time.Duration(random*float64(wait/2))
}
