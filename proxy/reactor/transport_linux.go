package reactor

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Transport is a net.Conn whose descriptor a loop can take over. Until then
// it is the connection that it wraps.
type Transport struct {
	net.Conn      // nil once taken over
	leg      *leg // that took it over
}

// NewTransport wraps a TCP or Unix connection.
func NewTransport(c net.Conn) *Transport { return &Transport{Conn: c} }

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

// takeOver makes the transport one of a leg, which has a duplicate.
func (t *Transport) takeOver(x *leg) { t.Conn, t.leg = nil, x }

// taken reports whether a loop has the descriptor.
func (t *Transport) taken() bool { return t.leg != nil }

// Read implements net.Conn. Once a loop has the descriptor, the error is a
// temporary net.Error where a read would block.
func (t *Transport) Read(p []byte) (int, error) {
	if t.taken() {
		return t.leg.receive(p)
	}
	return t.Conn.Read(p)
}

// Write implements net.Conn. Once a loop has the descriptor it only collects:
// what tls.Conn writes in one go leaves with one system call.
func (t *Transport) Write(p []byte) (int, error) {
	if !t.taken() {
		return t.Conn.Write(p)
	}
	l := t.leg.session.loop
	l.cork = append(l.cork, p...)
	return len(p), nil
}

// CloseWrite ends the writing direction of the connection that is wrapped,
// before a loop has it.
func (t *Transport) CloseWrite() error {
	if t.taken() {
		return net.ErrClosed
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
