package upstream

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// Facts are what a pick may go by: the request as the server would get it.
type Facts struct {
	Now     time.Time
	Address netip.Addr                       // of the client
	Hop     Hop                              // that servers are told by the PROXY protocol
	Header  http.Header                      // with the gateway's own cookies
	Query   string                           // raw
	Claim   func(name string) (string, bool) // of the client's token; nil where there is none
}

// A Pick is the way of one connection through the servers of a pool.
type Pick struct {
	set     *set
	facts   *Facts
	left    []candidate // that may be chosen yet
	later   []candidate // that may be chosen once none of these is left
	tried   bool
	anyFull bool
}

// A candidate is a server that a strategy may choose.
type candidate struct {
	*Server
	live   int64
	weight float64 // what it counts for now
	rank   int     // candidates of a higher one come once no other is left
}

// lastRank comes behind every rank of a server.
const lastRank = 1 << 16

// Pick begins a pick for a request. What it goes by is as it is now.
func (p *Pool) Pick(f *Facts) *Pick {
	set := p.current.Load()
	k := &Pick{set: set, facts: f, left: make([]candidate, 0, len(set.servers))}
	for _, s := range set.servers {
		why := Reason(s.state.down.Load())
		switch {
		case why&^Unproven != 0 && !s.trialDue(f.Now):
		case s.full():
			k.anyFull = true
		default:
			c := candidate{s, s.Live(), float64(s.weight), s.rank}
			if why == Unproven {
				c.rank += lastRank
			}
			k.left = append(k.left, c)
		}
	}
	slices.SortStableFunc(k.left, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	k.later, k.left = k.left, nil
	k.advance()
	return k
}

// advance begins with the candidates of the next rank.
func (k *Pick) advance() {
	n := 0
	for n < len(k.later) && k.later[n].rank == k.later[0].rank {
		n++
	}
	k.left, k.later = k.later[:n:n], k.later[n:]
}

// Next takes a place at the next server to try. It returns nil where none is left.
func (k *Pick) Next() *Lease {
	for len(k.left) > 0 {
		i := k.set.choose(k.facts, k.left)
		s := k.left[i].Server
		if k.left = slices.Delete(k.left, i, i+1); len(k.left) == 0 {
			k.advance()
		}
		if lease := s.registry.acquire(s, k.facts.Now); lease != nil {
			lease.hop = k.facts.Hop
			k.tried = true
			return lease
		}
		k.anyFull = true // since the pick began
	}
	return nil
}

// What Err returns.
var (
	ErrFull = errors.New("every server of the upstream has as many connections as it may")
	ErrDown = errors.New("every server of the upstream is down")
)

// Err tells why no server could be tried: [ErrFull] where at least one was only full, else [ErrDown]. It is nil where one was tried.
func (k *Pick) Err() error {
	switch {
	case k.tried:
		return nil
	case k.anyFull:
		return ErrFull
	}
	return ErrDown
}
