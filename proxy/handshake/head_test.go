package handshake

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const plain = "GET / HTTP/1.1\r\nHost: a\r\n"

func TestScanHeadAccepts(t *testing.T) {
	post := "POST /api?x=#1 HTTP/1.1\r\nHost: a:8443\r\n"
	post = strings.Replace(post, "#", "%23", 1)
	for _, tc := range []struct {
		name, raw            string
		method, target, host string
		length               int64
		chunked, upgrade     bool
	}{
		{"least", plain + "\r\n", "GET", "/", "a", 0, false, false},
		{"H-01", hs0, "GET", "/ws", "app.example.com", 0, false, true},
		{"length", post + "Content-Length: 12\r\n\r\nhello, world", "POST", "/api?x=%231", "a:8443", 12, false, false},
		{"length 0", post + "content-length:0\r\n\r\n", "POST", "/api?x=%231", "a:8443", 0, false, false},
		{"chunked", post + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n", "POST", "/api?x=%231", "a:8443", 0, true, false},
		{"chunked in capitals", post + "TRANSFER-ENCODING:\t Chunked \r\n\r\n", "POST", "/api?x=%231", "a:8443", 0, true, false},
		{"any Upgrade", plain + "uPGRADE: h2c\r\n\r\n", "GET", "/", "a", 0, false, true},
		{"empty Upgrade", plain + "Upgrade:\r\n\r\n", "GET", "/", "a", 0, false, true},
		{"absolute form wins", "GET http://Evil:81/ws?q HTTP/1.1\r\nHost: good\r\n\r\n", "GET", "http://Evil:81/ws?q", "Evil:81", 0, false, false},
		{"absolute form without path", "GET ws://evil?q HTTP/1.1\r\nHost: good\r\n\r\n", "GET", "ws://evil?q", "evil", 0, false, false},
		{"host after the fields", "GET / HTTP/1.1\r\nA: b\r\nHost: \t[::1]:80 \r\n\r\n", "GET", "/", "[::1]:80", 0, false, false},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*", "a", 0, false, false},
		{"text in values", plain + "X: caf\xc3\xa9 \x80\tz\r\nEmpty:\r\n\r\n", "GET", "/", "a", 0, false, false},
		{"query as browsers send it", "GET /?a|b^`{}\\[]%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/?a|b^`{}\\[]%zz", "a", 0, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, n, refusal := ScanHead([]byte(tc.raw))
			if refusal != nil {
				t.Fatal(refusal)
			}
			if want := strings.Index(tc.raw, "\r\n\r\n") + 4; n != want {
				t.Errorf("n = %d, want %d", n, want)
			}
			want := Head{[]byte(tc.method), []byte(tc.target), []byte(tc.host), tc.upgrade, tc.length, tc.chunked}
			if !reflect.DeepEqual(h, want) {
				t.Errorf("got %+v, want %+v", h, want)
			}
			checkPrefixes(t, []byte(tc.raw))
		})
	}
}

// headRefusals are heads with the status that each must get; the ids are the rows of the project's threat list.
var headRefusals = []struct {
	name, raw string
	status    int
}{
	{"H-06 1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 400},
	{"H-06 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
	{"H-06 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	{"H-06 preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"H-06 lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-06 0.9", "GET /\r\n\r\n", 400},
	{"H-06 HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
	{"H-06 HTTP/2", "GET / HTTP/2\r\nHost: a\r\n\r\n", 400},
	{"H-06 HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400},
	{"H-06 HTTP/1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400},
	{"H-09 no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400},
	{"H-09 no field", "GET / HTTP/1.1\r\n\r\n", 400},
	{"H-09 empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
	{"H-09 Host twice", plain + "Host: a\r\n\r\n", 400},
	{"H-09 Host twice with absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400},
	{"H-09 userinfo", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
	{"H-09 space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"H-09 zone", "GET / HTTP/1.1\r\nHost: [::1%25lo]\r\n\r\n", 400},
	{"H-09 list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
	{"H-09 path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"H-10 userinfo", "GET http://a@evil/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-10 no authority", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-10 scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-10 bad Host beside", "GET http://a/ HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
	{"H-10 no Host beside", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
	{"H-13 fragment", "GET /ws#frag HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 fragment in query", "GET /ws?a#frag HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 more words", "GET /ws HTTP/1.1 x\r\nHost: a\r\n\r\n", 400},
	{"H-13 two versions", "GET /ws HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 tab", "GET\t/ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 two spaces", "GET  /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 space before", " GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 space behind", "GET /ws HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"H-13 no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 method", "G(T /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 long method", strings.Repeat("G", 33) + " /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 empty line before", "\r\nGET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 relative", "GET ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"H-13 high bytes", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
	{"CONNECT with a path", "CONNECT /ws HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
	{"S-13 CL then TE", plain + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"S-13 TE then CL", plain + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
	{"S-13 TE then CL 0", plain + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
	{"CL twice", plain + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
	{"CL list", plain + "Content-Length: 5, 5\r\n\r\n", 400},
	{"CL sign", plain + "Content-Length: +5\r\n\r\n", 400},
	{"CL negative", plain + "Content-Length: -5\r\n\r\n", 400},
	{"CL hex", plain + "Content-Length: 0x5\r\n\r\n", 400},
	{"CL empty", plain + "Content-Length:\r\n\r\n", 400},
	{"CL overflow", plain + "Content-Length: 18446744073709551621\r\n\r\n", 400},
	{"CL with space", plain + "Content-Length: 5 5\r\n\r\n", 400},
	{"S-08 other expectation", plain + "Expect: 200-ok\r\n\r\n", 417},
	{"S-08 empty expectation", plain + "Expect:\r\n\r\n", 417},
	{"S-08 second expectation", plain + "Expect: 100-continue\r\nexpect: x\r\n\r\n", 417},
	{"S-14 xchunked", plain + "Transfer-Encoding: xchunked\r\n\r\n", 501},
	{"S-14 list", plain + "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
	{"S-14 gzip", plain + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"S-14 identity", plain + "Transfer-Encoding: identity\r\n\r\n", 501},
	{"S-14 empty", plain + "Transfer-Encoding:\r\n\r\n", 501},
	{"S-14 quoted", plain + "Transfer-Encoding: \"chunked\"\r\n\r\n", 501},
	{"S-14 parameter", plain + "Transfer-Encoding: chunked;q=1\r\n\r\n", 501},
	{"S-14 twice", plain + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"S-14 vertical tab", plain + "Transfer-Encoding: \x0bchunked\r\n\r\n", 400},
	{"S-14 space before colon", plain + "Transfer-Encoding : chunked\r\n\r\n", 400},
	{"S-14 obs-fold", plain + "Transfer-Encoding:\r\n chunked\r\n\r\n", 501},
	{"trailer of framing", plain + "Transfer-Encoding: chunked\r\nTrailer: X, content-length\r\n\r\n", 400},
	{"S-16 empty name", plain + ": v\r\n\r\n", 400},
	{"S-16 name with space", plain + "Foo bar: v\r\n\r\n", 400},
	{"S-16 name with NUL", plain + "Foo\x00: b\r\n\r\n", 400},
	{"S-16 no colon", plain + "Foo\r\n\r\n", 400},
	{"S-16 NUL in value", plain + "Foo: a\x00b\r\n\r\n", 400},
	{"S-16 DEL in value", plain + "Foo: a\x7fb\r\n\r\n", 400},
	{"S-16 high byte in name", plain + "Fo\xc3\xb6: b\r\n\r\n", 400},
	{"S-18 bare LF", strings.ReplaceAll(hs0, "\r\n", "\n"), 400},
	{"S-18 one bare LF", plain + "A: b\n\r\n", 400},
	{"S-18 bare LF at the end", plain + "A: b\r\n\n", 400},
	{"S-18 bare CR in value", plain + "A: b\rc\r\n\r\n", 400},
	{"S-18 CR CR LF", plain + "A: b\r\r\n\r\n", 400},
	{"S-18 bare CR at the end", plain + "\rx", 400},
	{"S-22 underscore", plain + "X_Auth_Sub: a\r\n\r\n", 400},
	{"S-22 underscore in lower case", plain + "x-auth_sub: a\r\n\r\n", 400},
	{"S-22 semicolon", plain + "X-Auth-Sub;: a\r\n\r\n", 400},
	{"S-22 dot", plain + "X.Auth.Sub: a\r\n\r\n", 400},
	{"S-24 backslash first", "GET \\admin HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"S-24 percent alone", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"S-24 percent and a digit", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"S-24 percent and no digits", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"T-15 ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"first line of obs-fold", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
}

func TestScanHeadRefuses(t *testing.T) {
	for _, tc := range headRefusals {
		t.Run(tc.name, func(t *testing.T) {
			_, n, refusal := ScanHead([]byte(tc.raw))
			checkStatus(t, refusal, tc.status)
			if n != 0 {
				t.Errorf("n = %d with a refusal", n)
			}
			checkPrefixes(t, []byte(tc.raw))
			if refusal.Status == 405 && !reflect.DeepEqual(refusal.Header, [][2]string{{"Allow", "GET"}}) {
				t.Errorf("405 with %q, want Allow", refusal.Header)
			}
		})
	}
}

// TestScanHeadIsEager checks that a refusal does not wait for the end of the head: nobody may send one.
func TestScanHeadIsEager(t *testing.T) {
	for _, raw := range []string{"\x16\x03", "\n", "GET / HTTP/1.1\n", "G\x00", plain + "A: \x01", plain + "A b\r\n", "GET / HTTP/2.0\r\n"} {
		if _, _, refusal := ScanHead([]byte(raw)); refusal == nil {
			t.Errorf("no verdict about %q", raw)
		}
	}
}

func TestScanHeadLimits(t *testing.T) {
	fields := func(n, size int) string {
		return strings.Repeat("X: "+strings.Repeat("a", size-len("X: \r\n"))+"\r\n", n)
	}
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" }
	filled := plain + fields(3, 5000)
	filled += fields(1, MaxHead-len(filled)-2)
	for _, tc := range []struct {
		name, raw string
		status    int // 0: accepted
	}{
		{"target at the limit", get("/"+strings.Repeat("a", MaxTarget-1)) + "\r\n", 0},
		{"target over the limit", get("/"+strings.Repeat("a", MaxTarget)) + "\r\n", 414},
		{"target without end", "GET /" + strings.Repeat("a", 9000), 414},
		{"method without end", strings.Repeat("A", 9000), 414},
		{"line at the limit", plain + fields(1, MaxLine+2) + "\r\n", 0},
		{"line over the limit", plain + fields(1, MaxLine+3) + "\r\n", 431},
		{"line without end", plain + "A: " + strings.Repeat("a", MaxLine), 431},
		{"fields at the limit", plain + fields(MaxFields-1, 6) + "\r\n", 0},
		{"fields over the limit", plain + fields(MaxFields, 6) + "\r\n", 431},
		{"head at the limit", filled + "\r\n", 0},
		{"head over the limit", filled + "A:\r\n\r\n", 431},
		{"head full but not ended", filled + "A:", 431},
		{"head over the limit by its last line", filled + "\r", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, n, refusal := ScanHead([]byte(tc.raw))
			if tc.status != 0 {
				checkStatus(t, refusal, tc.status)
			} else if refusal != nil {
				t.Fatal(refusal)
			} else if n > MaxHead {
				t.Errorf("head of %d bytes accepted", n)
			}
			checkPrefixes(t, []byte(tc.raw))
		})
	}
}

// checkPrefixes states the law of incremental reading: each prefix wants more until one is decisive, and from there on the verdict stays. The
// incremental scanner gives the same, fed byte by byte.
func checkPrefixes(t testing.TB, b []byte) {
	t.Helper()
	whole, n, refusal := ScanHead(b)
	var s HeadScanner
	for i := range len(b) + 1 {
		h, m, r := s.Scan(b[:i:i])
		if m == 0 && r == nil {
			continue
		}
		if m != n || !reflect.DeepEqual(r, refusal) || !reflect.DeepEqual(h, whole) {
			t.Fatalf("after %d bytes: n %d, %v; the whole gives n %d, %v", i, m, r, n, refusal)
		}
		checkStateless(t, b, i)
		return
	}
	if n != 0 || refusal != nil {
		t.Fatalf("the whole gives n %d, %v; byte by byte nothing", n, refusal)
	}
}

// checkStateless holds ScanHead on prefixes around the decisive length against the whole.
func checkStateless(t testing.TB, b []byte, decisive int) {
	t.Helper()
	_, n, refusal := ScanHead(b)
	for _, i := range []int{0, 1, decisive / 3, decisive / 2, decisive - 1, decisive, (decisive + len(b)) / 2} {
		_, m, r := ScanHead(b[:max(i, 0)])
		if i < decisive && (m != 0 || r != nil) || i >= decisive && (m != n || !reflect.DeepEqual(r, refusal)) {
			t.Fatalf("ScanHead of %d bytes: n %d, %v; the whole gives n %d, %v", i, m, r, n, refusal)
		}
	}
}

// TestHeadScannerIsLinear feeds the longest head byte by byte. Scanned anew each time it would cost 134 million steps.
func TestHeadScannerIsLinear(t *testing.T) {
	raw := []byte(plain + strings.Repeat("X: "+strings.Repeat("a", 5000)+"\r\n", 3) + "X: aaaa")
	best := time.Hour
	for range 3 {
		start := time.Now()
		var s HeadScanner
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

// TestHeadScannerSurvivesMoves feeds from a buffer that is copied elsewhere each time, with the old one overwritten.
func TestHeadScannerSurvivesMoves(t *testing.T) {
	raw := with(t, "Host => X-First: 1\nHost: app.example.com:8443")
	var s HeadScanner
	for i := 1; i <= len(raw); i++ {
		b := []byte(raw[:i])
		h, n, refusal := s.Scan(b)
		if refusal != nil {
			t.Fatal(refusal)
		}
		if n > 0 {
			if got := fmt.Sprintf("%s %s %s", h.Method, h.Target, h.Host); got != "GET /ws app.example.com:8443" {
				t.Errorf("got %s", got)
			}
			return
		}
		copy(b, bytes.Repeat([]byte{0}, len(b)))
	}
	t.Error("no end")
}

func TestScanHeadDoesNotAllocate(t *testing.T) {
	raw := []byte(with(t, "Host => Host: 127.0.0.1:8443", "Cookie: session=abc", "User-Agent: test"))
	if got := testing.AllocsPerRun(100, func() {
		if _, n, _ := ScanHead(raw); n == 0 {
			t.Error("refused")
		}
		ScanHead(raw[:len(raw)-1])
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkScanHead(b *testing.B) {
	raw := []byte(hs0)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		ScanHead(raw)
	}
}
