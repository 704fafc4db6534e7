package main_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

const (
	offerDeflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
	agreeDeflate = "Sec-WebSocket-Extensions: permessage-deflate"
)

// TestRowsDeflateRelayed holds the rows of compressed messages that the gateway relays untouched with `compression: pass`.
func TestRowsDeflateRelayed(t *testing.T) { onBothDrivers(t, rowsDeflateRelayed) }

func rowsDeflateRelayed(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, upstream: wstest.EchoWith(agreeDeflate)})
	rows := []struct {
		name   string
		frames []string
	}{
		{"Z-04/Hello", []string{"C1 87 M f248cdc9c90700"}},
		{"Z-04/Hello in two fragments", []string{"41 83 M f248cd", "80 84 M c9c90700"}},
		{"Z-04/Hello with a key", []string{"C1 87 A1B2C3D4 53fa0e1d68b5c3"}},
		{"Z-04/not compressed although agreed", []string{"81 85 M 48656c6c6f"}},
		{"Z-04/ping between compressed fragments", []string{"41 83 M f248cd", "89 81 M 70", "80 84 M c9c90700"}},
		{"Z-12/empty message", []string{"C1 81 M 00"}},
		{"Z-12/BFINAL", []string{"C1 88 M f348cdc9c9070000"}},
		{"Z-12/no payload at all", []string{"C1 80 M"}},
		{"Z-12/two messages, the second with takeover", []string{"C1 87 M f248cdc9c90700", "C1 85 M f200110000"}},
		{"Z-12/stored block", []string{"C1 8B M 000500faff48656c6c6f00"}},
		{"Z-12/binary", []string{"C2 87 M f248cdc9c90700"}},
		{"Z-12/bytes that are no UTF-8 while compressed", []string{"C1 82 M FFFE"}},
	}
	for _, row := range rows {
		run(row.name, func(t *testing.T) {
			c, u := g.open(t, rowPath(t), offerDeflate)
			var sent [][]byte
			for _, f := range row.frames {
				sent = append(sent, wstest.Hex(f))
			}
			c.Send(sent...)
			for _, f := range sent {
				back := wstest.Unmask(f)
				if back[0] == 0x89 {
					back[0] = 0x8a
				}
				if got := c.Frame(); !bytes.Equal(got.Raw, back) {
					t.Errorf("the client got %x, want %x", got.Raw, back)
				}
			}
			c.Send(wstest.Hex("88 82 M 03e8"))
			c.ExpectClose(1000)
			u.WaitEnd(wstest.Patience)
			frames, _ := u.Frames()
			var got [][]byte
			for _, f := range frames[:max(0, len(frames)-1)] {
				got = append(got, f.Raw)
			}
			sameFrames(t, "the upstream", got, sent)
		})
	}
	run("Z-11/the gateway never compresses", func(t *testing.T) {
		path := rowPath(t)
		text := wstest.ServerFrame(0x81, []byte(strings.Repeat("secret="+wstest.Canary+"&guess=S3CRETA ", 200)))
		g.up.Handle(path, wstest.AcceptAnd(text, agreeDeflate))
		c, _ := g.open(t, path, offerDeflate)
		if f := c.Frame(); !bytes.Equal(f.Raw, text) {
			t.Errorf("the client got %d bytes %.40x, want the %d bytes as they were sent", len(f.Raw), f.Raw, len(text))
		}
	})
}

// TestRowsDeflateViolations is row Z-06 and its neighbours: RSV1 is legal on the first frame of a message alone, and only where the
// extension was agreed.
func TestRowsDeflateViolations(t *testing.T) { onBothDrivers(t, rowsDeflateViolations) }

func rowsDeflateViolations(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	rows := []violation{
		{name: "Z-06/RSV1 on a continuation", frames: []string{"41 83 M f248cd", "C0 84 M c9c90700"}, good: 1, code: 1002},
		{name: "Z-06/RSV1 on a continuation alone", frames: []string{"01 81 M 61", "C0 81 M 61"}, good: 1, code: 1002},
		{name: "Z-06/RSV1 on a middle fragment", frames: []string{"41 83 M f248cd", "40 82 M c9c9"}, good: 1, code: 1002},
		{name: "Z-06/RSV1 on a ping", frames: []string{"C9 80 M"}, code: 1002},
		{name: "Z-06/RSV1 on a pong", frames: []string{"CA 80 M"}, code: 1002},
		{name: "Z-06/RSV1 on a close", frames: []string{"C8 82 M 03E8"}, code: 1002},
		{name: "Z-06/RSV1 and RSV2", frames: []string{"E1 87 M f248cdc9c90700"}, code: 1002},
		{name: "Z-06/RSV1 and RSV3", frames: []string{"D1 87 M f248cdc9c90700"}, code: 1002},
		{name: "Z-06/RSV1 on a reserved opcode", frames: []string{"C3 80 M"}, code: 1002},
		{name: "Z-06/text that is not compressed must be UTF-8", frames: []string{"81 82 M C328"}, code: 1007},
		{name: "Z-06/text after a compressed message must be UTF-8", frames: []string{"C1 87 M f248cdc9c90700", "81 82 M C328"}, good: 1, code: 1007},
		{name: "Z-06/compressed frame over 1 MiB", frames: []string{"C2 FF 0000000000100001 M"}, code: 1009},
	}
	agreed := startRows(t, rowSetup{driver: driver})
	for _, row := range rows {
		run(row.name+", client", func(t *testing.T) {
			path := rowPath(t)
			agreed.up.Handle(path, wstest.Then(wstest.Accept(agreeDeflate), wstest.AnswerClose))
			c, u := agreed.open(t, path, offerDeflate)
			c.Send(row.bytes()...)
			if before, _ := c.ExpectClose(row.code); len(before) > 0 {
				t.Errorf("before the Close the client got %v", before)
			}
			c.Close()
			wantFrames(t, u, row.bytes()[:row.good], 1001)
		})
		run(row.name+", upstream", func(t *testing.T) {
			path := rowPath(t)
			frames := row.bytes()
			for i, f := range frames {
				frames[i] = wstest.Unmask(f)
			}
			agreed.up.Handle(path, wstest.Then(wstest.AcceptAnd(bytes.Join(frames, nil), agreeDeflate), wstest.AnswerClose))
			c, u := agreed.open(t, path, offerDeflate)
			if before, _ := c.ExpectClose(1011); len(before) != row.good {
				t.Errorf("before the Close the client got %v", before)
			}
			c.Close()
			wantFrames(t, u, nil, row.code)
		})
	}

	off := startRows(t, rowSetup{driver: driver, route: "compression: off", upstream: func(u *wstest.Upstream) {
		if u.Value("Sec-WebSocket-Extensions") != "" {
			wstest.EchoWith(agreeDeflate)(u)
		} else {
			wstest.Echo(u)
		}
	}})
	// Neither the upstream that declines nor the route that switches it off makes RSV1 legal.
	declined := startRows(t, rowSetup{driver: driver})
	for name, g := range map[string]*rowGate{"declined by the upstream": declined, "compression off": off} {
		run("Z-06/RSV1, "+name, func(t *testing.T) {
			path := rowPath(t)
			c := wstest.Dial(t, g.Addr)
			resp := c.Upgrade(hs(path).Add(offerDeflate))
			u := g.up.Wait(path)
			if got := resp.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("the client got extensions %q, want none", got)
			}
			if got := u.Value("Sec-WebSocket-Extensions"); g == off && got != "" {
				t.Errorf("the upstream got the offer %q", got)
			}
			c.Send(wstest.Hex("C1 87 M f248cdc9c90700"))
			c.ExpectClose(1002)
			c.Close()
			wantFrames(t, u, nil, 1001)
		})
	}
}

// TestRowsDeflateOff is an upstream that agrees to what `compression: off` never offered.
func TestRowsDeflateOff(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{route: "compression: off", upstream: wstest.Accept(agreeDeflate)})
	c := wstest.Dial(t, g.Addr)
	c.Send(hs("/ws").Add(offerDeflate).Bytes())
	resp := c.Response()
	if resp.Status != 502 {
		t.Errorf("got %q, want 502", resp.Line)
	}
	wstest.CheckRefusal(t, resp)
	if offer := g.up.Wait("/ws").Value("Sec-WebSocket-Extensions"); offer != "" {
		t.Errorf("the upstream got the offer %q", offer)
	}
}

// TestRowsDeflateOffers is row Z-07: an offer with parameters that RFC 7692 §7.1 does not allow is declined, not refused; what is
// left is passed on.
func TestRowsDeflateOffers(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	const pmd = "permessage-deflate"
	rows := map[string]bool{ // whether the upstream still gets an offer of it
		"; client_max_window_bits=7":                               false,
		"; client_max_window_bits=16":                              false,
		"; client_max_window_bits=08":                              false,
		"; client_max_window_bits=015":                             false,
		"; client_max_window_bits=0":                               false,
		"; client_max_window_bits=-9":                              false,
		"; client_max_window_bits=4294967305":                      false,
		"; server_max_window_bits=7":                               false,
		"; server_max_window_bits=16":                              false,
		"; server_max_window_bits=08":                              false,
		"; server_max_window_bits=8.0":                             false,
		"; server_max_window_bits=0x9":                             false,
		"; server_max_window_bits":                                 false,
		"; client_max_window_bits=x":                               false,
		"; client_max_window_bits; client_max_window_bits":         false,
		"; client_max_window_bits=10; client_max_window_bits=10":   false,
		"; server_max_window_bits=10; server_max_window_bits=11":   false,
		"; server_no_context_takeover; server_no_context_takeover": false,
		"; client_no_context_takeover=1":                           false,
		"; server_no_context_takeover=true":                        false,
		"; unknown":                                                false,
		"; server_max_window_bits=":                                false,
		`; client_max_window_bits=""`:                              false,
		"; unknown=1":                                              false,
		"; server_max_window_bits=10; unknown":                     false,
		`; server_max_window_bits="7"`:                             false,
		"; server_max_window_bits=7, permessage-deflate":           true,
		"; unknown, permessage-deflate; client_max_window_bits":    true,
		"":                           true,
		"; client_max_window_bits":   true,
		"; client_max_window_bits=8": true,
		"; client_max_window_bits=15; server_max_window_bits=9":                              true,
		"; server_max_window_bits=8":                                                         true,
		`; server_max_window_bits="10"`:                                                      true,
		"; client_no_context_takeover; server_no_context_takeover":                           true,
		"; server_no_context_takeover ;client_max_window_bits=10;client_no_context_takeover": true,
	}
	for params, kept := range rows {
		run("Z-07/"+pmd+params, func(t *testing.T) {
			path := rowPath(t) + "-" + strings.Map(hexDigit, params)
			c := wstest.Dial(t, g.Addr)
			resp := c.Upgrade(hs(path).Add("Sec-WebSocket-Extensions: " + pmd + params))
			offered := g.up.Wait(path).Value("Sec-WebSocket-Extensions")
			if got := strings.Contains(offered, pmd); got != kept {
				t.Errorf("the upstream got the offer %q, kept should be %t", offered, kept)
			}
			if strings.Contains(offered, "unknown") || strings.Contains(offered, "=7") {
				t.Errorf("the upstream got the bad offer %q", offered)
			}
			if got := resp.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("the client got extensions %q although the upstream agreed none", got)
			}
			c.Send(wstest.ClientFrame(0x81, []byte("served")))
			c.ExpectFrame(0x81, []byte("served"))
		})
	}
}

// hexDigit makes parameters fit a path.
func hexDigit(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
		return r
	}
	return '-'
}

// TestRowsDeflateAnswers is row Z-08: an upstream's answer that the offer or RFC 7692 §7.1 does not allow.
func TestRowsDeflateAnswers(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	const pmd = "permessage-deflate"
	rows := []struct {
		name, offer, answer string
		good                bool
	}{
		{"not offered", "", pmd, false},
		{"another one", pmd, "x-webkit-deflate-frame", false},
		{"server bits 16", pmd, pmd + "; server_max_window_bits=16", false},
		{"server bits 7", pmd, pmd + "; server_max_window_bits=7", false},
		{"server bits 08", pmd, pmd + "; server_max_window_bits=08", false},
		{"server bits without a value", pmd, pmd + "; server_max_window_bits", false},
		{"client bits 16", pmd + "; client_max_window_bits", pmd + "; client_max_window_bits=16", false},
		{"client bits without a value", pmd + "; client_max_window_bits", pmd + "; client_max_window_bits", false},
		{"client bits that the offer does not know", pmd, pmd + "; client_max_window_bits=10", false},
		{"client bits over the offer's", pmd + "; client_max_window_bits=10", pmd + "; client_max_window_bits=12", false},
		{"server bits over the offer's", pmd + "; server_max_window_bits=10", pmd + "; server_max_window_bits=12", false},
		{"server bits asked for and left out", pmd + "; server_max_window_bits=10", pmd, false},
		{"no takeover asked for and left out", pmd + "; server_no_context_takeover", pmd, false},
		{"parameter twice", pmd, pmd + "; server_no_context_takeover; server_no_context_takeover", false},
		{"extension twice", pmd, pmd + ", " + pmd, false},
		{"unknown parameter", pmd, pmd + "; unknown", false},
		{"value on a flag", pmd, pmd + "; server_no_context_takeover=1", false},
		{"one more that was not offered", pmd, pmd + ", x-foo", false},
		{"unparsable", pmd, pmd + "; ;", false},
		{"plain", pmd, pmd, true},
		{"server bits 8", pmd, pmd + "; server_max_window_bits=8", true},
		{"client bits", pmd + "; client_max_window_bits", pmd + "; client_max_window_bits=9", true},
		{"takeovers", pmd, pmd + "; server_no_context_takeover; client_no_context_takeover", true},
		{"second of two offers", pmd + "; server_max_window_bits=10, " + pmd, pmd, true},
		{"declined", pmd, "", true},
	}
	for _, row := range rows {
		run("Z-08/"+row.name, func(t *testing.T) {
			path := rowPath(t)
			var lines, offer []string
			if row.answer != "" {
				lines = []string{"Sec-WebSocket-Extensions: " + row.answer}
			}
			if row.offer != "" {
				offer = []string{"Sec-WebSocket-Extensions: " + row.offer}
			}
			g.up.Handle(path, wstest.Accept(lines...))
			c := wstest.Dial(t, g.Addr)
			c.Send(hs(path).Add(offer...).Bytes())
			resp := c.Response()
			if row.good && (resp.Status != 101 || !strings.EqualFold(resp.Get("Sec-WebSocket-Extensions"), row.answer)) {
				t.Errorf("got %q with extensions %q, want 101 and %q", resp.Line, resp.Get("Sec-WebSocket-Extensions"), row.answer)
			}
			if !row.good {
				if resp.Status != 502 {
					t.Errorf("got %q, want 502", resp.Line)
				}
				wstest.CheckRefusal(t, resp)
				g.up.Wait(path).WaitEnd(2 * time.Second)
			}
		})
	}
}
