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
	actors  int // goroutines that are about to act, or do
	closing []relay.Op
	faults  int
	ended   bool

	// OnHit, where set before Run, is told of rules that refused something of a
	// side, or would have. It must not block.
	OnHit func(from relay.Side, hit relay.Hit)

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
	for !d.done() || d.actors > 0 {
		d.change.Wait()
	}
	d.ended = true
	d.timer.Stop()
	if d.lost() {
		return relay.Result{Cause: relay.Internal, By: relay.Gateway}
	}
	return d.session.Result()
}

// Fail ends the session from outside. It neither waits for the end nor blocks,
// whatever the peers do.
func (d *Driver) Fail(c relay.Cause) {
	d.post(func(now time.Time) { d.session.Fail(c, now) })
}

// Do has f change the session, unless that has ended. It neither waits for what
// follows nor blocks.
func (d *Driver) Do(f func(core *relay.Session, now time.Time)) {
	d.post(func(now time.Time) { f(d.session, now) })
}

// Abort resets both connections. It neither waits for the end nor blocks.
func (d *Driver) Abort() {
	d.post(func(now time.Time) { d.session.Abort(now) })
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
