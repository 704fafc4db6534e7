package revocation

import (
	"errors"
	"sync"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// Config is the section revocation of the configuration.
type Config struct {
	TTL strictyaml.Duration `yaml:"ttl" default:"24h" min:"1m" max:"8760h" doc:"How long a revocation holds at most, and where nobody says how long. Not shorter than tokens live: a token that outlives its revocation is good again."`
	Max int                 `yaml:"max" default:"100000" min:"1" max:"10000000" doc:"Revocations that hold at once, of some 150 bytes each. Further ones are refused."`
}

// ErrFull says that there are as many revocations as there may be.
var ErrFull = errors.New("too many revocations hold at once")

// A Set is what is revoked now. It is safe for concurrent use.
type Set struct {
	mu      sync.RWMutex
	entries map[place]entry
	max     int
	swept   time.Time
}

// place is where a revocation stands. One of all tokens and one of old tokens of the same name hold beside each other.
type place struct {
	name Name
	old  bool
}

func (r Revocation) place() place { return place{r.Name, r.Before != All} }

// entry is one revocation.
type entry struct {
	before int64 // of which a token was issued
	until  time.Time
	own    bool // it was made here
	shared bool // Redis has it
}

// NewSet returns an empty one of at most max revocations.
func NewSet(maximum int) *Set { return &Set{entries: map[place]entry{}, max: maximum} }

// SetMax changes how many there may be. Those that there are stay.
func (s *Set) SetMax(maximum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = maximum
}

// sweepEvery is how often those that hold no more are looked for, which costs a look at each.
const sweepEvery = time.Minute

// Add revokes until a time. What is revoked for longer, or for later tokens, stays so. news is whether it was not revoked before.
func (s *Set) Add(r Revocation, until, now time.Time) (news bool, err error) {
	return s.add(r, entry{until: time.UnixMilli(until.UnixMilli()), own: true}, now) // as Redis keeps it
}

func (s *Set) add(r Revocation, e entry, now time.Time) (news bool, err error) {
	e.before = r.Before
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.swept) >= sweepEvery {
		s.sweep(now)
	}
	old, ok := s.entries[r.place()]
	switch holds := ok && now.Before(old.until); {
	case !now.Before(e.until):
		return false, nil
	case !ok && len(s.entries) >= s.max:
		return false, ErrFull
	case holds:
		news = e.before > old.before
		e = old.and(e)
	default:
		news = true
	}
	s.entries[r.place()] = e
	return news, nil
}

// and is an entry that revokes what either of two does. Redis has it if it has one that does the same, or both.
func (e entry) and(other entry) entry {
	both := entry{before: max(e.before, other.before), until: e.until, own: e.own || other.own}
	if other.until.After(e.until) {
		both.until = other.until
	}
	has := func(e entry) bool { return e.shared && e.before == both.before && e.until.Equal(both.until) }
	both.shared = has(e) || has(other) || e.shared && other.shared
	return both
}

// sweep forgets what holds no more.
func (s *Set) sweep(now time.Time) {
	s.swept = now
	for at, e := range s.entries {
		if !now.Before(e.until) {
			delete(s.entries, at)
		}
	}
}

// Has reports whether one of the names is revoked. A nil Set has none.
func (s *Set) Has(names Names, now time.Time) bool {
	if s == nil || names == "" {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.entries) == 0 {
		return false
	}
	for n, issued := range names.all() {
		for _, old := range []bool{false, true} {
			if e, ok := s.entries[place{n, old}]; ok && now.Before(e.until) && issued < e.before {
				return true
			}
		}
	}
	return false
}

// Len is how many hold.
func (s *Set) Len(now time.Time) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		if now.Before(e.until) {
			n++
		}
	}
	return n
}

// unshared returns what was revoked here and Redis is not known to have, each until when.
func (s *Set) unshared(now time.Time) map[Revocation]time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list map[Revocation]time.Time
	for at, e := range s.entries {
		if e.own && !e.shared && now.Before(e.until) {
			if list == nil {
				list = map[Revocation]time.Time{}
			}
			list[Revocation{at.name, e.before}] = e.until
		}
	}
	return list
}

// unshare has nothing count as known to Redis, which may have lost it.
func (s *Set) unshare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, e := range s.entries {
		e.shared = false
		s.entries[at] = e
	}
}
