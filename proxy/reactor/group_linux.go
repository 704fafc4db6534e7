package reactor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/proxy/relay"
)

// A Group is the loops of a process.
type Group struct {
	loops   []*loop
	running sync.WaitGroup // run of each loop
	telling sync.WaitGroup // tellLoop
	asking  chan struct{}  // of one place, which Answer takes

	mu   sync.Mutex
	wake sync.Cond
	done []ending
	over bool // no loop runs any more
}

// An ending is a session that has ended, and whom to tell.
type ending struct {
	hooks  Hooks
	result relay.Result
	stats  [2]relay.Stats
}

// New starts n loops.
func New(n int) (*Group, error) {
	g := newGroup()
	for range n {
		l, err := newLoop(g)
		if err != nil {
			for _, l := range g.loops {
				l.release()
			}
			return nil, fmt.Errorf("starting a reactor loop: %w", err)
		}
		g.loops = append(g.loops, l)
	}
	for _, l := range g.loops {
		g.running.Go(l.run)
	}
	g.telling.Go(g.tellLoop)
	return g, nil
}

func newGroup() *Group {
	g := &Group{asking: make(chan struct{}, 1)}
	g.wake.L = &g.mu
	return g
}

// ErrClosed is returned by Add once the group is closed.
var ErrClosed = errors.New("the reactor is closed")

// A Handle reaches a session from other goroutines.
type Handle struct{ s *session }

// Add hands a session over to the least loaded loop. client and upstream are a
// Transport each, or a tls.Conn on one, of which nobody else makes use any
// more. early is what was read from each side before; it is relayed first.
// After an error both connections are as they were, and another driver may
// take them.
func (g *Group) Add(core *relay.Session, client, upstream net.Conn, early [2][]byte, hooks Hooks) (Handle, error) {
	s := &session{core: core, hooks: hooks, loop: g.least()}
	s.timer.owner, s.start = s, core.Start().Sub(s.loop.start)
	h := handOver{early: early}
	for side, conn := range [2]net.Conn{relay.Client: client, relay.Upstream: upstream} {
		if err := h.duplicate(s, relay.Side(side), conn); err != nil {
			h.undo(side)
			return Handle{}, err
		}
	}
	s.loop.sessions.Add(1)
	if !s.loop.post(func() { s.loop.adopt(s, &h) }) {
		s.loop.sessions.Add(-1)
		h.undo(2)
		return Handle{}, ErrClosed
	}
	// The loop has duplicates. What they were made of is closed here, since
	// that may have to wait for Go's netpoller.
	for _, conn := range h.conns {
		conn.Close()
	}
	return Handle{s}, nil
}

// A handOver is what a loop needs to make a session its own.
type handOver struct {
	fds        [2]int
	transports [2]*Transport
	conns      [2]net.Conn // that the transports wrap
	early      [2][]byte
}

// duplicate makes conn the leg of one side.
func (h *handOver) duplicate(s *session, side relay.Side, conn net.Conn) (err error) {
	x := &s.legs[side]
	x.session, x.side, x.fd = s, side, -1
	if c, ok := conn.(*tls.Conn); ok {
		x.tls, conn = c, c.NetConn()
	}
	t, ok := conn.(*Transport)
	if !ok {
		return unix.ENOTSUP
	}
	h.transports[side], h.conns[side] = t, t.Conn
	h.fds[side], err = t.duplicate()
	return err
}

// undo closes the first n duplicates.
func (h *handOver) undo(n int) {
	for _, fd := range h.fds[:n] {
		unix.Close(fd)
	}
}

// least is the loop with the fewest sessions.
func (g *Group) least() *loop {
	best := g.loops[0]
	for _, l := range g.loops[1:] {
		if l.sessions.Load() < best.sessions.Load() {
			best = l
		}
	}
	return best
}

// Fail ends the session as relay.Session.Fail says. It does not wait.
func (h Handle) Fail(c relay.Cause) {
	h.s.post(func(core *relay.Session, now time.Time) { core.Fail(c, now) })
}

// Do has f change the session, unless that has ended by then. It does not wait.
func (h Handle) Do(f func(core *relay.Session, now time.Time)) { h.s.post(f) }

// Abort resets both connections. It does not wait.
func (h Handle) Abort() {
	h.s.post((*relay.Session).Abort)
}

// Close returns once all loops have ended, which they do with their last
// session, and all owners were told: end the sessions first.
func (g *Group) Close() {
	for _, l := range g.loops {
		l.retire()
	}
	g.running.Wait()
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.wake.Signal()
	g.telling.Wait()
}

// Answer returns nil once every loop has come to its next turn, and an error
// where one has not by the end of ctx: it is stuck, with all its sessions.
func (g *Group) Answer(ctx context.Context) error {
	select {
	case g.asking <- struct{}{}:
	case <-ctx.Done():
		return errors.New("a loop does not answer, for which somebody else waits")
	}
	defer func() { <-g.asking }()
	for _, l := range g.loops {
		if l.asked {
			continue // it has not answered the last time
		}
		l.asked = true
		if !l.post(func() { l.answer <- struct{}{} }) {
			l.answer <- struct{}{} // it has ended, and has nothing to do
		}
	}
	for i, l := range g.loops {
		select {
		case <-l.answer:
			l.asked = false
		case <-ctx.Done():
			return fmt.Errorf("loop %d of %d does not answer", i, len(g.loops))
		}
	}
	return nil
}

// end passes an ended session to tellLoop: telling its owner may write a log,
// which no loop may wait for.
func (g *Group) end(e ending) {
	g.mu.Lock()
	g.done = append(g.done, e)
	g.mu.Unlock()
	g.wake.Signal()
}

// tellLoop tells the owners of ended sessions, until no loop runs any more.
func (g *Group) tellLoop() {
	for {
		g.mu.Lock()
		for len(g.done) == 0 && !g.over {
			g.wake.Wait()
		}
		done := g.done
		g.done = nil
		g.mu.Unlock()
		if len(done) == 0 {
			return
		}
		for _, e := range done {
			e.hooks.Ended(e.result, e.stats)
		}
	}
}

// Figures are what a loop does at present.
type Figures struct {
	Sessions int64
	Paused   int64         // sides that are not read
	Queued   int64         // bytes that the kernel has not taken
	Lag      time.Duration // the longest turn since Figures was last called
}

// Figures returns those of each loop.
func (g *Group) Figures() []Figures {
	all := make([]Figures, len(g.loops))
	for i, l := range g.loops {
		all[i] = Figures{l.sessions.Load(), l.paused.Load(), l.queued.Load(), time.Duration(l.lag.Swap(0))}
	}
	return all
}
