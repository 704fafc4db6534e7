package wstest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests of this package put the raw client straight in front of the recorder: what they show holds without a gateway.

func TestRecorderKeepsTheHeadByteForByte(t *testing.T) {
	rec := NewRecorder(t, Echo)
	req := HS0("/ws?x=1").Add("X-Odd:   two  spaces ", "x-lower: v").Then("early")
	c := Dial(t, rec.Addr())
	c.Chop(req.Bytes(), 7)
	resp := c.Accepted(req)
	if resp.Get("Upgrade") != "websocket" {
		t.Errorf("answer %q", resp.Fields)
	}
	u := rec.Wait("/ws")
	if want := strings.TrimSuffix(string(req.Bytes()), "early"); u.Head() != want {
		t.Errorf("head %q, want %q", u.Head(), want)
	}
	u.WaitBody(Patience, "early bytes", func(b []byte) bool { return string(b) == "early" })
	if u.Target() != "/ws?x=1" || u.Value("X-Odd") != "two  spaces" {
		t.Errorf("target %q, X-Odd %q", u.Target(), u.Value("X-Odd"))
	}
}

func TestRecorderChoosesByPath(t *testing.T) {
	rec := NewRecorder(t, Page("all others"))
	rec.Handle("/a", Page("a"))
	rec.Handle("/head", Send(Head("HTTP/1.1 302 Found", "Location: /x", "Content-Length: 0")))
	for path, want := range map[string]string{"/a?q": "a", "/b": "all others"} {
		c := Dial(t, rec.Addr())
		c.Send(Plain(path).Bytes())
		resp := c.Response()
		if resp.Status != 200 || string(resp.Body) != want {
			t.Errorf("%s: %d %q, want 200 %q", path, resp.Status, resp.Body, want)
		}
		c.ExpectEOF(Patience)
	}
	c := Dial(t, rec.Addr())
	c.Send(Plain("/head").Bytes())
	if resp := c.Response(); resp.Status != 302 || resp.Get("location") != "/x" {
		t.Errorf("got %q %q", resp.Line, resp.Fields)
	}
	if rec.Dials() != 3 || len(rec.Conns("/a")) != 1 {
		t.Errorf("%d dials, %d of /a; want 3 and 1", rec.Dials(), len(rec.Conns("/a")))
	}
}

func TestEchoSendsFramesBackUnmasked(t *testing.T) {
	rec := NewRecorder(t, Echo)
	c := Dial(t, rec.Addr())
	c.Upgrade(HS0("/ws"))
	sizes := []int{0, 1, 125, 126, 65535, 65536}
	for _, n := range sizes {
		payload := bytes.Repeat([]byte("x"), n)
		c.Send(ClientFrame(0x82, payload))
		c.ExpectFrame(0x82, payload)
	}
	c.Send(ClientFrame(0x89, []byte("p")))
	c.ExpectFrame(0x8a, []byte("p"))
	c.Send(Hex("8A 80 M"), ClientFrame(0x88, CloseFrame(4321, "bye")))
	before, reason := c.ExpectClose(4321)
	if len(before) != 0 || reason != "bye" {
		t.Errorf("before the Close %v, reason %q", before, reason)
	}
	c.ExpectEOF(Patience)
	u := rec.Wait("/ws")
	frames := u.WaitFrames(len(sizes) + 3)
	for i, n := range sizes {
		if f := frames[i]; len(f.Payload) != n || !f.Masked || f.Key == [4]byte{} {
			t.Errorf("frame %d: %v", i, f)
		}
	}
	if code, reason := u.WaitClose(Patience); code != 4321 || reason != "bye" {
		t.Errorf("the recorder read Close %d %q", code, reason)
	}
}

func TestRecorderTellsHowAConnectionEnded(t *testing.T) {
	rec := NewRecorder(t, Accept())
	cases := []struct {
		path string
		end  func(c *Client)
		want End
	}{
		{"/eof", (*Client).Close, EOF},
		{"/half", (*Client).CloseWrite, EOF},
		{"/reset", (*Client).Reset, Reset},
	}
	for _, tc := range cases {
		c := Dial(t, rec.Addr())
		c.Upgrade(HS0(tc.path))
		u := rec.Wait(tc.path)
		if u.Ended() != Open {
			t.Errorf("%s: ended %v before its time", tc.path, u.Ended())
		}
		tc.end(c)
		if got := u.WaitEnd(Patience); got != tc.want {
			t.Errorf("%s: ended %v, want %v", tc.path, got, tc.want)
		}
	}
}

func TestClientTellsHowAConnectionEnded(t *testing.T) {
	rec := NewRecorder(t, Accept())
	rec.Handle("/hangup", Then(AcceptAnd(Hex("81 01 61 81 05 61")), Hangup))
	rec.Handle("/abort", Then(Accept(), Abort))
	c := Dial(t, rec.Addr())
	c.Upgrade(HS0("/hangup"))
	c.ExpectFrame(0x81, []byte("a"))
	if f, err := c.ReadFrame(); err == nil || !strings.Contains(err.Error(), "1 of 5") {
		t.Errorf("a cut frame was read as %v, %v", f, err)
	}
	c = Dial(t, rec.Addr())
	c.Send(HS0("/abort").Bytes())
	if _, err := c.Drain(Patience); !IsReset(err) {
		t.Errorf("error %v, want a reset", err)
	}
	c = Dial(t, rec.Addr())
	c.Upgrade(HS0("/open"))
	if _, err := c.Drain(50 * time.Millisecond); err == nil {
		t.Errorf("an open connection was read to its end")
	}
}

func TestGreeterSpeaksFirst(t *testing.T) {
	rec := NewGreeter(t, []byte("220 mail\r\n"), Silent)
	c := Dial(t, rec.Addr())
	if rest, _ := c.Drain(100 * time.Millisecond); string(rest) != "220 mail\r\n" {
		t.Errorf("greeting %q", rest)
	}
	if rec.Wait("") == nil || rec.Dials() != 1 {
		t.Errorf("%d dials", rec.Dials())
	}
}

func TestVictimIsServed(t *testing.T) {
	rec := NewRecorder(t, Echo)
	c := Dial(t, rec.Addr())
	c.Upgrade(HS0("/victim"))
	v := NewVictim(t, c)
	rec.Wait("/victim").WaitFrames(20)
	if !rec.await(Patience, func() bool { return v.Echoed() > 0 }) {
		t.Error("no echo")
	}
}

func TestRequestEdits(t *testing.T) {
	r := HS0("/ws").With("sec-websocket-version", "12").Without("ORIGIN").Add("X: y").Then("tail")
	want := []string{"Host: app.example.com", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + HS0Key, "sec-websocket-version: 12", "X: y"}
	if !slices.Equal(r.Fields, want) {
		t.Errorf("fields %q, want %q", r.Fields, want)
	}
	if got := Plain("/p").Lines("\n"); string(got) != "GET /p HTTP/1.1\nHost: app.example.com\n\n" {
		t.Errorf("got %q", got)
	}
	if !bytes.HasSuffix(r.Bytes(), []byte("X: y\r\n\r\ntail")) {
		t.Errorf("got %q", r.Bytes())
	}
}

func TestFixtureNotation(t *testing.T) {
	if got := Hex("81 85 M 48656c6c6f"); !bytes.Equal(got, []byte("\x81\x85\x00\x00\x00\x00Hello")) {
		t.Errorf("Hex: %x", got)
	}
	f, n := ParseFrame(ClientFrame(0x81, []byte("Hello")))
	if n != 11 || string(f.Payload) != "Hello" || !f.Masked {
		t.Errorf("ParseFrame: %v, %d", f, n)
	}
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{7}, size)
		masked := MaskedFrame(0x82, payload, [4]byte{1, 2, 3, 4})
		if got := Unmask(masked); !bytes.Equal(got, ServerFrame(0x82, payload)) {
			t.Errorf("Unmask of %d bytes differs from ServerFrame", size)
		}
		if frames, rest := ParseFrames(append(masked, masked[:3]...)); len(frames) != 1 || len(rest) != 3 {
			t.Errorf("ParseFrames: %d frames, %d bytes left", len(frames), len(rest))
		}
	}
	if got := Unmask(Hex("81 FE 0005 M 61")); !bytes.Equal(got, Hex("81 7E 0005 61")) {
		t.Errorf("Unmask of a frame with a wrong length form: %x", got)
	}
}
