package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A failer is a live session, whatever drives it. Neither method blocks.
type failer interface {
	Fail(relay.Cause)
	Do(func(core *relay.Session, now time.Time))
	Abort()
}

// sessions are the live ones. net/http knows nothing of them: its Shutdown
// neither waits for hijacked connections nor ends them.
type sessions struct {
	mu    sync.Mutex
	all   map[*connection]failer
	held  int           // handshakes that may become sessions
	over  bool          // wait has returned: there will be no more
	empty chan struct{} // closed once there is nothing to wait for and somebody waits

	orders []*order // also for sessions whose handshake is under way
}

// hold keeps wait from returning until release is called: a client that was
// admitted is answered, and its session must end like the others. It reports false
// where nobody waits for sessions any more.
func (s *sessions) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.held++
	}
	return !s.over
}

// release is called once a handshake has its session, or has failed.
func (s *sessions) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	s.gone()
}

// enter starts a session and adds it until leave is called. Both are one step:
// a session may end as soon as it starts.
func (s *sessions) enter(c *connection, start func() (failer, bool)) bool {
	s.mu.Lock()
	f, ok := start()
	if !ok {
		s.mu.Unlock()
		return false
	}
	if s.all == nil {
		s.all = map[*connection]failer{}
	}
	s.all[c] = f
	orders := slices.Clone(s.orders)
	s.mu.Unlock()
	for _, o := range orders {
		if o.meets(c) {
			o.end(f)
		}
	}
	return true
}

// leave removes a session that has ended.
func (s *sessions) leave(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	s.gone()
}

// gone wakes those who wait for the last session. The lock is held.
func (s *sessions) gone() {
	if len(s.all) == 0 && s.held == 0 && s.empty != nil {
		close(s.empty)
		s.empty, s.over = nil, true
	}
}

// has reports whether a session has begun and not ended.
func (s *sessions) has(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[c]
	return ok
}

// count is how many there are.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// wait returns when there are no sessions and there will be none, or ctx ends.
func (s *sessions) wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.all) == 0 && s.held == 0 {
		s.over = true
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
