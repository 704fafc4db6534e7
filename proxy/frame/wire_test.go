package frame_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/proxy/frame"
)

// A receiver is the least that an endpoint does with this package: it takes
// bytes in any pieces, and notes what came whole.
type receiver struct {
	rules    frame.Rules
	parser   frame.Parser
	sequence frame.Sequence
	text     frame.UTF8
	inside   bool // a frame's payload
	header   frame.Header
	offset   int64
	message  frame.OpCode // that the frame is a part of
	deflated bool
	data     []byte // of the message that is open
	control  []byte // of the control frame
	got      []string
}

// feed takes all of b, or the bytes up to a violation.
func (r *receiver) feed(b []byte) *frame.Violation {
	for {
		if !r.inside {
			if len(b) == 0 {
				return nil
			}
			h, _, used, done, v := r.parser.Next(b)
			if b = b[used:]; !done {
				return nil
			}
			if v == nil {
				r.message, r.deflated, v = r.sequence.Next(h, r.rules)
			}
			if v != nil {
				return v
			}
			r.inside, r.header, r.offset, r.control = true, h, 0, r.control[:0]
		}
		n := int(min(int64(len(b)), r.header.Length-r.offset))
		if v := r.payload(b[:n]); v != nil {
			return v
		}
		b, r.offset = b[n:], r.offset+int64(n)
		if r.offset < r.header.Length {
			return nil
		}
		r.inside = false
		if v := r.end(); v != nil {
			return v
		}
	}
}

func (r *receiver) payload(p []byte) *frame.Violation {
	if r.message == frame.OpText && !r.deflated && !r.text.Feed(p, r.header.Mask, r.offset) {
		return frame.ErrUTF8
	}
	plain := frame.Unmask(make([]byte, len(p)), p, r.header, r.offset)
	if r.header.OpCode.IsControl() {
		r.control = append(r.control, plain...)
	} else {
		r.data = append(r.data, plain...)
	}
	return nil
}

func (r *receiver) end() *frame.Violation {
	switch r.message {
	case frame.OpClose:
		code, reason, v := frame.ParseClose(r.control)
		if v != nil {
			return v
		}
		r.got = append(r.got, fmt.Sprintf("close %d %s", code, reason))
	case frame.OpPing, frame.OpPong:
		r.got = append(r.got, fmt.Sprintf("%x %s", byte(r.message), r.control))
	default:
		if !r.header.Fin {
			return nil
		}
		if r.message == frame.OpText && !r.text.Complete() {
			return frame.ErrUTF8
		}
		if r.deflated {
			r.got = append(r.got, fmt.Sprintf("%x deflated %x", byte(r.message), r.data))
		} else {
			r.got = append(r.got, fmt.Sprintf("%x %s", byte(r.message), r.data))
		}
		r.data, r.text = nil, frame.UTF8{}
	}
	return nil
}

var (
	client  = frame.Rules{Masked: true}
	server  = frame.Rules{}
	deflate = frame.Rules{Masked: true, Deflate: true}
)

// A stream is a row of the tables: what a peer sends, with M for a key of
// zeroes, what comes of it, and the rule that it breaks in the end.
type stream struct {
	name  string
	rules frame.Rules
	wire  string
	got   []string
	want  *frame.Violation
}

// TestStreams has each rule of RFC 6455 §5 and §8.1 and of RFC 7692 §6.1 as
// bytes, whole and in pieces of every size.
func TestStreams(t *testing.T) {
	for _, tables := range [][]stream{framing, fragments, controls, texts, compressed} {
		for _, s := range tables {
			t.Run(s.name, func(t *testing.T) {
				wire := unhex(t, strings.ReplaceAll(s.wire, "M", "00000000"))
				for size := len(wire); size > 0; size-- {
					r := receiver{rules: s.rules}
					var v *frame.Violation
					for _, piece := range sized(wire, size) {
						if v = r.feed(piece); v != nil {
							break
						}
					}
					if v != s.want || !slices.Equal(r.got, s.got) {
						t.Fatalf("in pieces of %d: %q, %v, want %q, %v", size, r.got, v, s.got, s.want)
					}
				}
			})
		}
	}
}

var framing = []stream{
	{"5.1 unmasked client", client, "81 05 48656c6c6f", nil, frame.ErrUnmasked},
	{"5.1 unmasked ping", client, "89 00", nil, frame.ErrUnmasked},
	{"5.1 masked server", server, "81 85 37fa213d 7f9f4d5158", nil, frame.ErrMasked},
	{"5.1 masked, key of zeroes", server, "81 80 M", nil, frame.ErrMasked},
	{"5.2 RSV1", client, "c1 80 M", nil, frame.ErrReservedBits},
	{"5.2 RSV2", client, "a1 80 M", nil, frame.ErrReservedBits},
	{"5.2 RSV3", client, "91 80 M", nil, frame.ErrReservedBits},
	{"5.2 RSV2 on a ping", client, "a9 80 M", nil, frame.ErrReservedBits},
	{"5.2 opcode 3", client, "83 80 M", nil, frame.ErrOpCode},
	{"5.2 opcode 7", client, "87 80 M", nil, frame.ErrOpCode},
	{"5.2 opcode 11", client, "8b 80 M", nil, frame.ErrOpCode},
	{"5.2 opcode 15", client, "8f 80 M", nil, frame.ErrOpCode},
	{"5.2 opcode 5 inside a message", client, "01 80 M 05 80 M", nil, frame.ErrOpCode},
	{"5.2 125 in 16 bits", client, "82 fe 007d M", nil, frame.ErrLength},
	{"5.2 0 in 64 bits", server, "82 7f 0000000000000000", nil, frame.ErrLength},
	{"5.2 65535 in 64 bits", client, "82 ff 000000000000ffff M", nil, frame.ErrLength},
	{"5.2 top bit", client, "82 ff 8000000000000000 M", nil, frame.ErrHugeLength},
	{"5.3 masked", client, "81 85 37fa213d 7f9f4d5158", []string{"1 Hello"}, nil},
	{"5.3 a key for each frame", client, "01 82 37fa213d 7f9f 80 83 01020304 6d6e6c", []string{"1 Hello"}, nil},
	{"5.6 unmasked server", server, "81 05 48656c6c6f", []string{"1 Hello"}, nil},
	{"5.6 empty text and binary", client, "81 80 M 82 80 M", []string{"1 ", "2 "}, nil},
	{"5.6 binary is any bytes", server, "82 02 fffe", []string{"2 \xff\xfe"}, nil},
	{"5.2 16 bits", server, "82 7e 0080" + strings.Repeat("61", 128), []string{"2 " + strings.Repeat("a", 128)}, nil},
	{"5.2 huge, not there yet", server, "82 7f 7fffffffffffffff 6162", nil, nil},
}

var fragments = []stream{
	{"5.4 continuation first", client, "80 80 M", nil, frame.ErrContinuation},
	{"5.4 continuation, more to come", client, "00 80 M", nil, frame.ErrContinuation},
	{"5.4 continuation after the end", client, "01 81 M 61 80 81 M 62 80 81 M 63", []string{"1 ab"}, frame.ErrContinuation},
	{"5.4 continuation after a whole one", client, "81 81 M 61 80 81 M 62", []string{"1 a"}, frame.ErrContinuation},
	{"5.4 text inside text", client, "01 81 M 61 81 81 M 62", nil, frame.ErrInterleaved},
	{"5.4 binary inside text", client, "01 81 M 61 82 81 M 62", nil, frame.ErrInterleaved},
	{"5.4 fragment inside binary", client, "02 81 M 61 00 80 M 02 81 M 62", nil, frame.ErrInterleaved},
	{"5.4 three", server, "01 01 61 00 01 62 80 01 63", []string{"1 abc"}, nil},
	{"5.4 empty ones", server, "02 00 00 00 00 00 80 00", []string{"2 "}, nil},
	{"5.4 two messages", server, "02 01 61 80 01 62 01 01 63 80 01 64", []string{"2 ab", "1 cd"}, nil},
	{"5.4 control between", server, "01 01 61 89 01 70 8a 00 80 01 62", []string{"9 p", "a ", "1 ab"}, nil},
	{"5.4 close between", server, "01 01 61 88 02 03e8", []string{"close 1000 "}, nil},
}

var controls = []stream{
	{"5.5 ping of 125", server, "89 7d" + strings.Repeat("70", 125), []string{"9 " + strings.Repeat("p", 125)}, nil},
	{"5.5 ping of 126", server, "89 7e 007e" + strings.Repeat("70", 126), nil, frame.ErrControlSize},
	{"5.5 pong of 65536", client, "8a ff 0000000000010000 M", nil, frame.ErrControlSize},
	{"5.5 close of 126", client, "88 fe 007e M 03e8" + strings.Repeat("61", 124), nil, frame.ErrControlSize},
	{"5.5 ping of 5, long form", server, "89 7e 0005 7070707070", nil, frame.ErrLength},
	{"5.5 fragmented ping", client, "09 80 M", nil, frame.ErrControlFin},
	{"5.5 fragmented close", client, "08 80 M", nil, frame.ErrControlFin},
	{"5.5 fragmented pong in a message", client, "01 80 M 0a 80 M", nil, frame.ErrControlFin},
	{"5.5.1 no code", client, "88 80 M", []string{"close 0 "}, nil},
	{"5.5.1 one byte", client, "88 81 M 03", nil, frame.ErrCloseSize},
	{"5.5.1 reason", client, "88 87 M 03e9 4272c3bc63", []string{"close 1001 Brüc"}, nil},
	{"5.5.1 reason of 123", server, "88 7d 03e8" + strings.Repeat("61", 123), []string{"close 1000 " + strings.Repeat("a", 123)}, nil},
	{"5.5.1 reason is not a text", client, "88 84 M 03e8 c328", nil, frame.ErrCloseUTF8},
	{"5.5.1 reason stops short", client, "88 84 M 03e8 e282", nil, frame.ErrCloseUTF8},
	{"5.5.1 masked", client, "88 82 01020304 02ea", []string{"close 1000 "}, nil},
	{"5.5.3 unsolicited pong", client, "8a 81 M 70", []string{"a p"}, nil},
	{"7.4 code 0", client, "88 82 M 0000", nil, frame.ErrCloseCode},
	{"7.4 code 999", client, "88 82 M 03e7", nil, frame.ErrCloseCode},
	{"7.4 code 1005", client, "88 82 M 03ed", nil, frame.ErrCloseCode},
	{"7.4 code 1006", server, "88 02 03ee", nil, frame.ErrCloseCode},
	{"7.4 code 1015", server, "88 02 03f7", nil, frame.ErrCloseCode},
	{"7.4 code 5000", client, "88 82 M 1388", nil, frame.ErrCloseCode},
	{"7.4 code 4999", client, "88 82 M 1387", []string{"close 4999 "}, nil},
}

var texts = []stream{
	{"8.1 character cut by a frame", client, "01 82 M e282 80 81 M ac", []string{"1 €"}, nil},
	{"8.1 cut with a ping between", client, "01 82 M e282 89 81 M ff 80 81 M ac", []string{"9 \xff", "1 €"}, nil},
	{"8.1 cut by an empty frame", server, "01 02 e282 00 00 80 01 ac", []string{"1 €"}, nil},
	{"8.1 fails in the second frame", client, "01 81 M f4 00 81 M 90", nil, frame.ErrUTF8},
	{"8.1 fails before the frame's end", server, "81 7f 0000000000010000 61ff", nil, frame.ErrUTF8},
	{"8.1 ends inside a character", server, "81 02 e282", nil, frame.ErrUTF8},
	{"8.1 ends inside, empty last frame", server, "01 02 e282 80 00", nil, frame.ErrUTF8},
	{"8.1 surrogate", server, "81 03 eda080", nil, frame.ErrUTF8},
	{"8.1 over-long", server, "81 02 c0af", nil, frame.ErrUTF8},
	{"8.1 above U+10FFFF", server, "81 04 f4908080", nil, frame.ErrUTF8},
	{"8.1 the next text begins anew", server, "81 03 e282ac 81 01 ac", []string{"1 €"}, frame.ErrUTF8},
	{"8.1 noncharacters are characters", server, "81 03 efbfbf", []string{"1 \uffff"}, nil},
	{"8.1 NUL", server, "81 01 00", []string{"1 \x00"}, nil},
}

var compressed = []stream{
	{"6.1 on a whole message", deflate, "c1 87 M f248cdc9c90700", []string{"1 deflated f248cdc9c90700"}, nil},
	{"6.1 on the first fragment", deflate, "41 83 M f248cd 80 84 M c9c90700", []string{"1 deflated f248cdc9c90700"}, nil},
	{"6.1 not on each message", deflate, "c2 81 M 00 81 81 M 61", []string{"2 deflated 00", "1 a"}, nil},
	{"6.1 control between", deflate, "41 80 M 8a 80 M 80 81 M 00", []string{"a ", "1 deflated 00"}, nil},
	{"6.1 on a continuation", deflate, "41 83 M f248cd c0 84 M c9c90700", nil, frame.ErrCompressed},
	{"6.1 on a continuation only", deflate, "01 81 M 61 c0 81 M 62", nil, frame.ErrCompressed},
	{"6.1 on a ping", deflate, "c9 80 M", nil, frame.ErrCompressed},
	{"6.1 on a pong", deflate, "ca 80 M", nil, frame.ErrCompressed},
	{"6.1 on a close", deflate, "c8 82 M 03e8", nil, frame.ErrCompressed},
	{"6.1 RSV2 besides", deflate, "e1 80 M", nil, frame.ErrReservedBits},
	{"6.1 RSV3 alone", deflate, "91 80 M", nil, frame.ErrReservedBits},
	{"6.1 reserved opcode", deflate, "c3 80 M", nil, frame.ErrOpCode},
	{"6.1 text behind a deflated one is checked", deflate, "c1 81 M ff 81 81 M ff", []string{"1 deflated ff"}, frame.ErrUTF8},
}
