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
	mu    sync.RWMutex
	names map[Name]entry
	max   int
	swept time.Time
}

// entry is one revocation.
type entry struct {
	until  time.Time
	own    bool // it was made here
	shared bool // Redis has it
}

// NewSet returns an empty one of at most max revocations.
func NewSet(maximum int) *Set { return &Set{names: map[Name]entry{}, max: maximum} }

// SetMax changes how many there may be. Those that there are stay.
func (s *Set) SetMax(maximum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = maximum
}

// sweepEvery is how often those that hold no more are looked for, which costs a look at each.
const sweepEvery = time.Minute

// Add revokes a name until a time. One that is revoked for longer stays so. news is whether it was not revoked before.
func (s *Set) Add(n Name, until, now time.Time) (news bool, err error) {
	return s.add(n, entry{until: until, own: true}, now)
}

func (s *Set) add(n Name, e entry, now time.Time) (news bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.swept) >= sweepEvery {
		s.sweep(now)
	}
	old, ok := s.names[n]
	news = !ok || !now.Before(old.until)
	switch {
	case !now.Before(e.until):
		return false, nil
	case !ok && len(s.names) >= s.max:
		return false, ErrFull
	case !news && !e.until.After(old.until):
		old.own, old.shared = old.own || e.own, old.shared || e.shared
		e = old
	case !news:
		e.own = old.own || e.own
	}
	s.names[n] = e
	return news, nil
}

// sweep forgets what holds no more.
func (s *Set) sweep(now time.Time) {
	s.swept = now
	for n, e := range s.names {
		if !now.Before(e.until) {
			delete(s.names, n)
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
	if len(s.names) == 0 {
		return false
	}
	for n := range names.all() {
		if e, ok := s.names[n]; ok && now.Before(e.until) {
			return true
		}
	}
	return false
}

// Len is how many hold.
func (s *Set) Len(now time.Time) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.names {
		if now.Before(e.until) {
			n++
		}
	}
	return n
}

// unshared returns what was revoked here and Redis is not known to have.
func (s *Set) unshared(now time.Time) map[Name]time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list map[Name]time.Time
	for n, e := range s.names {
		if e.own && !e.shared && now.Before(e.until) {
			if list == nil {
				list = map[Name]time.Time{}
			}
			list[n] = e.until
		}
	}
	return list
}

// unshare has nothing count as known to Redis, which may have lost it.
func (s *Set) unshare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, e := range s.names {
		e.shared = false
		s.names[n] = e
	}
}
