package relay

import (
	"bytes"
	"math"

	"golang.org/x/time/rate"

	"github.com/framegate/framegate/proxy/frame"
)

// control decides on a control frame of a side; payload is unmasked.
func (s *Session) control(from Side, payload []byte) (fate, *frame.Violation) {
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
			h.controls.owe(payload)
			h.stats.dropped++
			s.busyAt = s.now
			s.answer(from)
			return drop, nil
		}
		if to.pings < math.MaxUint8 {
			to.pings++
		}
	case frame.OpPong:
		if h.asked && bytes.Equal(payload, h.ping[:]) {
			h.asked = false
			h.stats.dropped++
			return drop, nil
		}
		if h.pings > 0 { // as many as the other side may send pings
			h.pings--
			break
		}
		if !s.mayControl(h) {
			return drop, errControlRate
		}
		h.stats.dropped++ // unsolicited: nobody waits for it
		return drop, nil
	}
	s.count(from, 1, uint64(len(payload)))
	return pass, nil
}

// mayControl charges one control frame.
func (s *Session) mayControl(h *half) bool {
	if h.controls == nil {
		h.controls = &controls{limit: rate.NewLimiter(rate.Limit(s.limits.ControlRate), s.limits.ControlBurst)}
	}
	return h.controls.limit.AllowN(s.clock(), 1)
}

// owe notes a ping that is to be answered, in the place of one before.
func (c *controls) owe(payload []byte) {
	c.size, c.owed = uint8(copy(c.ping[:], payload)), true
}

// owesPong reports that a side is owed a pong.
func (h *half) owesPong() bool { return h.controls != nil && h.controls.owed }

// peerClose takes a side's Close. The first one is relayed as it came; an
// answer to a Close that the gateway made ends there.
func (s *Session) peerClose(from Side, payload []byte) (fate, *frame.Violation) {
	code, _, v := frame.ParseClose(payload)
	if v != nil {
		return drop, v
	}
	h := &s.half[from]
	h.gotClose, h.closeCode, h.phase = true, code, discarding
	if h.rules != nil {
		h.rules.forget() // what it had begun is not completed any more
	}
	if s.cause == None {
		s.cause, s.by = PeerClosed, from
		s.because("")
	}
	h.stats.frames++
	h.stats.bytes += uint64(len(payload))
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

// owes reports that a side is owed a pong or a reply.
func (s *Session) owes(to Side) bool {
	h := &s.half[to]
	return h.owesPong() || h.rules != nil && h.rules.owed != ""
}

// answer sends a side the pong that it is owed, once it is not amid a frame,
// and the reply, once it is not amid a message (RFC 6455 §5.4). A side that
// does not take what it is sent gets the latest reply only.
func (s *Session) answer(to Side) {
	h := &s.half[to]
	if s.midFrame(to) {
		return
	}
	if h.owesPong() {
		if s.cause == None {
			s.write(to, frame.Append(nil, frame.OpPong, h.controls.ping[:h.controls.size], s.key(to)))
		}
		h.controls.owed = false
	}
	if h.rules == nil || h.rules.owed == "" || s.half[to.Other()].amid() || h.pending > s.limits.HighWater {
		return
	}
	if s.cause == None {
		s.write(to, frame.Append(nil, frame.OpText, []byte(h.rules.owed), s.key(to)))
	}
	h.rules.owed = ""
}

// amid reports that the message under way was relayed in part. The sequence is
// ahead of a last fragment that is not relayed yet.
func (h *half) amid() bool {
	open := h.sequence.Open() || h.header.OpCode == frame.OpContinuation && (h.hold != nil || h.waits())
	return open && !h.unseen()
}

// unseen reports that of the message under way nothing was relayed.
func (h *half) unseen() bool {
	return h.rules != nil && (h.rules.gathering || h.rules.dropping || h.waits() && begins(h.header))
}

// sendPing pings a side that has been silent.
func (s *Session) sendPing(to Side) {
	h := &s.half[to]
	h.ping = s.limits.Random()
	h.pinged, h.asked, h.quietAt = true, true, s.now
	s.write(to, frame.Append(nil, frame.OpPing, h.ping[:], s.key(to)))
}
