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
	bulkSize  = 256 << 10 // of a read where that is worth it: see leg.room
	smallRead = 4 << 10   // of bytes that are written only once all are read: see loop.receive
	smallRoom = 64 << 10  // for such bytes
	maxCork   = 256 << 10
	maxEvents = 256
	maxFires  = 4 // of one timer, in one turn
	tellEvery = time.Second

	errorEvents = unix.EPOLLERR | unix.EPOLLHUP
	endEvents   = unix.EPOLLRDHUP | errorEvents
	watchEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1)
)

// A loop owns sessions. Its fields belong to its goroutine but for the queue
// and the figures.
type loop struct {
	group *Group
	epoll int
	file  *os.File // of epoll, by which the loop parks
	park  syscall.RawConn
	wake  int // eventfd
	alarm int // timerfd

	clock  func() time.Time
	start  time.Time
	now    time.Time // of this turn
	wheel  wheel
	armed  int64  // tick for which alarm is set; 0 for none
	legs   []*leg // by descriptor
	gen    int32
	ready  []*leg // to be read in this turn without an event
	next   []*leg // and in the next one
	events []unix.EpollEvent
	buf    []byte
	kept   int        // bytes at the start of buf that sessions still have to hand out
	fed    []*session // that have to
	noted  []noted    // what has relayed something of which nobody was told
	tell   timer      // when they will be
	cork   []byte     // what tls.Conn wrote and nobody has sent
	live   int

	poller func(uintptr) bool // polls for wait
	polled int                // how often, since wait was called
	found  int                // events

	asked  bool          // to answer; of who has the group's place to ask
	answer chan struct{} // of one place

	mu       sync.Mutex
	queue    []func()
	retiring bool // ends with its last session
	gone     bool // has ended

	// Figures for others.
	sessions atomic.Int64
	paused   atomic.Int64
	queued   atomic.Int64
	lag      atomic.Int64 // the longest turn since it was last asked for, in ns
}

// A noted session is one whose owner is to be told of what it relays. It has
// its place in loop.noted, so that an idle session pays nothing for that.
type noted struct {
	s    *session
	told counts
}

// run is the loop's goroutine. It ends once the group is closed and no session
// is left.
func (l *loop) run() {
	defer l.release()
	for l.live > 0 || !l.mayEnd() {
		n, parked := l.wait()
		now := l.clock()
		if !parked {
			l.measure(now.Sub(l.now))
		}
		l.turn(n, now)
	}
}

// turn handles n events, and what else there is to be done.
func (l *loop) turn(n int, now time.Time) {
	l.now = now
	// Those that join from now on have had their share of this turn.
	l.ready, l.next = l.next, l.ready[:0]
	for i := range l.events[:n] {
		l.event(&l.events[i])
	}
	l.readOn()
	l.handOut()
	l.wheel.advance(l.wheel.before(now.Sub(l.start)), l.fire)
	l.arm()
}

// wait returns the number of new events, at once where some leg can be read
// further. It reports whether the loop had nothing to do meanwhile.
func (l *loop) wait() (n int, parked bool) {
	if len(l.next) > 0 {
		return l.poll(), false
	}
	// The function is tried first and then whenever the netpoller says that the
	// epoll descriptor is readable: no thread blocks meanwhile.
	l.polled, l.found = 0, 0
	l.park.Read(l.poller)
	return l.found, l.polled > 1
}

func (l *loop) poll() int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), 0, 0, 0)
	if errno != 0 {
		return 0 // EINTR; nothing else can happen to a set of our own
	}
	return int(n)
}

// event handles what epoll announced.
func (l *loop) event(e *unix.EpollEvent) {
	switch int(e.Fd) {
	case l.wake:
		drainCounter(l.wake)
		l.obey()
		return
	case l.alarm:
		drainCounter(l.alarm)
		l.armed = 0
		return
	}
	x := l.legs[e.Fd]
	if x == nil || x.gen != e.Pad {
		return // closed earlier in this turn
	}
	x.ending = x.ending || e.Events&endEvents != 0
	// To write tells an error.
	if e.Events&(unix.EPOLLOUT|errorEvents) != 0 && x.out != nil {
		x.session.change(func(*relay.Session) { x.flush() })
	}
	if e.Events&^unix.EPOLLOUT != 0 && !x.ready {
		l.receive(x)
	}
}

// receive feeds the session what one side has sent. Where that is little, what
// follows from it waits until the others were read: to read and to write in
// runs costs a tenth less than in turn, since the kernel's code for either
// stays in the processor's caches, and a peer that is awake is not woken again.
func (l *loop) receive(x *leg) {
	if !x.readable() {
		return
	}
	if l.kept >= smallRoom {
		l.handOut()
	}
	s := x.session
	s.change(func(core *relay.Session) {
		p := x.room(l.buf[l.kept:])
		n, more, err := x.read(p)
		if x.tls != nil {
			s.drain() // reading may have ended the writing
		}
		if n > 0 {
			core.Feed(x.side, p[:n], l.now)
		}
		if more {
			l.again(x)
		}
		if err == nil {
			if 0 < n && n <= smallRead {
				l.kept += n
				l.fed = append(l.fed, s)
				s.fed = true
			}
			return
		}
		x.eof = true
		// What was fed must be handed out before the session changes.
		s.drain()
		if err == io.EOF {
			core.EOF(x.side, l.now)
		} else {
			x.broken = true
			core.Gone(x.side, l.now)
		}
	})
}

// handOut lets the sessions go on that were fed.
func (l *loop) handOut() {
	for i, s := range l.fed {
		l.fed[i] = nil
		if s.fed {
			s.goOn()
		}
	}
	l.fed, l.kept = l.fed[:0], 0
}

// again lets a leg be read in the next turn: what is left in the descriptor was
// announced before, and what tls.Conn holds is announced by nobody.
func (l *loop) again(x *leg) {
	if !x.ready && x.closed == 0 {
		x.ready = true
		l.next = append(l.next, x)
	}
}

// readOn reads the legs that can be read without an event.
func (l *loop) readOn() {
	for i, x := range l.ready {
		l.ready[i] = nil
		if x.ready = false; x.closed == 0 {
			l.receive(x)
		}
	}
}

// watch makes epoll announce what a leg becomes ready for, each time once: a
// session that pauses a leg or waits to write to it costs no system call.
func (l *loop) watch(x *leg) error {
	e := unix.EpollEvent{Events: watchEvents, Fd: x.fd, Pad: x.gen}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, int(x.fd), &e)
}

// adopt makes the loop the owner of a session.
func (l *loop) adopt(s *session, h *handOver) {
	l.live++
	for i := range s.legs {
		x := &s.legs[i]
		l.gen++
		x.fd, x.gen = int32(h.fds[i]), l.gen
		h.transports[i].takeOver(x)
		for h.fds[i] >= len(l.legs) {
			l.legs = append(l.legs, make([]*leg, max(64, len(l.legs)))...)
		}
		l.legs[x.fd] = x
	}
	// The upstream's come first: its 101 went out before.
	for _, from := range [2]relay.Side{relay.Upstream, relay.Client} {
		if p := h.early[from]; len(p) > 0 {
			s.change(func(core *relay.Session) {
				core.Feed(from, p, l.now)
			})
		}
	}
	s.change(func(*relay.Session) { s.begin() })
}

// forget takes a leg out of the loop before its descriptor is closed.
func (l *loop) forget(x *leg) {
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, int(x.fd), nil) // fails where it was closed before it was watched
	l.legs[x.fd] = nil
}

// end lets go of a session whose descriptors are closed.
func (l *loop) end(s *session) {
	s.over = true
	l.wheel.stop(&s.timer)
	l.live--
	l.sessions.Add(-1)
	l.group.end(s.ending())
}

// fire is called for each timer that is due.
func (l *loop) fire(t *timer) {
	if t == &l.tell {
		l.report()
		return
	}
	s := t.owner
	s.change(func(core *relay.Session) {
		// What is written for one side may have kept something else from being
		// due, which is then due at once.
		for range maxFires {
			core.Tick(l.now)
			if s.drain(); s.due() > l.now.Sub(l.start) {
				break
			}
		}
	})
}

// note has the owner of a session told, some time soon, of what it relays from
// now on.
func (l *loop) note(s *session) {
	if s.noted != 0 {
		return
	}
	l.noted = append(l.noted, noted{s, s.counts()})
	s.noted = int32(len(l.noted))
	if l.tell.at == 0 {
		l.wheel.set(&l.tell, l.wheel.after(l.now.Add(tellEvery).Sub(l.start)))
	}
}

// report tells the owners of sessions what was relayed.
func (l *loop) report() {
	if len(l.noted) == 0 { // all are idle, and have been for a while
		l.noted = nil
		return
	}
	n := 0
	for i := range l.noted {
		s := l.noted[i].s
		s.change(func(*relay.Session) { s.reportBoth() })
		if s.noted = 0; !s.over && l.noted[i].told != s.counts() { // what was written meanwhile has let more be relayed
			l.noted[n] = l.noted[i]
			n++
			s.noted = int32(n)
		}
	}
	clear(l.noted[n:])
	l.noted = l.noted[:n]
	l.wheel.set(&l.tell, l.wheel.after(l.now.Add(tellEvery).Sub(l.start)))
}

// arm sets the alarm to the next tick that matters, where it is not set to an
// earlier one.
func (l *loop) arm() {
	next := l.wheel.next()
	if next == noTick || l.armed != 0 && l.armed <= next {
		return
	}
	l.armed = next
	wait := max(l.start.Add(l.wheel.at(next)).Sub(l.now), 1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	unix.TimerfdSettime(l.alarm, 0, &spec, nil)
}

// measure keeps the length of the longest turn: of those that something waited
// for, so that the clock need not be read once more.
func (l *loop) measure(took time.Duration) {
	if int64(took) > l.lag.Load() {
		l.lag.Store(int64(took))
	}
}
