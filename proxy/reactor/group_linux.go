package reactor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/proxy/relay"
)

// A Group is the loops of a process.
type Group struct {
	loops []*loop
	wg    sync.WaitGroup // run of each loop, and endLoop

	mu    sync.Mutex
	done  []*session
	wake  sync.Cond
	over  bool
	ended sync.WaitGroup // sessions
}

// New starts n loops.
func New(n int) (*Group, error) {
	g := &Group{}
	g.wake.L = &g.mu
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
		g.wg.Go(l.run)
	}
	g.wg.Go(g.endLoop)
	return g, nil
}

func newLoop(g *Group) (*loop, error) {
	l := &loop{group: g, start: time.Now(), buf: make([]byte, readSize), epoll: -1, wake: -1, clock: -1}
	l.now = l.start
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		l.clock, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	}
	for _, fd := range []int{l.wake, l.clock} {
		if err == nil {
			err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		}
	}
	if err == nil {
		err = unix.SetNonblock(l.epoll, true)
	}
	if err == nil {
		l.file = os.NewFile(uintptr(l.epoll), "epoll") // non-blocking: registered with the netpoller
		l.park, err = l.file.SyscallConn()
	}
	if err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// release closes the loop's own descriptors.
func (l *loop) release() {
	if l.file != nil {
		l.file.Close()
	} else if l.epoll >= 0 {
		unix.Close(l.epoll)
	}
	for _, fd := range []int{l.wake, l.clock} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// ErrClosed is returned by Add once the group is closed.
var ErrClosed = errors.New("the reactor is closed")

// A Handle reaches a session from other goroutines.
type Handle struct{ s *session }

// Add hands a session over to the least loaded loop. client and upstream are a
// Transport each, or a tls.Conn on one. early is what was read from each side
// before; it is relayed first. After an error both connections are as they
// were, and another driver may take them.
func (g *Group) Add(core *relay.Session, client, upstream net.Conn, early [2][]byte, hooks Hooks) (Handle, error) {
	a, afd, err := newLeg(client, relay.Client)
	if err != nil {
		return Handle{}, err
	}
	b, bfd, err := newLeg(upstream, relay.Upstream)
	if err != nil {
		unix.Close(afd)
		return Handle{}, err
	}
	s := &session{core: core, legs: [2]*leg{a, b}, hooks: hooks, loop: g.least()}
	a.session, b.session, s.timer.owner = s, s, s
	g.ended.Add(1)
	s.loop.sessions.Add(1)
	if !s.loop.post(func() { s.loop.adopt(s, [2]int{afd, bfd}, early) }) {
		s.loop.sessions.Add(-1)
		g.ended.Done()
		unix.Close(afd)
		unix.Close(bfd)
		return Handle{}, ErrClosed
	}
	return Handle{s}, nil
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
	h.s.loop.post(func() {
		if !h.s.core.Done() {
			h.s.change(func(core *relay.Session) { core.Fail(c, h.s.loop.now) })
		}
	})
}

// Abort resets both connections. It does not wait.
func (h Handle) Abort() {
	h.s.loop.post(func() {
		if !h.s.core.Done() {
			h.s.change(func(core *relay.Session) { core.Abort(h.s.loop.now) })
		}
	})
}

// Close returns once all loops have ended, which they do with their last
// session: end the sessions first.
func (g *Group) Close() {
	for _, l := range g.loops {
		l.mu.Lock()
		l.closing = true
		l.mu.Unlock()
		l.ring()
	}
	g.ended.Wait()
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.wake.Signal()
	g.wg.Wait()
}

// end passes an ended session to endLoop: telling its owner may write a log,
// which no loop may wait for.
func (g *Group) end(s *session) {
	g.mu.Lock()
	g.done = append(g.done, s)
	g.mu.Unlock()
	g.wake.Signal()
}

// endLoop tells the owners of ended sessions.
func (g *Group) endLoop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.done) == 0 {
			if g.over {
				return
			}
			g.wake.Wait()
		}
		done := g.done
		g.done = nil
		g.mu.Unlock()
		for _, s := range done {
			s.hooks.Ended(s.core.Result(), [2]relay.Stats{s.core.Stats(relay.Client), s.core.Stats(relay.Upstream)})
			g.ended.Done()
		}
		g.mu.Lock()
	}
}

// post has f called by the loop in its next turn. It reports false where the
// loop takes no new work.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, f)
	first := len(l.queue) == 1
	l.mu.Unlock()
	if first {
		l.ring()
	}
	return true
}

// ring wakes the loop.
func (l *loop) ring() {
	one := [8]byte{1}
	write(l.wake, one[:])
}

// obey does what others have posted.
func (l *loop) obey() {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, f := range queue {
		f()
	}
}

// mayEnd reports whether the loop has nothing left to do for ever.
func (l *loop) mayEnd() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = l.closing && len(l.queue) == 0
	return l.gone
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
