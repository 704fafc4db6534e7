package frame_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/framegate/framegate/proxy/frame"
)

// A naiveSequence is the rules once more, each as the RFC has it, without
// regard for which of several broken ones is named.
type naiveSequence struct {
	open       frame.OpCode
	compressed bool
}

// broken returns all rules that the frame h breaks.
func (q *naiveSequence) broken(h frame.Header, r frame.Rules) (all []*frame.Violation) {
	must := func(holds bool, v *frame.Violation) {
		if !holds {
			all = append(all, v)
		}
	}
	rsv1, rsv2, rsv3 := h.Rsv&4 != 0, h.Rsv&2 != 0, h.Rsv&1 != 0
	isControl := h.OpCode >= 8 // "identified by opcodes where the most significant bit of the opcode is 1"
	isDefined := h.OpCode <= 2 || h.OpCode >= 8 && h.OpCode <= 10
	// RFC 6455 §5.1: "The server MUST close the connection upon receiving a
	// frame that is not masked. ... A client MUST close a connection if it
	// detects a masked frame."
	if r.Masked {
		must(h.Masked, frame.ErrUnmasked)
	} else {
		must(!h.Masked, frame.ErrMasked)
	}
	// §5.2: "MUST be 0 unless an extension is negotiated that defines meanings
	// for non-zero values." RFC 7692 §6 gives one to RSV1.
	must(!rsv2 && !rsv3, frame.ErrReservedBits)
	must(!rsv1 || r.Deflate, frame.ErrReservedBits)
	// §5.2: "If an unknown opcode is received, the receiving endpoint MUST
	// _Fail the WebSocket Connection_."
	must(isDefined, frame.ErrOpCode)
	// §5.5: "All control frames MUST have a payload length of 125 bytes or less
	// and MUST NOT be fragmented."
	must(!isControl || h.Length <= 125, frame.ErrControlSize)
	must(!isControl || h.Fin, frame.ErrControlFin)
	// §5.4: "a single frame with the FIN bit clear and an opcode other than 0,
	// followed by zero or more frames with the FIN bit clear and the opcode set
	// to 0, and terminated by a single frame with the FIN bit set and an opcode
	// of 0"; "The fragments of one message MUST NOT be interleaved between the
	// fragments of another message".
	must(h.OpCode != 0 || q.open != 0, frame.ErrContinuation)
	must(h.OpCode == 0 || isControl || !isDefined || q.open == 0, frame.ErrInterleaved)
	// RFC 7692 §6.1: "An endpoint MUST NOT set the 'Per-Message Compressed' bit
	// of control frames and non-first fragments of a data message."
	must(!rsv1 || !r.Deflate || !isControl && h.OpCode != 0, frame.ErrCompressed)
	return all
}

// take moves on past the faultless frame h and says what it is a part of.
func (q *naiveSequence) take(h frame.Header) (message frame.OpCode, compressed bool) {
	if h.OpCode >= 8 {
		return h.OpCode, false // "Control frames ... MAY be injected in the middle of a fragmented message."
	}
	if h.OpCode != 0 {
		q.open, q.compressed = h.OpCode, h.Rsv&4 != 0
	}
	message, compressed = q.open, q.compressed
	if h.Fin {
		*q = naiveSequence{}
	}
	return message, compressed
}

// checkNext gives h to both and demands that they agree.
func checkNext(t *testing.T, q *frame.Sequence, naive *naiveSequence, h frame.Header, r frame.Rules) (ok bool) {
	t.Helper()
	broken := naive.broken(h, r)
	message, compressed, v := q.Next(h, r)
	if len(broken) > 0 {
		if !slices.Contains(broken, v) {
			t.Fatalf("%+v under %+v inside %+v: %v, want one of %v", h, r, *naive, v, broken)
		}
		if message != 0 || compressed {
			t.Fatalf("%+v under %+v: refused, yet %v, %v", h, r, message, compressed)
		}
		return false
	}
	before := *naive
	wantMessage, wantCompressed := naive.take(h)
	if v != nil || message != wantMessage || compressed != wantCompressed {
		t.Fatalf("%+v under %+v inside %+v: %v, %v, %v, want %v, %v",
			h, r, before, message, compressed, v, wantMessage, wantCompressed)
	}
	if q.Open() != (naive.open != 0) || q.Message() != naive.open {
		t.Fatalf("%+v under %+v inside %+v: then Open() = %v, Message() = %v, want %v",
			h, r, before, q.Open(), q.Message(), naive.open)
	}
	return true
}

// everyHeader yields each combination of what Next looks at.
func everyHeader(yield func(frame.Header) bool) {
	for first := range 256 {
		for _, masked := range []bool{false, true} {
			for _, size := range []int64{0, 1, 125, 126, 127, 65535, 65536, 1<<63 - 1} {
				h := frame.Header{
					Fin: first&0x80 != 0, Rsv: byte(first >> 4 & 7), OpCode: frame.OpCode(first & 15),
					Masked: masked, Length: size,
				}
				if !yield(h) {
					return
				}
			}
		}
	}
}

// everyRules has both roles with and without permessage-deflate.
var everyRules = []frame.Rules{
	{}, {Masked: true}, {Deflate: true}, {Masked: true, Deflate: true},
}

// TestSequenceEverything crosses every header with every role, extension and
// state of the message before it.
func TestSequenceEverything(t *testing.T) {
	for _, r := range everyRules {
		starts := [][]frame.Header{
			{},
			{{OpCode: frame.OpText}},
			{{OpCode: frame.OpBinary}},
			{{OpCode: frame.OpText}, {Length: 7}},
			{{OpCode: frame.OpText}, {Fin: true}},
			{{Fin: true, OpCode: frame.OpText}},
			{{Fin: true, OpCode: frame.OpClose}},
			{{OpCode: frame.OpBinary}, {Fin: true, OpCode: frame.OpPing}},
		}
		if r.Deflate {
			starts = append(starts, [][]frame.Header{
				{{OpCode: frame.OpText, Rsv: 4}},
				{{OpCode: frame.OpBinary, Rsv: 4}, {}},
				{{OpCode: frame.OpBinary, Rsv: 4}, {Fin: true, OpCode: frame.OpPong}},
				{{Fin: true, OpCode: frame.OpText, Rsv: 4}},
				{{OpCode: frame.OpText, Rsv: 4}, {Fin: true}},
			}...)
		}
		for _, start := range starts {
			for h := range everyHeader {
				var q frame.Sequence
				var naive naiveSequence
				for _, s := range start {
					s.Masked = r.Masked
					if !checkNext(t, &q, &naive, s, r) {
						t.Fatalf("start %+v is refused", s)
					}
				}
				checkNext(t, &q, &naive, h, r)
			}
		}
	}
}

// TestSequenceWalk follows long random walks of frames, mostly faultless ones,
// so that no state is left behind by one message in the next.
func TestSequenceWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(6455, 7692))
	for walk := range 200 {
		r := everyRules[walk%len(everyRules)]
		var q frame.Sequence
		var naive naiveSequence
		for range 500 {
			h := frame.Header{
				Fin:    random.IntN(3) > 0,
				OpCode: []frame.OpCode{0, 0, 1, 2, 8, 9, 10}[random.IntN(7)],
				Masked: r.Masked,
				Length: random.Int64N(126),
			}
			if r.Deflate && random.IntN(2) == 0 {
				h.Rsv = 4
			}
			if !checkNext(t, &q, &naive, h, r) {
				q, naive = frame.Sequence{}, naiveSequence{}
			}
		}
	}
}

// violations lists every one that the package declares.
var violations = map[*frame.Violation]frame.StatusCode{
	frame.ErrUnmasked: 1002, frame.ErrMasked: 1002, frame.ErrReservedBits: 1002, frame.ErrOpCode: 1002,
	frame.ErrLength: 1002, frame.ErrHugeLength: 1002, frame.ErrControlSize: 1002, frame.ErrControlFin: 1002,
	frame.ErrContinuation: 1002, frame.ErrInterleaved: 1002, frame.ErrCompressed: 1002, frame.ErrUTF8: 1007,
	frame.ErrCloseSize: 1002, frame.ErrCloseCode: 1002, frame.ErrCloseUTF8: 1007,
}

// TestViolations holds what an offender is told to what a Close frame can say.
func TestViolations(t *testing.T) {
	seen := map[string]bool{}
	for v, code := range violations {
		if v.Code != code || !frame.ValidCode(v.Code) {
			t.Errorf("%v: code %d, want %d", v, v.Code, code)
		}
		if v.Reason == "" || len(v.Reason) > frame.MaxReason || !utf8.ValidString(v.Reason) {
			t.Errorf("reason %q cannot be sent", v.Reason)
		}
		if v.Error() != v.Reason || fmt.Sprint(error(v)) != v.Reason {
			t.Errorf("%q: Error() is %q", v.Reason, v.Error())
		}
		if seen[v.Reason] {
			t.Errorf("reason %q is there twice", v.Reason)
		}
		seen[v.Reason] = true
	}
}

func TestSequenceAllocs(t *testing.T) {
	noAllocs(t, "Sequence.Next", func() {
		for _, r := range everyRules {
			for first := range 256 {
				var q frame.Sequence
				q.Next(frame.Header{OpCode: frame.OpText, Masked: r.Masked}, r)
				q.Next(frame.Header{
					Fin: first&0x80 != 0, Rsv: byte(first >> 4 & 7), OpCode: frame.OpCode(first & 15),
					Masked: r.Masked,
				}, r)
			}
		}
	})
}
