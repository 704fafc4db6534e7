package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// newLoop returns a loop that does not run yet.
func newLoop(g *Group) (*loop, error) {
	l := &loop{
		group: g, answer: make(chan struct{}, 1), epoll: -1, wake: -1, alarm: -1,
		clock: time.Now, start: time.Now(), wheel: wheel{tick: wheelTick},
		events: make([]unix.EpollEvent, maxEvents), buf: make([]byte, smallRoom+smallRead+bulkSize),
	}
	l.now = l.start
	l.poller = func(uintptr) bool {
		l.polled++
		l.found = l.poll()
		return l.found > 0
	}
	if err := l.open(); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// open makes the loop's own descriptors.
func (l *loop) open() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	if l.alarm, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	for _, fd := range []int{l.wake, l.alarm} {
		if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	// A non-blocking file is registered with the netpoller. Where that failed
	// it would not park, which to set a deadline tells.
	if err = unix.SetNonblock(l.epoll, true); err != nil {
		return err
	}
	l.file = os.NewFile(uintptr(l.epoll), "epoll")
	if err = l.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	l.park, err = l.file.SyscallConn()
	return err
}

// release closes the loop's own descriptors.
func (l *loop) release() {
	if l.file != nil {
		l.file.Close()
	} else if l.epoll >= 0 {
		unix.Close(l.epoll)
	}
	for _, fd := range []int{l.wake, l.alarm} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// post has f called by the loop in its next turn. It reports false where the
// loop has ended.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return false
	}
	l.queue = append(l.queue, f)
	if len(l.queue) == 1 {
		l.ring()
	}
	return true
}

// retire lets the loop end with its last session.
func (l *loop) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.retiring = true
		l.ring()
	}
}

// ring wakes the loop. The lock is held, and the loop not gone: its descriptor
// may be somebody else's afterwards.
func (l *loop) ring() {
	one := [8]byte{1}
	unix.Write(l.wake, one[:])
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

// mayEnd reports whether the loop, which has no session, has nothing left to
// do for ever.
func (l *loop) mayEnd() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = l.retiring && len(l.queue) == 0
	return l.gone
}

// drainCounter makes an eventfd or a timerfd silent again.
func drainCounter(fd int) {
	var b [8]byte
	unix.Read(fd, b[:])
}
