package relay

import "github.com/framegate/framegate/proxy/frame"

// A fate says what becomes of one whole frame, or of the message that it
// belongs to.
type fate uint8

const (
	pass fate = iota
	drop
	last // relayed, and nothing after it: a Close
	keep // gathered until the message is whole
	wait // there is no room for it yet
)

// A walker takes one fed buffer through a side's frames. p[start:at] is what
// was accepted and not handed out yet: frames that follow each other leave as
// one span. Whatever must be written to the receiver before or instead of
// them flushes that span first.
type walker struct {
	s         *Session
	h         *half // the sender
	from, to  Side
	p         []byte
	start, at int
	again     bool // p is the backlog
	retried   bool // what stands at p[at] was accepted before, and had to wait
}

// walk relays what it may of p, which came from a side, and returns how many
// bytes it took: all of them, unless the side's phase changed on the way.
func (s *Session) walk(from Side, p []byte) int {
	w := walker{s: s, h: &s.half[from], from: from, to: from.Other(), p: p}
	w.run(nil)
	return w.at
}

// run walks on until the end of p or the first violation, which may be there
// already.
func (w *walker) run(v *frame.Violation) {
	s, h := w.s, w.h
	h.torn = h.streaming || h.parser.Partial()
	for w.at < len(w.p) && h.phase == relaying && v == nil && !h.waits() && !s.mayStop() {
		switch {
		case h.hold != nil:
			v = w.gather()
		case h.left > 0:
			v = w.payload()
		default:
			v = w.frame()
		}
	}
	w.flush()
	h.torn = false
	switch {
	case v == errMemory: // nobody is at fault
		s.end(Overload, Gateway, v.Reason)
	case v != nil:
		s.end(causeOf(v), w.from, v.Reason)
	case s.mayStop():
		s.endStopped()
	}
}

// flush hands out what was accepted.
func (w *walker) flush() {
	w.s.write(w.to, w.p[w.start:w.at])
	w.start = w.at
}

// skip passes n bytes over that are not relayed as they stand in p.
func (w *walker) skip(n int) {
	w.flush()
	w.at += n
	w.start = w.at
}

// frame reads a header and what there is of a small frame's payload.
func (w *walker) frame() *frame.Violation {
	h := w.h
	if !h.parser.Partial() {
		h.frameAt = w.s.now
	}
	hdr, raw, used, done, v := h.parser.Next(w.p[w.at:])
	if !done {
		w.skip(used)
		return nil
	}
	if v == nil && !w.retried {
		if w.s.past != nil && !h.sequence.Open() {
			w.s.renew(w.from)
		}
		v = w.s.accept(w.from, hdr)
	}
	if v != nil {
		return v
	}
	if w.s.stopping != None && begins(hdr) {
		// The session waits for other messages to end: no new one may begin.
		w.skip(used)
		h.left, h.phase = hdr.Length, awaiting
		return nil
	}
	if w.s.ruled(w.from) {
		f, v := w.admit(hdr)
		w.retried = false
		if v != nil {
			return v
		}
		switch f {
		case wait:
			return w.wait(raw, used)
		case drop:
			w.skip(used)
			h.left = hdr.Length
			w.swallowed()
			return nil
		case keep:
			return w.keep(hdr, raw, used)
		}
	}
	return w.relay(hdr, raw, used)
}

// relay passes a frame on whose header was admitted.
func (w *walker) relay(hdr frame.Header, raw []byte, used int) *frame.Violation {
	h := w.h
	total := int64(len(raw)) + hdr.Length
	whole := used == len(raw) // else its start came with an earlier buffer
	switch {
	case whole && total <= int64(len(w.p)-w.at) && total <= holdSize:
		return w.inPlace(used, int(total))
	case total <= holdSize:
		w.skip(used)
		h.hold = newBuffer(int(total))
		h.hold.fill(raw)
		return w.gather()
	case whole:
		w.at += used
	default:
		w.skip(used)
		b := newBuffer(len(raw)) // of the parser's, which goes on
		b.fill(raw)
		w.s.write(w.to, b.bytes())
		w.s.spend(w.from, &b)
	}
	h.left, h.streaming = hdr.Length, true
	return nil
}

// inPlace decides on a frame of total bytes that stands whole at p[at:].
func (w *walker) inPlace(header, total int) *frame.Violation {
	f, v := w.s.decide(w.from, w.p[w.at+header:w.at+total], 0, true)
	switch {
	case v != nil:
		return v
	case f == drop:
		w.skip(total)
	default:
		w.at += total
	}
	w.ended(f)
	return nil
}

// gather fills the held frame, and decides on it once it is whole.
func (w *walker) gather() *frame.Violation {
	h := w.h
	seen := h.hold.n
	w.skip(h.hold.fill(w.p[w.at:]))
	raw := h.hold.bytes()
	header := frame.HeaderSize(raw[1])
	seen = max(seen, header)
	f, v := w.s.decide(w.from, raw[header:], seen-header, h.hold.missing() == 0)
	if v == nil && h.hold.missing() > 0 {
		return nil
	}
	if v != nil || f == drop {
		free(&h.hold)
		return v
	}
	w.s.write(w.to, raw)
	w.s.spend(w.from, &h.hold)
	w.ended(f)
	return nil
}

// ended does what follows on a frame that was relayed: its receiver is told
// what it is owed, or it has been told the end.
func (w *walker) ended(f fate) {
	switch {
	case f == last:
		w.flush()
		w.s.relayedClose(w.to)
	case w.s.owes(w.to):
		w.flush()
		w.h.torn = false
		w.s.answer(w.to)
	}
}

// payload takes what there is of a frame that does not stand whole in p.
func (w *walker) payload() *frame.Violation {
	switch h := w.h; {
	case h.streaming:
		return w.stream()
	case h.rules.dropping:
		n := int(min(h.left, int64(len(w.p)-w.at)))
		w.skip(n)
		h.left -= int64(n)
		w.swallowed()
		return nil
	}
	return w.collect()
}

// stream passes payload of a large frame on as it comes.
func (w *walker) stream() *frame.Violation {
	h := w.h
	n := int(min(h.left, int64(len(w.p)-w.at)))
	p, offset, before := w.p[w.at:w.at+n], h.header.Length-h.left, h.text
	if !h.valid(p, offset, h.left == int64(n)) {
		w.at += validPrefix(before, p, h.header, offset)
		return frame.ErrUTF8
	}
	w.at += n
	h.left -= int64(n)
	w.s.busyAt = w.s.now
	if h.left > 0 {
		return nil
	}
	h.streaming = false
	w.s.relayed(w.from)
	w.ended(pass)
	return nil
}

// begins reports that a header that was accepted begins a message.
func begins(h frame.Header) bool { return h.OpCode == frame.OpText || h.OpCode == frame.OpBinary }

// accept holds the header of a side's next frame to the protocol and to the
// limits, before any of its payload is looked at.
func (s *Session) accept(from Side, hdr frame.Header) *frame.Violation {
	h, shape := &s.half[from], &s.under(from).From[from]
	open := h.sequence.Open()
	message, compressed, v := h.sequence.Next(hdr, frame.Rules{Masked: from == Client, Deflate: s.grant.Deflate})
	if v != nil {
		return v
	}
	h.header = hdr
	if hdr.OpCode.IsControl() {
		return nil
	}
	if !open {
		h.message, h.compressed, h.text = message, compressed, frame.UTF8{}
		h.fragments, h.size, h.messageAt = 0, 0, h.frameAt
	}
	h.fragments++
	h.size += uint64(hdr.Length)
	switch {
	case shape.NoText && message == frame.OpText:
		return errText
	case shape.NoBinary && message == frame.OpBinary:
		return errBinary
	case uint64(hdr.Length) > shape.MaxFrame:
		return errFrameSize
	case h.size > shape.MaxMessage:
		return errMessageSize
	case int(h.fragments) > shape.MaxFragments:
		return errFragments
	}
	return nil
}

// decide looks at a small frame whose header was accepted. payload is what has
// arrived of it, still masked, of which the first seen bytes were looked at
// before. Until the frame is complete its fate says nothing.
func (s *Session) decide(from Side, payload []byte, seen int, complete bool) (fate, *frame.Violation) {
	h := &s.half[from]
	if h.header.OpCode.IsControl() {
		if !complete {
			return drop, nil
		}
		var clear [frame.MaxControl]byte
		return s.control(from, frame.Unmask(clear[:], payload, h.header, 0))
	}
	// Text fails at its first wrong byte, not only when the frame is complete.
	if !h.valid(payload[seen:], int64(seen), complete) {
		return drop, frame.ErrUTF8
	}
	if complete {
		s.relayed(from)
	}
	return pass, nil
}

// valid checks the bytes p at offset of the current frame's payload. final
// says that they end the frame.
func (h *half) valid(p []byte, offset int64, final bool) bool {
	if h.message != frame.OpText || h.compressed {
		return true
	}
	if !h.text.Feed(p, h.header.Mask, offset) {
		return false
	}
	return !final || !h.header.Fin || h.text.Complete()
}

// validPrefix returns how many bytes of p, which stand at offset of a frame's
// payload and break text, come before the one that breaks it: what was relayed
// of a frame must not depend on how it was cut on its way.
func validPrefix(text frame.UTF8, p []byte, h frame.Header, offset int64) (n int) {
	for n < len(p)-1 && text.Feed(p[n:n+1], h.Mask, offset+int64(n)) {
		n++
	}
	return n
}

// relayed counts a data frame that was relayed whole.
func (s *Session) relayed(from Side) {
	h := &s.half[from]
	s.count(from, 1, uint64(h.header.Length))
	if h.header.Fin {
		h.stats.messages++
	}
}

// count counts relayed frames, and their payload.
func (s *Session) count(from Side, frames int, bytes uint64) {
	s.busyAt = s.now
	stats := &s.half[from].stats
	stats.frames += uint64(frames)
	stats.bytes += bytes
}
