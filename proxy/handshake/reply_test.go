package handshake

import (
	"bufio"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// accepted is the answer of an upstream to sampleKey.
const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n"

// reply is a scanned 101 with further fields.
func reply(t testing.TB, lines ...string) *Reply {
	t.Helper()
	return scanned(t, accepted+strings.Join(append(lines, ""), "\r\n")+"\r\n")
}

func scanned(t testing.TB, raw string) *Reply {
	t.Helper()
	r, n, refusal := ScanReply([]byte(raw))
	if refusal != nil || n == 0 {
		t.Fatalf("%q: n %d, %v", raw, n, refusal)
	}
	return r
}

func TestScanReplyAccepts(t *testing.T) {
	for _, tc := range []struct {
		name, raw string
		status    int
		length    int64
		chunked   bool
		interim   bool
	}{
		{"101", accepted + "\r\nbytes of the session", 101, 0, false, false},
		{"101 with length 0", accepted + "Content-Length: 0\r\n\r\n", 101, 0, false, false},
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", 100, 0, false, true},
		{"103", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 103, 0, false, true},
		{"no reason", "HTTP/1.1 200\r\n\r\n", 200, -1, false, false},
		{"empty reason", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", 200, 5, false, false},
		{"strange reason", "HTTP/1.1 404 \tcaf\xc3\xa9 \x80\r\nContent-Length: 5\r\n\r\n", 404, 5, false, false},
		{"H-17 302", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 1073741824\r\n\r\n", 302, 1 << 30, false, false},
		{"chunked", "HTTP/1.1 500 x\r\ntransfer-encoding: CHUNKED\r\n\r\n", 500, -1, true, false},
		{"until the end", "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic\r\n\r\n", 401, -1, false, false},
		{"1.0", "HTTP/1.0 404 x\r\n\r\n", 404, -1, false, false},
		{"204", "HTTP/1.1 204 x\r\n\r\n", 204, 0, false, false},
		{"304", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", 304, 0, false, false},
		{"304 chunked", "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", 304, 0, false, false},
		{"other names", "HTTP/1.1 200 x\r\nX_Powered.By: a\r\nContent-Length: 0\r\n\r\n", 200, 0, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, n, refusal := ScanReply([]byte(tc.raw))
			if refusal != nil {
				t.Fatal(refusal)
			}
			if want := strings.Index(tc.raw, "\r\n\r\n") + 4; n != want {
				t.Errorf("n = %d, want %d", n, want)
			}
			if r.Status != tc.status || r.BodyLength != tc.length || r.Chunked != tc.chunked || r.Interim() != tc.interim {
				t.Errorf("got %+v", r)
			}
			checkReplyPrefixes(t, []byte(tc.raw))
		})
	}
}

func TestScanReplyRefuses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tc := range []struct{ name, raw string }{
		{"H-18 17 KiB", ok + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 17) + "\r\n"},
		{"H-18 17 KiB in one line", ok + "X: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"},
		{"H-18 17 KiB of reason", "HTTP/1.1 200 " + strings.Repeat("a", 17<<10)},
		{"H-18 101 fields", ok + strings.Repeat("X: a\r\n", 101) + "\r\n"},
		{"S-20 TLS from the upstream", "\x15\x03\x01\x00\x02\x02\x28"},
		{"S-20 banner", "220 mail.example.com ESMTP\r\n"},
		{"S-20 frames", "\x81\x05hello"},
		{"empty line first", "\r\n" + ok + "\r\n"},
		{"bare LF", strings.ReplaceAll(accepted, "\r\n", "\n") + "\n"},
		{"bare CR", ok + "A: b\rc\r\n\r\n"},
		{"NUL", ok + "A: \x00\r\n\r\n"},
		{"obs-fold", ok + "A: b\r\n c\r\n\r\n"},
		{"no colon", ok + "A\r\n\r\n"},
		{"empty name", ok + ": a\r\n\r\n"},
		{"space before colon", ok + "A : a\r\n\r\n"},
		{"lower case", "http/1.1 200 OK\r\n\r\n"},
		{"1.2", "HTTP/1.2 200 OK\r\n\r\n"},
		{"2", "HTTP/2 200 OK\r\n\r\n"},
		{"2.0", "HTTP/2.0 200 OK\r\n\r\n"},
		{"1.0 with 101", "HTTP/1.0 101 x\r\n\r\n"},
		{"1.0 chunked", "HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"two spaces", "HTTP/1.1  200 OK\r\n\r\n"},
		{"tab", "HTTP/1.1\t200 OK\r\n\r\n"},
		{"two digits", "HTTP/1.1 20 OK\r\n\r\n"},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n"},
		{"sign", "HTTP/1.1 +20 OK\r\n\r\n"},
		{"letters", "HTTP/1.1 2x0 OK\r\n\r\n"},
		{"no status", "HTTP/1.1 \r\n\r\n"},
		{"version only", "HTTP/1.1\r\n\r\n"},
		{"99", "HTTP/1.1 099 OK\r\n\r\n"},
		{"600", "HTTP/1.1 600 OK\r\n\r\n"},
		{"999", "HTTP/1.1 999 OK\r\n\r\n"},
		{"CL twice", ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
		{"CL list", ok + "Content-Length: 1, 1\r\n\r\n"},
		{"CL sign", ok + "Content-Length: -1\r\n\r\n"},
		{"CL then TE", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"TE then CL", ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"},
		{"TE twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"TE gzip", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
		{"Trailer", ok + "Transfer-Encoding: chunked\r\nTrailer: Transfer-Encoding\r\n\r\n"},
		{"101 with a body", accepted + "Content-Length: 1\r\n\r\n"},
		{"101 chunked", accepted + "Transfer-Encoding: chunked\r\n\r\n"},
		{"100 with a body", "HTTP/1.1 100 x\r\nContent-Length: 1\r\n\r\n"},
		{"204 with a body", "HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\n"},
		{"204 chunked", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, n, refusal := ScanReply([]byte(tc.raw))
			checkStatus(t, refusal, http.StatusBadGateway)
			if n != 0 || r != nil || refusal.Reason != reasonUpstreamReply {
				t.Errorf("%+v, n %d, reason %q", r, n, refusal.Reason)
			}
			checkReplyPrefixes(t, []byte(tc.raw))
		})
	}
}

// TestScanReplyLimit has the longest head that is allowed, and one byte more.
func TestScanReplyLimit(t *testing.T) {
	raw := accepted + "X: "
	raw += strings.Repeat("a", MaxHead-len(raw)-4)
	if r, n, refusal := ScanReply([]byte(raw + "\r\n\r\n")); r == nil || n != MaxHead || refusal != nil {
		t.Errorf("n %d, %v", n, refusal)
	}
	if _, _, refusal := ScanReply([]byte(raw + "a\r\n\r\n")); refusal == nil {
		t.Error("one byte over the limit is accepted")
	}
	checkReplyPrefixes(t, []byte(raw+"a\r\n\r\n"))
}

// checkReplyPrefixes is checkPrefixes for answers.
func checkReplyPrefixes(t testing.TB, b []byte) {
	t.Helper()
	whole, n, refusal := ScanReply(b)
	var s ReplyScanner
	for i := range len(b) + 1 {
		h, m, r := s.Scan(b[:i:i])
		if m == 0 && r == nil {
			continue
		}
		if m != n || !reflect.DeepEqual(r, refusal) || !reflect.DeepEqual(h, whole) {
			t.Fatalf("after %d bytes: n %d, %v; the whole gives n %d, %v", i, m, r, n, refusal)
		}
		for _, k := range []int{0, i / 2, i - 1} {
			if _, m, r := ScanReply(b[:max(k, 0)]); m != 0 || r != nil {
				t.Fatalf("ScanReply of %d of %d bytes: n %d, %v", k, i, m, r)
			}
		}
		return
	}
	if n != 0 || refusal != nil {
		t.Fatalf("the whole gives n %d, %v; byte by byte nothing", n, refusal)
	}
}

func TestReplyScannerIsLinear(t *testing.T) {
	raw := []byte(accepted + "X: " + strings.Repeat("a", 16000))
	best := time.Hour
	for range 3 {
		start := time.Now()
		var s ReplyScanner
		for i := range raw {
			if _, n, refusal := s.Scan(raw[:i+1]); n != 0 || refusal != nil {
				t.Fatalf("after %d bytes: %d, %v", i+1, n, refusal)
			}
		}
		best = min(best, time.Since(start))
	}
	if best > 50*time.Millisecond {
		t.Errorf("%d bytes took %v", len(raw), best)
	}
}

// TestInterims reads several heads behind one another, as a gateway does that counts them.
func TestInterims(t *testing.T) {
	raw := []byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + accepted + "\r\n\x81\x00")
	var got []int
	for {
		r, n, refusal := ScanReply(raw)
		if refusal != nil {
			t.Fatal(refusal)
		}
		got, raw = append(got, r.Status), raw[n:]
		if !r.Interim() {
			break
		}
	}
	if !reflect.DeepEqual(got, []int{100, 103, 101}) || string(raw) != "\x81\x00" {
		t.Errorf("got %v, rest %q", got, raw)
	}
}

func TestEndToEnd(t *testing.T) {
	r := scanned(t, "HTTP/1.1 401 x\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nLocation: /login\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"+
		"Proxy-Authenticate: x\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: x\r\nWWW-Authenticate: Basic\r\n\r\n")
	want := http.Header{"Set-Cookie": {"a=1", "b=2"}, "Location": {"/login"}, "Www-Authenticate": {"Basic"}}
	if got := r.EndToEnd(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(r.Header["Connection"]) != 1 {
		t.Error("the reply itself was changed")
	}
}

func BenchmarkScanReply(b *testing.B) {
	raw := []byte(accepted + "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ScanReply(raw)
	}
}

// readResponse is net/http's reading of the same bytes.
func readResponse(t testing.TB, raw []byte) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
	if err != nil {
		t.Fatalf("http.ReadResponse refuses what ScanReply accepted: %v in %q", err, raw)
	}
	return resp
}
