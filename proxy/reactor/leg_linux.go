package reactor

import (
	"crypto/tls"
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/proxy/relay"
)

// A leg is one connection of a session, with its descriptor.
type leg struct {
	session *session
	tls     *tls.Conn // nil for a plain connection; it reads and writes by a Transport, which is this leg's
	out     *backlog  // what the kernel has not taken yet; nil for nothing
	plain   int       // of TLS: bytes of the session whose ciphertext is not written whole
	fd      int32
	gen     int32 // tells the events of this leg from those of an earlier descriptor of the same number
	side    relay.Side
	closed  relay.OpKind // 0, or how
	paused  bool
	eof     bool // nothing more is read
	broken  bool // nothing more is written
	shut    bool // its writing direction ends once out is empty
	ready   bool // waits in loop.next
	ending  bool // its end or an error was announced, which is to be read behind what else there is
	drained bool // the latest read emptied the descriptor
}

// A backlog is bytes that wait.
type backlog struct{ b []byte }

// waits is how many bytes wait to be written.
func (x *leg) waits() int {
	if x.out == nil {
		return 0
	}
	return len(x.out.b)
}

const (
	minRecordRoom = 16 << 10 // in the read buffer, for another record
	maxRecords    = 64       // of one turn: small ones cost more than their bytes say
)

// readable reports whether the session wants to hear more of the leg.
func (x *leg) readable() bool { return x.closed == 0 && !x.paused && !x.eof }

// room is what of a buffer is read into at once. Between plain connections
// large messages cost less in large pieces, for each write wakes a peer; but
// what the other one does not take would have to be kept.
func (x *leg) room(p []byte) []byte {
	if other := &x.session.legs[x.side.Other()]; x.tls != nil || other.tls != nil || other.out != nil {
		return p[:readSize]
	}
	return p
}

// read fills p with what can be had without waiting. more says that there may
// be more at once; err is what ended the input.
func (x *leg) read(p []byte) (n int, more bool, err error) {
	x.drained = false
	if x.tls == nil {
		if n, err = x.receive(p); err == errWouldBlock {
			return 0, false, nil
		}
		return n, err == nil && !x.drained, err
	}
	l := x.session.loop
	l.cork = l.cork[:0]
	n, more, err = x.readRecords(p)
	// That may have answered a key update or refused a record.
	x.uncork()
	return n, more, err
}

// readRecords reads until it would block: tls.Conn can hold records that epoll
// will not announce again.
func (x *leg) readRecords(p []byte) (n int, more bool, err error) {
	for range maxRecords {
		m, err := x.tls.Read(p[n:])
		n += m
		switch {
		case err == errWouldBlock:
			return n, false, nil
		case err != nil:
			return n, false, err
		case len(p)-n < minRecordRoom:
			return n, true, nil
		}
	}
	return n, true, nil
}

// receive is the read of a Transport.
func (x *leg) receive(p []byte) (int, error) {
	switch {
	case x.closed != 0:
		return 0, io.ErrClosedPipe
	case x.drained:
		return 0, errWouldBlock
	case len(p) == 0:
		return 0, nil
	}
	n, errno := receive(x.fd, p)
	switch {
	case errno == unix.EAGAIN:
		return 0, errWouldBlock
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	// A short read is the last one, unless the end is behind it: that was
	// announced, and will not be again.
	x.drained = n < len(p) && !x.ending
	return n, nil
}

// write hands p to the connection. What the kernel does not take at once is
// copied and waits.
func (x *leg) write(p []byte) {
	if x.broken {
		return
	}
	if x.tls != nil {
		l := x.session.loop
		l.cork = l.cork[:0]
		x.plain += len(p)
		if _, err := x.tls.Write(p); err != nil {
			x.fail()
			return
		}
		x.uncork()
		return
	}
	if n := x.send(p); n > 0 {
		x.wrote(n)
	}
}

// uncork sends what tls.Conn has written, with one system call.
func (x *leg) uncork() {
	l := x.session.loop
	p := l.cork
	l.cork = p[:0]
	if cap(p) > maxCork {
		l.cork = nil
	}
	if len(p) > 0 && !x.broken {
		if n := x.send(p); n > 0 {
			x.wrote(n)
		}
	}
}

// send returns how many bytes of p the kernel takes. The others wait.
func (x *leg) send(p []byte) (n int) {
	if x.out == nil {
		var errno unix.Errno
		if n, errno = send(x.fd, p); errno != 0 {
			if n = 0; errno != unix.EAGAIN {
				x.fail()
				return 0
			}
		}
	}
	if n < len(p) {
		if x.out == nil {
			x.out = new(backlog)
		}
		x.out.b = append(x.out.b, p[n:]...)
		x.session.loop.queued.Add(int64(len(p) - n))
	}
	return n
}

// flush sends what waits, as far as the kernel takes it.
func (x *leg) flush() {
	n, errno := send(x.fd, x.out.b)
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		x.fail()
		return
	}
	x.session.loop.queued.Add(-int64(n))
	if x.out.b = x.out.b[n:]; len(x.out.b) == 0 {
		x.out = nil
		if x.shut {
			unix.Shutdown(int(x.fd), unix.SHUT_WR)
		}
	}
	x.wrote(n)
}

// wrote tells the session of n bytes that left. Of ciphertext it is told as
// many of its own, but for one as long as any is left.
func (x *leg) wrote(n int) {
	if x.tls != nil {
		if n = min(n, x.plain-1); x.out == nil {
			n = x.plain
		}
		x.plain -= max(n, 0)
	}
	if n > 0 {
		x.session.core.Written(x.side, n, x.session.loop.now)
	}
}

// fail notes that the peer cannot be written to. It may have said more before.
func (x *leg) fail() {
	x.broken = true
	x.discard()
	x.session.core.WriteFailed(x.side, x.session.loop.now)
}

// discard forgets what was not sent.
func (x *leg) discard() {
	x.session.loop.queued.Add(-int64(x.waits()))
	x.out, x.plain = nil, 0
}

// notify sends close_notify.
func (x *leg) notify() {
	if x.tls != nil && !x.broken {
		l := x.session.loop
		l.cork = l.cork[:0]
		x.tls.CloseWrite()
		x.uncork()
	}
}

// shutdown ends the writing direction, behind what waits.
func (x *leg) shutdown() {
	x.notify()
	if x.shut = true; x.out == nil {
		unix.Shutdown(int(x.fd), unix.SHUT_WR)
	}
}

// pause stops or resumes reading.
func (x *leg) pause(on bool) {
	if x.paused == on {
		return
	}
	x.paused = on
	l := x.session.loop
	if on {
		l.paused.Add(1)
		return
	}
	l.paused.Add(-1)
	l.again(x) // what has arrived meanwhile was announced then
}

// close closes the descriptor; nothing else does.
func (x *leg) close(how relay.OpKind) {
	if x.closed != 0 {
		return
	}
	if how == relay.Abort {
		unix.SetsockoptLinger(int(x.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	} else if !x.shut && x.out == nil {
		x.notify()
	}
	x.closed = how
	x.discard()
	x.pause(false)
	x.session.loop.forget(x)
	unix.Close(int(x.fd))
	x.fd = -1
}

// receive and send never block, since the descriptors do not: so they need not
// tell the scheduler.
func receive(fd int32, p []byte) (int, unix.Errno) { return transfer(unix.SYS_RECVFROM, fd, p) }
func send(fd int32, p []byte) (int, unix.Errno)    { return transfer(unix.SYS_SENDTO, fd, p) }

func transfer(call uintptr, fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
