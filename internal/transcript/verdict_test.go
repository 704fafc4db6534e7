package transcript

import (
	"bytes"
	"testing"

	"github.com/framegate/framegate/proxy/relay"
)

// wire makes the bytes of frames in the notation of inputs.
func wire(t *testing.T, from relay.Side, line string) []byte {
	t.Helper()
	all, err := words(line)
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&sender{side: from}).line(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerdict(t *testing.T) {
	l := newSettings().limits
	l.From[relay.Client] = relay.Shape{MaxFrame: 100, MaxMessage: 150, MaxFragments: 2, NoBinary: true}
	for _, test := range []struct {
		frames     string
		code, good int
	}{
		{`text "a" | ping | pong | text nofin "\xe2" | cont "\x82\xac" | close 1000 "bye" | op=3`, 0, 5},
		{`text rsv1 "\xff"`, 0, 1},
		{`text "a" | text unmasked "a"`, 1002, 1},
		{`text rsv2`, 1002, 0},
		{`ping rsv1`, 1002, 0},
		{`text nofin | cont rsv1`, 1002, 1},
		{`op=3`, 1002, 0},
		{`op=11`, 1002, 0},
		{`cont`, 1002, 0},
		{`text nofin | text`, 1002, 1},
		{`ping nofin`, 1002, 0},
		{`ping size=126`, 1002, 0},
		{`text len16 "a"`, 1002, 0},
		{`binary`, 1003, 0},
		{`text size=101`, 1009, 0},
		{`text nofin size=100 | cont size=51`, 1009, 1},
		{`text nofin | cont nofin | cont`, 1009, 2},
		{`text "\xff"`, 1007, 0},
		{`text "\xe2"`, 1007, 0},
		{`text nofin "\xe2"`, 0, 1},
		{`text nofin "\xe2" | ping | cont "a"`, 1007, 2},
		{`text "\xff" len=10`, 1007, 0},
		{`text "\xe2" len=10`, 0, 1},
		{`close "\x03"`, 1002, 0},
		{`close 999`, 1002, 0},
		{`close 1005`, 1002, 0},
		{`close 1015`, 1002, 0},
		{`close 5000`, 1002, 0},
		{`close 1014`, 0, 0},
		{`close 1000 "\xff"`, 1007, 0},
		{`close`, 0, 0},
	} {
		code, good := Verdict(wire(t, relay.Client, test.frames), relay.Client, &l, true)
		if code != test.code || good != test.good {
			t.Errorf("%s: %d after %d frames, want %d after %d", test.frames, code, good, test.code, test.good)
		}
	}
}

// TestCrossed shows that each way in which a relay can go wrong is seen.
func TestCrossed(t *testing.T) {
	l := newSettings().limits
	const sent = `text "a" | ping "p" | text nofin "b" | pong "q" | cont "c" | close 1000`
	for _, test := range []struct {
		got   string
		whole bool
		ok    bool
	}{
		{sent, true, true},
		{`text "a" | text nofin "b" | cont "c" | close 1000`, true, true},
		{`text "a" | ping "p" | text nofin "b"`, true, true},
		{``, true, true},
		{`text "a" | ping "\xf0\x00\x00\x01" | text nofin "b" | close 1001 "made"`, true, true},
		{`text "a" | text nofin "b" cut=3`, false, true},
		{`text "a" | text nofin "b" cut=6`, false, true},
		{`text "a" cut=1`, false, true},
		{`text "a" | text nofin "b" cut=6`, true, false},
		{`text "a" cut=1`, true, false},
		{`text nofin "b" | cont "c"`, true, false},                   // lost
		{`text "a" | text "a"`, true, false},                         // doubled
		{`ping "p" | text "a"`, true, false},                         // reordered
		{`text "A"`, true, false},                                    // changed
		{`text key=00000000 "a"`, true, false},                       // its mask, too
		{`text "a" | ping "made"`, true, false},                      // made, though not by the gateway
		{`text "a" | pong "made"`, true, false},                      // likewise
		{`close 1000 | text "a"`, true, false},                       // after Close
		{`close 1000 | close 1000`, true, false},                     // twice
		{`text "a" | close 1005`, true, false},                       // may not be sent
		{`text unmasked "a"`, true, false},                           // by a client
		{`text "a" | text nofin "b" | text "c"`, true, false},        // no sequence
		{`text "a" | text nofin "b" cut=6 | close`, false, false},    // inside of a frame
		{`text "a" | text nofin "b" | cont "c" len=5`, false, false}, // a header that nobody sent
	} {
		got := wire(t, relay.Client, test.got)
		_, err := Crossed(relay.Upstream, got, wire(t, relay.Client, sent), &l, nil, test.whole)
		if (err == nil) != test.ok {
			t.Errorf("%s, whole %v: %v", test.got, test.whole, err)
		}
	}
	l.AnswerPings = true
	if _, err := Crossed(relay.Client, wire(t, relay.Upstream, `pong "made"`), nil, &l, nil, true); err != nil {
		t.Error(err)
	}
}

// TestCrossedInPart is TestCrossed where messages may be dropped.
func TestCrossedInPart(t *testing.T) {
	l := newSettings().limits
	l.From[relay.Client].Rates = []relay.Rate{{Action: relay.ActDrop}}
	l.From[relay.Upstream].Rates = []relay.Rate{{Action: relay.ActReply}}
	const sent = `text "a" | ping "p" | text nofin "b" | pong "q" | cont nofin "c" | cont "d" | text nofin "b" | cont "e" | close 1000`
	for _, test := range []struct {
		got string
		ok  bool
	}{
		{sent, true},
		{`ping "p" | pong "q" | close 1000`, true},
		{`ping "p" | pong "q" | text nofin "b" | cont nofin "c" | cont "d"`, true}, // overtaken
		{`text "a" | text nofin "b" | cont "e"`, true},
		{`text "a" | text nofin "b" | cont nofin "c"`, true}, // so far
		{`text nofin "b" | cont "e" | text "slow down" | close 1008`, true},
		{`text nofin "b" | cont "d"`, false},                  // split
		{`text nofin "b" | cont nofin "c" | cont "e"`, false}, // mixed
		{`text nofin "b" | cont "e" | text "a"`, false},       // reordered
		{`text "a" | text "a"`, false},                        // doubled
		{`pong "q" | ping "p"`, false},                        // reordered
		{`text nofin "b" | cont nofin "c" | close 1000 | cont "d"`, false},
	} {
		_, err := Crossed(relay.Upstream, wire(t, relay.Client, test.got), wire(t, relay.Client, sent), &l, nil, true)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.got, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		f := Frame{Fin: true, Op: 2, Masked: true, Key: [4]byte{1, 2, 3, 4}, Form: minimal(uint64(n)), Length: uint64(n), Payload: Filler(n)}
		b := f.Append(nil)
		got, ok := Parse(append(b, 0xff))
		if !ok || !got.Complete() || !got.Minimal() || !bytes.Equal(got.Payload, f.Payload) || !bytes.Equal(got.Raw, b) || got.Key != f.Key {
			t.Errorf("%d bytes: %v, %+v", n, ok, got)
		}
		for cut := range min(len(b), 20) {
			if got, ok := Parse(b[:cut]); ok && (got.Complete() && cut < len(b) || got.Length != f.Length) {
				t.Errorf("%d bytes cut at %d: %+v", n, cut, got)
			}
		}
	}
}
