package main_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// noContexts is what both sides must agree to where the gateway reads compressed messages.
const noContexts = "; server_no_context_takeover; client_no_context_takeover"

// startInspect starts a gateway that inflates the messages of its rows.
func startInspect(t *testing.T, policy string) *rowGate {
	t.Helper()
	if policy != "" {
		policy = ", " + policy
	}
	return startRows(t, rowSetup{route: "compression: inspect", policy: originPolicy + policy, upstream: wstest.EchoWith(agreeDeflate + noContexts)})
}

// deflated is the payload of a compressed message (RFC 7692 §7.2.1).
func deflated(p []byte) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one
	z.Write(p)
	z.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// inPieces is a compressed binary message of a client, in n frames.
func inPieces(payload []byte, n int) (frames []byte) {
	for i := range n {
		first := byte(0)
		if i == 0 {
			first = 0x42
		}
		if i == n-1 {
			first |= 0x80
		}
		frames = append(frames, wstest.ClientFrame(first, payload[len(payload)*i/n:len(payload)*(i+1)/n])...)
	}
	return frames
}

// TestRowsBombs are the rows Z-01 and Z-02: ten megabytes in ten kilobytes, in one frame or a thousand, cost less than 2 MiB each,
// 1009, and nothing at all where the handshake is refused.
func TestRowsBombs(t *testing.T) {
	t.Parallel()
	bomb := deflated(make([]byte, 10<<20))
	if len(bomb) > 12<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	allocated := func(g *rowGate) float64 { return g.Metrics()["go_memstats_alloc_bytes_total"] }
	const times = 10
	small, large := startInspect(t, ""), startInspect(t, "client: {max_message: 64MiB}")
	for name, row := range map[string]struct {
		g     *rowGate
		sent  []byte
		times int
	}{
		"Z-01/one frame":                           {small, inPieces(bomb, 1), times},
		"Z-02/1,000 fragments":                     {small, inPieces(bomb, 1000), times},
		"Z-02/1,000 fragments, messages of 64 MiB": {large, inPieces(bomb, 1000), times},
	} {
		t.Run(name, func(t *testing.T) {
			before := allocated(row.g)
			for i := range times {
				path := fmt.Sprintf("%s-%d", rowPath(t), i)
				row.g.up.Handle(path, wstest.Then(wstest.Accept(agreeDeflate+noContexts), wstest.AnswerClose))
				c, u := row.g.open(t, path, offerDeflate)
				c.Send(row.sent)
				if before, _ := c.ExpectClose(1009); len(before) > 0 {
					t.Errorf("before the Close the client got %v", before)
				}
				c.Close()
				wantFrames(t, u, nil, 1001)
			}
			each := (allocated(row.g) - before) / times
			t.Logf("each costs %.0f KiB", each/1024)
			if each > 2<<20 && !wstest.RaceEnabled() {
				t.Errorf("each costs %.0f bytes, want less than 2 MiB", each)
			}
		})
	}
	locked := startRows(t, rowSetup{route: "compression: inspect", policy: originPolicy + `, jwt: {issuer: "https://id.example.com", audience: chat, secret: 0123456789abcdef0123456789abcdef}`})
	t.Run("Z-02/behind a handshake that is refused", func(t *testing.T) {
		before := allocated(locked)
		for range times {
			c := wstest.Dial(t, locked.Addr)
			c.Send(hs("/ws").Without("Authorization").Add(offerDeflate).Bytes(), inPieces(bomb[:3<<10], 1))
			if resp := c.Response(); resp.Status != 401 {
				t.Errorf("got %q, want 401", resp.Line)
			}
			c.ExpectEnd(2 * time.Second)
		}
		each := (allocated(locked) - before) / times
		t.Logf("each costs %.0f KiB", each/1024)
		if each > 512<<10 || locked.up.Dials() > 0 {
			t.Errorf("each costs %.0f bytes and %d connections, want no inflation and none", each, locked.up.Dials())
		}
	})
}

// TestRowsInspect are the rows of compressed messages with `compression: inspect`: what goes on is what came, and what cannot be
// inflated without a context, or not to what is allowed, goes nowhere.
func TestRowsInspect(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startInspect(t, "client: {max_ratio: 20}")
	for name, frames := range map[string][]string{
		"Z-04/Hello":                                {"C1 87 M f248cdc9c90700"},
		"Z-04/Hello in two fragments with a key":    {"41 83 A1B2C3D4 53fa0e", "80 84 M c9c90700"},
		"Z-04/not compressed although agreed":       {"81 85 M 48656c6c6f"},
		"Z-12/empty message":                        {"C1 81 M 00"},
		"Z-12/BFINAL":                               {"C1 88 M f348cdc9c9070000"},
		"Z-12/stored block":                         {"C1 8B M 000500faff48656c6c6f00"},
		"Z-13/two messages, each without the other": {"C1 87 M f248cdc9c90700", "C1 87 M f248cdc9c90700"},
	} {
		run(name, func(t *testing.T) {
			c, u := g.open(t, rowPath(t), offerDeflate)
			var sent [][]byte
			for _, f := range frames {
				sent = append(sent, wstest.Hex(f))
			}
			c.Send(sent...)
			for _, f := range sent {
				if got := c.Frame(); !bytes.Equal(got.Raw, wstest.Unmask(f)) {
					t.Errorf("the client got %x, want %x", got.Raw, wstest.Unmask(f))
				}
			}
			sameFrames(t, "the upstream", raws(u.WaitFrames(len(sent))), sent)
		})
	}
	long := deflated(slices.Repeat([]byte("twenty times as much "), 10_000))
	for _, row := range []violation{
		{name: "Z-13/a window that nobody keeps", frames: []string{"C1 87 M f248cdc9c90700", "C1 85 M f200110000"}, good: 1, code: 1007},
		{name: "Z-13/no DEFLATE data", frames: []string{"C1 82 M FFFF"}, code: 1007},
		{name: "Z-13/no data", frames: []string{"C1 80 M"}, code: 1007},
		{name: "Z-13/something behind the last block", frames: []string{"C1 88 M f348cdc9c9070001"}, code: 1007},
		{name: "Z-13/no UTF-8", frames: []string{"C1 85 M 4a4cfa0f00"}, code: 1007},
		{name: "Z-06/RSV1 on a continuation", frames: []string{"41 83 M f248cd", "C0 84 M c9c90700"}, code: 1002},
		{name: "Z-06/RSV1 on a ping", frames: []string{"C9 80 M"}, code: 1002},
		{name: "Z-06/RSV1 on a close", frames: []string{"C8 82 M 03E8"}, code: 1002},
		{name: "Z-02/ratio over 20", more: [][]byte{inPieces(long, 1)}, code: 1009},
	} {
		run(row.name+", client", func(t *testing.T) {
			g.up.Handle(rowPath(t), wstest.Then(wstest.Accept(agreeDeflate+noContexts), wstest.AnswerClose))
			c, u := g.open(t, rowPath(t), offerDeflate)
			c.Send(row.bytes()...)
			if before, _ := c.ExpectClose(row.code); len(before) > 0 {
				t.Errorf("before the Close the client got %v", before)
			}
			c.Close()
			wantFrames(t, u, row.bytes()[:row.good], 1001)
		})
		if len(row.more) > 0 {
			continue
		}
		run(row.name+", upstream", func(t *testing.T) {
			path, frames := rowPath(t), row.bytes()
			for i, f := range frames {
				frames[i] = wstest.Unmask(f)
			}
			g.up.Handle(path, wstest.Then(wstest.AcceptAnd(bytes.Join(frames, nil), agreeDeflate+noContexts), wstest.AnswerClose))
			c, u := g.open(t, path, offerDeflate)
			before, _ := c.ExpectClose(1011)
			sameFrames(t, "the client", raws(before), frames[:row.good])
			c.Close()
			wantFrames(t, u, nil, row.code)
		})
	}
}

// raws are frames as they were on the wire.
func raws(frames []wstest.Frame) (all [][]byte) {
	for _, f := range frames {
		all = append(all, f.Raw)
	}
	return all
}

// TestRowsInflatedBytes is row Z-03: a rate of bytes counts what messages inflate to. And row R-14: of 201 messages in a burst 200
// are delivered, in order.
func TestRowsInflatedBytes(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	g := startInspect(t, "client: {bytes: 1MiB/m burst 4MiB, messages: 1/m burst 200}")
	t.Run("Z-03/1 KiB that is 1 MiB", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Then(wstest.Accept(agreeDeflate+noContexts), wstest.AnswerClose))
		c, u := g.open(t, path, offerDeflate)
		message := inPieces(deflated(make([]byte, mib)), 1)
		if len(message) > 2<<10 {
			t.Fatalf("the message has %d bytes", len(message))
		}
		c.Send(slices.Repeat(message, 6))
		if _, reason := c.ExpectClose(1008); reason != "too many bytes" {
			t.Errorf("the reason is %q", reason)
		}
		c.Close()
		wantFrames(t, u, slices.Repeat([][]byte{message}, 4), 1001)
	})
	t.Run("R-14/201 messages in a burst", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Then(wstest.Accept(), wstest.AnswerClose))
		c, u := g.open(t, path)
		var sent [][]byte
		for n := range 201 {
			sent = append(sent, wstest.ClientFrame(0x81, []byte(strconv.Itoa(n))))
		}
		c.Send(sent...)
		if _, reason := c.ExpectClose(1008); reason != "too many messages" {
			t.Errorf("the reason is %q", reason)
		}
		c.Close()
		wantFrames(t, u, sent[:200], 1001)
	})
}

// TestRowsNoTakeover is row Z-10 with 1,000 connections, whose descriptors any machine gives to a test: each offers to keep
// contexts, and is told to keep none; none costs the gateway more than an idle connection does (a context is 32 KiB).
func TestRowsNoTakeover(t *testing.T) {
	t.Parallel()
	const most = 8 << 10 // bytes of resident memory for each connection
	connections := 1000
	if wstest.RaceEnabled() { // memory means nothing then
		connections = 150
	}
	g := startInspect(t, "client: {messages: {per_connection: 100/s burst 200}}")
	open := func() {
		c := wstest.Dial(t, g.Addr)
		c.Send(hs("/ws/idle").Add("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15").Bytes())
		resp := c.Head()
		if got := resp.Get("Sec-WebSocket-Extensions"); !strings.Contains(got, "client_no_context_takeover") || !strings.Contains(got, "server_no_context_takeover") {
			t.Fatalf("got %q with %q, want both sides to keep no context", resp.Line, got)
		}
		c.Send(wstest.Hex("C1 87 M f248cdc9c90700"))
		c.ExpectFrame(0xc1, wstest.Hex("f248cdc9c90700"))
	}
	for range connections / 10 {
		open()
	}
	before := residentMemory(t, g)
	for range connections {
		open()
	}
	each := (residentMemory(t, g) - before) / connections
	t.Logf("each of %d idle connections costs %d bytes of resident memory", connections, each)
	if each > most && !wstest.RaceEnabled() {
		t.Errorf("each of %d idle connections costs %d bytes, want at most %d", connections, each, most)
	}
	offered := g.up.Conns("/ws/idle")[0].Value("Sec-WebSocket-Extensions")
	if !strings.Contains(offered, "client_no_context_takeover") || !strings.Contains(offered, "server_no_context_takeover") {
		t.Errorf("the upstream got the offer %q", offered)
	}
}

// residentMemory is what the gateway holds once it has given back what it can, in bytes.
func residentMemory(t *testing.T, g *rowGate) int {
	t.Helper()
	least := 1 << 62
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for range 15 { // memory of handshakes goes back a moment after the last of them
		<-poll.C
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
		if err != nil {
			t.Skipf("no resident memory to be read on this system: %v", err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		n, _ := strconv.Atoi(strings.Fields(rest)[0])
		least = min(least, n<<10)
	}
	return least
}
