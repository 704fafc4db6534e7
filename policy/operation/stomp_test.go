package operation

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestSTOMP(t *testing.T) {
	const malformed = "problem: message is malformed"
	testRows(t, "stomp", []row{
		// Frames of the specification of STOMP 1.2.
		{text("CONNECT\naccept-version:1.2\nhost:stomp.github.org\n\n\x00"), `"CONNECT"`},
		{text("STOMP\r\naccept-version:1.2\r\nhost:h\r\n\r\n\x00"), `"STOMP"`},
		{text("SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\x00"), `"SEND"`},
		{text("SEND\ndestination:/queue/a\n\nhello queue a\x00\n"), `"SEND"`},
		{blob("SEND\ndestination:/queue/a\ncontent-length:3\n\na\x00b\x00"), `"SEND"`},
		{text("SEND\ncontent-length:0\n\n\x00"), `"SEND"`},
		{text("SUBSCRIBE\nid:0\ndestination:/queue/foo\nack:client\n\n\x00"), `"SUBSCRIBE"`},
		{text("MESSAGE\nsubscription:0\nmessage-id:007\ndestination:/queue/a\ncontent-type:text/plain\n\nhello\x00"), `"MESSAGE"`},
		{text("DISCONNECT\nreceipt:77\n\n\x00"), `"DISCONNECT"`},
		{text("BEGIN\ntransaction:tx1\n\n\x00\nSEND\ndestination:/q\ntransaction:tx1\n\nx\x00\n\nCOMMIT\ntransaction:tx1\n\n\x00"), `"BEGIN" "SEND" "COMMIT"`},
		{text("\n"), "~"}, // heart-beat
		{text("\r\n"), "~"},
		{text(""), "~"},
		{text("\nSEND\n\n\x00"), `"SEND"`},
		{text("SEND\nfoo:bar:baz\nempty:\n\n\x00"), `"SEND"`},
		{text("SEND\nfoo:1\nfoo:2\n\n\x00"), `"SEND"`},
		{text("SEND\n\nSUBSCRIBE\n\n\x00"), `"SEND"`}, // the body
		{text(strings.Repeat("ACK\n\n\x00", 5)), `"ACK" "ACK" "ACK" "ACK" "ACK"`},
		{text(strings.Repeat("ACK\n\n\x00", 6)), "problem: too many operations in one message"},

		{text("SEND"), malformed},
		{text("SEND\n"), malformed},
		{text("SEND\n\n"), malformed},
		{text("SEND\n\nhello"), malformed}, // cut into several messages
		{text("SEND\ndestination:/q\n\x00"), malformed},
		{text("\x00"), malformed},
		{text("send\n\n\x00"), malformed},
		{text("SEND \n\n\x00"), malformed},
		{text(" SEND\n\n\x00"), malformed},
		{text("\n\r\rSEND\n\n\x00"), malformed},
		{text("SEND\r\r\n\n\x00"), malformed},
		{text("SÉND\n\n\x00"), malformed},
		{text(strings.Repeat("A", 17) + "\n\n\x00"), malformed},
		{text("SEND\na:\x00\n\n\x00"), malformed}, // a frame that ends in its headers, to who splits at each NUL
		{text("SEND\na:b\rc\n\n\x00"), malformed},
		{text("SEND\nno colon\n\n\x00"), malformed},
		{text("SEND\n\na\x00trailing"), malformed},
		{text("SEND\ncontent-length:5\n\nabc\x00"), malformed},
		{text("SEND\ncontent-length:2\n\nabc\x00"), malformed},
		{text("SEND\ncontent-length:-1\n\n\x00"), malformed},
		{text("SEND\ncontent-length:+1\n\na\x00"), malformed},
		{text("SEND\ncontent-length: 1\n\na\x00"), malformed},
		{text("SEND\ncontent-length :1\n\na\x00"), malformed},
		{text("SEND\nContent-Length:1\n\na\x00"), malformed},
		{text("SEND\ncontent-length:1\ncontent-length:1\n\na\x00"), malformed},
		{text("SEND\ncontent-length:99999999999999999999\n\na\x00"), malformed},
		{text("SEND\ncontent-length:9223372036854775807\n\na\x00"), malformed},
	})
}

// naiveFrames writes out frames and finds them again by splitting, as a server would that knows no content-length.
func naiveFrames(message []byte) (commands []string, ok bool) {
	for frame := range bytes.SplitSeq(message, []byte{0}) {
		frame = bytes.TrimLeft(frame, "\r\n")
		if len(frame) == 0 {
			continue
		}
		head, _, found := strings.Cut(strings.ReplaceAll(string(frame), "\r\n", "\n"), "\n\n")
		if !found {
			return nil, false
		}
		command, _, _ := strings.Cut(head, "\n")
		commands = append(commands, command)
	}
	return commands, true
}

// The law: without content-length the frames are those that a server finds by splitting at each NUL; and nothing panics or goes on for ever.
func FuzzSTOMP(f *testing.F) {
	for _, seed := range []string{
		"SEND\n\n\x00", "SEND\na:b\n\nbody\x00\nACK\n\n\x00", "SEND\ncontent-length:3\n\na\x00b\x00", "\n", "SEND\r\n\r\n\x00", "SEND\n\r\n\x00", "A\n\nB\n\n\x00",
	} {
		f.Add([]byte(seed))
	}
	r := NewReader(sourceOf(f, "stomp"), Bounds{Calls: 1 << 20, Depth: 1})
	f.Fuzz(func(t *testing.T, message []byte) {
		r.Read(Message{Text: true, Payload: message}, new(Stream))
		defer r.Release()
		if r.Problem != Sound || bytes.Contains(bytes.ToLower(message), []byte("content-length")) {
			return
		}
		want, ok := naiveFrames(message)
		var got []string
		for _, c := range r.Calls {
			if c.State == Named {
				got = append(got, string(c.Name))
			}
		}
		if !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: %q, splitting finds %q", message, got, want)
		}
	})
}
