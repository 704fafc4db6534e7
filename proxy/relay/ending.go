package relay

import (
	"time"

	"github.com/framegate/framegate/proxy/frame"
)

// lost is the cause that a side ended without Close.
func lost(side Side) Cause {
	if side == Client {
		return ClientLost
	}
	return UpstreamLost
}

// fail ends the session by c: at once, or once the messages under way are
// complete.
func (s *Session) fail(c Cause) {
	switch {
	case s.cause != None:
	case rows[c].offender != 0:
		s.end(c, Client, "")
	case !rows[c].graceful:
		s.end(c, Gateway, "")
	case s.stopping == None:
		s.stop(c, "")
	}
}

// stop begins a graceful end: the session waits for the messages under way.
func (s *Session) stop(c Cause, reason string) {
	s.stopping, s.ending = c, &ending{stopBy: s.now + s.limits.CloseTimeout, reason: reason}
}

// because notes what the side at fault is told.
func (s *Session) because(reason string) {
	if s.ending == nil {
		if reason == "" {
			return
		}
		s.ending = new(ending)
	}
	s.ending.reason = reason
}

// reason is what the side at fault is told.
func (s *Session) reason() string {
	if s.ending == nil {
		return ""
	}
	return s.ending.reason
}

// mayStop reports that a graceful end need not wait any longer: no message is
// under way. Until then control frames and Closes are relayed still.
func (s *Session) mayStop() bool {
	return s.stopping != None && s.cause == None && !s.half[Client].underWay() && !s.half[Upstream].underWay()
}

// endStopped ends a session whose messages were waited for.
func (s *Session) endStopped() {
	by := Gateway
	if rows[s.stopping].offender != 0 {
		by = Client
	}
	s.end(s.stopping, by, s.reason())
}

// underWay reports that a side has begun a message or a frame that is to be
// relayed, and not ended it.
func (h *half) underWay() bool {
	switch {
	case h.phase != relaying, h.waits() && h.unseen():
		return false
	case h.streaming, h.hold != nil, h.parser.Partial():
		return true
	case h.rules != nil && h.rules.dropping:
		return false
	}
	return h.amid() || h.rules != nil && h.rules.gathering
}

// end is the one place that ends a session. by is the side at fault, or
// Gateway. reason overrides the cause's own. Where the session is ending
// already, what follows is only its consequence: the first cause stays.
func (s *Session) end(c Cause, by Side, reason string) {
	if s.cause == None {
		s.cause, s.by = c, by
		if reason == "" {
			reason = rows[c].reason
		}
		s.because(reason)
	}
	for _, side := range [2]Side{Client, Upstream} {
		h := &s.half[side]
		s.sendClose(side)
		// After a fault nothing is certain about what was parsed so far.
		if c == Internal || side == by && rows[c].offender != 0 {
			h.discard()
		} else {
			h.await()
		}
		s.lift(side)
	}
}

// sendClose tells a side that the session ends, unless it has been told. What
// it sent itself is its answer; else the cause decides. Inside a frame nothing
// can be told: the connection is reset, behind what was handed out before.
func (s *Session) sendClose(to Side) {
	h := &s.half[to]
	switch {
	case h.sentClose, h.then != 0, h.broken, h.closed:
		return
	case s.midFrame(to):
		h.then, h.endAt = Abort, s.patience(h)
		return
	case h.eof && !h.gotClose: // it has left: it only takes what was handed out before
		h.then, h.endAt = Close, s.patience(h)
		return
	}
	code, reason := s.limits.Codes.Code(s.cause, s.by, to), s.reasonFor(to)
	if s.cause == PeerClosed && h.gotClose {
		code = h.closeCode
	}
	s.write(to, frame.AppendClose(nil, code, reason, s.key(to)))
	s.told(to, code)
}

// reasonFor is what a side reads: the side at fault learns the rule, the other
// one only that the connection ended.
func (s *Session) reasonFor(to Side) string {
	switch {
	case s.cause == PeerClosed, s.cause == None:
		return ""
	case s.by == Gateway, s.by == to:
		return s.reason()
	}
	return rows[s.cause].reason
}

// told notes that a side was handed a Close and sets the time for its part.
func (s *Session) told(to Side, code frame.StatusCode) {
	h := &s.half[to]
	h.sentClose, h.told, h.endAt = true, code, s.patience(h)
}

// close ends the connection to a side, once.
func (s *Session) close(side Side, how OpKind) {
	h := &s.half[side]
	if h.closed {
		return
	}
	h.discard()
	h.closed, h.paused, h.endAt, h.controls = true, false, 0, nil
	s.ask(Op{Kind: how, Side: side})
	s.lift(side)
	s.unwritten(side.Other())
	h.pending = 0
	s.readOn(side.Other())
}

// unwritten forgets what was handed out of a side's buffers.
func (s *Session) unwritten(from Side) {
	h := &s.half[from]
	if s.half[from.Other()].pending == 0 {
		return
	}
	abandon(&h.spent)
	if h.rules != nil {
		l := &h.rules.backlog
		l.lent = false
		if l.b != nil {
			l.b.handed = true // in part
		}
	}
}

// discard throws away all further input.
func (h *half) discard() {
	h.phase = discarding
	free(&h.hold)
}

// await skips frames until the side's Close. A frame that was being gathered
// is skipped with the rest.
func (h *half) await() {
	if h.phase != relaying {
		return
	}
	h.phase = awaiting
	if h.hold != nil {
		h.left = int64(h.hold.missing())
		free(&h.hold)
	}
}

// skip looks for the Close of a side whose messages are no longer relayed.
func (h *half) skip(p []byte) {
	for len(p) > 0 && h.phase == awaiting {
		if h.left > 0 {
			n := min(h.left, int64(len(p)))
			p = p[n:]
			h.left -= n
		} else {
			hdr, _, used, done, v := h.parser.Next(p)
			p = p[used:]
			switch {
			case v != nil:
				h.discard()
				return
			case !done:
				return
			}
			h.header, h.left = hdr, hdr.Length
		}
		if h.left == 0 && h.header.OpCode == frame.OpClose {
			h.gotClose = true
			h.discard()
		}
	}
}

// settle draws the consequences of what has just changed: it begins a graceful
// end, and takes each side through its close.
//
// A server ends its TCP connection first (RFC 6455 §7.1.1). So after both
// Close frames the client is half-closed and then awaited; the upstream, which
// is a server, is awaited, unless it broke the protocol.
func (s *Session) settle() {
	if s.mayStop() {
		s.endStopped()
	}
	s.rest()
	if s.cause == None {
		return
	}
	for range 2 { // what closes one side may let the other one finish
		for _, side := range [2]Side{Client, Upstream} {
			s.finish(side)
		}
	}
}

// finish moves one side on towards its end.
func (s *Session) finish(side Side) {
	h, other := &s.half[side], &s.half[side.Other()]
	if h.closed {
		return
	}
	// Nothing of the other side is relayed any more, so neither is its answer:
	// the gateway answers.
	if h.gotClose && other.phase != relaying {
		s.sendClose(side)
	}
	switch {
	case h.pending > 0:
	case h.then != 0:
		s.close(side, h.then)
	case h.broken, h.eof && h.sentClose:
		s.close(side, Close)
	case h.sentClose && !h.shut && h.phase == discarding && (side == Client || !h.gotClose):
		h.shut, h.endAt = true, s.patience(h)
		s.ask(Op{Kind: HalfClose, Side: side})
	}
}

// Abort resets both connections at once: the gateway has no time left.
func (s *Session) Abort(now time.Time) {
	s.advance(now)
	if s.cause == None {
		s.cause = Drain
		if s.stopping != None {
			s.cause = s.stopping
		}
		if s.reason() == "" {
			s.because(rows[s.cause].reason)
		}
	}
	s.close(Client, Abort)
	s.close(Upstream, Abort)
}
