package relay

import (
	"bytes"
	"math"

	"golang.org/x/time/rate"

	"github.com/framegate/framegate/proxy/frame"
)

// control decides on a control frame of a side; payload is unmasked.
func (s *Session) control(from Side, payload []byte) (verdict, *frame.Violation) {
	h, to := &s.half[from], &s.half[from.Other()]
	switch h.header.OpCode {
	case frame.OpClose:
		return s.peerClose(from, payload)
	case frame.OpPing:
		if !s.mayControl(h) {
			return drop, errControlRate
		}
		if s.limits.AnswerPings {
			// Only the latest ping is answered where several wait (RFC 6455 §5.5.3).
			h.pong = append(h.pong[:0], payload...)
			if h.pong == nil {
				h.pong = []byte{}
			}
			h.stats.Dropped++
			s.busyAt = s.now
			s.answer(from)
			return drop, nil
		}
		if to.pings < math.MaxUint8 {
			to.pings++
		}
	case frame.OpPong:
		if h.pingAt > 0 && bytes.Equal(payload, h.ping[:]) {
			h.pingAt = 0
			h.stats.Dropped++
			return drop, nil
		}
		if h.pings > 0 { // as many as the other side may send pings
			h.pings--
			break
		}
		if !s.mayControl(h) {
			return drop, errControlRate
		}
		h.stats.Dropped++ // unsolicited: nobody waits for it
		return drop, nil
	}
	s.busyAt = s.now
	h.stats.Frames++
	h.stats.Bytes += uint64(len(payload))
	return pass, nil
}

// mayControl charges one control frame.
func (s *Session) mayControl(h *half) bool {
	if h.control == nil {
		h.control = rate.NewLimiter(rate.Limit(s.limits.ControlRate), s.limits.ControlBurst)
	}
	return h.control.AllowN(s.start.Add(s.now), 1)
}

// peerClose takes a side's Close. The first one is relayed as it came; an
// answer to a Close that the gateway made ends there.
func (s *Session) peerClose(from Side, payload []byte) (verdict, *frame.Violation) {
	code, _, v := frame.ParseClose(payload)
	if v != nil {
		return drop, v
	}
	h := &s.half[from]
	h.gotClose, h.closeCode, h.phase = true, code, discarding
	if s.cause == None {
		s.cause, s.by = PeerClosed, from
	}
	h.stats.Frames++
	h.stats.Bytes += uint64(len(payload))
	return last, nil
}

// relayedClose notes that a side was handed the other's Close.
func (s *Session) relayedClose(to Side) {
	if h := &s.half[to]; !h.sentClose && h.then == 0 && !h.broken && !h.closed {
		s.told(to, s.half[to.Other()].closeCode)
	}
}

// midFrame reports that the bytes written to a side end inside a frame, or
// that this is not known.
func (s *Session) midFrame(to Side) bool {
	from := &s.half[to.Other()]
	return from.streaming || from.torn
}

// answer sends a side the pong that it is owed, once it is not amid a frame.
func (s *Session) answer(to Side) {
	h := &s.half[to]
	if h.pong == nil || s.midFrame(to) {
		return
	}
	if s.cause == None {
		s.write(to, frame.Append(nil, frame.OpPong, h.pong, s.key(to)))
	}
	h.pong = nil
}

// sendPing pings a side that has been silent.
func (s *Session) sendPing(to Side) {
	h := &s.half[to]
	h.ping = s.limits.Random()
	h.pinged, h.pingAt = true, s.now
	s.write(to, frame.Append(nil, frame.OpPing, h.ping[:], s.key(to)))
}
