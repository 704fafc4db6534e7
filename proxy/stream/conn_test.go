package stream_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

var errReset = errors.New("connection reset by peer")

// A conn is a connection in memory: what the driver has, and what its peer
// does with it. A read returns what arrived in one piece. It overwrites the
// whole buffer first, and a write looks at its bytes twice, so that bytes
// which are used beyond their time show.
type conn struct {
	t      testing.TB
	start  time.Time
	delay  func() time.Duration // of each write, where not nil
	mu     sync.Mutex
	change sync.Cond

	arrived [][]byte
	end     error // after what arrived
	stalled bool
	broken  bool
	closed  int // calls of Close and Abort
	shut    int // calls of CloseWrite
	busy    [2]int
	sizes   []int // of the buffers of Read
	events  []transcript.Event
}

func newConn(t testing.TB) *conn {
	c := &conn{t: t, start: time.Now()}
	c.change.L = &c.mu
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enter(0, "reads")
	defer c.leave(0)
	c.sizes = append(c.sizes, len(p))
	for i := range p {
		p[i] = 0xdb
	}
	for c.closed == 0 && len(c.arrived) == 0 && c.end == nil {
		c.change.Wait()
	}
	if c.closed > 0 {
		return 0, net.ErrClosed
	}
	if len(c.arrived) == 0 {
		return 0, c.end
	}
	n := copy(p, c.arrived[0])
	if c.arrived[0] = c.arrived[0][n:]; len(c.arrived[0]) == 0 {
		c.arrived = c.arrived[1:]
	}
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	before := string(p)
	c.do(func() { c.enter(1, "writes") })
	if c.delay != nil {
		time.Sleep(c.delay())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.leave(1)
	for c.stalled && c.closed == 0 && !c.broken {
		c.change.Wait()
	}
	switch {
	case c.closed > 0:
		return 0, net.ErrClosed
	case c.broken || c.end == errReset:
		return 0, errReset
	case string(p) != before:
		c.t.Errorf("the bytes of a write of %d changed meanwhile", len(p))
	case c.shut > 0:
		c.t.Errorf("write after the half-close")
	case len(p) == 0:
		c.t.Errorf("empty write")
	}
	c.note(relay.Write, []byte(before))
	return len(p), nil
}

// enter counts a call that must not run twice at once.
func (c *conn) enter(i int, what string) {
	if c.busy[i]++; c.busy[i] > 1 {
		c.t.Errorf("two %s at once", what)
	}
}

func (c *conn) leave(i int) { c.busy[i]-- }

func (c *conn) note(kind relay.OpKind, p []byte) {
	c.events = append(c.events, transcript.Event{At: time.Since(c.start), Kind: kind, Data: p})
}

func (c *conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut++; c.shut > 1 || c.closed > 0 || c.busy[1] > 0 {
		c.t.Errorf("half-close %d, closed %d, %d writes", c.shut, c.closed, c.busy[1])
	}
	c.note(relay.HalfClose, nil)
	return nil
}

func (c *conn) Close() error { return c.over(relay.Close) }
func (c *conn) Abort() error { return c.over(relay.Abort) }

func (c *conn) over(kind relay.OpKind) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed++; c.closed > 1 {
		c.t.Errorf("closed %d times", c.closed)
	}
	c.note(kind, nil)
	c.change.Broadcast()
	return nil
}

// do changes what the peer does.
func (c *conn) do(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.change.Broadcast()
}

func (c *conn) send(p []byte) {
	c.do(func() { c.arrived = append(c.arrived, append([]byte(nil), p...)) })
}
func (c *conn) eof()          { c.do(func() { c.end = io.EOF }) }
func (c *conn) reset()        { c.do(func() { c.end = errReset }) }
func (c *conn) stall(on bool) { c.do(func() { c.stalled = on }) }
func (c *conn) breakWrites()  { c.do(func() { c.broken = true }) }
func (c *conn) take() (events []transcript.Event) {
	c.do(func() { events, c.events = c.events, nil })
	return events
}

// got returns everything that was written.
func (c *conn) got() (p []byte) {
	c.do(func() {
		for _, e := range c.events {
			p = append(p, e.Data...)
		}
	})
	return p
}
