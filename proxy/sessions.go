package proxy

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A failer is a live session, whatever drives it.
type failer interface {
	Fail(relay.Cause)
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
	late  func(failer)  // ends a session whose handshake was under way when all others were ended
}

// hold keeps wait from returning until release is called: a client that is
// answered 101 has a session, which must end like the others. It reports false
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
	late := s.late
	s.mu.Unlock()
	if late != nil {
		late(f)
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

func (s *sessions) list() []failer { return s.end(nil) }

// end returns the live sessions. late, where not nil, is called for each one
// that enters from now on.
func (s *sessions) end(late func(failer)) []failer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if late != nil {
		s.late = late
	}
	list := make([]failer, 0, len(s.all))
	for _, f := range s.all {
		list = append(list, f)
	}
	return list
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

// drain ends all sessions, spread evenly over window in random order, so that
// the clients do not all come back at once.
func (s *sessions) drain(ctx context.Context, window time.Duration) {
	list := s.end(drainOne)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	start := time.Now()
	for i, f := range list {
		at := start.Add(window * time.Duration(i) / time.Duration(len(list)))
		if wait := time.Until(at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		go drainOne(f) // it may have to wait for a client that does not read
	}
}

// drainOne is the goroutine that ends one session. The session waits for it.
func drainOne(f failer) { f.Fail(relay.Drain) }

// abort ends all sessions at once.
func (s *sessions) abort() {
	for _, f := range s.end(failer.Abort) {
		f.Abort()
	}
}
