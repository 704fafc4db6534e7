package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestRowsSecrets is invariant I2 and what row A-09 says of it: requests, answers and frames that are wrong in the very place of a
// secret. Whatever the gateway writes about them, the secret is not in it; wstest.Guard looks for the canary.
func TestRowsSecrets(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	g.secretRequests(t)
	g.secretAnswers(t)
	g.secretFrames(t)
}

// secretRequests sends heads with the canary in a place that is refused.
func (g *rowGate) secretRequests(t *testing.T) {
	const secret = wstest.Canary + "value"
	base := func() *wstest.Request { return wstest.HS0("/ws") }
	line := func(l string) *wstest.Request {
		r := base()
		r.Line = l
		return r
	}
	for name, request := range map[string]*wstest.Request{
		"cookie with a space before the colon":   base().Add("Cookie : a=" + secret),
		"authorization with a tab before it":     base().Add("Authorization\t: Bearer " + secret),
		"cookie with a NUL":                      base().Add("Cookie: a=" + secret + "\x00"),
		"cookie with a CR":                       base().Add("Cookie: a=" + secret + "\rb"),
		"cookie with control bytes":              base().Add("Cookie: a=" + secret + "\x1b[31m\x07"),
		"cookie of 9 KiB":                        base().Add("Cookie: a=" + strings.Repeat(secret, 1000)),
		"folded cookie":                          base().Add("Cookie: a=b;", " c="+secret),
		"token in a name with an underscore":     base().Add("X_Token: " + secret),
		"token for a name":                       base().Add(secret + "_x: 1"),
		"token in a line without a colon":        base().Add("Bearer " + secret),
		"query, word behind the version":         line("GET /ws?token=" + secret + " HTTP/1.1 x"),
		"query, fragment":                        line("GET /ws?token=" + secret + "#frag HTTP/1.1"),
		"query, bad version":                     line("GET /ws?token=" + secret + " HTTP/9.9"),
		"query, bad escape in the path":          line("GET /ws/%zz?token=" + secret + " HTTP/1.1"),
		"query, dots in the path":                line("GET /ws/../x?token=" + secret + " HTTP/1.1"),
		"query, control byte":                    line("GET /ws?token=" + secret + "\x01 HTTP/1.1"),
		"query, unknown path":                    line("GET /nowhere?token=" + secret + " HTTP/1.1"),
		"query, over-long":                       line("GET /ws?token=" + strings.Repeat(secret, 1000) + " HTTP/1.1"),
		"query, method":                          line("POST /ws?token=" + secret + " HTTP/1.1"),
		"query, absolute form":                   line("GET http://evil/ws?token=" + secret + " HTTP/1.1"),
		"password in the target":                 line("GET http://user:" + secret + "@app.example.com/ws HTTP/1.1"),
		"password in the Host":                   base().With("Host", "user:"+secret+"@app.example.com"),
		"key that is not base64":                 base().With("Sec-WebSocket-Key", secret+"!"),
		"key of 32 bytes":                        base().With("Sec-WebSocket-Key", "UzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzNDUkVUUzM="),
		"subprotocol twice":                      base().Add("Sec-WebSocket-Protocol: bearer." + secret + ", bearer." + secret),
		"subprotocol with a space":               base().Add("Sec-WebSocket-Protocol: bearer " + secret),
		"extension parameter, unparsable":        base().Add(`Sec-WebSocket-Extensions: x-auth; token="` + secret),
		"two authorizations and a wrong version": base().Add("Authorization: Bearer "+secret, "Authorization: Basic "+secret).With("Sec-WebSocket-Version", "9"),
		"wrong origin":                           base().Add("Cookie: a="+secret, "Authorization: Bearer "+secret).With("Origin", "https://evil.io"),
		"length that is none":                    base().Add("Content-Length: " + secret),
		"transfer coding that is none":           base().Add("Transfer-Encoding: " + secret),
		"body":                                   base().Add("Content-Length: 11").Then(secret),
		"early bytes":                            line("GET /nowhere HTTP/1.1").Then(secret),
		"path of 7 KiB":                          line("GET /nowhere/" + strings.Repeat("p", 7000) + " HTTP/1.1"),
		"host of 250 bytes":                      base().With("Host", strings.Repeat("h", 60)+strings.Repeat("."+strings.Repeat("h", 60), 3)),
		"control bytes in the origin":            base().With("Origin", "https://\x1b]0;evil\x07"),
		"control bytes in the host":              base().With("Host", "app\x1b[2Jexample.com"),
	} {
		t.Run("A-09/"+name, func(t *testing.T) {
			c := wstest.Dial(t, g.Addr)
			c.Send(request.Bytes())
			resp := c.Response()
			if resp.Status < 400 {
				t.Errorf("got %q, want a refusal", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
		})
	}
}

// secretAnswers lets the upstream make its mistakes in the place of a secret.
func (g *rowGate) secretAnswers(t *testing.T) {
	const secret = wstest.Canary + "answer"
	for name, answer := range map[string]wstest.Behaviour{
		"cookie with a NUL":                  with("Set-Cookie: a=" + secret + "\x00"),
		"subprotocol that was not offered":   with("Sec-WebSocket-Protocol: " + secret),
		"extension that was not offered":     with("Sec-WebSocket-Extensions: " + secret),
		"accept":                             without(2, "Sec-WebSocket-Accept: "+secret),
		"status line":                        wstest.Send([]byte("HTTP/1.1 " + secret + "\r\n\r\n")),
		"no HTTP":                            wstest.Send([]byte(secret + "\r\n\r\n")),
		"field without a colon":              with(secret),
		"refusal whose body breaks off":      wstest.Then(wstest.Send(append(wstest.Head("HTTP/1.1 403 "+"Forbidden", "Content-Length: 100"), secret...)), wstest.Hangup),
		"upgrade to something else":          without(0, "Upgrade: "+secret),
		"cookie that is folded":              with("Set-Cookie: a=b", " "+secret),
		"reason phrase with control bytes":   wstest.Send([]byte("HTTP/1.1 400 \x1b[31m" + secret + "\r\nContent-Length: 0\r\n\r\n")),
		"interim answer with control bytes":  wstest.Send([]byte("HTTP/1.1 103 \x07\r\nSet-Cookie: " + secret + "\r\n\r\n")),
		"field name with an escape sequence": with("X\x1b: " + secret),
	} {
		t.Run("A-09/upstream, "+name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, answer)
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.HS0(path).Bytes())
			if resp := c.Head(); resp.Status < 400 {
				t.Errorf("got %q, want a refusal", resp.Line)
			}
		})
	}
}

// secretFrames ends sessions with the canary in payloads and reasons.
func (g *rowGate) secretFrames(t *testing.T) {
	const secret = wstest.Canary + "payload"
	escapes := "\x1b[31m" + secret + "\r\n{\"msg\":\"forged\"}"
	for name, frame := range map[string][]byte{
		"reason of a Close":         wstest.ClientFrame(0x88, wstest.CloseFrame(4000, secret)),
		"reason with escapes":       wstest.ClientFrame(0x88, wstest.CloseFrame(4000, escapes)),
		"reason that is no UTF-8":   wstest.ClientFrame(0x88, wstest.CloseFrame(4000, secret+"\xff")),
		"text that is no UTF-8":     wstest.ClientFrame(0x81, []byte(secret+"\xff")),
		"reserved opcode":           wstest.ClientFrame(0x83, []byte(secret)),
		"frame that is too big":     append(wstest.Hex("81 FF 0000000040000000 M"), secret...),
		"ping that is too long":     append(wstest.Hex("89 FE 00FF M"), secret...),
		"unmasked text":             append(wstest.Hex("81 0D"), secret...),
		"request in place of frame": []byte("GET /?token=" + secret + " HTTP/1.1\r\n\r\n"),
	} {
		t.Run("A-09/frame, "+name, func(t *testing.T) {
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(wstest.HS0(rowPath(t)))
			c.Send(frame)
			f := c.Frame()
			_, reason := f.CloseCode()
			if !f.IsClose() || strings.Contains(reason, wstest.Canary) && !strings.HasPrefix(name, "reason") {
				t.Errorf("got %v", f)
			}
			c.Send(wstest.Hex("88 82 M 03e8"))
			c.ExpectEnd(wstest.Patience)
		})
		if name == "unmasked text" {
			continue // which is what an upstream's text is
		}
		t.Run("A-09/upstream's frame, "+name, func(t *testing.T) {
			path := rowPath(t)
			g.up.Handle(path, wstest.Then(wstest.AcceptAnd(wstest.Unmask(frame)), wstest.AnswerClose))
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(wstest.HS0(path))
			for f := c.Frame(); !f.IsClose(); f = c.Frame() {
			}
		})
	}
}

// TestRowsTextLog is the other format of the log: what a client says cannot forge a line or a field, or reach a terminal.
func TestRowsTextLog(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	config := fmt.Sprintf(`
version: 1
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}
routes:
  - {name: r, hosts: [app.example.com], upstream: u}
upstreams:
  u: {servers: ["ws://%s"]}
admin: {address: "off"}
log: {level: debug, format: text}
drain: {delay: 0s, window: 100ms, hard_stop: 10s}
tls: {storage: {file: %s}}
`, up.Addr(), t.TempDir())
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := wstest.StartCommand(t, "run", "--config", file)
	addr := ""
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(3 * wstest.Patience); addr == "" && time.Now().Before(deadline); <-poll.C {
		if m := regexp.MustCompile(`msg=listening.* address=(\S+)`).FindStringSubmatch(p.Stderr()); m != nil {
			addr = m[1]
		}
	}
	forged := "x\" level=ERROR msg=forged a=\"b\nlevel=ERROR msg=forged"
	for _, request := range []*wstest.Request{
		wstest.HS0("/nowhere").With("Host", "app\x1b[2J.example.com"), wstest.HS0("/ws").With("Origin", "https://evil.io\x1b]0;evil"), wstest.HS0("/ws").With("Sec-WebSocket-Version", forged),
		wstest.HS0(`/level=ERROR msg=forged`), wstest.HS0(`/%0alevel=ERROR%20msg=forged`), wstest.HS0("/ws").Add(forged), wstest.HS0("/ws").With("Host", `app.example.com" msg=forged`),
		wstest.HS0("/ws").With("User-Agent", forged), wstest.HS0("/ws").With("Sec-WebSocket-Protocol", "a, a, level=ERROR"),
	} {
		c := wstest.Dial(t, addr)
		c.Send(request.Bytes())
		if resp := c.Response(); resp.Status < 400 {
			t.Errorf("got %q", resp.Line)
		}
	}
	p.Stop()
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	for line := range strings.SplitSeq(p.Stderr(), "\n") {
		if line != "" && !strings.HasPrefix(line, "time=") || strings.Contains(quoted.ReplaceAllString(line, "-"), "forged") {
			t.Errorf("a client wrote into the log: %q", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("control byte in the log line %q", line)
		}
	}
}
