package reactor

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/proxy/relay"
)

const (
	readSize  = 64 << 10
	maxCork   = 256 << 10
	maxEvents = 256
	busyTurn  = 8 // events from which on a turn is timed
)

// A loop owns sessions. Its fields belong to its goroutine but for the queue
// and the figures.
type loop struct {
	group *Group
	epoll int
	file  *os.File // of epoll, by which the loop parks
	park  syscall.RawConn
	wake  int // eventfd
	clock int // timerfd

	start time.Time
	now   time.Time // of this turn
	wheel wheel
	armed int64 // tick for which clock is set; 0 for none
	legs  []*leg
	gen   int32
	ready []*leg // more can be read of them without an event
	buf   []byte
	cork  []byte
	live  int

	mu      sync.Mutex
	queue   []func()
	closing bool // ends with its last session
	gone    bool // has ended

	// Figures for others.
	sessions atomic.Int64
	paused   atomic.Int64
	queued   atomic.Int64
	lag      atomic.Int64 // the longest turn since it was last asked for, in ns
}

// run is the loop's goroutine. It ends once the group is closed and no session
// is left.
func (l *loop) run() {
	defer l.release()
	events := make([]unix.EpollEvent, maxEvents)
	for {
		n := l.wait(events)
		l.now = time.Now()
		for i := range events[:n] {
			l.event(&events[i])
		}
		l.readOn()
		l.wheel.advance(ticks(l.now.Sub(l.start)), l.fire)
		l.arm()
		if n > busyTurn {
			l.measure()
		}
		if l.live == 0 && l.mayEnd() {
			return
		}
	}
}

// wait returns the next events, at once where some leg can be read further.
func (l *loop) wait(events []unix.EpollEvent) int {
	n := l.poll(events)
	if n > 0 || len(l.ready) > 0 {
		return n
	}
	// The function is tried first and then whenever the netpoller says that the
	// epoll descriptor is readable: no thread blocks meanwhile.
	if err := l.park.Read(func(uintptr) bool {
		n = l.poll(events)
		return n > 0
	}); err != nil {
		return 0
	}
	return n
}

func (l *loop) poll(events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // EINTR; nothing else can happen to a set of our own
	}
	return int(n)
}

// event handles what epoll announced.
func (l *loop) event(e *unix.EpollEvent) {
	switch int(e.Fd) {
	case l.wake:
		l.drainCounter(l.wake)
		l.obey()
		return
	case l.clock:
		l.drainCounter(l.clock)
		l.armed = 0
		return
	}
	if int(e.Fd) >= len(l.legs) {
		return
	}
	x := l.legs[e.Fd]
	if x == nil || x.gen != e.Pad {
		return // closed earlier in this turn
	}
	x.t.drained = false
	if e.Events&unix.EPOLLOUT != 0 || e.Events&errorEvents != 0 && len(x.t.out) > 0 {
		l.flush(x)
	}
	switch {
	case x.closed:
	case x.paused || x.eof:
		// An error is announced whether it is asked for or not.
		if e.Events&errorEvents != 0 {
			l.broken(x)
		}
	case e.Events&^unix.EPOLLOUT != 0:
		l.read(x)
	}
}

func (l *loop) flush(x *leg) {
	x.session.change(func(core *relay.Session) {
		if x.flush(l) != nil {
			core.Gone(x.side, l.now)
		}
	})
}

// broken ends a connection that failed while it was not being read.
func (l *loop) broken(x *leg) {
	x.session.change(func(core *relay.Session) {
		core.Gone(x.side, l.now)
	})
}

// read feeds the session what one side has sent.
func (l *loop) read(x *leg) {
	s := x.session
	s.change(func(core *relay.Session) {
		if x.tls != nil {
			x.t.cork = &l.cork
		}
		n, more, err := x.read(l.buf)
		if x.tls != nil {
			// Reading may have answered a key update or refused a record.
			if werr := x.uncork(l, nil); err == nil {
				err = werr
			}
		}
		if n > 0 {
			core.Feed(x.side, l.buf[:n], l.now)
			s.report(x.side)
		}
		if more {
			l.more(x)
		}
		if err == nil {
			return
		}
		x.eof = true
		// What was fed must be drained before the buffer or the session changes.
		s.settle()
		if err == io.EOF {
			core.EOF(x.side, l.now)
		} else {
			core.Gone(x.side, l.now)
		}
	})
}

// more lets a leg be read again in the next turn.
func (l *loop) more(x *leg) {
	if !x.ready && !x.closed && x.tls != nil {
		x.ready = true
		l.ready = append(l.ready, x)
	}
}

// readOn reads the legs that can be read without an event.
func (l *loop) readOn() {
	for n := len(l.ready); n > 0; n-- {
		x := l.ready[0]
		l.ready = l.ready[1:]
		x.ready = false
		if !x.closed && !x.paused && !x.eof {
			x.t.drained = false
			l.read(x)
		}
	}
	if len(l.ready) == 0 {
		l.ready = nil
	}
}

// watch makes epoll announce what the leg waits for, and no more.
func (l *loop) watch(x *leg) {
	if x.closed {
		return
	}
	var events uint32
	if !x.paused && !x.eof {
		events |= readEvents
	}
	if len(x.t.out) > 0 {
		events |= unix.EPOLLOUT
	}
	if events == x.events && x.watched {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if !x.watched {
		op = unix.EPOLL_CTL_ADD
	}
	if x.eof && events == 0 {
		// Errors would be announced for ever, and have nothing to tell any more.
		if x.watched {
			unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, x.t.fd, nil)
			x.watched, x.events = false, 0
		}
		return
	}
	e := unix.EpollEvent{Events: events, Fd: int32(x.t.fd), Pad: x.gen}
	if err := unix.EpollCtl(l.epoll, op, x.t.fd, &e); err != nil {
		x.session.core.Gone(x.side, l.now)
		return
	}
	x.events, x.watched = events, true
}

// adopt makes the loop the owner of a session.
func (l *loop) adopt(s *session, fds [2]int, early [2][]byte) {
	l.live++
	for i, x := range s.legs {
		x.t.takeOver(fds[i])
		l.gen++
		x.gen = l.gen
		for x.t.fd >= len(l.legs) {
			l.legs = append(l.legs, make([]*leg, max(64, len(l.legs)))...)
		}
		l.legs[x.t.fd] = x
	}
	// The upstream's come first: its 101 went out before.
	for _, from := range [2]relay.Side{relay.Upstream, relay.Client} {
		if p := early[from]; len(p) > 0 {
			s.change(func(core *relay.Session) {
				core.Feed(from, p, l.now)
				s.report(from)
			})
		}
	}
	s.change(func(*relay.Session) {})
	for _, x := range s.legs {
		l.more(x) // tls.Conn may have decrypted more than was read
	}
}

// forget takes a leg out of the loop before its descriptor is closed.
func (l *loop) forget(x *leg) {
	if x.watched {
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, x.t.fd, nil)
		x.watched = false
	}
	if x.paused {
		x.paused = false
		l.paused.Add(-1)
	}
	l.legs[x.t.fd] = nil
}

// end lets go of a session whose descriptors are closed.
func (l *loop) end(s *session) {
	if s.over {
		return
	}
	s.over = true
	l.wheel.stop(&s.timer)
	l.live--
	l.sessions.Add(-1)
	l.group.end(s)
}

// fire is called for each timer that is due.
func (l *loop) fire(t *timer) {
	t.owner.change(func(core *relay.Session) { core.Tick(l.now) })
}

// arm sets the clock to the next tick that matters, where it is not set to an
// earlier one.
func (l *loop) arm() {
	next := l.wheel.next()
	if next == noTick || l.armed != 0 && l.armed <= next {
		return
	}
	l.armed = next
	wait := max(l.start.Add(time.Duration(next)*wheelTick).Sub(l.now), 1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	unix.TimerfdSettime(l.clock, 0, &spec, nil)
}

// measure keeps the length of the longest turn.
func (l *loop) measure() {
	if took := int64(time.Since(l.now)); took > l.lag.Load() {
		l.lag.Store(took)
	}
}

func (l *loop) drainCounter(fd int) {
	var b [8]byte
	read(fd, b[:])
}
