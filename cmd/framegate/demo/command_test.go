package demo

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// lockedBuffer is a log that many goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestCloseCommand(t *testing.T) {
	tests := []struct {
		line   string
		code   websocket.StatusCode
		reason string
	}{
		{"/close 4321 see you", 4321, "see you"},
		{"/close 1000", 1000, ""},
		{"/close 1014   spaced  out ", 1014, "spaced  out"},
		{"/close 3000 " + strings.Repeat("é", 100), 3000, strings.Repeat("é", 61)},
	}
	s := quietSite(t)
	for _, test := range tests {
		v, _ := s.visit("Ada")
		v.say(test.line)
		v.wantClose(test.code, test.reason)
	}
}

func TestCloseCommandRefusesCodesThatNeverTravel(t *testing.T) {
	s := quietSite(t)
	v, _ := s.visit("Ada")
	for _, code := range []string{"", "0", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "65536", "-1", "+1000", "abc"} {
		v.say("/close " + code)
		if e := v.next(eventNotice); !strings.Contains(e.Text, "want 1000 to 1014") {
			t.Errorf("code %q: notice %q", code, e.Text)
		}
	}
}

func TestDieEndsWithoutClose(t *testing.T) {
	s := quietSite(t)
	ada, _ := s.visit("Ada")
	bob, _ := s.visit("Bob")
	ada.next(eventJoin)
	bob.say("/die")
	err := bob.ended()
	if errors.As(err, new(websocket.CloseError)) {
		t.Errorf("a Close frame came: %v", err)
	}
	if e := ada.next(eventLeave); e.Name != "Bob" {
		t.Errorf("leave %+v", e)
	}
}

func TestMisbehaviour(t *testing.T) {
	s := quietSite(t)
	v, _ := s.visit("Ada")
	v.conn.SetReadLimit(2 * hugeSize)
	v.say("/bad")
	kind, b, err := v.conn.Read(v.ctx)
	if err != nil || kind != websocket.MessageText || utf8.Valid(b) {
		t.Errorf("/bad sent %v %q, %v; want a text message that is not UTF-8", kind, b, err)
	}
	v.say("/huge")
	if _, b, err = v.conn.Read(v.ctx); err != nil || len(b) != hugeSize {
		t.Errorf("/huge sent %d bytes, %v; want %d", len(b), err, hugeSize)
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	s := quietSite(t)
	v, _ := s.visit("Ada")
	v.say("/help")
	help := v.next(eventNotice).Text
	for _, name := range []string{"/close", "/die", "/bad", "/huge", "/name"} {
		if !strings.Contains(help, name) {
			t.Errorf("help does not name %s: %q", name, help)
		}
	}
	v.say("/dance now")
	if e := v.next(eventNotice); e.Text != `unknown command "/dance"; /help lists them` {
		t.Errorf("notice %q", e.Text)
	}
}

func FuzzParseClose(f *testing.F) {
	f.Add("4321 see you")
	f.Add("1005")
	f.Add("1000 " + strings.Repeat("€", 50))
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseClose(strings.ToValidUTF8(s, "?"))
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 300 {
				t.Fatalf("error %q is not fit to be shown", err)
			}
			return
		}
		if len(e.reason) > maxReason || !utf8.ValidString(e.reason) || e.abrupt || !validCloseCode(uint64(e.code)) {
			t.Fatalf("parseClose(%q) = %+v, which no Close frame can carry", s, e)
		}
	})
}
