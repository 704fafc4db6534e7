package frame_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/gobwas/ws"
)

// unhex reads hexadecimal digits in groups, as the RFC prints frames.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// naiveParse reads a header the way RFC 6455 §5.2 draws it: a row of fields,
// each a number of bits. It reports ok == false where the bits run out.
func naiveParse(b []byte) (h frame.Header, n int, v *frame.Violation, ok bool) {
	pos := 0
	take := func(bits int) (x uint64) {
		for range bits {
			x <<= 1
			if pos < 8*len(b) && b[pos/8]&(1<<(7-pos%8)) != 0 {
				x |= 1
			}
			pos++
		}
		return x
	}
	h.Fin = take(1) == 1
	h.Rsv = byte(take(3))
	h.OpCode = frame.OpCode(take(4))
	h.Masked = take(1) == 1
	length := take(7)
	switch length {
	case 126: // "the following 2 bytes interpreted as a 16-bit unsigned integer"
		if length = take(16); length < 126 {
			v = frame.ErrLength
		}
	case 127: // "the following 8 bytes ... the most significant bit MUST be 0"
		switch length = take(64); {
		case length >= 1<<63:
			v = frame.ErrHugeLength
		case length < 65536:
			v = frame.ErrLength
		}
	}
	if h.Masked {
		for i := range h.Mask {
			h.Mask[i] = byte(take(8))
		}
	}
	h.Length = int64(length)
	return h, pos / 8, v, pos <= 8*len(b)
}

// checkParse holds Parse to naiveParse.
func checkParse(t *testing.T, b []byte) {
	t.Helper()
	want, wantN, wantV, ok := naiveParse(b)
	h, n, v := frame.Parse(b)
	switch {
	case !ok:
		if h != (frame.Header{}) || n != 0 || v != nil {
			t.Fatalf("Parse(% x) = %+v, %d, %v, want more to be needed", b, h, n, v)
		}
	case n != wantN || v != wantV:
		t.Fatalf("Parse(% x) = %d bytes, %v, want %d, %v", b, n, v, wantN, wantV)
	case v == nil && h != want:
		t.Fatalf("Parse(% x) = %+v, want %+v", b, h, want)
	}
}

// TestParseEveryStart takes every value of the two bytes that each header has,
// before all sorts of what may follow.
func TestParseEveryStart(t *testing.T) {
	rests := [][]byte{
		nil,
		{0, 126},
		{0, 125, 1, 2, 3, 4},
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9, 8, 7, 6},
		{0, 0, 0, 0, 0, 1, 0, 0, 9, 8, 7, 6},
		{0, 0, 0, 0, 0, 0, 0xff, 0xff, 9, 8, 7, 6},
		{0, 0, 0, 0, 0, 1, 0, 0, 9, 8, 7, 6, 0x81, 0x00, 0xff},
	}
	for start := range 1 << 16 {
		for _, rest := range rests {
			checkParse(t, append([]byte{byte(start >> 8), byte(start)}, rest...))
		}
	}
}

// lengths are those at each border of the three encodings, and of the integers
// that an implementation might count them with.
var lengths = []uint64{
	0, 1, 2, 124, 125, 126, 127, 128, 254, 255, 256,
	1<<15 - 1, 1 << 15, 1<<16 - 2, 1<<16 - 1, 1 << 16, 1<<16 + 1,
	1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<62 - 1, 1 << 62, 1<<63 - 2, 1<<63 - 1,
}

// encodings returns size in each of the forms of RFC 6455 §5.2 that can hold
// it, the minimal one first.
func encodings(size uint64, masked bool) (all [][]byte) {
	var mask byte
	var key []byte
	if masked {
		mask, key = 0x80, []byte{0xa1, 0xb2, 0xc3, 0xd4}
	}
	form := func(b ...byte) { all = append(all, append(b, key...)) }
	if size < 126 {
		form(0x82, mask|byte(size))
	}
	if size < 1<<16 {
		form(0x82, mask|126, byte(size>>8), byte(size))
	}
	form(0x82, mask|127, byte(size>>56), byte(size>>48), byte(size>>40), byte(size>>32),
		byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
	return all
}

func TestParseLength(t *testing.T) {
	for _, masked := range []bool{false, true} {
		for _, size := range lengths {
			for i, b := range encodings(size, masked) {
				checkParse(t, b)
				h, n, v := frame.Parse(b)
				if i > 0 {
					if v != frame.ErrLength || n != len(b) {
						t.Errorf("% x: %v, want %v: %d has a shorter form", b, v, frame.ErrLength, size)
					}
					continue
				}
				want := frame.Header{Fin: true, OpCode: frame.OpBinary, Length: int64(size), Masked: masked}
				if masked {
					want.Mask = [4]byte{0xa1, 0xb2, 0xc3, 0xd4}
				}
				if h != want || n != len(b) || v != nil {
					t.Errorf("% x: %+v, %d, %v, want %+v", b, h, n, v, want)
				}
			}
		}
		for _, size := range []uint64{1 << 63, 1<<63 + 1, 1<<63 + 125, math.MaxUint64 - 1, math.MaxUint64} {
			b := encodings(size, masked)[0]
			checkParse(t, b)
			if _, _, v := frame.Parse(b); v != frame.ErrHugeLength {
				t.Errorf("% x: %v, want %v", b, v, frame.ErrHugeLength)
			}
		}
	}
}

func TestParseShort(t *testing.T) {
	for _, masked := range []bool{false, true} {
		for _, size := range lengths {
			for _, b := range encodings(size, masked) {
				for n := range b {
					// A slice's bytes beyond its length are not a part of it.
					checkParse(t, b[:n])
				}
			}
		}
	}
}

func TestHeaderSize(t *testing.T) {
	for second := range 256 {
		_, want, _, _ := naiveParse([]byte{0, byte(second)})
		if got := frame.HeaderSize(byte(second)); got != want || got > frame.MaxHeader {
			t.Errorf("HeaderSize(%#x) = %d, want %d", second, got, want)
		}
	}
}

// TestExamples has the frames of RFC 6455 §5.7 and those of RFC 7692 §7.2.3.
func TestExamples(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for _, c := range []struct {
		wire string
		want frame.Header
	}{
		{"81 05", frame.Header{Fin: true, OpCode: frame.OpText, Length: 5}},
		{"81 85 37fa213d", frame.Header{Fin: true, OpCode: frame.OpText, Length: 5, Masked: true, Mask: key}},
		{"01 03", frame.Header{OpCode: frame.OpText, Length: 3}},
		{"80 02", frame.Header{Fin: true, Length: 2}},
		{"89 05", frame.Header{Fin: true, OpCode: frame.OpPing, Length: 5}},
		{"8a 85 37fa213d", frame.Header{Fin: true, OpCode: frame.OpPong, Length: 5, Masked: true, Mask: key}},
		{"82 7e 0100", frame.Header{Fin: true, OpCode: frame.OpBinary, Length: 256}},
		{"82 7f 0000000000010000", frame.Header{Fin: true, OpCode: frame.OpBinary, Length: 65536}},
		{"c1 07", frame.Header{Fin: true, Rsv: 4, OpCode: frame.OpText, Length: 7}},
		{"41 03", frame.Header{Rsv: 4, OpCode: frame.OpText, Length: 3}},
	} {
		b := unhex(t, c.wire)
		if h, n, v := frame.Parse(b); h != c.want || n != len(b) || v != nil {
			t.Errorf("Parse(%s) = %+v, %d, %v, want %+v", c.wire, h, n, v, c.want)
		}
		if got := frame.AppendHeader(nil, c.want); !bytes.Equal(got, b) {
			t.Errorf("AppendHeader(%+v) = % x, want %s", c.want, got, c.wire)
		}
	}
}

// TestAppendHeader goes round through Parse with every header at the length
// borders, and compares with the writer of gobwas/ws.
func TestAppendHeader(t *testing.T) {
	prefix := []byte("kept")
	var buf bytes.Buffer
	for first := range 256 {
		for _, masked := range []bool{false, true} {
			for _, size := range lengths {
				h := frame.Header{
					Fin: first&0x80 != 0, Rsv: byte(first >> 4 & 7), OpCode: frame.OpCode(first & 15),
					Length: int64(size), Masked: masked,
				}
				if masked {
					h.Mask = [4]byte{0xff, 0, byte(first), 0x7e}
				}
				b := frame.AppendHeader(prefix[:4:4], h)
				if !bytes.HasPrefix(b, prefix) {
					t.Fatalf("%+v: prefix is %q", h, b[:4])
				}
				b = b[4:]
				if back, n, v := frame.Parse(b); back != h || n != len(b) || v != nil {
					t.Fatalf("% x: %+v, %d, %v, want %+v", b, back, n, v, h)
				}
				buf.Reset()
				if err := ws.WriteHeader(&buf, h); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(buf.Bytes(), b) {
					t.Fatalf("%+v: % x, want % x", h, b, buf.Bytes())
				}
			}
		}
	}
}

// TestAppendHeaderUnmasked shows that a key without Masked is not sent.
func TestAppendHeaderUnmasked(t *testing.T) {
	h := frame.Header{Fin: true, OpCode: frame.OpText, Length: 3, Mask: [4]byte{1, 2, 3, 4}}
	if got := fmt.Sprintf("%x", frame.AppendHeader(nil, h)); got != "8103" {
		t.Errorf("got %s, want 8103", got)
	}
}
