package handshake

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
)

func TestAppendRequest(t *testing.T) {
	o := mustTravel(t, with(t,
		"GET => GET /w%73?a=b HTTP/1.1", "Host => Host: App.Example.com:8443", "X-Forwarded-For: 6.6.6.6", "Cookie: a=b", "Accept: b", "Cookie: c=d",
		"Sec-WebSocket-Protocol: chat, v2", `Sec-WebSocket-Extensions: permessage-deflate;client_max_window_bits="12"`))
	fwd := Forwarded{For: "192.0.2.1", Proto: "https", Host: "app.example.com"}
	got := string(o.AppendRequest([]byte("before "), "bmV3IGtleSBhbmQgbW9yZQ==", fwd, Pass))
	want := strings.ReplaceAll(`before GET /ws?a=b HTTP/1.1
Host: app.example.com:8443
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: bmV3IGtleSBhbmQgbW9yZQ==
Sec-WebSocket-Protocol: chat, v2
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12
Accept: b
Cookie: a=b
Cookie: c=d
Origin: https://app.example.com
X-Forwarded-For: 192.0.2.1
X-Forwarded-Proto: https
X-Forwarded-Host: app.example.com

`, "\n", "\r\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for range 20 { // maps have no order of their own
		if again := string(o.AppendRequest([]byte("before "), "bmV3IGtleSBhbmQgbW9yZQ==", fwd, Pass)); again != got {
			t.Fatalf("differs:\n%s", again)
		}
	}
	checkRebuilt(t, o)
}

// TestDeclineCompression is compression: off; what was not sent must not be answered.
func TestDeclineCompression(t *testing.T) {
	o := mustTravel(t, with(t, "Sec-WebSocket-Extensions: permessage-deflate"))
	if sent := string(o.AppendRequest(nil, sampleKey, Forwarded{}, Off)); strings.Contains(sent, "Extensions") || strings.Contains(sent, "X-Forwarded") {
		t.Errorf("sent %q", sent)
	}
	if _, refusal := o.Verify(sampleKey, reply(t, "Sec-WebSocket-Extensions: permessage-deflate")); refusal == nil {
		t.Error("an answer to a declined offer is accepted")
	}
}

// TestAppendRequestInjects tries to end lines from within values that other code may have put into the offer.
func TestAppendRequestInjects(t *testing.T) {
	const evil = "a\r\nX-Injected: 1\r\n\r\nGET /admin HTTP/1.1\n\x00\x7f"
	o := mustTravel(t, hs0)
	o.Header = maps.Clone(o.Header)
	for _, name := range []string{
		"X-Claim", "X-Ok\r\nX-Injected", "X Space", "X_Under", "", "Content-Length", "transfer-encoding", "Connection", "Host", "sec-websocket-key",
		"Upgrade", "Te", "X-Forwarded-For", "Forwarded", ":authority",
	} {
		o.Header[name] = []string{evil}
	}
	o.Path, o.RawQuery, o.Authority = "/"+evil, evil, "host"+evil
	o.Subprotocols = []string{evil}
	o.Header["X-Empty"] = []string{""}
	sent := o.AppendRequest(nil, evil, Forwarded{evil, evil, evil}, Pass)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(sent, "rest"...))))
	if err != nil {
		t.Fatalf("%v in %q", err, sent)
	}
	want := map[string]bool{
		"Upgrade": true, "Connection": true, "Sec-Websocket-Version": true, "Sec-Websocket-Key": true, "Sec-Websocket-Protocol": true, "Origin": true,
		"X-Claim": true, "X-Empty": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Forwarded-Host": true,
	}
	for name, values := range r.Header {
		if !want[name] || len(values) != 1 {
			t.Errorf("field %q: %q", name, values)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("lost: %v", want)
	}
	if bytes.Count(sent, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(sent, []byte("\r\n\r\n")) {
		t.Errorf("more than one head in %q", sent)
	}
	a := Agreement{Subprotocol: evil, Extensions: evil, Header: o.Header}
	if got := o.AppendAccept(nil, a); bytes.Count(got, []byte("\r\n\r\n")) != 1 || bytes.Contains(got, []byte("\nX-Injected")) {
		t.Errorf("more than one head in %q", got)
	}
}

func TestAppendAccept(t *testing.T) {
	o := mustTravel(t, with(t, "Sec-WebSocket-Protocol: chat"))
	got := string(o.AppendAccept(nil, Agreement{
		Subprotocol: "chat", Extensions: "permessage-deflate", Deflate: true,
		Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "Date": {"x"}, "Connection": {"close"}, "Content-Length": {"5"}, "Sec-Websocket-Accept": {"x"}},
	}))
	want := strings.ReplaceAll(`HTTP/1.1 101 Switching Protocols
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: `+sampleAccept+`
Sec-WebSocket-Protocol: chat
Sec-WebSocket-Extensions: permessage-deflate
Date: x
Set-Cookie: a=1
Set-Cookie: b=2

`, "\n", "\r\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = string(o.AppendAccept([]byte("x"), Agreement{}))
	want = "xHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// checkRebuilt states the law of the rebuilt request: our own front door takes it, and reads the same offer out of it.
func checkRebuilt(t testing.TB, o *Offer) {
	t.Helper()
	const key = "bmV3IGtleSBhbmQgbW9yZQ=="
	sent := string(o.AppendRequest(nil, key, Forwarded{For: "192.0.2.1"}, Pass))
	again, refusal := travel(t, sent)
	if refusal != nil {
		t.Fatalf("own request refused with %v: %q", refusal, sent)
	}
	if again.Key != key || again.Host != o.Host || again.Port != o.Port || again.Path != o.Path || again.RawQuery != o.RawQuery ||
		again.Origin != o.Origin || again.HasOrigin != o.HasOrigin || strings.Join(again.Subprotocols, ",") != strings.Join(o.Subprotocols, ",") ||
		!bytes.Equal(AppendExtensions(nil, again.Extensions), AppendExtensions(nil, o.Extensions)) {
		t.Errorf("sent %+v\nread %+v", o, again)
	}
	if !maps.EqualFunc(again.Header, o.Header, func(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }) {
		t.Errorf("sent %q\nread %q", o.Header, again.Header)
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	o := mustTravel(b, with(b, "Cookie: session=abc", "User-Agent: test", "Accept-Language: en"))
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = o.AppendRequest(buf[:0], sampleKey, Forwarded{For: "192.0.2.1", Proto: "https"}, Pass)
	}
}
