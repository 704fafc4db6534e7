package handshake

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRefusal(t *testing.T) {
	_, refusal := travel(t, with(t, "Sec-WebSocket-Version => Sec-WebSocket-Version: 8"))
	if got, want := refusal.Error(), `426 WebSocket version not supported: Sec-WebSocket-Version is not 13`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := strings.ReplaceAll(`HTTP/1.1 426 Upgrade Required
Connection: close
Sec-WebSocket-Version: 13
Connection: Upgrade
Upgrade: websocket
Content-Type: application/problem+json
X-Content-Type-Options: nosniff
Content-Length: 90

{"title": "Upgrade Required", "status": 426, "detail": "WebSocket version not supported"}`, "\n", "\r\n") + "\n"
	if got := string(refusal.AppendHTTP1(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := (&Refusal{Status: 400, Reason: "x"}).Error(); got != "400 x" {
		t.Errorf("got %q", got)
	}
}

// TestRefusalsAreResponses reads every refusal of ScanHead as a client would.
func TestRefusalsAreResponses(t *testing.T) {
	for _, tc := range headRefusals {
		_, _, refusal := ScanHead([]byte(tc.raw))
		raw := string(refusal.AppendHTTP1([]byte("before ")))
		br := bufio.NewReader(strings.NewReader(strings.TrimPrefix(raw, "before ")))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%s: %v in %q", tc.name, err, raw)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(body), `"detail": "`+refusal.Reason+`"`) || !json.Valid(body) || br.Buffered() != 0 {
			t.Errorf("%s: body %q, %v, %d bytes left", tc.name, body, err, br.Buffered())
		}
		if resp.StatusCode != refusal.Status || !resp.Close {
			t.Errorf("%s: %+v", tc.name, resp)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a":                      `"a"`,
		"a\"\r\n\x1b[0m\u202e":   `"a\"\r\n\x1b[0m\u202e"`,
		"\xff":                   `"\xff"`,
		strings.Repeat("a", 65):  `"` + strings.Repeat("a", 64) + `"...`,
		strings.Repeat("\n", 99): `"` + strings.Repeat(`\n`, 64) + `"...`,
	} {
		if got := quote(in); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := quote([]byte(in)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
