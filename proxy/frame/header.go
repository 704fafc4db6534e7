package frame

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// MaxHeader is the size in bytes of the longest header: two bytes, a 64-bit
// length and a masking key (RFC 6455 §5.2).
const MaxHeader = ws.MaxHeaderSize

// MaxControl is the most payload, in bytes, that a control frame may carry
// (RFC 6455 §5.5).
const MaxControl = ws.MaxControlFramePayloadSize

// HeaderSize returns the size in bytes, 2 to MaxHeader, of the header whose
// second byte is second: that byte alone decides (RFC 6455 §5.2).
func HeaderSize(second byte) int {
	n := 2
	switch second & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if second&0x80 != 0 {
		n += 4
	}
	return n
}

// Parse reads the header at the start of b and returns its size in bytes, or 0
// where b is too short to hold all of it. It refuses a length that is not
// minimally encoded or has its top bit set (RFC 6455 §5.2); all other rules
// are those of Sequence. A refused header has its size, but no Length that
// means anything.
func Parse(b []byte) (h Header, n int, v *Violation) {
	if len(b) < 2 {
		return h, 0, nil
	}
	if n = HeaderSize(b[1]); len(b) < n {
		return h, 0, nil
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] >> 4 & 7
	h.OpCode = OpCode(b[0] & 0x0f)
	h.Masked = b[1]&0x80 != 0
	if h.Masked {
		h.Mask = [4]byte(b[n-4 : n])
	}
	switch size := b[1] & 0x7f; size {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.Length < 126 {
			return h, n, ErrLength
		}
	case 127:
		// Compared as uint64, before the conversion could make it negative.
		size := binary.BigEndian.Uint64(b[2:])
		if size > 1<<63-1 {
			return h, n, ErrHugeLength
		}
		if size <= 0xffff {
			return h, n, ErrLength
		}
		h.Length = int64(size)
	default:
		h.Length = int64(size)
	}
	return h, n, nil
}

// A Parser reads headers that arrive in pieces. It keeps the start of a header
// in at most MaxHeader bytes; its zero value waits for a header.
type Parser struct {
	buf [MaxHeader]byte
	n   uint8
}

// Partial reports whether the parser holds the start of a header.
func (p *Parser) Partial() bool { return p.n > 0 }

// Next takes bytes of b up to the end of the next header. used is how many it
// took; done says that the header is complete. raw is the complete header as
// it came: a part of b, or of the parser where it had been cut, and then valid
// until the next call.
func (p *Parser) Next(b []byte) (h Header, raw []byte, used int, done bool, v *Violation) {
	if p.n == 0 {
		if h, n, v := Parse(b); n > 0 {
			return h, b[:n], n, true, v
		}
	}
	for used < len(b) {
		p.buf[p.n] = b[used]
		p.n++
		used++
		if p.n >= 2 && int(p.n) == HeaderSize(p.buf[1]) {
			raw = p.buf[:p.n]
			p.n = 0
			h, _, v = Parse(raw)
			return h, raw, used, true, v
		}
	}
	return h, nil, used, false, nil
}

// AppendHeader appends the wire form of h to dst. The length is encoded
// minimally. h must be one that the wire can carry: Rsv at most 7, OpCode at
// most 15, Length not negative.
func AppendHeader(dst []byte, h Header) []byte {
	first := h.Rsv<<4 | byte(h.OpCode)
	if h.Fin {
		first |= 0x80
	}
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length < 126:
		dst = append(dst, first, mask|byte(h.Length))
	case h.Length <= 0xffff:
		dst = append(dst, first, mask|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(h.Length))
	default:
		dst = append(dst, first, mask|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// Append appends a whole unfragmented frame to dst. With a key the frame is
// masked with it, as a client's must be (RFC 6455 §5.3); payload is not
// changed.
func Append(dst []byte, op OpCode, payload []byte, key *[4]byte) []byte {
	h := Header{Fin: true, OpCode: op, Length: int64(len(payload))}
	if key != nil {
		h.Masked, h.Mask = true, *key
	}
	dst = AppendHeader(dst, h)
	body := len(dst)
	dst = append(dst, payload...)
	if key != nil {
		ws.Cipher(dst[body:], *key, 0)
	}
	return dst
}

// Unmask copies the payload p of a frame with header h into dst and removes
// the mask, where there is one. offset is the position of p in the payload.
// It returns the part of dst that it filled; dst must be as long as p.
func Unmask(dst, p []byte, h Header, offset int64) []byte {
	n := copy(dst, p)
	if h.Masked {
		ws.Cipher(dst[:n], h.Mask, int(offset&3))
	}
	return dst[:n]
}
