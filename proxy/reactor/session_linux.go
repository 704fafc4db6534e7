package reactor

import (
	"runtime/debug"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A session is what a loop owns of one connection between a client and an
// upstream.
type session struct {
	core   *relay.Session
	loop   *loop
	hooks  Hooks
	legs   [2]leg // by relay.Side
	timer  timer
	start  time.Duration // of the core, since that of the loop
	noted  int32         // place in loop.noted, from 1; 0 while its owner was told of all
	faults uint8
	fed    bool // in loop.fed: what the core asks for is still to be done
	over   bool // both descriptors are closed
}

// counts is what was relayed from each side.
type counts [2]relay.Stats

// Hooks is what the owner of a session learns of it. Relayed, Ruled and
// Panicked are called by the loop, which waits for them: they must not block.
// Ended is called by another goroutine, once, when both descriptors are closed.
type Hooks interface {
	Relayed(from relay.Side, more relay.Stats)
	Ruled(from relay.Side, hit relay.Hit) // a rule refused something of a side, or would have
	Panicked(fault any, stack []byte)
	Ended(r relay.Result, stats [2]relay.Stats)
}

// post has f called by the loop, unless the session has ended by then.
func (s *session) post(f func(core *relay.Session, now time.Time)) {
	s.loop.post(func() {
		s.change(func(core *relay.Session) { f(core, s.loop.now) })
	})
}

// change calls f on the session's core and does what it then asks for. A fault
// ends this session and no other: it is told to end itself, and at the second
// one it is given up.
func (s *session) change(f func(core *relay.Session)) {
	if s.over {
		return
	}
	s.loop.note(s)
	if s.fed {
		s.goOn()
	}
	if s.over || s.try(f) {
		return
	}
	if s.faults == 1 && s.try(func(core *relay.Session) { core.Fail(relay.Internal, s.loop.now) }) {
		return
	}
	for i := range s.legs {
		s.legs[i].close(relay.Abort)
	}
	s.loop.end(s)
}

// try reports whether f and what follows from it go well.
func (s *session) try(f func(core *relay.Session)) (ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			s.faults++
			s.confess(fault, debug.Stack())
		}
	}()
	f(s.core)
	if !s.fed {
		s.settle()
	}
	return true
}

// goOn does what the core asks for since it was fed.
func (s *session) goOn() {
	s.fed = false
	s.change(func(*relay.Session) {})
}

// confess tells the owner of a fault. It may be the owner's own.
func (s *session) confess(fault any, stack []byte) {
	defer func() { _ = recover() }()
	s.hooks.Panicked(fault, stack)
}

// begin waits for both peers. A connection that cannot be watched is lost.
func (s *session) begin() {
	for i := range s.legs {
		x := &s.legs[i]
		if x.closed != 0 {
			continue
		}
		if s.loop.watch(x) != nil {
			x.eof, x.broken = true, true
			x.discard()
			s.core.Gone(x.side, s.loop.now)
		} else if x.tls != nil {
			s.loop.again(x) // tls.Conn may have decrypted more than was read
		}
	}
}

// settle does what the core asks for and sets the timer.
func (s *session) settle() {
	s.drain()
	if s.core.Done() {
		s.reportBoth()
		s.loop.end(s)
		return
	}
	w := &s.loop.wheel
	if at := w.after(s.due()); s.timer.at == 0 || at < s.timer.at {
		w.set(&s.timer, at)
	}
}

// due is when the core must be told the time, since the start of the loop.
func (s *session) due() time.Duration { return s.start + s.core.Due() }

// drain does what the core asks for.
func (s *session) drain() {
	for op, ok := s.core.Next(); ok; op, ok = s.core.Next() {
		x := &s.legs[op.Side]
		if op.Kind == relay.Report {
			s.hooks.Ruled(op.Side, op.Hit)
			continue
		}
		if x.closed != 0 {
			continue
		}
		switch op.Kind {
		case relay.Write:
			x.write(op.Data)
		case relay.Pause, relay.Resume:
			x.pause(op.Kind == relay.Pause)
		case relay.HalfClose:
			x.shutdown()
		default:
			x.close(op.Kind)
		}
	}
}

// reportBoth is report for what time may have changed.
func (s *session) reportBoth() {
	s.report(relay.Client)
	s.report(relay.Upstream)
}

// report passes on what was relayed since the last time.
func (s *session) report(from relay.Side) {
	told := &s.told()[from]
	if now := s.core.Stats(from); now != *told {
		s.hooks.Relayed(from, now.Sub(*told))
		*told = now
	}
}

// told is what the owner was told of.
func (s *session) told() *counts { return &s.loop.noted[s.noted-1].told }

// counts is what was relayed so far.
func (s *session) counts() counts {
	return counts{s.core.Stats(relay.Client), s.core.Stats(relay.Upstream)}
}

// ending is how the session ended. Of one that was given up nothing is asked.
func (s *session) ending() ending {
	if s.faults > 1 {
		return ending{s.hooks, relay.Result{Cause: relay.Internal, By: relay.Gateway}, *s.told()}
	}
	return ending{s.hooks, s.core.Result(), s.counts()}
}
