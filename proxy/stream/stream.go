// Package stream drives a relay.Session over any two byte streams with two
// goroutines: on systems without the reactor, and for the streams of HTTP/2
// and HTTP/3, which have no descriptor of their own.
//
// Each pump is the only reader of its side. Whoever has something to write to
// a side writes it, unless another goroutine is writing there: then it leaves
// a copy, which that one takes along. The session's lock is held while the
// session thinks, never while anybody reads, writes or closes.
package stream

import (
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A Conn is one side of a session. CloseWrite ends the writing direction and
// keeps reading; Abort resets the connection, so that the peer cannot take
// what it has for complete. Close and Abort unblock Read and Write.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
	Abort() error
}

// A Driver runs one session.
type Driver struct {
	session *relay.Session
	count   func(from relay.Side, more relay.Stats)
	sides   [2]side

	mu      sync.Mutex
	change  sync.Cond // a side was paused, resumed or closed, or an actor is done
	timer   *time.Timer
	armed   time.Time
	actors  int // goroutines inside step
	closing []relay.Op
	ended   bool

	// OnPanic, where set before Run, is told of a fault in this session, which
	// then ends with relay.Internal. The stack holds no payload.
	OnPanic func(fault any, stack []byte)
}

// A side is what the driver knows of one connection.
type side struct {
	conn    Conn
	queue   [][]byte // to be written; guarded by mu, as is all below
	writing bool     // somebody is writing
	paused  bool
	closed  bool
	counted relay.Stats
}

// New returns a driver of session over the two connections, which it will
// close. count, where not nil, is told what was relayed since its last call;
// it must not block.
func New(session *relay.Session, client, upstream Conn, count func(from relay.Side, more relay.Stats)) *Driver {
	d := &Driver{session: session, count: count}
	d.sides[relay.Client].conn, d.sides[relay.Upstream].conn = client, upstream
	d.change.L = &d.mu
	return d
}

// Run relays until both connections are closed and returns how that came
// about. early is what was read from each side before; it is relayed first.
func (d *Driver) Run(early [2][]byte) relay.Result {
	d.mu.Lock()
	d.armed = d.session.Deadline()
	d.timer = time.AfterFunc(time.Until(d.armed), d.tick)
	d.mu.Unlock()
	// The upstream's come first: its 101 went out before.
	for _, from := range [2]relay.Side{relay.Upstream, relay.Client} {
		if p := early[from]; len(p) > 0 {
			d.step(from, func(now time.Time) { d.session.Feed(from, p, now) })
		}
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { d.pump(relay.Upstream) })
	d.pump(relay.Client)
	pumps.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	// A pump ends with its side's input; the rest may need the clock still.
	for !d.session.Done() || d.actors > 0 {
		d.change.Wait()
	}
	d.ended = true
	d.timer.Stop()
	return d.session.Result()
}

// Fail ends the session from outside. It does not wait for the end.
func (d *Driver) Fail(c relay.Cause) {
	d.step(relay.Client, func(now time.Time) { d.session.Fail(c, now) })
}

// tick is the timer's goroutine.
func (d *Driver) tick() {
	d.step(relay.Client, func(now time.Time) {
		d.armed = time.Time{}
		d.session.Tick(now)
	})
}

// pump reads one side until it ends.
func (d *Driver) pump(from relay.Side) {
	conn := d.sides[from].conn
	var b readBuffer
	defer b.free()
	for d.mayRead(from) {
		n, err := conn.Read(b.next())
		d.step(from, func(now time.Time) {
			if n > 0 {
				d.session.Feed(from, b.p[:n], now)
			}
			switch {
			case err == nil:
			case errors.Is(err, io.EOF):
				d.session.EOF(from, now)
			default:
				d.session.Gone(from, now)
			}
		})
		if err != nil {
			return
		}
		b.used(n)
	}
}

// mayRead waits while a side is paused. It returns false once it is closed.
func (d *Driver) mayRead(from relay.Side) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.sides[from].paused && !d.sides[from].closed {
		d.change.Wait()
	}
	return !d.sides[from].closed
}

// step changes the session and does what it then asks for. cause is the side
// whose bytes are behind the change: the other one is written to first.
func (d *Driver) step(cause relay.Side, change func(now time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.actors++
	d.think(cause, change)
	for {
		// Claimed before the lock is let go for closing: the queue may hold
		// parts of the caller's buffer, which nobody else may write later.
		to, ok := d.claim(cause.Other())
		d.close()
		if !ok {
			break
		}
		d.write(to)
	}
	d.actors--
	d.change.Broadcast()
}

// think calls change and takes the operations that follow from it. The lock
// is held.
func (d *Driver) think(from relay.Side, change func(now time.Time)) {
	now := time.Now()
	d.guard(change, now)
	d.report(from)
	for op, ok := d.session.Next(); ok; op, ok = d.session.Next() {
		s := &d.sides[op.Side]
		switch op.Kind {
		case relay.Write:
			p := op.Data
			if s.writing {
				p = append([]byte(nil), p...) // its owner reuses it before its turn comes
			}
			s.queue = append(s.queue, p)
		case relay.Pause, relay.Resume:
			s.paused = op.Kind == relay.Pause
			d.change.Broadcast()
		case relay.Close, relay.Abort:
			s.closed, s.queue = true, nil
			d.change.Broadcast()
			d.closing = append(d.closing, op)
		case relay.HalfClose:
			d.closing = append(d.closing, op)
		}
	}
	if at := d.session.Deadline(); d.timer != nil && (d.armed.IsZero() || at.Before(d.armed)) {
		d.armed = at
		d.timer.Reset(at.Sub(now))
	}
}

// guard keeps a fault in one session from ending the process.
func (d *Driver) guard(change func(now time.Time), now time.Time) {
	defer func() {
		if fault := recover(); fault != nil {
			if d.OnPanic != nil {
				d.OnPanic(fault, debug.Stack())
			}
			d.session.Fail(relay.Internal, now)
		}
	}()
	change(now)
}

// report tells count what was relayed.
func (d *Driver) report(from relay.Side) {
	if d.count == nil {
		return
	}
	s, now := &d.sides[from], d.session.Stats(from)
	if now != s.counted {
		d.count(from, now.Sub(s.counted))
		s.counted = now
	}
}

// close ends the connections, or their writing directions, that are to end.
// The lock is released meanwhile: all three may take time, and Abort unblocks
// a writer that needs the lock next.
func (d *Driver) close() {
	for len(d.closing) > 0 {
		op := d.closing[0]
		d.closing = d.closing[1:]
		conn := d.sides[op.Side].conn
		d.mu.Unlock()
		switch op.Kind {
		case relay.HalfClose:
			conn.CloseWrite()
		case relay.Close:
			conn.Close()
		case relay.Abort:
			conn.Abort()
		}
		d.mu.Lock()
	}
}

// claim makes the caller the writer of a side that has something to be written
// and no writer; of first, where both have.
func (d *Driver) claim(first relay.Side) (relay.Side, bool) {
	for _, to := range [2]relay.Side{first, first.Other()} {
		if s := &d.sides[to]; len(s.queue) > 0 && !s.writing {
			s.writing = true
			return to, true
		}
	}
	return 0, false
}

// write writes the queue of a side that the caller has claimed. The lock is
// released meanwhile.
func (d *Driver) write(to relay.Side) {
	s := &d.sides[to]
	batch := s.queue
	s.queue = nil
	d.mu.Unlock()
	n, err := writeAll(s.conn, batch)
	d.mu.Lock()
	s.writing = false
	if s.queue == nil {
		clear(batch)
		s.queue = batch[:0]
	}
	d.think(to.Other(), func(now time.Time) {
		if err != nil {
			d.session.Gone(to, now)
			return
		}
		d.session.Written(to, n, now)
	})
}

// writeAll writes each of batch and returns the sum of their sizes.
func writeAll(w io.Writer, batch [][]byte) (n int, err error) {
	for _, p := range batch {
		m, err := w.Write(p)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Abort resets both connections. It does not wait for the end.
func (d *Driver) Abort() {
	d.step(relay.Client, func(now time.Time) { d.session.Abort(now) })
}
