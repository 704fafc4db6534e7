package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
)

const (
	headTimeout = 5 * time.Second // from the first byte of a request head to its last
	maxEarly    = 4 << 10         // bytes that a client may send before its handshake is answered
	reasonSlow  = "request took too long"
)

// A headConn stands between a client's connection and net/http and lets a
// request through only once its whole head has passed handshake.ScanHead,
// which is stricter than net/http: what is ambiguous between two HTTP parsers
// never reaches either. It also bounds how long a head may take.
//
// Where the head ends is known here, so the bytes of a body, and those behind
// an Upgrade, pass as they are. A chunked body passes unread as well: the
// handler ends the connection after such a request, so nothing behind it is
// ever taken for a request.
type headConn struct {
	net.Conn
	peer
	seat                                             // in the waitlist while nothing is served on it
	raw      net.Conn                                // below TLS
	refuse   func(c *headConn, r *handshake.Refusal) // counts and logs
	free     func()                                  // gives its place at the listener back
	waitlist *waitlist

	// Of the reading goroutine. net/http reads from one at a time.
	buf     *headBuffer // what was read and not passed on
	scanner handshake.HeadScanner
	pass    int64 // bytes that pass before the next head; -1: all
	chunked bool  // the latest request has a chunked body
	upgrade bool  // the latest request asks for another protocol
	early   int   // bytes that came with its head
	lent    int   // bytes of the next head that net/http has already, 0 or 1

	flooded atomic.Bool // more than maxEarly bytes came before the handshake was answered

	mu   sync.Mutex
	busy bool      // a request is being answered
	want time.Time // read deadline that net/http set
	own  time.Time // of the head under way
}

// A headBuffer has room for the longest head and for early bytes behind it.
type headBuffer struct {
	from, to int
	b        [handshake.MaxHead + maxEarly + 1]byte
}

var headBuffers = sync.Pool{New: func() any { return new(headBuffer) }}

func (b *headBuffer) len() int { return b.to - b.from }

// Read implements net.Conn for net/http.
func (c *headConn) Read(p []byte) (int, error) {
	if c.pass == 0 {
		if !c.waiting() {
			return c.ahead(p)
		}
		if err := c.readHead(p); err != nil {
			return 0, err
		}
	}
	if c.pass > 0 && int64(len(p)) > c.pass {
		p = p[:c.pass]
	}
	if c.upgrade && c.buf == nil {
		if err := c.readEarly(); err != nil {
			return 0, err
		}
	}
	var n int
	var err error
	if c.buf != nil && c.buf.len() > 0 {
		n = copy(p, c.buf.b[c.buf.from:c.buf.to])
		c.buf.from += n
		if c.buf.len() == 0 {
			c.release()
		}
	} else {
		n, err = c.Conn.Read(p)
	}
	if c.pass > 0 {
		c.pass -= int64(n)
	}
	return n, err
}

// ahead serves net/http while it answers a request: it reads one byte then,
// only to learn whether the client is still there. It gets that byte, but
// nothing behind it before the head that it begins has passed.
func (c *headConn) ahead(p []byte) (int, error) {
	if err := c.first(p[:1]); err != nil {
		return 0, err
	}
	p[0], c.lent = c.buf.b[c.buf.from], 1
	return 1, nil
}

// first waits for the first byte of a head. It borrows the room for it from the
// caller: most of its life a connection waits, and holds no buffer.
func (c *headConn) first(room []byte) error {
	for c.buf == nil {
		n, err := c.Conn.Read(room)
		switch {
		case n > 0:
			c.buf = headBuffers.Get().(*headBuffer)
			c.buf.from, c.buf.to = 0, copy(c.buf.b[:], room)
		case err != nil:
			return err
		}
	}
	return nil
}

// readEarly reads what a client sends before its handshake is answered, of
// which net/http takes one byte. A client that sends too much is refused: its
// request ends as if it had gone, and upgrade sees why.
func (c *headConn) readEarly() error {
	b := headBuffers.Get().(*headBuffer)
	n, err := c.Conn.Read(b.b[:maxEarly+1])
	if n == 0 || n > maxEarly {
		headBuffers.Put(b)
		if n > 0 {
			c.flooded.Store(true)
			err = errFlooded
		}
		return err
	}
	b.from, b.to, c.buf = 0, n, b
	return nil
}

var errFlooded = errors.New("too many bytes before the handshake was answered")

// readHead waits for a whole request head and lets it, and its body, pass.
func (c *headConn) readHead(p []byte) error {
	if err := c.first(p[:1]); err != nil {
		return err
	}
	c.buf.to = copy(c.buf.b[:], c.buf.b[c.buf.from:c.buf.to])
	c.buf.from = 0
	for {
		h, n, refusal := c.scanner.Scan(c.buf.b[:c.buf.to])
		if refusal != nil {
			return c.reject(refusal)
		}
		if n > 0 {
			c.passed(h, n)
			return nil
		}
		c.limit()
		n, err := c.Conn.Read(c.buf.b[c.buf.to:])
		c.buf.to += n
		if n == 0 && err != nil {
			return c.failed(err)
		}
	}
}

// passed lets a head of n bytes pass, and the body that it announces.
func (c *headConn) passed(h handshake.Head, n int) {
	c.waitlist.leave(c)
	c.scanner = handshake.HeadScanner{}
	c.chunked = h.Chunked
	c.pass = int64(n-c.lent) + h.BodyLength
	c.buf.from, c.lent = c.lent, 0
	if h.Upgrade || h.Chunked || string(h.Method) == "CONNECT" {
		c.pass, c.upgrade, c.early = -1, h.Upgrade, c.buf.to-n
	}
	c.mu.Lock()
	c.busy, c.own = true, time.Time{}
	c.deadline()
	c.mu.Unlock()
}

// waiting reports whether net/http waits for a request, and not answers one.
func (c *headConn) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.busy
}

// idle says that the request is answered.
func (c *headConn) idle() {
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	c.waitlist.join(c)
}

// limit starts the clock of the head under way.
func (c *headConn) limit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own.IsZero() {
		c.own = time.Now().Add(headTimeout)
		c.deadline()
	}
}

// SetReadDeadline implements net.Conn for net/http.
func (c *headConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want = t
	return c.deadline()
}

// Write implements net.Conn for net/http. A client that takes nothing for so
// long would hold its answer, and the upstream's connection, for ever.
func (c *headConn) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.Conn.Write(p)
}

// SetDeadline implements net.Conn for net/http.
func (c *headConn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// deadline sets the earlier of both read deadlines. The lock is held, so that
// net/http's, with which it interrupts a read, cannot be lost.
func (c *headConn) deadline() error {
	t := c.want
	if !c.own.IsZero() && (t.IsZero() || c.own.Before(t)) {
		t = c.own
	}
	return c.Conn.SetReadDeadline(t)
}

// failed turns the end of a head's time into a refusal.
func (c *headConn) failed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.reject(&handshake.Refusal{Status: 408, Reason: reasonSlow})
	}
	return err
}

// reject answers in net/http's place and ends the connection: for net/http the
// client has gone without a word.
func (c *headConn) reject(r *handshake.Refusal) error {
	c.refuse(c, r)
	c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.Conn.Write(r.AppendHTTP1(nil))
	c.pass = -1
	c.release()
	lingerClose(c.Conn)
	return io.EOF
}

// rest takes what was read and not passed on: after an Upgrade, the client's
// early bytes.
func (c *headConn) rest() []byte {
	if c.buf == nil {
		return nil
	}
	p := append([]byte(nil), c.buf.b[c.buf.from:c.buf.to]...)
	c.release()
	return p
}

func (c *headConn) release() {
	if c.buf != nil {
		headBuffers.Put(c.buf)
		c.buf = nil
	}
}

// Close implements net.Conn for net/http. A session closes Conn itself.
func (c *headConn) Close() error {
	c.waitlist.leave(c)
	c.free()
	return c.Conn.Close()
}
