package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsUpstreamEnds are the rows: an upstream that goes away, in order or not, at any point of a message.
func TestRowsUpstreamEnds(t *testing.T) { onBothDrivers(t, rowsUpstreamEnds) }

func rowsUpstreamEnds(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	half := wstest.ServerFrame(0x82, make([]byte, 1024))[:4+512]
	first := wstest.ServerFrame(0x81, []byte("first"))
	open := wstest.ServerFrame(0x01, []byte("open"))
	rows := []struct {
		name   string
		sent   []byte
		before int // whole frames that the client gets before the Close
	}{
		{"amid 1024 bytes of payload", append(slices.Clone(first), half...), 1},
		{"amid the only frame", half, 0},
		{"in a header", append(slices.Clone(first), 0x82), 1},
		{"after a header", append(slices.Clone(first), half[:4]...), 1},
		{"between messages", first, 1},
		{"before any message", nil, 0},
		{"between fragments", append(slices.Clone(first), open...), 2},
		{"amid a second fragment", append(append(slices.Clone(first), open...), wstest.ServerFrame(0x80, []byte("tail"))[:3]...), 2},
		{"amid a ping", append(slices.Clone(first), wstest.Hex("89 05 61")...), 1},
		{"amid a Close", append(slices.Clone(first), wstest.Hex("88 05 03")...), 1},
	}
	for _, row := range rows {
		for how, end := range map[string]wstest.Behaviour{"X-01/RST ": wstest.Abort, "X-02/FIN ": wstest.Hangup} {
			run(how+row.name, func(t *testing.T) {
				path, release := rowPath(t), make(chan struct{})
				// A reset destroys what the gateway has not read yet, so it waits until the client has the frames before it.
				g.up.Handle(path, wstest.Then(wstest.AcceptAnd(row.sent), gatedBy(release, end)))
				c := wstest.Dial(t, g.Addr)
				c.Upgrade(hs(path))
				for range row.before {
					if f := c.Frame(); f.IsClose() {
						t.Fatalf("got %v before its time", f)
					}
				}
				start := time.Now()
				close(release)
				before, reason := c.ExpectClose(1011)
				between(t, "the Close", start, 0, 3*time.Second)
				if len(before) > 0 || strings.ContainsAny(reason, ":/") {
					t.Errorf("before the Close the client got %v; its reason is %q", before, reason)
				}
				c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1011, "")))
				c.ExpectEOF(3 * time.Second)
			})
		}
	}
	for how, end := range map[string]wstest.Behaviour{"X-01/RST ": wstest.Abort, "X-02/FIN ": wstest.Hangup} {
		run(how+"amid a frame that streams", func(t *testing.T) {
			path, release := rowPath(t), make(chan struct{})
			big := wstest.ServerFrame(0x82, make([]byte, 256<<10))
			g.up.Handle(path, wstest.Then(wstest.AcceptAnd(append(slices.Clone(first), big[:128<<10]...)), gatedBy(release, end)))
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs(path))
			c.ExpectFrame(0x81, []byte("first"))
			close(release)
			rest, err := c.Drain(5 * time.Second)
			if !wstest.IsReset(err) && stillOpen(err) {
				t.Errorf("the gateway still holds the connection")
			}
			// No Close can follow half a frame: the client must not take the end of the stream for the end of the message.
			if frames, tail := wstest.ParseFrames(rest); len(frames) > 0 && !frames[0].IsClose() || len(tail) > 0 && !wstest.IsReset(err) {
				t.Errorf("the client got %v, %d bytes of a frame and then %v, want a reset", frames, len(tail), err)
			}
		})
	}
}

// TestRowsBacklog is what say of earlier messages: all that came before the end is delivered, however much it is.
func TestRowsBacklog(t *testing.T) { onBothDrivers(t, rowsBacklog) }

func rowsBacklog(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	const messages, size = 300, 16 << 10
	var backlog []byte
	for i := range messages {
		backlog = append(backlog, wstest.ServerFrame(0x82, slices.Repeat([]byte{byte(i)}, size))...)
	}
	closing := wstest.ServerFrame(0x88, wstest.CloseFrame(4321, "done"))
	for name, row := range map[string]struct {
		sent []byte
		code int
	}{
		"X-02/FIN behind a backlog":                {backlog, 1011},
		"F-30/Close and FIN behind a backlog":      {append(slices.Clone(backlog), closing...), 4321},
		"F-32/violation behind a backlog":          {append(slices.Clone(backlog), wstest.Hex("83 00")...), 1011},
		"F-29/Close without a code behind backlog": {append(slices.Clone(backlog), wstest.Hex("88 00")...), wstest.NoCode},
	} {
		run(name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Then(wstest.AcceptAnd(row.sent), wstest.Hangup))
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs(path))
			before, _ := c.ExpectClose(row.code)
			if len(before) != messages {
				t.Fatalf("the client got %d of %d messages before the Close", len(before), messages)
			}
			for i, f := range before {
				if len(f.Payload) != size || f.Payload[0] != byte(i) {
					t.Fatalf("message %d is %v", i, f)
				}
			}
			c.Send(wstest.Hex("88 82 M 03e8"))
			c.ExpectEOF(3 * time.Second)
		})
	}
	run("X-02/client's FIN behind a backlog", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		frame := wstest.ClientFrame(0x82, make([]byte, size))
		for range messages {
			c.Send(frame)
		}
		c.Close()
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		if frames, rest := u.Frames(); len(frames) != messages+1 || len(rest) > 0 {
			t.Errorf("the upstream got %d frames and %d more bytes, want %d and a Close", len(frames), len(rest), messages)
		}
	})
}

// TestRowsClientEnds mirrors: the upstream learns 1001, and a message that was cut is never completed.
func TestRowsClientEnds(t *testing.T) { onBothDrivers(t, rowsClientEnds) }

func rowsClientEnds(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	message := wstest.ClientFrame(0x81, []byte("first"))
	fragment := wstest.ClientFrame(0x01, []byte("open"))
	rows := []struct {
		name string
		sent []byte
		got  [][]byte
	}{
		{"between messages", message, [][]byte{message}},
		{"before any message", nil, nil},
		{"amid a payload", append(slices.Clone(message), wstest.ClientFrame(0x82, make([]byte, 1024))[:520]...), [][]byte{message}},
		{"in a header", append(slices.Clone(message), 0x82, 0xfe), [][]byte{message}},
		{"between fragments", append(slices.Clone(message), fragment...), [][]byte{message, fragment}},
		{"amid a Close", append(slices.Clone(message), wstest.Hex("88 85 M 03")...), [][]byte{message}},
	}
	for _, row := range rows {
		for how, end := range map[string]func(*wstest.Client){"RST": (*wstest.Client).Reset, "FIN": (*wstest.Client).Close, "half-close": (*wstest.Client).CloseWrite} {
			run("X-02/client, "+how+" "+row.name, func(t *testing.T) {
				path := rowPath(t)
				g.up.Handle(path, wstest.Accept())
				c, u := g.open(t, path)
				c.Send(row.sent)
				u.WaitFrames(len(row.got))
				end(c)
				wantFrames(t, u, row.got, 1001)
			})
		}
	}
	run("X-02/client, amid a frame that streams", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(message, wstest.ClientFrame(0x82, make([]byte, 256<<10))[:128<<10])
		u.WaitBody(wstest.Patience, "part of the frame", func(b []byte) bool { return len(b) > len(message) })
		c.Close()
		end := u.WaitEnd(wstest.Patience)
		frames, rest := u.Frames()
		if len(frames) != 1 || len(rest) == 0 || end != wstest.Reset {
			t.Errorf("the upstream got %d whole frames, %d more bytes and then %v; want 1, a part and a reset", len(frames), len(rest), end)
		}
	})
}

// TestRowsStreamedText is row F-21 in frames that are too long to be held back: the byte that is wrong ends the session at once,
// and what has been relayed of the frame is never completed.
func TestRowsStreamedText(t *testing.T) { onBothDrivers(t, rowsStreamedText) }

func rowsStreamedText(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver})
	text := bytes.Repeat([]byte("é"), 32<<10)
	bad := slices.Clone(text)
	bad[40_001] = 'x'
	run("F-21/client", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(wstest.ClientFrame(0x81, []byte("first")), wstest.ClientFrame(0x81, bad)[:8+6+40_002])
		c.ExpectClose(1007)
		c.Close()
		end := u.WaitEnd(wstest.Patience)
		frames, rest := u.Frames()
		if len(frames) != 1 || end != wstest.Reset {
			t.Errorf("the upstream got %v and %d more bytes and then %v; want one frame, a part of the second and a reset", frames, len(rest), end)
		}
		if len(rest) > 14+40_001 {
			t.Errorf("%d bytes were relayed, the one that is wrong among them", len(rest))
		}
	})
	run("F-21/upstream", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Then(wstest.AcceptAnd(wstest.ServerFrame(0x81, []byte("first"))), wstest.Send(wstest.ServerFrame(0x81, bad))))
		c, u := g.open(t, path)
		c.ExpectFrame(0x81, []byte("first"))
		rest, err := c.Drain(5 * time.Second)
		if frames, tail := wstest.ParseFrames(rest); len(frames) > 0 && !frames[0].IsClose() || len(tail) > 10+40_001 {
			t.Errorf("the client got %v and %d more bytes", frames, len(tail))
		} else if len(tail) > 0 && !wstest.IsReset(err) {
			t.Errorf("the client got %d bytes of a frame and then %v, want a reset", len(tail), err)
		}
		if code, _ := u.WaitClose(wstest.Patience); code != 1007 {
			t.Errorf("the upstream got Close %d, want 1007", code)
		}
	})
	run("F-21/good text that streams", func(t *testing.T) {
		c, _ := g.open(t, rowPath(t))
		go c.Chop(wstest.ClientFrame(0x81, text), 999)
		c.ExpectFrame(0x81, text)
	})
}

// TestRowsIdle looks at the ends that the gateway makes by the clock, with short times.
func TestRowsIdle(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	for name, row := range map[string]struct {
		route            string
		client, upstream int
	}{
		"idle":               {"idle_timeout: 500ms", 1001, 1001},
		"lifetime":           {"max_lifetime: 500ms", 1001, 1001},
		"idle with codes":    {"idle_timeout: 500ms, close_codes: {idle: {client: 4000, upstream: 4001}}", 4000, 4001},
		"lifetime with code": {"max_lifetime: 500ms, close_codes: {lifetime: 4002}", 4002, 1001},
	} {
		run("close/"+name, func(t *testing.T) {
			g := startRows(t, rowSetup{route: row.route})
			c, u := g.open(t, "/ws")
			start := time.Now()
			c.ExpectClose(row.client)
			between(t, "the Close", start, 300*time.Millisecond, 5*time.Second)
			if code, _ := u.WaitClose(wstest.Patience); code != row.upstream {
				t.Errorf("the upstream got Close %d, want %d", code, row.upstream)
			}
		})
	}
	run("close/idle is not a busy session", func(t *testing.T) {
		g := startRows(t, rowSetup{route: "idle_timeout: 2s"})
		c, _ := g.open(t, "/ws")
		stop := make(chan struct{})
		defer close(stop)
		const messages = 20 // of 7 bytes: nearly 3 s
		go c.Dribble(bytes.Repeat(wstest.Hex("81 81 M 61"), messages), 20*time.Millisecond, stop)
		for i := range messages {
			if f := c.Frame(); f.IsClose() {
				t.Fatalf("message %d: %v", i, f)
			}
		}
	})
}

// TestRowsTypes is `types`: a message of a kind that the route does not take ends with 1003.
func TestRowsTypes(t *testing.T) { onBothDrivers(t, rowsTypes) }

func rowsTypes(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, policy: originPolicy + ", client: {types: [text], max_frame: 100B, max_message: 200B, max_fragments: 3}, upstream: {types: [binary]}"})
	for _, row := range []violation{
		{name: "types/binary", frames: []string{"82 81 M 61"}, code: 1003},
		{name: "types/binary fragment", frames: []string{"02 81 M 61"}, code: 1003},
		{name: "types/binary after text", frames: []string{"81 81 M 61", "82 81 M 61"}, good: 1, code: 1003},
		{name: "types/frame of 101 bytes", frames: []string{"81 E5 M"}, code: 1009},
		{name: "types/message of 201 bytes", frames: []string{"01 E4 M" + strings.Repeat("61", 100), "00 E4 M" + strings.Repeat("61", 100), "80 81 M"}, good: 2, code: 1009},
		{name: "types/4 fragments", frames: []string{"01 80 M", "00 80 M", "00 80 M", "80 80 M"}, good: 3, code: 1009},
	} {
		run(row.name, func(t *testing.T) {
			g.clientViolates(t, row, rowPath(t), func(c *wstest.Client, b []byte) { c.Send(b) })
		})
	}
	run("types/of the upstream", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.AcceptAnd(wstest.Hex("82 01 61 81 01 61")))
		c, u := g.open(t, path)
		if before, _ := c.ExpectClose(1011); len(before) != 1 {
			t.Errorf("before the Close the client got %v", before)
		}
		if code, _ := u.WaitClose(wstest.Patience); code != 1003 {
			t.Errorf("the upstream got Close %d, want 1003", code)
		}
	})
	run("types/of control frames do not count", func(t *testing.T) {
		path := rowPath(t)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		c.Send(wstest.Hex("89 80 M"), wstest.ClientFrame(0x81, make([]byte, 100)))
		if frames := u.WaitFrames(2); len(frames) != 2 {
			t.Errorf("the upstream got %v", frames)
		}
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, fmt.Sprint(strings.Repeat("r", 123)))))
		if code, _ := u.WaitClose(wstest.Patience); code != 1000 {
			t.Errorf("the upstream got Close %d, want 1000", code)
		}
	})
}

// stillOpen reports whether the error of a read is its deadline.
func stillOpen(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
