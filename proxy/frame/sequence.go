package frame

// Rules says what a peer's frames must look like.
type Rules struct {
	Masked  bool // the peer is a client, and must mask (RFC 6455 §5.1)
	Deflate bool // permessage-deflate was agreed, so RSV1 has a meaning
}

const rsv1 = 4

// A Sequence holds the frames of one direction to the rules of RFC 6455 §5.
// Its zero value expects the first frame of a connection.
type Sequence struct {
	message    OpCode // of the message that is open, 0 where none is
	compressed bool   // RSV1 was set on its first frame
}

// Open reports whether a fragmented message has begun and not ended.
func (q *Sequence) Open() bool { return q.message != 0 }

// Message returns the opcode of the message that the latest data frame belongs
// to while that message is open.
func (q *Sequence) Message() OpCode { return q.message }

// Next checks the header of the next frame and moves on. For a data frame it
// returns what the message is (OpText or OpBinary) and whether it is
// compressed; for a control frame its own opcode. After a violation the
// sequence must not be used again.
func (q *Sequence) Next(h Header, r Rules) (message OpCode, compressed bool, v *Violation) {
	switch {
	case h.Masked != r.Masked && r.Masked:
		return 0, false, ErrUnmasked
	case h.Masked != r.Masked:
		return 0, false, ErrMasked
	case h.Rsv&^rsv1 != 0, h.Rsv != 0 && !r.Deflate:
		return 0, false, ErrReservedBits
	}
	switch h.OpCode {
	case OpClose, OpPing, OpPong:
		if v := control(h); v != nil {
			return 0, false, v
		}
		return h.OpCode, false, nil
	case OpContinuation:
		if q.message == 0 {
			return 0, false, ErrContinuation
		}
		// RSV1 belongs to the message and is set on its first frame only
		// (RFC 7692 §6.1).
		if h.Rsv != 0 {
			return 0, false, ErrCompressed
		}
	case OpText, OpBinary:
		if q.message != 0 {
			return 0, false, ErrInterleaved
		}
		q.message, q.compressed = h.OpCode, h.Rsv != 0
	default:
		return 0, false, ErrOpCode
	}
	message, compressed = q.message, q.compressed
	if h.Fin {
		*q = Sequence{}
	}
	return message, compressed, nil
}

// control checks what is special about control frames (RFC 6455 §5.5).
func control(h Header) *Violation {
	switch {
	case h.Rsv != 0:
		return ErrCompressed
	case !h.Fin:
		return ErrControlFin
	case h.Length > MaxControl:
		return ErrControlSize
	}
	return nil
}
