package transcript

import "encoding/binary"

// A Frame is one WebSocket frame. This package has a codec of its own, plain
// and slow, so that the gateway's is not held against itself.
type Frame struct {
	Fin     bool
	RSV     byte // the three bits, RSV1 being 4
	Op      byte
	Masked  bool
	Key     [4]byte
	Form    int    // bytes of the extended length: 0, 2 or 8
	Length  uint64 // declared
	Payload []byte // without mask; shorter than Length where the frame is cut
	Raw     []byte // as it is on the wire
}

// Control reports whether f is a control frame.
func (f *Frame) Control() bool { return f.Op&8 != 0 }

// Minimal reports whether the length has the shortest form that it could have.
func (f *Frame) Minimal() bool { return f.Form == minimal(f.Length) }

// Complete reports whether the whole payload is there.
func (f *Frame) Complete() bool { return uint64(len(f.Payload)) == f.Length }

func minimal(n uint64) int {
	switch {
	case n < 126:
		return 0
	case n < 1<<16:
		return 2
	}
	return 8
}

// Parse reads the frame at the start of b, of which the end may be missing. ok
// is false where not even the header is complete.
func Parse(b []byte) (f Frame, ok bool) {
	if len(b) < 2 {
		return f, false
	}
	f = Frame{Fin: b[0]>>7 == 1, RSV: b[0] >> 4 & 7, Op: b[0] & 15, Masked: b[1]>>7 == 1, Length: uint64(b[1] & 127)}
	at := 2
	switch f.Length {
	case 126:
		f.Form = 2
	case 127:
		f.Form = 8
	}
	if len(b) < at+f.Form {
		return f, false
	}
	switch f.Form {
	case 2:
		f.Length = uint64(binary.BigEndian.Uint16(b[at:]))
	case 8:
		f.Length = binary.BigEndian.Uint64(b[at:])
	}
	at += f.Form
	if f.Masked {
		if len(b) < at+4 {
			return f, false
		}
		at += copy(f.Key[:], b[at:])
	}
	n := min(f.Length, uint64(len(b)-at))
	f.Raw = b[:at+int(n)]
	for i, c := range f.Raw[at:] {
		f.Payload = append(f.Payload, c^f.Key[i%4])
	}
	return f, true
}

// Split parses b into frames, of which the last may be cut, and what is left
// of a header.
func Split(b []byte) (frames []Frame, rest []byte) {
	for {
		f, ok := Parse(b)
		if !ok {
			return frames, b
		}
		frames = append(frames, f)
		b = b[len(f.Raw):]
	}
}

// Append appends the wire form of f, with its Form, Length and Payload as they
// are.
func (f *Frame) Append(dst []byte) []byte {
	first, second := f.RSV<<4|f.Op, byte(0)
	if f.Fin {
		first |= 0x80
	}
	if f.Masked {
		second = 0x80
	}
	switch f.Form {
	case 2:
		dst = binary.BigEndian.AppendUint16(append(dst, first, second|126), uint16(f.Length))
	case 8:
		dst = binary.BigEndian.AppendUint64(append(dst, first, second|127), f.Length)
	default:
		dst = append(dst, first, second|byte(f.Length))
	}
	if f.Masked {
		dst = append(dst, f.Key[:]...)
	}
	for i, c := range f.Payload {
		dst = append(dst, c^f.Key[i%4])
	}
	return dst
}

// Filler returns n bytes of text.
func Filler(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = "abcdefghijklmnopqrstuvwxyz0123456789-"[i%37]
	}
	return p
}
