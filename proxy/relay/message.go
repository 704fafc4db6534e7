package relay

import (
	"slices"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/frame"
)

// keep takes a frame of a message that must be whole before it is relayed: the
// message where it stands whole in p, and else what there is of the frame.
func (w *walker) keep(hdr frame.Header, raw []byte, used int) *frame.Violation {
	h := w.h
	total := int64(len(raw)) + hdr.Length
	if begins(hdr) && hdr.Fin && used == len(raw) && total <= int64(len(w.p)-w.at) {
		return w.keepInPlace(used, int(total))
	}
	kept := h.rules.collect(raw, w.s.limits.Memory)
	w.skip(used)
	h.left = hdr.Length
	switch {
	case !kept:
		return errMemory
	case h.left > 0:
		return nil
	case !h.valid(nil, 0, true):
		return frame.ErrUTF8
	}
	return w.kept()
}

// keepInPlace decides on a message of one frame, of total bytes at p[at:].
func (w *walker) keepInPlace(header, total int) *frame.Violation {
	s, h := w.s, w.h
	here := buffer{b: w.p[w.at : w.at+total], n: total}
	if !h.valid(here.b[header:], 0, true) {
		return frame.ErrUTF8
	}
	f, v := w.judge(&here)
	switch {
	case v != nil:
		return v
	case f == drop:
		w.skip(total)
	case f == wait:
		kept := h.rules.collect(here.b, s.limits.Memory)
		w.skip(total)
		if !kept {
			h.rules.backlog.until = 0
			return errMemory
		}
		return w.wait(nil, 0)
	default:
		w.at += total
		h.rules.forget()
		s.relayed(w.from)
		w.ended(pass)
	}
	return nil
}

// collect takes what there is of the payload of a frame that is kept.
func (w *walker) collect() *frame.Violation {
	h := w.h
	n := int(min(h.left, int64(len(w.p)-w.at)))
	p := w.p[w.at : w.at+n]
	if !h.valid(p, h.header.Length-h.left, h.left == int64(n)) {
		return frame.ErrUTF8
	}
	kept := h.rules.collect(p, w.s.limits.Memory)
	w.skip(n)
	h.left -= int64(n)
	switch {
	case !kept:
		return errMemory
	case h.left > 0:
		return nil
	}
	return w.kept()
}

// kept decides on a message, if a frame that was kept ends it.
func (w *walker) kept() *frame.Violation {
	if !w.h.header.Fin {
		return nil
	}
	return w.follow(w.judge(w.h.rules.parts))
}

// follow does with a gathered message what was decided.
func (w *walker) follow(f fate, v *frame.Violation) *frame.Violation {
	switch {
	case v != nil:
		return v
	case f == wait:
		return w.wait(nil, 0)
	case f == pass:
		w.release()
	}
	return nil
}

// release hands a gathered message out, as it came.
func (w *walker) release() {
	s, h := w.s, w.h
	r := h.rules
	for b := r.parts; b != nil; b = b.next {
		s.write(w.to, b.bytes())
	}
	s.spend(w.from, &r.parts)
	r.forget()
	s.count(w.from, int(h.fragments), h.size)
	h.stats.messages++
	w.ended(pass)
}

// judge decides on a message whose frames are in the list src.
func (w *walker) judge(src *buffer) (fate, *frame.Violation) {
	s, h := w.s, w.h
	r := h.rules
	if !r.inspecting && !r.inflating {
		return pass, nil
	}
	plain, v := s.plain(w.from, src)
	if v != nil {
		return drop, v
	}
	s.pace(w.from).inspected += uint64(plain.n)
	var due tally
	if r.inflating {
		due.bytes, due.whole = int64(plain.n), int64(plain.n)
	}
	var verdict Verdict
	if r.inspecting {
		verdict = s.granted(w.from).Inspectors[w.from].Inspect(Message{Kind: h.message, Payload: plain.bytes(), Now: s.clock()})
	}
	free(&plain)
	due.operations, due.firm = verdict.Operations, verdict.Firm
	f, v := w.obey(&verdict)
	if f == pass && v == nil {
		f, v = w.charge(&due)
	}
	if f == wait {
		r.due = &tally{count: due.count, operations: slices.Clone(due.operations), firm: due.firm}
	}
	return f, v
}

// plain returns the payload of the current message, whose frames are in the
// list src, as its receiver will read it.
func (s *Session) plain(from Side, src *buffer) (*buffer, *frame.Violation) {
	h := &s.half[from]
	b := newBuffer(int(h.size) + len(deflateTail))
	b.unmask(src)
	if !h.rules.inflating {
		return b, nil
	}
	out, v := inflate(b.bytes(), s.maxInflated(from, b.n))
	free(&b)
	if v == nil && h.message == frame.OpText && !utf8.Valid(out.bytes()) {
		free(&out)
		v = frame.ErrUTF8
	}
	return out, v
}

// obey does what a verdict says.
func (w *walker) obey(verdict *Verdict) (fate, *frame.Violation) {
	s := w.s
	for _, hit := range verdict.Shadow {
		s.report(w.from, Hit{Action: hit.Action, Shadow: true, Rule: hit.Rule})
	}
	if verdict.Action == ActPass {
		return pass, nil
	}
	if verdict.Action == ActTake {
		if verdict.Reason != "" {
			return drop, verdict.violation()
		}
		w.drop(verdict.Reply)
		return drop, nil
	}
	s.report(w.from, Hit{Action: verdict.Action, Rule: verdict.Rule})
	switch verdict.Action {
	case ActDrop:
		w.drop("")
	case ActReply:
		w.drop(verdict.Reply)
	default:
		return drop, verdict.violation()
	}
	return drop, nil
}

// charge takes what a whole message counts from the rates that could not tell
// before.
func (w *walker) charge(due *tally) (fate, *frame.Violation) {
	if refused, after := w.s.charge(w.from, due); refused != nil {
		return w.refuse(refused, after, due.firm)
	}
	return pass, nil
}

// unmask fills the buffer with the payload of the data frames in the list src.
func (b *buffer) unmask(src *buffer) {
	var parser frame.Parser
	var hdr frame.Header
	var left int64
	for ; src != nil; src = src.next {
		for p := src.bytes(); len(p) > 0; {
			if left > 0 {
				n := min(left, int64(len(p)))
				frame.Unmask(b.b[b.n:b.n+int(n)], p[:n], hdr, hdr.Length-left)
				b.n += int(n)
				left -= n
				p = p[n:]
				continue
			}
			next, _, used, done, _ := parser.Next(p)
			if p = p[used:]; done {
				hdr, left = next, next.Length
			}
		}
	}
}

// collect keeps p, which is a part of the current message as it came. It
// returns false where there is no memory for it.
func (r *ruling) collect(p []byte, m *Memory) bool {
	for len(p) > 0 {
		if r.last == nil || r.last.missing() == 0 {
			size := holdSize
			if r.last != nil {
				size = min(4*r.last.want, maxPart)
			}
			b := m.lend(size)
			if b == nil {
				return false
			}
			if r.last == nil {
				r.parts = b
			} else {
				r.last.next = b
			}
			r.last = b
		}
		p = p[r.last.fill(p):]
	}
	return true
}

// forget ends the gathering of a message.
func (r *ruling) forget() {
	free(&r.parts)
	r.last, r.due, r.gathering = nil, nil, false
}

// drop lets the current message vanish. Its sender is sent reply, where that
// is not "".
func (w *walker) drop(reply string) {
	s, r := w.s, w.h.rules
	r.forget()
	s.busyAt = s.now
	s.pace(w.from).dropped++
	if reply != "" {
		r.owed = reply
		s.answer(w.from)
	}
}

// swallowed takes note of the end of a message that was dropped.
func (w *walker) swallowed() {
	if w.h.left == 0 && w.h.header.Fin {
		w.h.rules.dropping = false
	}
}
