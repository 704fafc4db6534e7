package proxy

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/framegate/framegate/internal/wstest"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"plain", "/chat/room-1", "/chat/room-1"},
		{"other scripts", "/räume/聊天", "/räume/聊天"},
		{"line ends", "a\r\nb\u2028c\u2029d\u0085e", "a??b?c?d?e"},
		{"escape sequences", "\x1b[31mred\x1b[0m\x9b31m", "?[31mred?[0m?31m"},
		{"controls", "\x00\x07\x08\x7f", "????"},
		{"text that runs backwards", "user\u202etxt.exe\u2066", "user?txt.exe?"},
		{"what is not seen", "a\u200bb\ufeffc\u00add", "a?b?c?d"},
		{"not UTF-8", "a\xffb\xc3", "a?b?"},
		{"the greatest size", strings.Repeat("x", maxLogged), strings.Repeat("x", maxLogged)},
		{"longer", strings.Repeat("x", maxLogged+1), strings.Repeat("x", maxLogged)},
		{"cut at a rune's edge", strings.Repeat("x", maxLogged-1) + "€", strings.Repeat("x", maxLogged-1)},
	} {
		if got := clean(row.text); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// Whatever a client writes, a line of the log stays one line of bounded size.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "\x1b[0m", strings.Repeat("é", maxLogged), "\xff\xfe", "a\u202eb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		if len(got) > maxLogged || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == '\u2028' }) {
			t.Errorf("%q became %q", text, got)
		}
		if again := clean(got); again != got {
			t.Errorf("%q became %q, and that %q", text, got, again)
		}
	})
}

func TestNewLogger(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"debug", "info", "warn", "error"} {
		var b bytes.Buffer
		log := NewLogger(LogConfig{Level: level, Format: "json"}, &b)
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), l, "event", "key", "value")
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		var first map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first["level"] != strings.ToUpper(level) || first["msg"] != "event" || first["key"] != "value" {
			t.Errorf("level %s: the first line is %q", level, lines[0])
		}
	}
	var b bytes.Buffer
	NewLogger(LogConfig{Level: "info", Format: "text"}, &b).Info("event", "key", "two words")
	if !strings.Contains(b.String(), `level=INFO msg=event key="two words"`) {
		t.Errorf("text: got %q", b.String())
	}
}

// A session leaves one line that says what it was, and none of what it carried.
func TestLogOfASession(t *testing.T) {
	t.Parallel()
	secret := wstest.Canary
	up := wstest.NewRecorder(t, wstest.EchoWith("Sec-WebSocket-Protocol: chat"))
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c := wstest.Dial(t, g.addr)
	c.Upgrade(wstest.HS0("/room%E2%80%AE?token="+secret).With("Origin", "http://app.example.com").Add("Cookie: session="+secret, "Authorization: Bearer "+secret, "X-Api-Key: "+secret,
		"Sec-WebSocket-Protocol: chat, bearer."+secret, "X-Forwarded-For: "+secret, "User-Agent: "+secret))
	c.Send(wstest.ClientFrame(0x81, []byte(secret)))
	c.Frame()
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(4321, secret)))
	c.ExpectClose(4321)
	c.Close()
	waitFor(t, "the line", func() bool { return len(g.log.lines(t, "connection")) == 1 })
	line := g.log.lines(t, "connection")[0]
	for key, want := range map[string]any{
		"route": "app", "upstream": up.Addr(), "protocol": "HTTP/1.1", "host": "app.example.com", "path": "/room?", "subprotocol": "chat",
		"status": 101.0, "close_code": 4321.0, "close_side": "client", "cause": "peer_closed", "messages_client": 1.0, "messages_upstream": 1.0, "bytes_client": 14.0, "bytes_upstream": 14.0,
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if client, ok := line["client"].(string); !ok || !strings.HasPrefix(client, "127.0.0.1:") {
		t.Errorf("client is %v", line["client"])
	}
	if d, ok := line["duration"].(float64); !ok || d <= 0 {
		t.Errorf("duration is %v", line["duration"])
	}
	if strings.Contains(g.log.String(), secret) {
		t.Errorf("the log holds a secret: %s", g.log)
	}
}

// So does a refusal.
func TestLogOfARefusal(t *testing.T) {
	t.Parallel()
	secret := wstest.Canary
	g := startGateway(t, oneRoute("ws://127.0.0.1:9", ""))
	for path, request := range map[string]*wstest.Request{
		"/policy":   wstest.HS0("/policy?token="+secret).With("Origin", "https://"+secret+".example"),
		"/upstream": wstest.HS0("/upstream?token=" + secret).Without("Origin"),
		"/version":  wstest.HS0("/version").With("Sec-WebSocket-Version", "8"),
		"/plain":    wstest.Plain("/plain?token=" + secret),
	} {
		request.Add("Cookie: session="+secret, "Authorization: Bearer "+secret)
		c := wstest.Dial(t, g.addr)
		c.Send(request.Bytes())
		wstest.CheckRefusal(t, c.Response())
		c.ExpectEnd(wstest.Patience)
		lines := g.log.lines(t, "refused")
		line := lines[len(lines)-1]
		for _, key := range []string{"client", "protocol", "host", "route", "status", "reason", "result"} {
			if line[key] == nil || line[key] == "" {
				t.Errorf("%s: the line has no %s: %v", path, key, line)
			}
		}
		if line["path"] != path {
			t.Errorf("%s: the line is of the path %v", path, line["path"])
		}
		if path == "/policy" && (line["policy"] != "default" || line["rule"] != "origin") {
			t.Errorf("the line does not say which rule refused: %v", line)
		}
	}
	if strings.Contains(strings.ToUpper(g.log.String()), secret) {
		t.Errorf("the log holds a secret: %s", g.log)
	}
}
