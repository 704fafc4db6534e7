package frame_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
)

// sampleHeaders has every size of header, 2 to 14 bytes, and each violation
// that Parse knows at each size that it can have.
func sampleHeaders(t testing.TB) (all [][]byte) {
	for _, s := range []string{
		"81 05",
		"81 85 37fa213d",
		"c2 7e 0100",
		"02 fe ffff 01020304",
		"80 7f 0000000000010000",
		"80 ff 7fffffffffffffff fffefdfc",
		"8a 80 00000000",
		"ff ff 00000000ffffffff 81818181", // bytes that look like headers inside
		"81 7e 007d",
		"81 fe 0000 81ffffff",
		"81 7f 000000000000ffff",
		"81 ff 0000000000000000 81ffffff",
		"81 7f 8000000000000000",
		"81 ff ffffffffffffffff ffffffff",
	} {
		all = append(all, unhex(t, s))
	}
	return all
}

// pieces cuts b after byte i where bit i of cuts is set.
func pieces(b []byte, cuts uint) (all [][]byte) {
	start := 0
	for i := range len(b) - 1 {
		if cuts&(1<<i) != 0 {
			all = append(all, b[start:i+1])
			start = i + 1
		}
	}
	return append(all, b[start:])
}

// sized cuts b into pieces of size bytes.
func sized(b []byte, size int) (all [][]byte) {
	for len(b) > size {
		all = append(all, b[:size])
		b = b[size:]
	}
	return append(all, b)
}

// A parsed header is what Parser.Next says about it, in words, so that two of
// them compare.
func parsed(h frame.Header, raw []byte, v *frame.Violation) string {
	if v != nil {
		return fmt.Sprintf("% x: %v", raw, v)
	}
	return fmt.Sprintf("% x: %+v", raw, h)
}

// parseAll returns the headers of b, one directly after another, by Parse.
func parseAll(t testing.TB, b []byte) (all []string) {
	t.Helper()
	for len(b) > 0 {
		h, n, v := frame.Parse(b)
		if n == 0 {
			return append(all, fmt.Sprintf("partial %d", len(b)))
		}
		all = append(all, parsed(h, b[:n], v))
		b = b[n:]
	}
	return all
}

// parsePieces is parseAll by a Parser, from a buffer that is overwritten after
// each piece as a real one would be.
func parsePieces(t testing.TB, cut [][]byte) (all []string) {
	t.Helper()
	var p frame.Parser
	pending := 0
	var buf []byte
	for _, piece := range cut {
		buf = append(buf[:0], piece...)
		for b := buf; len(b) > 0; {
			before := pending
			h, raw, used, done, v := p.Next(b)
			pending += used
			switch {
			case used <= 0 || used > len(b):
				t.Fatalf("Next(% x) took %d bytes", b, used)
			case !done && (used != len(b) || raw != nil || v != nil):
				t.Fatalf("Next(% x) is not done, yet: %d, % x, %v", b, used, raw, v)
			case done && len(raw) != pending:
				t.Fatalf("Next(% x) has a header of %d bytes after %d", b, len(raw), pending)
			case done && before == 0 && &raw[0] != &b[0]:
				t.Fatalf("Next(% x) copied a header that was whole", b)
			case p.Partial() == done:
				t.Fatalf("Partial() = %v after Next(% x) with done = %v", p.Partial(), b, done)
			}
			if done {
				all = append(all, parsed(h, raw, v))
				pending = 0
			}
			b = b[used:]
		}
		clear(buf)
	}
	if pending > 0 {
		all = append(all, fmt.Sprintf("partial %d", pending))
	}
	return all
}

func checkPieces(t testing.TB, b []byte, cut [][]byte) {
	t.Helper()
	want, got := parseAll(t, b), parsePieces(t, cut)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("% x: %q, want %q", cut, got, want)
	}
}

// TestParserChop cuts each sample at every set of places: whole, byte by byte,
// and all of the up to 8192 ways between.
func TestParserChop(t *testing.T) {
	for _, b := range sampleHeaders(t) {
		for cuts := range uint(1) << (len(b) - 1) {
			checkPieces(t, b, pieces(b, cuts))
		}
	}
}

// TestParserRow has all samples one after another, in pieces of every size and
// cut at every two places, so that a piece ends one header and begins others.
func TestParserRow(t *testing.T) {
	row := bytes.Join(sampleHeaders(t), nil)
	for size := 1; size <= len(row); size++ {
		checkPieces(t, row, sized(row, size))
	}
	for i := 1; i < len(row); i++ {
		for j := i + 1; j < len(row); j++ {
			checkPieces(t, row, [][]byte{row[:i], row[i:j], row[j:]})
		}
	}
	for n := 1; n < len(row); n++ {
		checkPieces(t, row[:n], sized(row[:n], 3))
	}
}

func TestParserEmpty(t *testing.T) {
	var p frame.Parser
	if p.Partial() {
		t.Error("a new parser is partial")
	}
	for range 3 {
		if _, raw, used, done, v := p.Next(nil); raw != nil || used != 0 || done || v != nil {
			t.Errorf("Next(nil) = % x, %d, %v, %v", raw, used, done, v)
		}
	}
	p.Next([]byte{0x81})
	if _, raw, used, done, v := p.Next([]byte{}); raw != nil || used != 0 || done || v != nil {
		t.Errorf("Next of nothing after one byte = % x, %d, %v, %v", raw, used, done, v)
	}
	if !p.Partial() {
		t.Error("not partial after one byte")
	}
	h, raw, used, done, v := p.Next([]byte{0x00, 0x81, 0x00})
	if h.OpCode != frame.OpText || !bytes.Equal(raw, []byte{0x81, 0}) || used != 1 || !done || v != nil {
		t.Errorf("Next of the rest = %+v, % x, %d, %v, %v", h, raw, used, done, v)
	}
}

// TestParserTakesHeaderOnly puts payload behind the header, which is not the
// parser's however the header came.
func TestParserTakesHeaderOnly(t *testing.T) {
	payload := bytes.Repeat([]byte{0x81, 0x7f}, 20)
	for _, b := range sampleHeaders(t) {
		for cut := range b {
			var p frame.Parser
			if cut > 0 {
				p.Next(b[:cut])
			}
			_, raw, used, done, _ := p.Next(append(bytes.Clone(b[cut:]), payload...))
			if !bytes.Equal(raw, b) || used != len(b)-cut || !done {
				t.Fatalf("% x cut at %d: % x, %d, %v", b, cut, raw, used, done)
			}
		}
	}
}

func TestParserAllocs(t *testing.T) {
	samples := sampleHeaders(t)
	noAllocs(t, "Parser.Next", func() {
		for _, b := range samples {
			for cut := range b {
				var p frame.Parser
				p.Next(b[:cut])
				if _, _, _, done, _ := p.Next(b[cut:]); !done {
					t.Fatalf("% x cut at %d is not done", b, cut)
				}
			}
		}
	})
	noAllocs(t, "Parse", func() {
		for _, b := range samples {
			for n := range len(b) + 1 {
				frame.Parse(b[:n])
			}
		}
	})
	var buf [frame.MaxHeader]byte
	noAllocs(t, "AppendHeader", func() {
		frame.AppendHeader(buf[:0], frame.Header{Length: 1 << 40, Masked: true})
	})
}

// noAllocs is a budget: what is on the path of every frame allocates nothing.
func noAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(20, f); n != 0 {
		t.Errorf("%s: %v allocations, want none", name, n)
	}
}
