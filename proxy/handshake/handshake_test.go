package handshake

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// sampleKey and its answer are those of RFC 6455 section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// hs0 is a handshake as browsers make it.
const hs0 = "GET /ws HTTP/1.1\r\nHost: app.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\nOrigin: https://app.example.com\r\n\r\n"

// with returns hs0 with one line replaced: edit is "old => new", where a new of several lines is parted by "\n" and an empty one removes the
// line; without " => " it is added as a field.
func with(t testing.TB, edits ...string) string {
	t.Helper()
	raw := hs0
	for _, edit := range edits {
		from, to, replace := strings.Cut(edit, " => ")
		if !replace {
			raw = strings.TrimSuffix(raw, "\r\n") + edit + "\r\n\r\n"
			continue
		}
		at := strings.Index(raw, from)
		if at < 0 {
			t.Fatalf("no %q in the handshake", from)
		}
		end := at + strings.Index(raw[at:], "\r\n")
		if to != "" {
			to = strings.ReplaceAll(to, "\n", "\r\n") + "\r\n"
		}
		raw = raw[:at] + to + raw[end+2:]
	}
	return raw
}

// travel takes raw bytes through what the gateway does with them: ScanHead, net/http, ParseOffer.
func travel(t testing.TB, raw string) (*Offer, *Refusal) {
	t.Helper()
	h, n, refusal := ScanHead([]byte(raw))
	if refusal != nil {
		return nil, refusal
	}
	if n == 0 {
		t.Fatalf("ScanHead wants more than %q", raw)
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatalf("http.ReadRequest refuses what ScanHead accepted: %v", err)
	}
	if !IsUpgrade(r) {
		t.Fatal("not seen as an upgrade")
	}
	o, refusal := ParseOffer(r)
	if refusal == nil && !h.Upgrade {
		t.Error("accepted, but ScanHead saw no Upgrade field")
	}
	if (o == nil) == (refusal == nil) {
		t.Fatalf("want an offer or a refusal, got %v and %v", o, refusal)
	}
	return o, refusal
}

// mustTravel is travel of a handshake that must be accepted.
func mustTravel(t testing.TB, raw string) *Offer {
	t.Helper()
	o, refusal := travel(t, raw)
	if refusal != nil {
		t.Fatalf("refused: %v", refusal)
	}
	return o
}

// checkStatus wants a refusal of one status with what every refusal must have.
func checkStatus(t testing.TB, refusal *Refusal, want int) {
	t.Helper()
	if refusal == nil {
		t.Fatalf("accepted, want %d", want)
	}
	if refusal.Status != want {
		t.Fatalf("refused with %v, want %d", refusal, want)
	}
	if refusal.Reason == "" || refusal.Detail == "" {
		t.Errorf("refusal %+v lacks a reason or a detail", refusal)
	}
	for _, c := range []byte(refusal.Detail + refusal.Reason) {
		if c < ' ' || c > '~' {
			t.Errorf("raw byte %#x in %q", c, refusal.Detail)
		}
	}
}
