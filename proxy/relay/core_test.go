package relay_test

import (
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// A core is a bare session under the simplest driver: it writes at once
// whatever the peer takes. It overwrites what it fed and what it was handed as
// soon as the session may not look at it any more.
type core struct {
	t        testing.TB
	s        *relay.Session
	now      time.Time
	peers    [2]peer
	spans    [2][][]byte // handed out and not written, by receiver
	buf      []byte
	hits     []transcript.Hit
	maxTicks int
}

// A peer is one side of a core.
type peer struct {
	events          []transcript.Event
	total           []byte // that it took
	queue           []byte // handed out, not taken
	later           []func()
	stalled, broken bool
	paused          bool
	shut, closed    bool
	ended, gone     bool // it sends no more; it was reset
	reset           bool // by the session
}

func newCore(t testing.TB, l *relay.Limits, grant *relay.Grant) *core {
	return &core{t: t, s: relay.New(l, grant, epoch), now: epoch, maxTicks: 10_000}
}

func (c *core) Send(from relay.Side, p []byte) {
	c.input(from, func() {
		c.buf = append(c.buf[:0], p...)
		c.s.Feed(from, c.buf, c.now)
		c.act()
		scribble(c.buf)
	})
}

func (c *core) EOF(from relay.Side) {
	c.input(from, func() {
		c.peers[from].ended = true
		c.s.EOF(from, c.now)
	})
}

func (c *core) Reset(from relay.Side) {
	c.input(from, func() {
		c.peers[from].ended, c.peers[from].gone = true, true
		c.s.Gone(from, c.now)
	})
}

// input does what a peer does, once its side is read.
func (c *core) input(from relay.Side, do func()) {
	p := &c.peers[from]
	if p.paused {
		p.later = append(p.later, do)
		return
	}
	if !p.closed && !p.ended {
		do()
	}
	c.rest()
}

func (c *core) Adopt(l *relay.Limits, g *relay.Grant) {
	c.s.Adopt(l, g, c.now)
	c.rest()
}

func (c *core) Fail(cause relay.Cause) {
	c.s.Fail(cause, c.now)
	c.rest()
}

func (c *core) Abort() {
	c.s.Abort(c.now)
	c.rest()
}

func (c *core) Stall(to relay.Side, on bool) {
	c.peers[to].stalled = on
	c.rest()
}

func (c *core) Break(to relay.Side) { c.peers[to].broken = true }

func (c *core) Sleep(d time.Duration) {
	until := c.now.Add(d)
	for n := 0; ; n++ {
		at := c.s.Deadline()
		if at.After(until) {
			break
		}
		if n > c.maxTicks {
			c.t.Fatalf("%v after the start the deadline does not move on", at.Sub(epoch))
		}
		c.now = later(c.now, at)
		c.s.Tick(c.now)
		c.act()
		c.inputs()
	}
	c.now = until
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rest brings everything to rest: operations, inputs that waited, and what is
// due at this moment.
func (c *core) rest() {
	c.act()
	c.inputs()
	c.Sleep(0)
}

// inputs does what peers have done while their sides were not read.
func (c *core) inputs() {
	for side := range c.peers {
		for p := &c.peers[side]; len(p.later) > 0 && !p.paused; {
			do := p.later[0]
			p.later = p.later[1:]
			if !p.closed && !p.ended {
				do()
				c.act()
			}
		}
	}
}

// act does what the session asks for until it asks for nothing.
func (c *core) act() {
	for {
		for op, ok := c.s.Next(); ok; op, ok = c.s.Next() {
			c.op(op)
		}
		if !c.write(relay.Client) && !c.write(relay.Upstream) {
			return
		}
	}
}

func (c *core) op(op relay.Op) {
	p := &c.peers[op.Side]
	if op.Kind == relay.Report {
		c.hits = append(c.hits, transcript.Hit{From: op.Side, Hit: op.Hit})
		return
	}
	if p.closed {
		c.t.Errorf("operation %d on the closed %v", op.Kind, op.Side)
	}
	switch op.Kind {
	case relay.Write:
		if len(op.Data) == 0 || p.shut {
			c.t.Errorf("write of %d bytes to the %v, shut %v", len(op.Data), op.Side, p.shut)
		}
		p.queue = append(p.queue, op.Data...)
		c.spans[op.Side] = append(c.spans[op.Side], op.Data)
		return
	case relay.Pause, relay.Resume:
		if on := op.Kind == relay.Pause; p.paused == on {
			c.t.Errorf("%v is paused already: %v", op.Side, on)
		}
		p.paused = op.Kind == relay.Pause
		return
	case relay.HalfClose:
		if len(p.queue) > 0 || p.shut {
			c.t.Errorf("half-close of the %v, %d bytes unwritten, shut %v", op.Side, len(p.queue), p.shut)
		}
		p.shut = true
	case relay.Close, relay.Abort:
		if op.Kind == relay.Close && len(p.queue) > 0 && !p.gone {
			c.t.Errorf("close of the %v, %d bytes unwritten", op.Side, len(p.queue))
		}
		p.closed, p.reset = true, op.Kind == relay.Abort
		p.queue, p.paused = nil, false
	}
	p.events = append(p.events, transcript.Event{At: c.now.Sub(epoch), Kind: op.Kind})
}

// write gives a peer what it takes, and reports whether that was anything.
func (c *core) write(to relay.Side) bool {
	p := &c.peers[to]
	switch {
	case len(p.queue) == 0, p.stalled:
		return false
	case p.broken:
		p.queue = nil
		c.s.WriteFailed(to, c.now)
		return true
	}
	c.take(to, len(p.queue))
	return true
}

// take lets a peer take n bytes.
func (c *core) take(to relay.Side, n int) {
	p := &c.peers[to]
	p.events = append(p.events, transcript.Event{At: c.now.Sub(epoch), Kind: relay.Write, Data: append([]byte(nil), p.queue[:n]...)})
	p.total = append(p.total, p.queue[:n]...)
	p.queue = p.queue[n:]
	if len(p.queue) == 0 {
		for _, span := range c.spans[to] {
			scribble(span)
		}
		c.spans[to] = nil
	}
	c.s.Written(to, n, c.now)
}

func (c *core) Events(to relay.Side) []transcript.Event {
	events := c.peers[to].events
	c.peers[to].events = nil
	return events
}

func (c *core) Hits() []transcript.Hit {
	hits := c.hits
	c.hits = nil
	return hits
}

func (c *core) Result() (relay.Result, [2]relay.Stats, bool) {
	return c.s.Result(), [2]relay.Stats{c.s.Stats(relay.Client), c.s.Stats(relay.Upstream)}, c.s.Done()
}

// scribble makes bytes unfit for use.
func scribble(p []byte) {
	for i := range p {
		p[i] = 0xdb
	}
}
