package relay

// Pending returns how many bytes were handed out and not reported as written.
func Pending(s *Session, to Side) int { return s.half[to].pending }

// Borrowed returns how many buffers a session has borrowed from the pool.
func Borrowed(s *Session) (n int) {
	for i := range s.half {
		for _, b := range [...]*buffer{s.half[i].hold, s.half[i].spent} {
			if b != nil {
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
