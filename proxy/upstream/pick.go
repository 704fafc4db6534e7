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
	Header  http.Header                      // with the gateway's own cookies
	Query   string                           // raw
	Claim   func(name string) (string, bool) // of the client's token; nil where there is none
}

// A Pick is the way of one connection through the servers of a pool.
type Pick struct {
	pool    *Pool
	set     *set
	facts   *Facts
	left    []candidate // that may be chosen yet
	later   []candidate // that may be chosen once none of these is left
	tried   bool
	anyFull bool

	kept    *Server // that the client's cookie names; nil for none
	current bool    // by the key that makes cookies now
	sticks  bool    // the client has a value that it sticks by
	value   uint64
}

// A candidate is a server that a strategy may choose.
type candidate struct {
	*Server
	live  int64
	share float64 // its weight, or less while it is eased in
	rank  int     // candidates of a higher one come once no other is left
}

// lastRank comes behind every rank of a server.
const lastRank = 1 << 16

// Pick begins a pick for a request. What it goes by is as it is now.
func (p *Pool) Pick(f *Facts) *Pick {
	set := p.current.Load()
	k := &Pick{pool: p, set: set, facts: f, later: make([]candidate, 0, len(set.servers))}
	for _, s := range set.servers {
		why := Reason(s.state.down.Load())
		switch {
		case why&^Unproven != 0 && !s.trialDue(f.Now):
		case s.full():
			k.anyFull = true
		default:
			c := candidate{s, s.Live(), float64(s.weight) * s.easedIn(p.settings.slowStart, f.Now), s.rank}
			if why == Unproven {
				c.rank += lastRank
			}
			k.later = append(k.later, c)
		}
	}
	slices.SortStableFunc(k.later, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	k.stick()
	return k
}

// stick begins where the client has been before, whatever the rank of that server, or else with those of the first rank.
func (k *Pick) stick() {
	by := &k.pool.settings.sticky
	if by.hash != nil {
		var text string
		text, k.sticks = by.hash(k.facts)
		k.value = digest(text)
	}
	if by.cookie != "" {
		k.kept, k.current = k.set.keeper(by.cookie, k.facts.Header)
	}
	i := slices.IndexFunc(k.later, func(c candidate) bool { return c.Server == k.kept })
	if i < 0 {
		k.advance()
		return
	}
	k.left = []candidate{k.later[i]}
	k.later = slices.Delete(k.later, i, i+1)
}

// advance goes on to the candidates of the next rank.
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
		i := k.choose()
		s := k.left[i].Server
		if k.left = slices.Delete(k.left, i, i+1); len(k.left) == 0 {
			k.advance()
		}
		if lease := s.registry.acquire(s, k.facts.Now); lease != nil {
			k.tried = true
			return lease
		}
		k.anyFull = true // since the pick began
	}
	return nil
}

// choose returns the index of the next server to try: the one that the client's value likes most, else the strategy's.
func (k *Pick) choose() int {
	if k.sticks {
		return liked(k.value, k.left, func(*candidate) bool { return true })
	}
	return k.set.choose(k.facts, k.left)
}

// SetCookie returns the value of the Set-Cookie field by which the client will come back to a lease's server. It is empty where the client's
// own cookie does that, or the pool gives none.
func (k *Pick) SetCookie(l *Lease) string {
	by := &k.pool.settings.sticky
	if by.cookie == "" || l.server == k.kept && k.current {
		return ""
	}
	return by.setCookie(l.server)
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
