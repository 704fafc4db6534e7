package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/gobwas/ws"
)

// FuzzHeader states: a header that Parse accepts is the one way to write it; a
// Parser sees the same headers however b is cut; and gobwas/ws reads the same,
// save that it takes lengths that are not minimal.
func FuzzHeader(f *testing.F) {
	for _, b := range sampleHeaders(f) {
		f.Add(b, []byte{1})
		f.Add(append(b, b...), []byte{2, 5, 1})
	}
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, b, cuts []byte) {
		b = b[:min(len(b), 8*frame.MaxHeader)] // a row of headers, more is only slow
		h, n, v := frame.Parse(b)
		if n > 0 && v == nil {
			if back := frame.AppendHeader(nil, h); !bytes.Equal(back, b[:n]) {
				t.Fatalf("Parse(% x) = %+v, written % x", b, h, back)
			}
		}
		checkParse(t, b)
		checkGobwas(t, b)
		var cut [][]byte
		rest := b
		for i := 0; len(rest) > 0; i++ {
			size := len(rest)
			if len(cuts) > 0 {
				size = min(size, int(cuts[i%len(cuts)])%20+1)
			}
			cut = append(cut, rest[:size])
			rest = rest[size:]
		}
		checkPieces(t, b, cut)
	})
}

// checkGobwas compares Parse with the reader of gobwas/ws.
func checkGobwas(t *testing.T, b []byte) {
	t.Helper()
	h, n, v := frame.Parse(b)
	r := bytes.NewReader(b)
	want, err := ws.ReadHeader(r)
	taken := len(b) - r.Len()
	var verdict string
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if n == 0 && v == nil {
			return
		}
		verdict = "more to be needed"
	case errors.Is(err, ws.ErrHeaderLengthMSB):
		if v == frame.ErrHugeLength {
			return
		}
		verdict = frame.ErrHugeLength.Reason
	case err != nil:
		verdict = err.Error()
	case ws.HeaderSize(want) != taken:
		if v == frame.ErrLength && n == taken {
			return
		}
		verdict = frame.ErrLength.Reason
	default:
		if v == nil && h == want && n == taken {
			return
		}
		verdict = fmt.Sprintf("%+v", want)
	}
	t.Fatalf("Parse(% x) = %+v, %d, %v, want %s", b, h, n, v, verdict)
}

// FuzzUTF8 states: a text is valid if utf8.Valid says so and can become valid
// if viable says so, in two parts however it is cut, under any key and at any
// offset; and byte by byte it fails with the same byte.
func FuzzUTF8(f *testing.F) {
	for i, s := range awkward {
		f.Add([]byte("leading text, long enough"+s+"and a tail"), uint16(25+i%4), uint32(0x3d21fa37), int64(i))
		f.Add([]byte(s), uint16(1), uint32(0), int64(0))
	}
	f.Fuzz(func(t *testing.T, text []byte, at uint16, key32 uint32, offset int64) {
		key := [4]byte{byte(key32), byte(key32 >> 8), byte(key32 >> 16), byte(key32 >> 24)}
		offset &= 1<<62 - 1
		text = text[:min(len(text), 1<<10)] // the naive side is quadratic
		cut := int(at) % (len(text) + 1)
		masked := naiveMask(text, key, offset)
		var u frame.UTF8
		if got, want := u.Feed(masked[:cut], key, offset), viable(text[:cut]); got != want {
			t.Fatalf("first %d of % x: %v, want %v", cut, text, got, want)
		}
		if got, want := u.Feed(masked[cut:], key, offset+int64(cut)), viable(text); got != want {
			t.Fatalf("% x cut at %d: %v, want %v", text, cut, got, want)
		}
		if got, want := u.Complete(), utf8.Valid(text); got != want {
			t.Fatalf("% x: complete %v, want %v", text, got, want)
		}
		u = frame.UTF8{}
		for i := range masked {
			got, want := u.Feed(masked[i:i+1], key, offset+int64(i)), viable(text[:i+1])
			if got != want {
				t.Fatalf("byte %d of % x: %v, want %v", i, text, got, want)
			}
			if !want {
				break
			}
		}
	})
}

// FuzzClosePayload states: a Close payload that ParseClose accepts is a code
// that may be sent and a text, and a frame that AppendClose makes of them has
// that payload; all others are refused.
func FuzzClosePayload(f *testing.F) {
	for _, s := range []string{
		"", "\x03", "\x03\xe8", "\x03\xe8bye", "\x03\xed", "\x0f\xa0€", "\x03\xe8\xc3\x28", "\x03\xe8\xe2\x82",
	} {
		f.Add([]byte(s), uint32(0x3d21fa37))
	}
	f.Fuzz(func(t *testing.T, p []byte, key32 uint32) {
		if len(p) > frame.MaxControl {
			p = p[:frame.MaxControl]
		}
		before := bytes.Clone(p)
		code, reason, v := frame.ParseClose(p)
		if !bytes.Equal(p, before) {
			t.Fatalf("ParseClose changed % x", before)
		}
		faultless := len(p) == 0 ||
			len(p) >= 2 && frame.ValidCode(frame.StatusCode(p[0])<<8|frame.StatusCode(p[1])) && utf8.Valid(p[2:])
		if (v == nil) != faultless {
			t.Fatalf("ParseClose(% x) = %v", p, v)
		}
		if v != nil {
			if code != frame.NoCode || reason != nil {
				t.Fatalf("ParseClose(% x) = %d, %q beside %v", p, code, reason, v)
			}
			return
		}
		key := [4]byte{byte(key32), byte(key32 >> 8), byte(key32 >> 16), byte(key32 >> 24)}
		for _, key := range []*[4]byte{nil, &key} {
			b := frame.AppendClose(nil, code, string(reason), key)
			h, n, v := frame.Parse(b)
			if v != nil || !h.Fin || h.Rsv != 0 || h.OpCode != frame.OpClose || h.Masked != (key != nil) {
				t.Fatalf("AppendClose(%d, %q) = % x: %+v, %v", code, reason, b, h, v)
			}
			if got := frame.Unmask(make([]byte, len(b)-n), b[n:], h, 0); !bytes.Equal(got, p) {
				t.Fatalf("% x came back as % x", p, got)
			}
		}
	})
}
