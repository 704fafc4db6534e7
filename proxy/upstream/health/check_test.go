package health

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// failOn is a Report for configurations that are right.
func failOn(t *testing.T) Report {
	return func(path, format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
}

// checkOf runs one check of a section against a recorder.
func checkOf(t *testing.T, section string, rec *wstest.Recorder, patience time.Duration) error {
	t.Helper()
	var c Config
	if _, errs := strictyaml.Decode("health", []byte(section), noVariables, &c); errs.Err() != nil {
		t.Fatal(errs.Err())
	}
	k := c.Compile(failOn(t))
	if k == nil {
		t.FailNow()
	}
	conn, err := net.Dial("tcp", rec.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return k.Check(conn, "app.internal:9000", time.Now().Add(patience))
}

func noVariables(string) (string, bool) { return "", false }

func TestCheckTCP(t *testing.T) {
	if err := checkOf(t, "tcp: {}", wstest.NewRecorder(t, wstest.Hangup), wstest.Patience); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestCheckHTTP(t *testing.T) {
	answer := func(status string) wstest.Behaviour {
		return wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 "+status, "Content-Length: 0")), wstest.Hangup)
	}
	for _, tt := range []struct {
		section string
		answer  wstest.Behaviour
		want    string // part of the error, "" for none
	}{
		{"http: {path: /healthz}", answer("200 OK"), ""},
		{"http: {path: /healthz}", answer("204 No Content"), ""},
		{"http: {path: /healthz}", answer("302 Found"), "answered 302, want 200-299"},
		{"http: {path: /healthz}", answer("503 Service Unavailable"), "answered 503"},
		{"http: {path: /healthz, status: 503}", answer("503 Service Unavailable"), ""},
		{"http: {path: /healthz, status: 204}", answer("200 OK"), "answered 200, want 204"},
		{"http: {path: /healthz, status: 200-399}", answer("302 Found"), ""},
		{"http: {path: /healthz}", wstest.Hangup, "ended before the answer"},
		{"http: {path: /healthz}", wstest.Send([]byte("SSH-2.0-OpenSSH\r\n")), "malformed status line"},
		{"http: {path: /healthz}", wstest.Accept(), "answered 101"},
	} {
		rec := wstest.NewRecorder(t, tt.answer)
		err := checkOf(t, tt.section, rec, wstest.Patience)
		expect(t, tt.section, err, tt.want)
		if got := rec.Wait("/healthz").Head(); !strings.HasPrefix(got, "GET /healthz HTTP/1.1\r\nHost: app.internal:9000\r\nUser-Agent: framegate\r\n") {
			t.Errorf("%s: the request is %q", tt.section, got)
		}
	}
	rec := wstest.NewRecorder(t, answer("200 OK"))
	if err := checkOf(t, `http: {path: "/a/b?full=1", host: app.example.com}`, rec, wstest.Patience); err != nil {
		t.Error(err)
	}
	if got := rec.Wait("/a/b").Head(); !strings.HasPrefix(got, "GET /a/b?full=1 HTTP/1.1\r\nHost: app.example.com\r\n") {
		t.Errorf("the request is %q", got)
	}
}

// pong answers the first ping with the payload that change makes of its own, and everything else as echo does.
func pong(change func(p []byte) []byte) wstest.Behaviour {
	return func(u *wstest.Upstream) {
		for _, f := range u.WaitFrames(1) {
			if f.First == 0x89 {
				u.Send(wstest.ServerFrame(0x8a, change(f.Payload)))
			}
		}
	}
}

func same(p []byte) []byte { return p }

func TestCheckWebSocket(t *testing.T) {
	const section = "websocket: {path: /ws}"
	greeting := wstest.ServerFrame(0x81, []byte("welcome"))
	for name, tt := range map[string]struct {
		section string
		answer  wstest.Behaviour
		want    string
	}{
		"echo":                   {section, wstest.Echo, ""},
		"greets first":           {section, wstest.Then(wstest.AcceptAnd(greeting), pong(same), wstest.AnswerClose), ""},
		"greets later":           {section, wstest.Then(wstest.Accept(), wstest.Send(greeting, wstest.ServerFrame(0x89, []byte("you?"))), pong(same), wstest.AnswerClose), ""},
		"unsolicited pong first": {section, wstest.Then(wstest.AcceptAnd(wstest.ServerFrame(0x8a, []byte("12345678"))), pong(same), wstest.AnswerClose), ""},
		"ends without a Close":   {section, wstest.Then(wstest.Accept(), pong(same), wstest.Hangup), ""},
		"refuses":                {section, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 0")), wstest.Hangup), "answered 403, want 101"},
		"wrong accept": {section, func(u *wstest.Upstream) {
			u.Send(wstest.Head("HTTP/1.1 101 X", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: x"))
		}, "does not match the key"},
		"closes":                      {section, wstest.Then(wstest.Accept(), wstest.Send(wstest.ServerFrame(0x88, wstest.CloseFrame(1013, "later")))), "closed before the pong"},
		"ends":                        {section, wstest.Then(wstest.Accept(), wstest.Hangup), "waiting for the pong: EOF"},
		"masks":                       {section, wstest.Then(wstest.Accept(), wstest.Send(wstest.ClientFrame(0x8a, nil))), "server frame is masked"},
		"floods":                      {section, wstest.Then(wstest.Accept(), wstest.Flood(wstest.ServerFrame(0x82, make([]byte, 64<<10)), 64<<20)), "waiting for the pong"},
		"subprotocol":                 {"websocket: {path: /ws, subprotocol: chat}", wstest.Then(wstest.Accept("Sec-WebSocket-Protocol: chat"), pong(same), wstest.AnswerClose), ""},
		"subprotocol not agreed":      {"websocket: {path: /ws, subprotocol: chat}", wstest.Echo, `did not agree to the subprotocol "chat"`},
		"subprotocol of its own":      {section, wstest.Accept("Sec-WebSocket-Protocol: chat"), "not offered"},
		"extension that is not asked": {section, wstest.Accept("Sec-WebSocket-Extensions: permessage-deflate"), "not offered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := wstest.NewRecorder(t, tt.answer)
			expect(t, name, checkOf(t, tt.section, rec, wstest.Patience), tt.want)
		})
	}
}

// A server whose pong is another one's, or none at all, is given up at the deadline.
func TestCheckWebSocketSilent(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]wstest.Behaviour{
		"no answer":  func(*wstest.Upstream) {},
		"no pong":    wstest.Accept(),
		"other pong": wstest.Then(wstest.Accept(), pong(func(p []byte) []byte { return append([]byte{p[0] ^ 1}, p[1:]...) })),
	} {
		err := checkOf(t, "websocket: {path: /ws}", wstest.NewRecorder(t, answer), 100*time.Millisecond)
		expect(t, name, err, "i/o timeout")
	}
}

// The handshake is one of the gateway's own, and the end is a Close in order, all of it masked.
func TestCheckWebSocketOnTheWire(t *testing.T) {
	rec := wstest.NewRecorder(t, wstest.Then(wstest.Accept("Sec-WebSocket-Protocol: chat"), pong(same), wstest.AnswerClose))
	if err := checkOf(t, `websocket: {path: "/ws?a=1", host: chat.example.com, origin: "https://chat.example.com", subprotocol: chat}`, rec, wstest.Patience); err != nil {
		t.Fatal(err)
	}
	u := rec.Wait("/ws")
	for field, want := range map[string]string{
		"Host": "chat.example.com", "Origin": "https://chat.example.com", "User-Agent": "framegate", "Sec-WebSocket-Protocol": "chat",
		"Sec-WebSocket-Extensions": "", "X-Forwarded-For": "",
	} {
		if got := u.Value(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if code, _ := u.WaitClose(wstest.Patience); code != 1000 {
		t.Errorf("closed with %d, want 1000", code)
	}
	frames, rest := u.Frames()
	if len(frames) != 2 || len(rest) > 0 || frames[0].First != 0x89 || len(frames[0].Payload) != 8 || !frames[0].Masked || !frames[1].Masked {
		t.Errorf("the server got %v and %x, want a masked ping and a masked Close", frames, rest)
	}
}

func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got error %v, want one with %q", what, err, want)
	}
}

// A connection that cannot have a deadline is no check.
func TestCheckNeedsDeadline(t *testing.T) {
	k := (&Config{TCP: &TCPConfig{}}).Compile(failOn(t))
	near, far := net.Pipe()
	far.Close()
	near.Close()
	if err := k.Check(near, "x", time.Now().Add(time.Second)); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
		t.Errorf("got %v", err)
	}
}
