package stream

import (
	"runtime/debug"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// maxWrite is the most that one call of Write is given, in bytes: the session
// learns only after it that a slow peer has taken something.
const maxWrite = 16 << 10

// step changes the session and does what it then asks for. cause is the side
// whose bytes are behind the change: the other one is written to first.
func (d *Driver) step(cause relay.Side, change func(now time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.actors++
	d.think(change)
	d.act(cause)
}

// post changes the session and leaves what follows to another goroutine, since
// the caller must not wait until a peer takes what is written to it.
func (d *Driver) post(change func(now time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.actors++
	d.think(change)
	go d.follow()
}

// follow is the goroutine that does what nobody else has the time for.
func (d *Driver) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.act(relay.Client)
}

// act writes and closes whatever there is to be written and closed. The lock
// is held, and let go meanwhile.
func (d *Driver) act(cause relay.Side) {
	for {
		// Claimed before the lock is let go for closing: the queue may hold
		// parts of the caller's buffer, which nobody else may write later.
		to, ok := d.claim(cause.Other())
		if ok && d.sides[to.Other()].waits() {
			// A peer that does not read must not keep the other one from
			// learning that the session ends.
			d.actors++
			go d.follow()
		}
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
// is held. A fault in one session must not end the process: the session is
// told to end itself, and once more and it is given up.
func (d *Driver) think(change func(now time.Time)) {
	if d.lost() {
		return
	}
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		d.faults++
		if d.OnPanic != nil {
			d.OnPanic(fault, debug.Stack())
		}
		if d.lost() {
			d.giveUp()
			return
		}
		d.think(func(now time.Time) { d.session.Fail(relay.Internal, now) })
	}()
	now := time.Now()
	change(now)
	d.report(relay.Client)
	d.report(relay.Upstream)
	for op, ok := d.session.Next(); ok; op, ok = d.session.Next() {
		d.take(op)
	}
	if at := d.session.Deadline(); d.timer != nil && (d.armed.IsZero() || at.Before(d.armed)) {
		d.armed = at
		d.timer.Reset(at.Sub(now))
	}
}

// take notes what an operation asks for.
func (d *Driver) take(op relay.Op) {
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
	case relay.Report:
		if d.OnHit != nil {
			d.OnHit(op.Side, op.Hit)
		}
	case relay.HalfClose:
		d.closing = append(d.closing, op)
	case relay.Close, relay.Abort:
		s.closed, s.queue = true, nil
		d.change.Broadcast()
		d.closing = append(d.closing, op)
	}
}

// lost reports that the session has failed twice, the second time at ending
// itself.
func (d *Driver) lost() bool { return d.faults > 1 }

// giveUp ends what a lost session cannot end.
func (d *Driver) giveUp() {
	for _, side := range [2]relay.Side{relay.Client, relay.Upstream} {
		if !d.sides[side].closed {
			d.take(relay.Op{Kind: relay.Abort, Side: side})
		}
	}
}

// done reports that both connections are closed, or about to be.
func (d *Driver) done() bool {
	return d.sides[relay.Client].closed && d.sides[relay.Upstream].closed
}

// report tells count what was relayed.
func (d *Driver) report(from relay.Side) {
	if d.count == nil {
		return
	}
	s, now := &d.sides[from], d.session.Stats(from)
	if now != s.counted {
		more := now.Sub(s.counted)
		s.counted = now
		d.count(from, more)
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
		if s := &d.sides[to]; s.waits() {
			s.writing = true
			return to, true
		}
	}
	return 0, false
}

// waits reports that a side has something to be written, and no writer.
func (s *side) waits() bool { return len(s.queue) > 0 && !s.writing }

// write writes the queue of a side that the caller has claimed.
func (d *Driver) write(to relay.Side) {
	s := &d.sides[to]
	batch := s.queue
	s.queue = nil
	for _, p := range batch {
		if !d.writeAll(to, p) {
			break
		}
	}
	s.writing = false
	if s.queue == nil {
		clear(batch)
		s.queue = batch[:0]
	}
}

// writeAll writes p to a side and tells the session how that goes. The lock is
// released meanwhile. It returns false once nothing can be written any more.
func (d *Driver) writeAll(to relay.Side, p []byte) bool {
	s := &d.sides[to]
	for len(p) > 0 && !s.closed {
		d.mu.Unlock()
		n, err := s.conn.Write(p[:min(len(p), maxWrite)])
		d.mu.Lock()
		d.think(func(now time.Time) {
			if err != nil {
				d.session.WriteFailed(to, now)
				return
			}
			d.session.Written(to, n, now)
		})
		d.close()
		if err != nil {
			return false
		}
		p = p[n:]
	}
	return !s.closed
}
