package relay

import (
	"time"

	"github.com/framegate/framegate/proxy/frame"
)

// A rate that is asked in vain is asked again after a time between these.
const (
	shortestWait = time.Microsecond
	longestWait  = time.Hour
)

// A backlog is what has arrived from a side behind something that a rate
// delays. The side is not read meanwhile, so it is the rest of one read.
type backlog struct {
	b     *buffer
	at    int           // of what is walked next: a frame whose header was accepted, unless early
	until time.Duration // when that may have room; 0 where nothing is delayed
	since time.Duration
	rate  *Rate // that delays it
	early bool  // b came before the side could be read again; nothing in it was looked at
	whole bool  // what is delayed is the message that was gathered, and b comes behind it
	eof   bool  // and after b nothing more
	// lent says that bytes of a backlog were handed out and not all written:
	// the side may not be read further, for they are in no one's read buffer.
	lent bool
}

// waits reports that something of the side is delayed.
func (h *half) waits() bool { return h.rules != nil && h.rules.backlog.until != 0 }

// behind reports that the side must not be read for the sake of its backlog.
func (h *half) behind() bool { return h.waits() || h.rules != nil && h.rules.backlog.lent }

// wait keeps what begins with the header raw, of which used bytes stand at
// p[at:], until there may be room for it; where raw is empty, until there may
// be for the message that was gathered.
func (w *walker) wait(raw []byte, used int) *frame.Violation {
	w.flush()
	s, l := w.s, &w.h.rules.backlog
	l.since, l.whole = s.now, len(raw) == 0
	if w.again && used == len(raw) {
		l.at = w.at
		return nil
	}
	rest := w.p[w.at+used:]
	b := s.limits.Memory.lend(len(raw) + len(rest))
	if b == nil {
		l.until = 0
		w.skip(used)
		if !l.whole {
			w.h.left = w.h.header.Length
		}
		return errMemory
	}
	b.fill(raw)
	b.fill(rest)
	l.b, l.at = b, 0
	w.at = len(w.p)
	w.start = w.at
	s.pause(w.from)
	return nil
}

// early keeps what was fed of a side that should not have been read.
func (s *Session) early(from Side, p []byte) {
	h := &s.half[from]
	l := &h.rules.backlog
	var rest []byte
	if l.b != nil {
		rest = l.b.bytes()[l.at:]
	}
	b := s.limits.Memory.lend(len(rest) + len(p))
	if b == nil {
		s.end(Overload, Gateway, errMemory.Reason)
		return
	}
	b.fill(rest)
	b.fill(p)
	s.spend(from, &l.b)
	l.b, l.at = b, 0
	if !h.waits() {
		l.early, l.since, l.until = true, s.now, s.now+shortestWait
	}
}

// walkOn walks the backlog of a side, since there may be room again.
func (s *Session) walkOn(from Side) {
	h := &s.half[from]
	l := &h.rules.backlog
	s.delayed(from)
	s.busyAt = s.now
	b := l.b
	w := walker{s: s, h: h, from: from, to: from.Other(), p: b.bytes(), start: l.at, at: l.at, again: true, retried: !l.early}
	l.b, l.until, l.early, l.lent = nil, 0, false, true
	var v *frame.Violation
	switch {
	case h.phase != relaying, !w.retried:
	case l.whole:
		v = w.follow(w.charge(h.rules.due))
		w.retried = false
	default:
		v = w.frame()
	}
	w.run(v)
	if h.waits() && l.b == nil { // further on in the same buffer
		l.b = b
		return
	}
	if h.phase == awaiting {
		h.skip(w.p[w.at:])
	}
	s.spend(from, &b)
	if h.waits() {
		return
	}
	l.lent = s.half[from.Other()].pending > 0
	if l.eof {
		l.eof = false
		s.ended(from)
	}
	s.readOn(from)
}

// delayed takes note of the end of a delay. The clocks of a side stand still
// meanwhile: it could not be read.
func (s *Session) delayed(side Side) {
	h := &s.half[side]
	since := h.rules.backlog.since
	s.pace(side).delayed += s.now - since
	h.unstick(since, s.now)
}

// lift lets go of all that rules keep of a side: it is not relayed any more.
func (s *Session) lift(side Side) {
	h := &s.half[side]
	if h.rules == nil {
		return
	}
	h.rules.forget()
	h.rules.owed = ""
	l := &h.rules.backlog
	if h.waits() {
		s.delayed(side)
		rest := l.b.bytes()[l.at:]
		if !l.early && !l.whole {
			h.left = h.header.Length
			rest = rest[frame.HeaderSize(rest[1]):]
		}
		if h.phase == awaiting {
			h.skip(rest)
		}
		h.eof = h.eof || l.eof
		s.spend(side, &l.b)
		*l = backlog{lent: s.half[side.Other()].pending > 0}
	}
	s.readOn(side)
}

// readOn reads a side again, unless it is paused for another reason.
func (s *Session) readOn(side Side) {
	h := &s.half[side]
	if h.paused && !h.closed && !h.behind() && s.half[side.Other()].pending <= s.limits.LowWater {
		h.paused = false
		s.ask(Op{Kind: Resume, Side: side})
	}
}

// pause stops reading a side.
func (s *Session) pause(side Side) {
	if h := &s.half[side]; !h.paused && !h.closed {
		h.paused = true
		s.ask(Op{Kind: Pause, Side: side})
	}
}

// spend lets go of buffers whose bytes were handed out: once they are written.
func (s *Session) spend(from Side, b **buffer) {
	if s.half[from.Other()].pending == 0 {
		free(b)
		return
	}
	push(&s.half[from].spent, *b)
	*b = nil
}
