package relay

import "github.com/framegate/framegate/proxy/frame"

// keep puts a frame of a message that must be whole before it can be decided
// on with the rest of it.
func (w *walker) keep(hdr frame.Header, raw []byte, used int) *frame.Violation {
	h := w.h
	kept := h.rules.collect(raw, w.s.limits.Memory)
	w.skip(used)
	h.left = hdr.Length
	switch {
	case !kept:
		return errMemory
	case h.left > 0:
		return nil
	}
	if !h.valid(nil, 0, true) {
		return frame.ErrUTF8
	}
	w.kept()
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
	if !h.rules.collect(p, w.s.limits.Memory) {
		return errMemory
	}
	w.skip(n)
	if h.left -= int64(n); h.left == 0 {
		w.kept()
	}
	return nil
}

// kept decides on a message, if a frame that was kept ends it.
func (w *walker) kept() {
	if w.h.header.Fin {
		w.release()
	}
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
	s.count(w.from, h.fragments, h.size)
	h.stats.Messages++
	w.ended(pass)
}

// collect keeps p, which is a part of the current message as it came. It
// returns false where there is no memory for it.
func (r *ruling) collect(p []byte, m *Memory) bool {
	for len(p) > 0 {
		if r.last == nil || r.last.missing() == 0 {
			size := holdSize
			if r.last != nil {
				size = min(2*r.last.want, maxPart)
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
	r.last, r.gathering = nil, false
}

// drop lets the current message vanish. Its sender is sent reply, where that
// is not "".
func (w *walker) drop(reply string) {
	s, r := w.s, w.h.rules
	r.forget()
	s.busyAt = s.now
	w.h.stats.DroppedMessages++
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
