package reactor

import (
	"runtime/debug"

	"github.com/framegate/framegate/proxy/relay"
)

// A session is what a loop owns of one connection.
type session struct {
	core    *relay.Session
	loop    *loop
	legs    [2]*leg
	timer   timer
	counted [2]relay.Stats
	over    bool
	hooks   Hooks
}

// Hooks is what the owner of a session learns of it. The functions are called
// by the loop, which waits for them: they must not block. Ended is called by
// another goroutine, once, when both descriptors are closed.
type Hooks interface {
	Relayed(from relay.Side, more relay.Stats)
	Panicked(fault any, stack []byte)
	Ended(r relay.Result, stats [2]relay.Stats)
}

// change calls f on the session's core and does what it then asks for. A fault
// ends this session and no other.
func (s *session) change(f func(core *relay.Session)) {
	defer s.contain()
	f(s.core)
	s.settle()
}

// contain turns a fault of this session into its end.
func (s *session) contain() {
	fault := recover()
	if fault == nil {
		return
	}
	s.hooks.Panicked(fault, debug.Stack())
	defer func() {
		if recover() == nil {
			return
		}
		// Even its end fails: only the descriptors matter now.
		for _, x := range s.legs {
			x.close(s.loop, relay.Abort)
		}
		s.loop.end(s)
	}()
	s.core.Fail(relay.Internal, s.loop.now)
	s.settle()
}

// settle drains the core and re-arms the timer.
func (s *session) settle() {
	l := s.loop
	if s.over {
		return
	}
	for op, ok := s.core.Next(); ok; op, ok = s.core.Next() {
		x := s.legs[op.Side]
		if x.closed {
			continue
		}
		switch op.Kind {
		case relay.Write:
			if err := x.write(l, op.Data); err != nil {
				s.core.Gone(op.Side, l.now)
			}
		case relay.Pause:
			x.paused = true
			l.paused.Add(1)
		case relay.Resume:
			x.paused = false
			l.paused.Add(-1)
			l.more(x) // TLS may hold what epoll does not announce
		case relay.HalfClose:
			x.shutdown(l)
		default:
			x.close(l, op.Kind)
		}
	}
	if s.core.Done() {
		l.end(s)
		return
	}
	for _, x := range s.legs {
		l.watch(x)
	}
	if at := ticksUpTo(s.core.Deadline().Sub(l.start)); s.timer.at == 0 || at < s.timer.at {
		l.wheel.set(&s.timer, at)
	}
}

// report passes on what was relayed since the last time.
func (s *session) report(from relay.Side) {
	now := s.core.Stats(from)
	if now != s.counted[from] {
		s.hooks.Relayed(from, now.Sub(s.counted[from]))
		s.counted[from] = now
	}
}
