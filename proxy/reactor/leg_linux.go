package reactor

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/proxy/relay"
)

// A leg is one connection of a session, with its descriptor.
type leg struct {
	session *session
	t       *Transport
	tls     *tls.Conn // nil for a plain connection
	side    relay.Side
	gen     int32  // tells the events of this leg from those of an earlier descriptor of the same number
	events  uint32 // what epoll watches
	watched bool   // the descriptor is in the epoll set
	paused  bool
	eof     bool // nothing more is read
	ready   bool // waits in loop.ready: more can be read without an event
	shut    bool // its writing direction ends once out is empty
	closed  bool
	plain   int // bytes of the session whose ciphertext is not written whole
}

const (
	readEvents  = unix.EPOLLIN | unix.EPOLLRDHUP
	errorEvents = unix.EPOLLERR | unix.EPOLLHUP
)

// newLeg returns the leg of conn, a Transport, or a tls.Conn on one after its
// handshake, and a duplicate of its descriptor. conn is left as it is.
func newLeg(conn net.Conn, side relay.Side) (x *leg, fd int, err error) {
	x = &leg{side: side}
	switch c := conn.(type) {
	case *Transport:
		x.t = c
	case *tls.Conn:
		t, ok := c.NetConn().(*Transport)
		if !ok {
			return nil, -1, unix.ENOTSUP
		}
		x.t, x.tls = t, c
	default:
		return nil, -1, unix.ENOTSUP
	}
	fd, err = x.t.duplicate()
	return x, fd, err
}

// read fills p with what can be had without waiting. more says that there may
// be more at once; err is what ended the input.
func (x *leg) read(p []byte) (n int, more bool, err error) {
	if x.tls == nil {
		n, err = x.t.Read(p)
		if err == errWouldBlock {
			return 0, false, nil
		}
		// Level-triggered: what is left is announced again.
		return n, false, err
	}
	// tls.Conn gives one record at a time, and can hold some that epoll will
	// not announce again: it is read until it would block.
	for len(p)-n >= minRecordRoom || n == 0 {
		m, err := x.tls.Read(p[n:])
		n += m
		if err == errWouldBlock {
			return n, false, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, true, nil
}

// minRecordRoom is what must be free in the read buffer for another record.
const minRecordRoom = 16 << 10

// write hands p to the connection. What the kernel does not take at once is
// copied and waits.
func (x *leg) write(l *loop, p []byte) error {
	if x.tls != nil {
		x.plain += len(p)
		x.t.cork = &l.cork
		_, err := x.tls.Write(p)
		return x.uncork(l, err)
	}
	n := 0
	if len(x.t.out) == 0 {
		m, errno := write(x.t.fd, p)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			m = 0
		} else if errno != 0 {
			return errno
		}
		n = m
	}
	if n < len(p) {
		x.t.out = append(x.t.out, p[n:]...)
		l.queued.Add(int64(len(p) - n))
	}
	if n > 0 {
		x.session.core.Written(x.side, n, l.now)
	}
	return nil
}

// uncork writes what tls.Conn has produced in this turn with one system call.
func (x *leg) uncork(l *loop, err error) error {
	x.t.cork = nil
	p := l.cork
	l.cork = l.cork[:0]
	if cap(l.cork) > maxCork {
		l.cork = nil
	}
	if err != nil || len(p) == 0 {
		return err
	}
	n, errno := write(x.t.fd, p)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		n = 0
	} else if errno != 0 {
		return errno
	}
	if n < len(p) {
		x.t.out = append(x.t.out, p[n:]...)
		l.queued.Add(int64(len(p) - n))
		return nil
	}
	x.wrote(l, 0)
	return nil
}

// wrote tells the session of n bytes of ciphertext that left. As long as some
// are left, one byte of the session counts as unwritten.
func (x *leg) wrote(l *loop, n int) {
	if len(x.t.out) == 0 {
		n = x.plain
	} else {
		n = min(n, x.plain-1)
	}
	if n > 0 {
		x.plain -= n
		x.session.core.Written(x.side, n, l.now)
	}
}

// flush writes what waits, as far as the kernel takes it.
func (x *leg) flush(l *loop) error {
	for len(x.t.out) > 0 {
		n, errno := write(x.t.fd, x.t.out)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return nil
		case errno != 0:
			return errno
		}
		l.queued.Add(-int64(n))
		x.t.out = x.t.out[n:]
		if len(x.t.out) == 0 {
			x.t.out = nil
		}
		if x.tls != nil {
			x.wrote(l, n)
		} else {
			x.session.core.Written(x.side, n, l.now)
		}
	}
	if x.shut {
		unix.Shutdown(x.t.fd, unix.SHUT_WR)
	}
	return nil
}

// shutdown ends the writing direction: close_notify, then FIN.
func (x *leg) shutdown(l *loop) {
	if x.tls != nil {
		x.t.cork = &l.cork
		x.uncork(l, x.tls.CloseWrite())
	}
	x.shut = true
	if len(x.t.out) == 0 {
		unix.Shutdown(x.t.fd, unix.SHUT_WR)
	}
}

// close closes the descriptor; nothing else does.
func (x *leg) close(l *loop, how relay.OpKind) {
	if x.closed {
		return
	}
	if how == relay.Abort {
		unix.SetsockoptLinger(x.t.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	} else if x.tls != nil && !x.shut && len(x.t.out) == 0 {
		x.t.cork = &l.cork
		x.uncork(l, x.tls.CloseWrite())
	}
	x.closed = true
	l.queued.Add(-int64(len(x.t.out)))
	x.t.out = nil
	l.forget(x)
	unix.Close(x.t.fd)
	x.t.fd = -1
}
