package frame_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
)

// naiveMask is the loop of RFC 6455 §5.3: octet i of the payload is XORed with
// octet i modulo 4 of the key.
func naiveMask(p []byte, key [4]byte, offset int64) []byte {
	out := make([]byte, len(p))
	for i := range p {
		out[i] = p[i] ^ key[(offset%4+int64(i))%4]
	}
	return out
}

// counted returns n bytes that are all different from their neighbours.
func counted(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*37 + 11)
	}
	return p
}

var maskKeys = [][4]byte{
	{0x37, 0xfa, 0x21, 0x3d}, {1, 2, 3, 4}, {0xff, 0, 0, 0}, {0, 0, 0, 0x80}, {},
}

// TestUnmask takes every length, offset and position in memory around the
// words that the kernel works in.
func TestUnmask(t *testing.T) {
	offsets := []int64{0, 1, 2, 3, 4, 5, 6, 7, 1021, 1<<32 + 3, math.MaxInt64 - 1, math.MaxInt64}
	for _, key := range maskKeys {
		h := frame.Header{Masked: true, Mask: key}
		for n := range 65 {
			for _, offset := range offsets {
				for align := range 8 {
					p := append(make([]byte, align), counted(n)...)[align:]
					before := bytes.Clone(p)
					want := naiveMask(p, key, offset)
					dst := bytes.Repeat([]byte{0xee}, n+align+1)[align:]
					if got := frame.Unmask(dst, p, h, offset); !bytes.Equal(got, want) {
						t.Fatalf("key %x, offset %d, %d bytes: % x, want % x", key, offset, n, got, want)
					}
					if dst[n] != 0xee {
						t.Fatalf("key %x, offset %d, %d bytes: wrote beyond", key, offset, n)
					}
					if !bytes.Equal(p, before) {
						t.Fatalf("key %x, offset %d, %d bytes: changed its input", key, offset, n)
					}
					if got := frame.Unmask(p, p, h, offset); !bytes.Equal(got, want) {
						t.Fatalf("key %x, offset %d, %d bytes in place: % x, want % x", key, offset, n, got, want)
					}
				}
			}
		}
	}
}

// TestUnmaskPieces unmasks a payload in two pieces, cut anywhere.
func TestUnmaskPieces(t *testing.T) {
	h := frame.Header{Masked: true, Mask: maskKeys[0]}
	for n := range 200 {
		p := counted(n)
		want := naiveMask(p, h.Mask, 0)
		for cut := range n + 1 {
			got := bytes.Clone(frame.Unmask(make([]byte, cut), p[:cut], h, 0))
			got = append(got, frame.Unmask(make([]byte, n-cut), p[cut:], h, int64(cut))...)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes cut at %d: % x, want % x", n, cut, got, want)
			}
		}
	}
}

func TestUnmaskPlain(t *testing.T) {
	h := frame.Header{Mask: [4]byte{1, 2, 3, 4}} // not Masked, so the key says nothing
	for n := range 65 {
		p := counted(n)
		if got := frame.Unmask(make([]byte, n), p, h, 3); !bytes.Equal(got, p) {
			t.Fatalf("%d bytes: % x, want % x", n, got, p)
		}
	}
}

// TestAppend makes frames of every short length and at the borders of the
// length encodings, and reads them back.
func TestAppend(t *testing.T) {
	sizes := []int{125, 126, 127, 65535, 65536, 70001}
	for n := range 65 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		p := counted(n)
		before := bytes.Clone(p)
		for i := range maskKeys {
			key := &maskKeys[i]
			checkFrame(t, frame.Append([]byte("kept"), frame.OpBinary, p, key), frame.OpBinary, p, key)
		}
		checkFrame(t, frame.Append([]byte("kept"), frame.OpPing, p, nil), frame.OpPing, p, nil)
		if !bytes.Equal(p, before) {
			t.Fatalf("%d bytes: Append changed its payload", n)
		}
	}
}

// checkFrame demands that b is "kept" and the one frame of op and p.
func checkFrame(t *testing.T, b []byte, op frame.OpCode, p []byte, key *[4]byte) {
	t.Helper()
	if !bytes.HasPrefix(b, []byte("kept")) {
		t.Fatalf("prefix is %q", b[:4])
	}
	b = b[4:]
	want := frame.Header{Fin: true, OpCode: op, Length: int64(len(p))}
	masked := p
	if key != nil {
		want.Masked, want.Mask = true, *key
		masked = naiveMask(p, *key, 0)
	}
	h, n, v := frame.Parse(b)
	if h != want || v != nil {
		t.Fatalf("header %+v, %v, want %+v", h, v, want)
	}
	if !bytes.Equal(b[n:], masked) {
		t.Fatalf("%d bytes, key %x: payload differs from the naive loop's", len(p), key)
	}
}

func TestMaskAllocs(t *testing.T) {
	p, dst := counted(1000), make([]byte, 0, 1100)
	key := [4]byte{1, 2, 3, 4}
	noAllocs(t, "Append", func() { frame.Append(dst, frame.OpText, p, &key) })
	noAllocs(t, "Unmask", func() {
		frame.Unmask(dst[:1000], p, frame.Header{Masked: true, Mask: key}, 1)
	})
}
