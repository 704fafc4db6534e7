package reactor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/relay"
)

// A peer is who a rig's session talks to. It takes whatever it is sent, unless
// it stalls.
type peer struct {
	t     testing.TB
	side  relay.Side
	tcp   bool
	leg   *leg // the gateway's end
	start time.Time

	wire    *wire
	tls     *tls.Conn    // on wire
	keys    bytes.Buffer // its secrets, as a key log has them
	stalled bool
	deaf    bool // it does not listen any more
	ended   bool // it sends no more
	gone    bool // its descriptor is closed
	events  []transcript.Event
	half    bool // a half-close was noted
	over    bool // and the end
	buf     [64 << 10]byte
}

// act takes what has arrived and sends what the gateway did not take before.
// It reports whether it could do anything.
func (p *peer) act(now time.Time) (moved bool) {
	if p.leg == nil {
		return false
	}
	if !p.gone {
		moved = p.wire.flush()
		if p.wire.out == nil && p.wire.ends {
			p.wire.ends, moved = false, true
			unix.Shutdown(p.wire.fd, unix.SHUT_WR)
		}
		p.settle()
		moved = p.take(now) || moved
	}
	note := func(seen *bool, is bool, kind relay.OpKind) {
		if is && !*seen {
			*seen = true
			p.events = append(p.events, transcript.Event{At: now.Sub(p.start), Kind: kind})
		}
	}
	note(&p.half, p.leg.shut && p.leg.waits() == 0, relay.HalfClose)
	note(&p.over, p.leg.closed != 0, p.leg.closed)
	return moved
}

// take reads what has arrived, and checks how it ends.
func (p *peer) take(now time.Time) (moved bool) {
	for !p.stalled && !p.deaf {
		n, err := p.read()
		if n > 0 {
			moved = true
			p.events = append(p.events, transcript.Event{At: now.Sub(p.start), Kind: relay.Write, Data: append([]byte(nil), p.buf[:n]...)})
		}
		switch {
		case err == nil:
			continue
		case err == errWouldBlock:
		case isEnd(err):
			if !p.leg.shut && p.leg.closed == 0 {
				p.t.Errorf("the %v has read the end of a connection that is not closed", p.side)
			}
			if p.tls != nil && p.leg.closed != relay.Abort && p.wire.eof && !p.wire.notified && !p.leg.broken {
				p.t.Errorf("the %v was sent no close_notify", p.side)
			}
		case errors.Is(err, unix.ECONNRESET):
			if p.tcp && p.leg.closed != relay.Abort && !p.leg.broken {
				p.t.Errorf("the %v was reset, and its leg says %v", p.side, p.leg.closed)
			}
		default:
			if p.leg.closed != relay.Abort {
				p.t.Errorf("the %v: %v", p.side, err)
			}
		}
		break
	}
	return moved
}

func (p *peer) read() (int, error) {
	if p.tls == nil {
		return p.wire.Read(p.buf[:])
	}
	n, err := p.tls.Read(p.buf[:])
	if err == io.EOF && !p.wire.eof {
		p.wire.notified = true
	}
	return n, err
}

// settle waits until the kernel has carried over what both ends have written:
// on loopback it mostly has, before the write returns.
func (p *peer) settle() {
	if !p.tcp || p.stalled || p.leg.fd < 0 && p.leg.closed == 0 {
		return
	}
	await(p.t, "what the gateway wrote", func() bool {
		if p.leg.fd < 0 {
			return hasFin(tcpInfo(p.wire.fd))
		}
		own, theirs := tcpInfo(int(p.leg.fd)), tcpInfo(p.wire.fd)
		// A FIN counts as a byte that is received.
		return theirs.Bytes_received >= own.Bytes_sent-own.Bytes_retrans && own.Bytes_received >= theirs.Bytes_sent-theirs.Bytes_retrans &&
			(!p.leg.shut || p.leg.waits() > 0 || hasFin(theirs)) &&
			(!p.ended || p.wire.ends || theirs.Notsent_bytes > 0 || hasFin(own))
	})
}

// The states of a TCP connection, of include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpClosed      = 7
)

// hasFin reports whether the other end's FIN, or its RST, has come.
func hasFin(end *unix.TCPInfo) bool {
	return end.State != tcpEstablished && end.State != tcpFinWait1 && end.State != tcpFinWait2
}

func tcpInfo(fd int) *unix.TCPInfo {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return &unix.TCPInfo{}
	}
	return info
}

// await waits for what the kernel or another goroutine does at once, or soon.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wstest.Patience); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v", what, wstest.Patience)
		}
	}
}

func (p *peer) send(b []byte) {
	if p.gone || p.ended {
		return
	}
	if p.tls == nil {
		p.wire.Write(b)
	} else if _, err := p.tls.Write(b); err != nil {
		p.t.Errorf("the %v cannot send: %v", p.side, err)
	}
}

// end ends what the peer sends.
func (p *peer) end() {
	if p.gone || p.ended {
		return
	}
	if p.tls != nil {
		p.tls.CloseWrite()
	}
	p.ended, p.wire.ends = true, true
}

// reset resets the connection. Among Unix sockets that is to close it with
// something unread in it.
func (p *peer) reset() {
	if p.gone {
		return
	}
	if p.tcp {
		unix.SetsockoptLinger(p.wire.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	} else if p.leg.closed == 0 {
		unix.Write(int(p.leg.fd), []byte{0})
	}
	p.close()
	if p.tcp && p.leg.fd >= 0 {
		await(p.t, "the reset", func() bool { return tcpInfo(int(p.leg.fd)).State == tcpClosed })
	}
}

func (p *peer) close() {
	if !p.gone {
		p.gone = true
		unix.Close(p.wire.fd)
	}
}

// stall stops taking, with the kernel's buffers full, so that not one byte
// more leaves the gateway; or takes again.
func (p *peer) stall(on bool) {
	p.stalled = on
	if !on || p.leg.closed != 0 {
		return
	}
	if p.tcp {
		p.t.Fatal("the buffers of TCP cannot be filled for certain")
	}
	filler := make([]byte, 4096)
	for size := len(filler); size > 0; {
		n, errno := send(p.leg.fd, filler[:size])
		if errno != 0 {
			size /= 2
			continue
		}
		p.wire.junk += n
	}
}

// breakWrites lets whatever is written to the peer fail.
func (p *peer) breakWrites() {
	if p.tcp {
		p.t.Fatal("a TCP peer cannot refuse what it is sent and go on")
	}
	p.deaf = true
	unix.Shutdown(p.wire.fd, unix.SHUT_RD)
}

// A wire is a peer's net.Conn. After the handshake its reads return
// errWouldBlock, and its writes keep what the gateway does not take.
type wire struct {
	net.Conn         // nil
	fd       int     // blocking until after the handshake
	junk     int     // filler among what arrives
	out      []byte  // not taken yet
	ends     bool    // its writing direction ends behind out
	eof      bool    // the end was read
	notified bool    // close_notify was read before it
	held     *[]byte // where not nil: written here instead
}

func (w *wire) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(w.fd, b)
		switch {
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			w.eof = true
			return 0, io.EOF
		}
		cut := min(w.junk, n)
		w.junk -= cut
		if n = copy(b, b[cut:n]); n > 0 {
			return n, nil
		}
	}
}

func (w *wire) Write(b []byte) (int, error) {
	if w.held != nil {
		*w.held = append(*w.held, b...)
		return len(b), nil
	}
	w.out = append(w.out, b...)
	w.flush()
	return len(b), nil
}

// flush sends what the gateway takes, and reports whether that is anything.
func (w *wire) flush() (moved bool) {
	for len(w.out) > 0 {
		n, errno := send(int32(w.fd), w.out)
		switch {
		case errno == unix.EAGAIN:
			return moved
		case errno != 0: // the gateway does not listen any more
			w.out = nil
			return moved
		}
		w.out, moved = w.out[n:], true
	}
	w.out = nil
	return moved
}

func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
