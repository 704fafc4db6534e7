package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is an App behind a real HTTP server.
type site struct {
	t   *testing.T
	app *App
	url string
}

func newSite(t *testing.T, log *slog.Logger) *site {
	t.Helper()
	app, err := New(log)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.Handler())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = app.Close(ctx)
		server.Close()
		server.Client().CloseIdleConnections()
	})
	return &site{t: t, app: app, url: server.URL}
}

func quietSite(t *testing.T) *site {
	return newSite(t, slog.New(slog.DiscardHandler))
}

// visitor is one chat client.
type visitor struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

func (s *site) dial() *visitor {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	s.t.Cleanup(cancel)
	conn, response, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/ws", nil)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("status %d, want 101", response.StatusCode)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return &visitor{t: s.t, conn: conn, ctx: ctx}
}

// visit dials, says hello as name, and returns the visitor with its welcome.
func (s *site) visit(name string) (*visitor, event) {
	s.t.Helper()
	v := s.dial()
	b, _ := json.Marshal(request{Type: requestName, Name: name})
	v.write(string(b))
	return v, v.next(eventWelcome)
}

func (v *visitor) write(text string) {
	v.t.Helper()
	if err := v.conn.Write(v.ctx, websocket.MessageText, []byte(text)); err != nil {
		v.t.Fatalf("write: %v", err)
	}
}

func (v *visitor) say(text string) {
	v.t.Helper()
	b, _ := json.Marshal(request{Type: requestSay, Text: text})
	v.write(string(b))
}

// next reads one event, which has to be of the wanted type.
func (v *visitor) next(want string) event {
	v.t.Helper()
	_, b, err := v.conn.Read(v.ctx)
	if err != nil {
		v.t.Fatalf("read, wanted %s: %v", want, err)
	}
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		v.t.Fatalf("event %.100q: %v", b, err)
	}
	if e.Type != want {
		v.t.Fatalf("event %+v, want type %q", e, want)
	}
	if e.At == 0 {
		v.t.Fatalf("event %+v has no time", e)
	}
	return e
}

// ended reads until the connection ends and returns the error that says how.
func (v *visitor) ended() error {
	v.t.Helper()
	for {
		if _, _, err := v.conn.Read(v.ctx); err != nil {
			return err
		}
	}
}

func (v *visitor) wantClose(code websocket.StatusCode, reason string) {
	v.t.Helper()
	var end websocket.CloseError
	if err := v.ended(); !errors.As(err, &end) || end.Code != code || end.Reason != reason {
		v.t.Fatalf("ended with %v, want close %d %q", err, code, reason)
	}
}

func TestChat(t *testing.T) {
	s := quietSite(t)
	ada, welcome := s.visit("Ada")
	if welcome.Name != "Ada" || fmt.Sprint(welcome.People) != "[Ada]" || len(welcome.History) != 0 {
		t.Errorf("first welcome %+v", welcome)
	}
	grace, welcome := s.visit("Grace")
	if fmt.Sprint(welcome.People) != "[Ada Grace]" {
		t.Errorf("second welcome %+v", welcome)
	}
	if e := ada.next(eventJoin); e.Name != "Grace" {
		t.Errorf("join %+v", e)
	}
	ada.say("  Hello, <b>Grace</b>  ")
	for _, v := range []*visitor{ada, grace} {
		if e := v.next(eventMessage); e.Name != "Ada" || e.Text != "Hello, <b>Grace</b>" {
			t.Errorf("message %+v", e)
		}
	}
	grace.write("not JSON at all")
	if e := ada.next(eventMessage); e.Name != "Grace" || e.Text != "not JSON at all" {
		t.Errorf("message %+v", e)
	}
	if err := grace.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
	if e := ada.next(eventLeave); e.Name != "Grace" {
		t.Errorf("leave %+v", e)
	}
}

func TestNamesAreUniqueAndClean(t *testing.T) {
	s := quietSite(t)
	tests := []struct{ want, got string }{
		{"Ada", "Ada"},
		{"ada", "ada (2)"},
		{" \tAda\u202e\x00 ", "Ada (3)"},
		{"", "guest 1"},
		{"\u200b\u200b", "guest 2"},
		{strings.Repeat("é", 40), strings.Repeat("é", maxName)},
	}
	for _, test := range tests {
		if _, welcome := s.visit(test.want); welcome.Name != test.got {
			t.Errorf("visit(%q) is called %q, want %q", test.want, welcome.Name, test.got)
		}
	}
}

func TestRename(t *testing.T) {
	s := quietSite(t)
	ada, _ := s.visit("Ada")
	bob, _ := s.visit("Bob")
	ada.next(eventJoin)

	bob.say("/name ADA")
	for _, v := range []*visitor{ada, bob} {
		if e := v.next(eventRename); e.Name != "Bob" || e.To != "ADA (2)" {
			t.Errorf("rename %+v", e)
		}
	}
	ada.write(`{"type":"name","name":"ada"}`) // another spelling of one's own name is no clash
	if e := bob.next(eventRename); e.Name != "Ada" || e.To != "ada" {
		t.Errorf("rename %+v", e)
	}
	bob.say("/name \u200b")
	if e := bob.next(eventNotice); !strings.Contains(e.Text, "at least one letter") {
		t.Errorf("notice %+v", e)
	}
	bob.say("/name ADA (2)") // the same name again is not worth an event
	bob.say("still here")
	if e := bob.next(eventMessage); e.Name != "ADA (2)" {
		t.Errorf("message %+v", e)
	}
}

func TestHistoryKeepsTheLastTwenty(t *testing.T) {
	s := quietSite(t)
	ada, _ := s.visit("Ada")
	for i := range 25 {
		ada.say(fmt.Sprint("message ", i))
		ada.next(eventMessage)
	}
	_, welcome := s.visit("Grace")
	if len(welcome.History) != historyLength {
		t.Fatalf("history of %d messages, want %d", len(welcome.History), historyLength)
	}
	for i, e := range welcome.History {
		if want := fmt.Sprint("message ", i+5); e.Text != want || e.Name != "Ada" || e.Type != eventMessage {
			t.Errorf("history[%d] = %+v, want %q", i, e, want)
		}
		if i > 0 && e.At <= welcome.History[i-1].At {
			t.Errorf("history[%d] is not later than the one before: a page could not tell what it has missed", i)
		}
	}
}

func TestOddMessages(t *testing.T) {
	s := quietSite(t)
	v, _ := s.visit("Ada")
	if err := v.conn.Write(v.ctx, websocket.MessageBinary, make([]byte, 2048)); err != nil {
		t.Fatal(err)
	}
	if e := v.next(eventNotice); e.Text != "A binary message of 2 KiB arrived." {
		t.Errorf("notice %q", e.Text)
	}
	v.say(strings.Repeat("é", maxText+1))
	if e := v.next(eventNotice); !strings.Contains(e.Text, "A message of 3 KiB arrived") {
		t.Errorf("notice %q", e.Text)
	}
	v.say("   ") // nothing said
	v.write("caf\xe9")
	if e := v.next(eventMessage); e.Text != "caf\uFFFD" {
		t.Errorf("message %q", e.Text)
	}
	v.write(`{"type":"dance","text":"x"}`) // no request: said as it is
	if e := v.next(eventMessage); e.Text != `{"type":"dance","text":"x"}` {
		t.Errorf("message %q", e.Text)
	}
}

func TestFirstMessageMayBeAnything(t *testing.T) {
	s := quietSite(t)
	v := s.dial()
	v.write("hello from a plain client")
	if e := v.next(eventWelcome); e.Name != "guest 1" {
		t.Errorf("welcome %+v", e)
	}
	if e := v.next(eventMessage); e.Text != "hello from a plain client" {
		t.Errorf("message %+v", e)
	}
}

// A member that reads nothing holds up nobody, and Close ends it without its help.
func TestSlowReader(t *testing.T) {
	s := quietSite(t)
	slow, _ := s.visit("slow")
	for range 2 * queueLength { // more than its queue and the buffers of the kernel hold
		slow.say("/huge")
	}
	ada, _ := s.visit("Ada")
	for i := range 100 {
		ada.say(fmt.Sprint(i))
		for {
			_, b, err := ada.conn.Read(ada.ctx)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			if bytes.Contains(b, fmt.Appendf(nil, `"text":"%d"`, i)) {
				break // what is not it says that slow left
			}
		}
	}
	_ = ada.conn.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := s.app.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
}

func TestFullQueueEndsTheMember(t *testing.T) {
	m := newMember()
	for range queueLength {
		m.send([]byte("x"))
	}
	select {
	case e := <-m.ending:
		t.Fatalf("ended by %+v while the queue had room", e)
	default:
	}
	m.send([]byte("one too many"))
	m.end(ending{code: websocket.StatusNormalClosure}) // too late: the first ending counts
	if e := <-m.ending; e.code != websocket.StatusPolicyViolation || e.reason != "reading too slowly" {
		t.Errorf("ending %+v", e)
	}
}

func TestCloseSaysGoingAway(t *testing.T) {
	s := quietSite(t)
	ada, _ := s.visit("Ada")
	stranger := s.dial() // has not said hello
	closed := make(chan error, 1)
	go func() { closed <- s.app.Close(context.Background()) }()
	ada.wantClose(websocket.StatusGoingAway, "the application is shutting down")
	stranger.wantClose(websocket.StatusGoingAway, "the application is shutting down")
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.app.Close(context.Background()); err != nil {
		t.Errorf("second Close: %v", err)
	}

	response := s.get("/ws", http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("after Close: %s, Retry-After %q; want 503 and a time", response.Status, response.Header.Get("Retry-After"))
	}
}

func TestCloseDropsWhoeverDoesNotAnswer(t *testing.T) {
	s := quietSite(t)
	deaf, _ := s.visit("deaf") // never reads again, so never answers the Close
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.app.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want the context's error", err)
	}
	if n := len(s.app.connections); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	_ = deaf.conn.CloseNow()
}

func TestConnectionLimit(t *testing.T) {
	s := quietSite(t)
	for range maxConnections {
		if !s.app.enter(newMember()) {
			t.Fatal("refused below the limit")
		}
	}
	one := newMember()
	if s.app.enter(one) {
		t.Fatal("admitted above the limit")
	}
	for m := range s.app.connections {
		s.app.exit(m)
	}
	if !s.app.enter(one) {
		t.Fatal("refused after all left")
	}
	s.app.exit(one)
}

func TestLogHoldsNoNameAndNoMessage(t *testing.T) {
	var log lockedBuffer
	s := newSite(t, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	v, _ := s.visit("S3CRET-name")
	v.say("S3CRET-text")
	v.next(eventMessage)
	v.say("/close 4321 S3CRET-reason")
	v.wantClose(4321, "S3CRET-reason")
	if err := s.app.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); strings.Contains(got, "S3CRET") || !strings.Contains(got, `"code":4321`) {
		t.Errorf("log %s", got)
	}
}

func (s *site) get(path string, header http.Header) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response
}
