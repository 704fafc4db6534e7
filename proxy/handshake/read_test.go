package handshake

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadReply(t *testing.T) {
	const final = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	for _, interim := range []int{0, 1, 5} {
		text := strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", interim) + final + "hi"
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			reply, b, n, refusal := ReadReply(r)
			if refusal != nil || reply.Status != 200 || string(b[:n]) != final || !strings.HasPrefix("hi", string(b[n:])) {
				t.Errorf("%d interim answers, %s: %v, head %q, behind it %q, %v", interim, name, reply, b[:n], b[n:], refusal)
			}
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "ended before the answer",
		"HTTP/1.1 200 OK\r\n":     "ended before the answer",
		"SSH-2.0-OpenSSH\r\n\r\n": "malformed status line",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 6):     "too many interim answers",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 17<<10): "more than 16 KiB",
	} {
		if _, _, _, refusal := ReadReply(strings.NewReader(text)); refusal == nil || refusal.Status != 502 || !strings.Contains(refusal.Detail, want) {
			t.Errorf("%.40q: %+v, want one with %q", text, refusal, want)
		}
	}
	_, _, _, refusal := ReadReply(iotest.ErrReader(errors.New("broken pipe")))
	if refusal == nil || refusal.Detail != "reading the answer: broken pipe" {
		t.Errorf("a broken connection: %+v", refusal)
	}
}
