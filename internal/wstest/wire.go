package wstest

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Frame is one WebSocket frame as it was on the wire (RFC 6455 §5.2). The tests build and parse frames with their own few lines,
// so that a fault in the gateway's wire layer cannot hide behind the same fault in its judge.
type Frame struct {
	First   byte // FIN, RSV1-3 and the opcode
	Masked  bool
	Key     [4]byte // the mask key, zero when not masked
	Payload []byte  // without its mask
	Raw     []byte  // header and payload as they travelled
}

// Opcode returns the low four bits of the first byte.
func (f Frame) Opcode() byte { return f.First & 0x0f }

// IsClose reports whether f is a Close frame.
func (f Frame) IsClose() bool { return f.Opcode() == 8 }

// NoCode stands for a Close frame without a payload, which RFC 6455 §7.1.5 calls 1005 and which never names it on the wire.
const NoCode = -1

// CloseCode returns the code and reason of a Close frame's payload.
func (f Frame) CloseCode() (code int, reason string) {
	if len(f.Payload) < 2 {
		return NoCode, string(f.Payload)
	}
	return int(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])
}

func (f Frame) String() string {
	payload := f.Payload
	if len(payload) > 32 {
		payload = payload[:32]
	}
	if f.IsClose() {
		code, reason := f.CloseCode()
		return fmt.Sprintf("close %d %q", code, reason)
	}
	return fmt.Sprintf("frame %02x, %d bytes %x", f.First, len(f.Payload), payload)
}

// headerSize returns the length of the frame header that b begins with, 0 if b is too short to tell.
func headerSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n := 2
	switch b[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// ParseFrame parses the frame at the start of b. n is 0 while b holds only a part of it.
func ParseFrame(b []byte) (f Frame, n int) {
	head := headerSize(b)
	if head == 0 || len(b) < head {
		return Frame{}, 0
	}
	length := uint64(b[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < length {
		return Frame{}, 0
	}
	n = head + int(length)
	f = Frame{First: b[0], Masked: b[1]&0x80 != 0, Raw: bytes.Clone(b[:n])}
	f.Payload = bytes.Clone(b[head:n])
	if f.Masked {
		copy(f.Key[:], b[head-4:head])
		mask(f.Payload, f.Key)
	}
	return f, n
}

// ParseFrames parses all whole frames of b and returns what is left.
func ParseFrames(b []byte) (frames []Frame, rest []byte) {
	for {
		f, n := ParseFrame(b)
		if n == 0 {
			return frames, b
		}
		frames, b = append(frames, f), b[n:]
	}
}

func mask(p []byte, key [4]byte) {
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// AppendHeader appends a frame header with the shortest length form. A nil key means an unmasked frame.
func AppendHeader(dst []byte, first byte, length uint64, key *[4]byte) []byte {
	var bit byte
	if key != nil {
		bit = 0x80
	}
	switch {
	case length < 126:
		dst = append(dst, first, bit|byte(length))
	case length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, bit|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, bit|127), length)
	}
	if key != nil {
		dst = append(dst, key[:]...)
	}
	return dst
}

// ClientFrame builds a frame with a fresh mask key.
func ClientFrame(first byte, payload []byte) []byte {
	var key [4]byte
	rand.Read(key[:])
	return MaskedFrame(first, payload, key)
}

// MaskedFrame builds a frame with the given mask key.
func MaskedFrame(first byte, payload []byte, key [4]byte) []byte {
	b := AppendHeader(make([]byte, 0, 14+len(payload)), first, uint64(len(payload)), &key)
	n := len(b)
	b = append(b, payload...)
	mask(b[n:], key)
	return b
}

// ServerFrame builds an unmasked frame.
func ServerFrame(first byte, payload []byte) []byte {
	return append(AppendHeader(make([]byte, 0, 10+len(payload)), first, uint64(len(payload)), nil), payload...)
}

// CloseFrame returns the payload of a Close frame.
func CloseFrame(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// Hex decodes bytes as security.md writes them: hexadecimal with spaces anywhere, M for the mask key of four zero bytes.
func Hex(s string) []byte {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "M", "00000000"), " ", "")
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(fmt.Sprintf("wstest: %q is no fixture: %v", s, err))
	}
	return b
}

// Unmask turns one masked frame of a fixture into the same frame as a server would send it, so that a row of client frames is
// also a row of upstream frames. A frame that is unmasked, or cut short, comes back as it is but for the key.
func Unmask(frame []byte) []byte {
	head := headerSize(frame)
	if head == 0 || len(frame) < head || frame[1]&0x80 == 0 {
		return frame
	}
	key := [4]byte(frame[head-4 : head])
	out := bytes.Clone(frame[:head-4])
	out[1] &^= 0x80
	payload := bytes.Clone(frame[head:])
	mask(payload, key)
	return append(out, payload...)
}
