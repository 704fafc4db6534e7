package reactor

import (
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Transport is a net.Conn whose descriptor a loop can take over. Until then
// it is the connection that it wraps.
type Transport struct {
	net.Conn // nil once taken over

	fd      int
	drained bool    // the latest read emptied the descriptor
	cork    *[]byte // of the loop: what one turn writes leaves at once
	out     []byte  // what the kernel has not taken yet
}

// NewTransport wraps a TCP or Unix connection.
func NewTransport(c net.Conn) *Transport { return &Transport{Conn: c, fd: -1} }

// wouldBlock is what Read returns where the descriptor has nothing now.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "read would block" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock error = wouldBlock{}

// duplicate returns a second descriptor of the connection, which is left as it
// is.
func (t *Transport) duplicate() (fd int, err error) {
	sc, ok := t.Conn.(syscall.Conn)
	if !ok {
		return -1, unix.ENOTSUP
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = rc.Control(func(own uintptr) {
		// Both share one open file, which is non-blocking already.
		fd, dup = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = dup
	}
	return fd, err
}

// takeOver makes a duplicate the descriptor and closes the connection that it
// was made of.
func (t *Transport) takeOver(fd int) {
	t.Conn.Close()
	t.Conn, t.fd = nil, fd
}

// taken reports whether a loop has the descriptor.
func (t *Transport) taken() bool { return t.Conn == nil }

// Read implements net.Conn.
func (t *Transport) Read(p []byte) (int, error) {
	if !t.taken() {
		return t.Conn.Read(p)
	}
	if t.drained {
		return 0, errWouldBlock
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, errno := read(t.fd, p)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, errWouldBlock
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	t.drained = n < len(p)
	return n, nil
}

// Write implements net.Conn. Once a loop has the descriptor it only collects:
// the loop writes at the end of its turn.
func (t *Transport) Write(p []byte) (int, error) {
	switch {
	case !t.taken():
		return t.Conn.Write(p)
	case len(t.out) > 0 || t.cork == nil:
		t.out = append(t.out, p...)
	default:
		*t.cork = append(*t.cork, p...)
	}
	return len(p), nil
}

// CloseWrite ends the writing direction of the connection that is wrapped.
func (t *Transport) CloseWrite() error {
	if t.taken() {
		return unix.Shutdown(t.fd, unix.SHUT_WR)
	}
	if cw, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Abort resets the connection that is wrapped, before a loop has it.
func (t *Transport) Abort() error {
	if t.taken() {
		return net.ErrClosed
	}
	if tcp, ok := t.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	return t.Conn.Close()
}

// Close implements net.Conn. The descriptor that a loop has is closed by its
// leg alone.
func (t *Transport) Close() error {
	if t.taken() {
		return nil
	}
	return t.Conn.Close()
}

// SetDeadline implements net.Conn. A loop has deadlines of its own.
func (t *Transport) SetDeadline(at time.Time) error {
	if t.taken() {
		return nil
	}
	return t.Conn.SetDeadline(at)
}

// SetReadDeadline implements net.Conn.
func (t *Transport) SetReadDeadline(at time.Time) error {
	if t.taken() {
		return nil
	}
	return t.Conn.SetReadDeadline(at)
}

// SetWriteDeadline implements net.Conn.
func (t *Transport) SetWriteDeadline(at time.Time) error {
	if t.taken() {
		return nil
	}
	return t.Conn.SetWriteDeadline(at)
}

// read and write never block, since the descriptors do not: so they need not
// tell the scheduler.
func read(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func write(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}
