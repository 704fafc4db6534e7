package proxy

import (
	"encoding/binary"
	"time"
)

// What a connection of HTTP/2 may do within h2Period that costs the gateway work
// and moves nothing (CVE-2023-44487, CVE-2019-9512 to 9518, CVE-2025-8671).
const (
	h2Period      = 10 * time.Second
	h2MaxResets   = 100 // streams reset, by either side
	h2MaxGlitches = 100 // empty frames, pings, settings, priorities
)

// The frame types and flags that are looked at (RFC 9113 section 6).
const (
	h2Data         = 0x0
	h2Headers      = 0x1
	h2Priority     = 0x2
	h2Reset        = 0x3
	h2Settings     = 0x4
	h2Ping         = 0x6
	h2Continuation = 0x9

	h2EndStream  = 0x1 // of DATA
	h2Ack        = 0x1 // of SETTINGS and PING
	h2EndHeaders = 0x4
)

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A h2Frame is the head of one frame (RFC 9113 section 4.1).
type h2Frame struct {
	length uint32
	kind   byte
	flags  byte
	stream uint32
}

// A h2Scanner finds the heads of frames in one direction of a connection,
// however the bytes are cut.
type h2Scanner struct {
	skip int64   // bytes before the next head: the preface, payload
	head [9]byte // as much of it as there is
	have int
	last h2Frame
}

// next takes bytes up to the end of the next head. done is false where p ends
// before it.
func (s *h2Scanner) next(p []byte) (f h2Frame, rest []byte, done bool) {
	n := min(s.skip, int64(len(p)))
	s.skip -= n
	p = p[n:]
	n2 := copy(s.head[s.have:], p)
	s.have += n2
	p = p[n2:]
	if s.have < len(s.head) {
		return h2Frame{}, p, false
	}
	b := s.head[:]
	s.last = h2Frame{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
	s.have, s.skip = 0, int64(s.last.length)
	return s.last, p, true
}

// between reports that no frame is under way.
func (s *h2Scanner) between() bool { return s.have == 0 && s.skip == 0 }

// fields reports that a block of header fields is under way, or a frame's head,
// of which one could begin.
func (s *h2Scanner) fields() bool {
	if s.have > 0 {
		return true
	}
	block := s.last.kind == h2Headers || s.last.kind == h2Continuation
	return block && (s.skip > 0 || s.last.flags&h2EndHeaders == 0)
}

// A h2Watch counts what a connection of HTTP/2 has done in the period under way.
type h2Watch struct {
	since            time.Time
	resets, glitches int
}

// sees counts a frame of the client, or of the gateway. It reports false once
// it is too much.
func (w *h2Watch) sees(f h2Frame, own bool, now time.Time) bool {
	reset := f.kind == h2Reset
	if !reset && (own || !f.glitch()) {
		return true
	}
	if now.Sub(w.since) > h2Period {
		*w = h2Watch{since: now}
	}
	if reset {
		w.resets++
	} else {
		w.glitches++
	}
	return w.resets <= h2MaxResets && w.glitches <= h2MaxGlitches
}

// glitch reports that a frame makes work and moves nothing.
func (f h2Frame) glitch() bool {
	switch f.kind {
	case h2Data:
		return f.length == 0 && f.flags&h2EndStream == 0
	case h2Headers, h2Continuation:
		return f.length == 0 && f.flags&h2EndHeaders == 0
	case h2Settings, h2Ping:
		return f.flags&h2Ack == 0
	case h2Priority:
		return true
	}
	return false
}
