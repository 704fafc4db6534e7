package frame_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/frame"
)

// closeCodes says of every code whether it may be in a Close frame: RFC 6455
// §7.4 and the WebSocket Close Code Number Registry of IANA.
var closeCodes = []struct {
	first, last int
	valid       bool
	why         string
}{
	{0, 999, false, "§7.4.2: not used"},
	{1000, 1000, true, "normal closure"},
	{1001, 1001, true, "going away"},
	{1002, 1002, true, "protocol error"},
	{1003, 1003, true, "unsupported data"},
	{1004, 1004, false, "§7.4.1: reserved, the meaning might be defined in the future"},
	{1005, 1005, false, "§7.4.1: MUST NOT be set in a Close frame"},
	{1006, 1006, false, "§7.4.1: MUST NOT be set in a Close frame"},
	{1007, 1007, true, "invalid frame payload data"},
	{1008, 1008, true, "policy violation"},
	{1009, 1009, true, "message too big"},
	{1010, 1010, true, "mandatory extension"},
	{1011, 1011, true, "internal error"},
	{1012, 1012, true, "IANA: service restart"},
	{1013, 1013, true, "IANA: try again later"},
	{1014, 1014, true, "IANA: bad gateway"},
	{1015, 1015, false, "§7.4.1: MUST NOT be set in a Close frame"},
	{1016, 2999, false, "§7.4.2: reserved for revisions of the protocol; IANA: unassigned"},
	{3000, 3999, true, "§7.4.2: libraries, frameworks and applications"},
	{4000, 4999, true, "§7.4.2: private use"},
	{5000, 65535, false, "§7.4.2: in no range"},
}

func TestValidCode(t *testing.T) {
	next := 0
	for _, c := range closeCodes {
		if c.first != next {
			t.Fatalf("the table goes on at %d, want %d", c.first, next)
		}
		next = c.last + 1
		for code := c.first; code <= c.last; code++ {
			if got := frame.ValidCode(frame.StatusCode(code)); got != c.valid {
				t.Errorf("ValidCode(%d) = %v, want %v: %s", code, got, c.valid, c.why)
			}
			_, _, v := frame.ParseClose([]byte{byte(code >> 8), byte(code)})
			if (v == nil) != c.valid || v != nil && v != frame.ErrCloseCode {
				t.Errorf("ParseClose of %d: %v, want valid %v: %s", code, v, c.valid, c.why)
			}
		}
	}
	if next != 1<<16 {
		t.Errorf("the table ends before %d", next)
	}
}

func TestParseClose(t *testing.T) {
	long := strings.Repeat("é", 61) + "e"
	for _, c := range []struct {
		payload string
		code    frame.StatusCode
		reason  string
		want    *frame.Violation
	}{
		{"", frame.NoCode, "", nil},
		{"\x03", 0, "", frame.ErrCloseSize},
		{"\x00", 0, "", frame.ErrCloseSize},
		{"\x03\xe8", 1000, "", nil},
		{"\x03\xe8bye", 1000, "bye", nil},
		{"\x03\xe8\x00", 1000, "\x00", nil},
		{"\x03\xf4" + long, 1012, long, nil},
		{"\x0f\xa0€", 4000, "€", nil},
		{"\x00\x00", 0, "", frame.ErrCloseCode},
		{"\x03\xedno status", 0, "", frame.ErrCloseCode},
		{"\x03\xe8\xc3\x28", 0, "", frame.ErrCloseUTF8},
		{"\x03\xe8ok\xe2\x82", 0, "", frame.ErrCloseUTF8},
		{"\x03\xe8\xed\xa0\x80", 0, "", frame.ErrCloseUTF8},
		{"\x03\xe8\xf4\x90\x80\x80", 0, "", frame.ErrCloseUTF8},
		{"\x03\xe8\xc0\xaf", 0, "", frame.ErrCloseUTF8},
		{"\x03\xed\xff", 0, "", frame.ErrCloseCode},
	} {
		code, reason, v := frame.ParseClose([]byte(c.payload))
		if code != c.code || string(reason) != c.reason || v != c.want {
			t.Errorf("ParseClose(%q) = %d, %q, %v, want %d, %q, %v",
				c.payload, code, reason, v, c.code, c.reason, c.want)
		}
	}
}

// naiveCut returns the longest part of s that is whole characters and fits.
func naiveCut(s string) (cut string) {
	for _, r := range s {
		if len(cut)+utf8.RuneLen(r) > frame.MaxReason {
			break
		}
		cut += string(r)
	}
	return cut
}

// TestCutReason puts characters of each length at each place around the cut.
func TestCutReason(t *testing.T) {
	for _, r := range []string{"a", "é", "€", "🙂", "\x00", "\u0080", "\u0800", "\U0010ffff"} {
		for lead := range 140 {
			for _, tail := range []string{"", r, r + "b", strings.Repeat(r, 40), strings.Repeat("a"+r, 40)} {
				s := strings.Repeat("x", lead) + tail
				got := frame.CutReason(s)
				if want := naiveCut(s); got != want {
					t.Fatalf("CutReason of %d bytes %q = %q, want %q", len(s), s, got, want)
				}
			}
		}
	}
}

// TestCutReasonInvalid gives it what is not a text: it still returns a part
// that fits.
func TestCutReasonInvalid(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("\x80", 124), strings.Repeat("\xff", 124), strings.Repeat("\xe2\x82", 70),
		"x" + strings.Repeat("\xbf", 200),
	} {
		if got := frame.CutReason(s); len(got) > frame.MaxReason || !strings.HasPrefix(s, got) {
			t.Errorf("CutReason(%q) = %q", s, got)
		}
	}
}

// TestAppendClose sends every valid code with reasons around the limit, plain
// and masked, and reads the frame back.
func TestAppendClose(t *testing.T) {
	reasons := []string{"", "b", "going away", "€", strings.Repeat("x", 122) + "é"}
	for n := 120; n <= 130; n++ {
		reasons = append(reasons, strings.Repeat("r", n), strings.Repeat("🙂", n/4))
	}
	for i := range maskKeys {
		for _, c := range closeCodes {
			if !c.valid {
				continue
			}
			for _, reason := range reasons {
				code := frame.StatusCode(c.last)
				p := fmt.Appendf([]byte{byte(code >> 8), byte(code)}, "%s", naiveCut(reason))
				b := frame.AppendClose([]byte("kept"), code, reason, &maskKeys[i])
				checkFrame(t, b, frame.OpClose, p, &maskKeys[i])
				checkFrame(t, frame.AppendClose([]byte("kept"), code, reason, nil), frame.OpClose, p, nil)
				if len(p) > frame.MaxControl {
					t.Fatalf("%d bytes of payload", len(p))
				}
			}
		}
	}
}

// TestAppendCloseNoCode keeps the absence of a code: 1005 is never sent, and a
// reason cannot be without a code (RFC 6455 §5.5.1).
func TestAppendCloseNoCode(t *testing.T) {
	if got := frame.AppendClose(nil, frame.NoCode, "", nil); !bytes.Equal(got, []byte{0x88, 0}) {
		t.Errorf("got % x, want 88 00", got)
	}
	got := frame.AppendClose(nil, frame.NoCode, "unsaid", &[4]byte{1, 2, 3, 4})
	if !bytes.Equal(got, []byte{0x88, 0x80, 1, 2, 3, 4}) {
		t.Errorf("got % x, want 88 80 and the key", got)
	}
}

func TestCloseAllocs(t *testing.T) {
	good, bad := []byte("\x03\xe8Grüße"), []byte("\x03\xe8\xff")
	noAllocs(t, "ParseClose", func() {
		frame.ParseClose(nil)
		frame.ParseClose(good)
		frame.ParseClose(bad)
		frame.ParseClose(bad[:1])
	})
	dst, key := make([]byte, 0, 200), [4]byte{1, 2, 3, 4}
	reason := strings.Repeat("é", 100)
	noAllocs(t, "AppendClose", func() {
		frame.AppendClose(dst, 1001, reason, &key)
		frame.AppendClose(dst, 1001, reason, nil)
	})
}
