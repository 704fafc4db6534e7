package relay

import "github.com/framegate/framegate/proxy/frame"

// Pending returns how many bytes were handed out and not reported as written.
func Pending(s *Session, to Side) int { return s.half[to].pending }

// Waits reports that something of a side is delayed.
func Waits(s *Session, from Side) bool { return s.half[from].waits() }

// Borrowed returns how many buffers a session has borrowed from the pool.
func Borrowed(s *Session) (n int) {
	for i := range s.half {
		h := &s.half[i]
		lists := []*buffer{h.hold, h.spent}
		if h.rules != nil {
			lists = append(lists, h.rules.parts, h.rules.backlog.b)
		}
		for _, b := range lists {
			for ; b != nil; b = b.next {
				n++
			}
		}
	}
	return n
}

// Faulty makes the next call that reads the limits panic, until mend is called.
func Faulty(s *Session) (mend func()) {
	limits := s.limits
	s.limits = nil
	return func() { s.limits = limits }
}

// Inflate inflates one message.
func Inflate(p []byte, limit uint64) ([]byte, *frame.Violation) {
	b, v := inflate(p, limit)
	if v != nil {
		return nil, v
	}
	defer free(&b)
	return append([]byte(nil), b.bytes()...), nil
}

// Past reports that a session remembers limits before those that hold.
func Past(s *Session) bool { return s.past != nil }
