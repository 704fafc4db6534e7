package main_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// violation is a row of frames that break the protocol. The frames are a client's; the same row is run from the upstream's side
// without masks.
type violation struct {
	name   string
	frames []string // fixtures, wstest.Hex
	good   int      // the number of leading frames that are in order and must be relayed
	code   int      // of the Close to the offender
	client bool     // only a client can break this rule
	more   [][]byte // frames that are too long to be written as text, behind frames
}

// bytes returns the frames of the row as bytes.
func (v violation) bytes() [][]byte {
	var b [][]byte
	for _, f := range v.frames {
		b = append(b, wstest.Hex(f))
	}
	return append(b, v.more...)
}

// violations are the Frames rows of security.md in which the gateway itself ends the connection.
func violations() []violation {
	rows := []violation{
		{name: "F-01/unmasked text", frames: []string{"81 05 48656c6c6f"}, code: 1002, client: true},
		{name: "F-01/unmasked empty text", frames: []string{"81 00"}, code: 1002, client: true},
		{name: "F-01/unmasked ping", frames: []string{"89 00"}, code: 1002, client: true},
		{name: "F-01/unmasked close", frames: []string{"88 02 03e8"}, code: 1002, client: true},
		{name: "F-01/unmasked with a 16-bit length", frames: []string{"82 7E 0080"}, code: 1002, client: true},
		{name: "F-01/unmasked continuation", frames: []string{"01 81 M 61", "80 01 62"}, good: 1, code: 1002, client: true},
		{name: "F-01/unmasked after a good message", frames: []string{"81 81 M 61", "81 01 62"}, good: 1, code: 1002, client: true},
		{name: "F-02/RSV2", frames: []string{"A1 80 M"}, code: 1002},
		{name: "F-02/RSV3", frames: []string{"91 80 M"}, code: 1002},
		{name: "F-02/RSV1 without the extension", frames: []string{"C1 80 M"}, code: 1002},
		{name: "F-02/all three", frames: []string{"F1 80 M"}, code: 1002},
		{name: "F-02/RSV1 on binary", frames: []string{"C2 81 M 61"}, code: 1002},
		{name: "F-02/RSV2 on a ping", frames: []string{"A9 80 M"}, code: 1002},
		{name: "F-02/RSV1 on a pong", frames: []string{"CA 80 M"}, code: 1002},
		{name: "F-02/RSV3 on a close", frames: []string{"98 82 M 03e8"}, code: 1002},
		{name: "F-02/RSV1 on a continuation", frames: []string{"01 81 M 61", "C0 81 M 61"}, good: 1, code: 1002},
		{name: "F-02/RSV2 on a first fragment", frames: []string{"21 81 M 61"}, code: 1002},
		{name: "F-09/continuation without a message", frames: []string{"80 80 M"}, code: 1002},
		{name: "F-09/unfinished continuation without a message", frames: []string{"00 81 M 61"}, code: 1002},
		{name: "F-09/continuation after a whole message", frames: []string{"81 81 M 61", "80 81 M 62"}, good: 1, code: 1002},
		{name: "F-09/continuation after the last fragment", frames: []string{"01 81 M 61", "80 81 M 62", "80 81 M 63"}, good: 2, code: 1002},
		{name: "F-09/text within a message", frames: []string{"01 81 M 61", "81 81 M 62"}, good: 1, code: 1002},
		{name: "F-09/binary within a message", frames: []string{"01 81 M 61", "82 81 M 62"}, good: 1, code: 1002},
		{name: "F-09/first fragment within a message", frames: []string{"02 81 M 61", "02 81 M 62"}, good: 1, code: 1002},
		{name: "F-09/fragmented ping", frames: []string{"09 81 M 61"}, code: 1002},
		{name: "F-09/fragmented pong", frames: []string{"0A 80 M"}, code: 1002},
		{name: "F-09/fragmented close", frames: []string{"08 82 M 03e8"}, code: 1002},
		{name: "F-11/length 5 in 16 bits", frames: []string{"81 FE 0005 M 48656c6c6f"}, code: 1002},
		{name: "F-11/length 0 in 16 bits", frames: []string{"81 FE 0000 M"}, code: 1002},
		{name: "F-11/length 125 in 16 bits", frames: []string{"82 FE 007D M"}, code: 1002},
		{name: "F-11/length 5 in 64 bits", frames: []string{"81 FF 0000000000000005 M 48656c6c6f"}, code: 1002},
		{name: "F-11/length 65535 in 64 bits", frames: []string{"82 FF 000000000000FFFF M"}, code: 1002},
		{name: "F-11/length with the highest bit", frames: []string{"82 FF 8000000000000000 M"}, code: 1002},
		{name: "F-11/length of all ones", frames: []string{"82 FF FFFFFFFFFFFFFFFF M"}, code: 1002},
		{name: "F-14/frame of 1 MiB + 1", frames: []string{"82 FF 0000000000100001 M"}, code: 1009},
		{name: "F-14/frame of 4 GiB", frames: []string{"81 FF 0000000100000000 M"}, code: 1009},
		{name: "F-14/frame of 2^63 - 1", frames: []string{"82 FF 7FFFFFFFFFFFFFFF M"}, code: 1009},
		{name: "F-14/fragment of 2^63 - 1 behind another", frames: []string{"02 81 M 61", "00 FF 7FFFFFFFFFFFFFFF M"}, good: 1, code: 1009},
		{name: "F-18/ping of 126 bytes", frames: []string{"89 FE 007E M"}, code: 1002},
		{name: "F-18/pong of 126 bytes", frames: []string{"8A FE 007E M"}, code: 1002},
		{name: "F-18/ping with a 64-bit length", frames: []string{"89 FF 0000000000000001 M 61"}, code: 1002},
		{name: "F-27/close of 126 bytes", frames: []string{"88 FE 007E M 03e8 " + strings.Repeat("61", 124)}, code: 1002},
		{name: "F-26/close of one byte", frames: []string{"88 81 M 03"}, code: 1002},
		{name: "F-28/invalid UTF-8 in the reason", frames: []string{"88 84 M 03E8 C328"}, code: 1007},
		{name: "F-28/cut rune in the reason", frames: []string{"88 84 M 03E8 E282"}, code: 1007},
		{name: "F-28/surrogate in the reason", frames: []string{"88 85 M 03E8 EDA080"}, code: 1007},
		{name: "F-28/lone byte in the reason", frames: []string{"88 83 M 03E8 80"}, code: 1007},
	}
	for _, opcode := range []string{"83", "84", "85", "86", "87", "8B", "8C", "8D", "8E", "8F", "03", "0F"} {
		rows = append(rows, violation{name: "F-03/first byte " + opcode, frames: []string{opcode + "80 M"}, code: 1002})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1099, 1100, 1999, 2000, 2999, 5000, 9999, 65535} {
		rows = append(rows, violation{name: fmt.Sprintf("F-25/code %d", code), frames: []string{fmt.Sprintf("88 82 M %04x", code)}, code: 1002})
	}
	return append(rows, invalidText()...)
}

// invalidText are the rows of text that is not UTF-8: each is refused at the byte that makes it invalid, whatever follows.
func invalidText() []violation {
	rows := []violation{
		{name: "F-21/rune over 10FFFF in two fragments", frames: []string{"01 81 M F4", "00 81 M 90"}, good: 1, code: 1007},
		{name: "F-21/rune cut by the end of the message", frames: []string{"81 82 M E282"}, code: 1007},
		{name: "F-21/rune cut by an empty last fragment", frames: []string{"01 82 M E282", "80 80 M"}, good: 1, code: 1007},
		{name: "F-21/surrogate in three fragments", frames: []string{"01 81 M ED", "00 81 M A0", "80 81 M 80"}, good: 1, code: 1007},
		{name: "F-21/lone continuation byte", frames: []string{"81 81 M 80"}, code: 1007},
		{name: "F-21/lone continuation byte in a fragment", frames: []string{"01 81 M 61", "80 81 M BF"}, good: 1, code: 1007},
		{name: "F-21/ASCII for a continuation byte", frames: []string{"01 81 M C3", "80 81 M 28"}, good: 1, code: 1007},
		{name: "F-21/first byte FE", frames: []string{"01 81 M FE"}, code: 1007},
		{name: "F-21/ping amid the rune", frames: []string{"01 81 M F4", "8A 80 M", "00 81 M 90"}, good: 1, code: 1007},
		// The frame announces more than it holds: the byte that decides is there, the end of the frame never comes.
		{name: "F-21/fail fast within a frame", frames: []string{"81 8A M 61 FF"}, code: 1007},
		{name: "F-21/fail fast in the second byte of a rune", frames: []string{"81 8A M F490"}, code: 1007},
	}
	for _, text := range []string{"C0AF", "C1BF", "E080AF", "E09F80", "EDA080", "EDBFBF", "F08080AF", "F08F8080", "F4908080", "F5808080", "F888808080", "FC8480808080", "FF", "FEFE", "C080", "61C0", "E2 28 A1", "F0 90 28 BC"} {
		payload := strings.ReplaceAll(text, " ", "")
		rows = append(rows, violation{name: "F-21/" + text, frames: []string{fmt.Sprintf("81 %02x M %s", 0x80|len(payload)/2, payload)}, code: 1007})
	}
	return rows
}

// tooMany are the rows whose frames are too many to be written down.
func tooMany() []violation {
	fragment := func(first byte, payload []byte) []byte { return wstest.MaskedFrame(first, payload, [4]byte{}) }
	big := make([]byte, 64<<10)
	crossing := append([][]byte{fragment(0x02, big)}, slices.Repeat([][]byte{fragment(0, big)}, 15)...)
	crossing = append(crossing, wstest.Hex("00 FF 0000000000010000 M")) // only the header of the 17th
	last := append(slices.Clone(crossing[:16]), wstest.Hex("80 81 M"))
	empties := append([][]byte{fragment(0x01, nil)}, slices.Repeat([][]byte{fragment(0, nil)}, 1024)...)
	return []violation{
		{name: "F-14/17 fragments of 64 KiB", more: crossing, good: 16, code: 1009},
		{name: "F-14/one byte over in the last fragment", more: last, good: 16, code: 1009},
		{name: "F-14/1025 fragments", more: empties, good: 1024, code: 1009},
	}
}

func TestRowsFramesFromClient(t *testing.T) { onBothDrivers(t, rowsFramesFromClient) }

func rowsFramesFromClient(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	for _, row := range append(violations(), tooMany()...) {
		run(row.name, func(t *testing.T) {
			g.clientViolates(t, row, rowPath(t), func(c *wstest.Client, b []byte) { c.Send(b) })
			if len(row.more) == 0 {
				g.clientViolates(t, row, rowPath(t)+"-chopped", func(c *wstest.Client, b []byte) { c.Chop(b, 1) })
			}
		})
	}
}

// clientViolates sends the frames of a row and demands the Close to the client, the frames that were in order and Close 1001 to
// the upstream, and the end of both connections.
func (g *rowGate) clientViolates(t *testing.T, row violation, path string, send func(*wstest.Client, []byte)) {
	t.Helper()
	g.up.Handle(path, wstest.Then(wstest.Accept(), wstest.AnswerClose)) // an echo would mix with the Close
	c, u := g.open(t, path)
	frames := row.bytes()
	send(c, bytes.Join(frames, nil))
	before, reason := c.ExpectClose(row.code)
	if len(before) > 0 || len(reason) > 123 || strings.Contains(reason, wstest.Canary) {
		t.Errorf("before the Close %v, its reason %q", before, reason)
	}
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(row.code, "")))
	c.ExpectEOF(3 * time.Second)
	want := slices.DeleteFunc(slices.Clone(frames[:row.good]), func(f []byte) bool { return f[0] == 0x8a }) // unsolicited pongs are dropped
	wantFrames(t, u, want, 1001)
}

func TestRowsFramesFromUpstream(t *testing.T) { onBothDrivers(t, rowsFramesFromUpstream) }

func rowsFramesFromUpstream(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	rows := append(violations(), tooMany()...)
	rows = slices.DeleteFunc(rows, func(v violation) bool { return v.client })
	rows = append(rows,
		violation{name: "F-32/masked text", frames: []string{"81 85 M 48656c6c6f"}, code: 1002, client: true},
		violation{name: "F-32/masked with a key", frames: []string{"82 81 01020304 61"}, code: 1002, client: true},
		violation{name: "F-32/masked empty", frames: []string{"81 80 M"}, code: 1002, client: true},
		violation{name: "F-32/masked ping", frames: []string{"89 80 M"}, code: 1002, client: true},
		violation{name: "F-32/masked close", frames: []string{"88 82 M 03e8"}, code: 1002, client: true},
		violation{name: "F-32/masked after a good message", frames: []string{"81 01 61", "81 81 M 62"}, good: 1, code: 1002, client: true},
		violation{name: "F-32/masked continuation", frames: []string{"01 01 61", "80 81 M 62"}, good: 1, code: 1002, client: true},
	)
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			frames := row.bytes()
			if !row.client {
				for i, f := range frames {
					frames[i] = wstest.Unmask(f)
				}
			}
			path := rowPath(t)
			whole := bytes.Join(frames, nil)
			g.upstreamViolates(t, row, path, frames, wstest.AcceptAnd(whole)) // in one segment with the 101
			if len(row.more) == 0 {
				g.upstreamViolates(t, row, path+"-chopped", frames, wstest.Then(wstest.Accept(), func(u *wstest.Upstream) {
					for i := range whole {
						u.Send(whole[i : i+1])
					}
				}))
			}
		})
	}
}

// upstreamViolates runs a row from the other side: Close 1011 to the client, the row's code to the upstream.
func (g *rowGate) upstreamViolates(t *testing.T, row violation, path string, frames [][]byte, answer wstest.Behaviour) {
	t.Helper()
	g.up.Handle(path, wstest.Then(answer, wstest.AnswerClose))
	c := wstest.Dial(t, g.Addr)
	c.Upgrade(hs(path))
	got, _ := c.ExpectClose(1011)
	var raw [][]byte
	for _, f := range got {
		raw = append(raw, f.Raw)
	}
	want := slices.DeleteFunc(slices.Clone(frames[:row.good]), func(f []byte) bool { return f[0] == 0x8a })
	sameFrames(t, "the client", raw, want)
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1011, "")))
	c.ExpectEOF(3 * time.Second)
	wantFrames(t, g.up.Wait(path), nil, row.code)
}

// TestRowsFramesEcho is row F-12: payloads at every edge of the length forms travel byte-exact, whole and chopped.
func TestRowsFramesEcho(t *testing.T) { onBothDrivers(t, rowsFramesEcho) }

func rowsFramesEcho(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	for _, size := range []int{0, 1, 124, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 1 << 20} {
		run(fmt.Sprintf("F-12/%d bytes", size), func(t *testing.T) {
			c, u := g.open(t, rowPath(t))
			binary := make([]byte, size)
			rand.Read(binary)
			text := []byte(strings.Repeat("aé€𝄞", size/10+1))[:size-size%10]
			text = append(text, bytes.Repeat([]byte("z"), size%10)...)
			var sent [][]byte
			for _, f := range []struct {
				first   byte
				payload []byte
			}{{0x82, binary}, {0x81, text}} {
				frame := wstest.ClientFrame(f.first, f.payload)
				sent = append(sent, frame)
				go c.Chop(frame, max(1, size/37)) // the echo begins before the end is sent
				c.ExpectFrame(f.first, f.payload)
			}
			c.Send(wstest.Hex("88 80 M"))
			c.ExpectClose(wstest.NoCode)
			u.WaitEnd(wstest.Patience)
			frames, _ := u.Frames()
			if len(frames) != 3 || !bytes.Equal(frames[0].Raw, sent[0]) || !bytes.Equal(frames[1].Raw, sent[1]) {
				t.Errorf("the upstream got %v, want the frames as they were sent, mask and all (F-34)", frames)
			}
		})
	}
}
