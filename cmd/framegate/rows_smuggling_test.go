package main_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// second is a request that hides behind another one; no upstream may ever see it.
const second = "GET /internal HTTP/1.1\r\nHost: app.example.com\r\n\r\n"

// post is a plain request with a body, for the rows about its framing.
func post(lines ...string) *wstest.Request {
	return &wstest.Request{Line: "POST /page HTTP/1.1", Fields: append([]string{"Host: app.example.com"}, lines...)}
}

// page is a plain GET with canaries.
func page() *wstest.Request {
	return wstest.Plain("/page").Add("Cookie: session=" + wstest.Canary)
}

// TestRowsSmugglingRefused holds the rows in which a request must be refused before anything is dialled.
func TestRowsSmugglingRefused(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("page")})
	g.refuseAll(t, []refusal{
		{"S-01/wrong version and a second request", get().With("Sec-WebSocket-Version", "1337").Then(second), status(426)},
		{"S-01/no key and a second request", get().Without("Sec-WebSocket-Key").Then(second), status(400)},
		{"S-01/wrong origin and a second request", get().With("Origin", "https://evil.io").Then(second), status(403)},
		{"S-01/unknown host and a second request", get().With("Host", "evil.example").Then(second), status(404, 421)},
		{"S-01/unknown path and a second request", get().Target("/nowhere").Then(second), status(404)},
		{"S-01/bad head and a second request", get().Add("X_Y: 1").Then(second), status(400)},
		{"S-01/a hundred requests", get().With("Sec-WebSocket-Version", "1337").Then(strings.Repeat(second, 100)), status(400, 426)},
		{"S-01/a second handshake", get().With("Sec-WebSocket-Version", "1337").Then(string(get().Bytes())), status(426)},

		{"S-06/length and a body", get().Add("Content-Length: 5").Then("hello"), status(400)},
		{"S-06/length and a request for a body", get().Add(fmt.Sprintf("Content-Length: %d", len(second))).Then(second), status(400)},
		{"S-06/length with a sign", get().Add("Content-Length: +5").Then("hello"), status(400)},
		{"S-06/two lengths", get().Add("Content-Length: 5", "Content-Length: 5").Then("hello"), status(400)},
		{"S-06/length list", get().Add("Content-Length: 5, 5").Then("hello"), status(400)},
		{"S-07/chunked", get().Add("Transfer-Encoding: chunked").Then("5\r\nhello\r\n0\r\n\r\n"), status(400)},
		{"S-07/chunked in upper case", get().Add("TRANSFER-ENCODING: CHUNKED").Then("0\r\n\r\n"), status(400, 501)},
		{"S-07/chunked without a body", get().Add("Transfer-Encoding: chunked").Then("0\r\n\r\n" + second), status(400)},
		{"S-07/identity", get().Add("Transfer-Encoding: identity"), status(400, 501)},
		{"S-07/gzip", get().Add("Transfer-Encoding: gzip"), status(400, 501)},
		{"S-07/empty", get().Add("Transfer-Encoding:"), status(400, 501)},
		{"S-07/length and chunked", get().Add("Content-Length: 0", "Transfer-Encoding: chunked").Then("0\r\n\r\n"), status(400)},
		{"S-08/Expect", get().Add("Expect: 100-continue"), status(400, 417)},
		{"S-08/other expectation", get().Add("Expect: x-what"), status(400, 417)},
		{"S-08/other expectation, page", post("Content-Length: 5", "Expect: 200-ok").Then("hello"), status(417)},
		{"S-08/two expectations, page", post("Content-Length: 5", "Expect: 100-continue", "Expect: x-what").Then("hello"), status(417)},
		{"S-08/Trailer", get().Add("Trailer: X-Auth-Sub"), status(400)},
		{"S-08/empty Trailer", get().Add("Trailer:"), status(400)},

		{"S-10/h2c", page().Add("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), status(400)},
		{"S-10/h2c without settings", page().Add("Connection: Upgrade", "Upgrade: h2c"), status(400)},
		{"S-10/h2c without Connection", page().Add("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), status(400)},
		{"S-10/h2c in upper case", page().Add("Connection: Upgrade", "Upgrade: H2C"), status(400)},
		{"S-10/h2", page().Add("Connection: Upgrade", "Upgrade: h2"), status(400)},
		{"S-10/TLS", page().Add("Connection: Upgrade", "Upgrade: TLS/1.0"), status(400)},
		{"S-10/connect-udp", page().Add("Connection: Upgrade", "Upgrade: connect-udp"), status(400)},
		{"S-10/unknown", page().Add("Connection: Upgrade", "Upgrade: foo"), status(400)},
		{"S-10/h2c and a preface", page().Add("Connection: Upgrade", "Upgrade: h2c").Then("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), status(400)},
		{"S-10/HTTP 2 with prior knowledge", &wstest.Request{Line: "PRI * HTTP/2.0", Tail: "SM\r\n\r\n"}, status(400, 505)},
	})
	g.refuseAll(t, lengthRows())
	g.refuseAll(t, headRows("upgrade", get))
	g.refuseAll(t, headRows("page", page))
}

// lengthRows are the rows about the framing of a plain request's body.
func lengthRows() []refusal {
	rows := []refusal{
		{"S-13/length and chunked", post("Content-Length: 5", "Transfer-Encoding: chunked").Then("0\r\n\r\n"), status(400)},
		{"S-13/chunked and length", post("Transfer-Encoding: chunked", "Content-Length: 5").Then("0\r\n\r\n"), status(400)},
		{"S-13/length 0 and chunked", post("Content-Length: 0", "Transfer-Encoding: chunked").Then("0\r\n\r\n" + second), status(400)},
		{"S-13/length and an unknown coding", post("Content-Length: 5", "Transfer-Encoding: xchunked").Then("hello"), status(400, 501)},
		{"S-13/other case", post("CONTENT-LENGTH: 5", "transfer-encoding: chunked").Then("0\r\n\r\n"), status(400)},
		{"S-13/two lengths that differ", post("Content-Length: 5", "Content-Length: 6").Then("hello"), status(400)},
		{"S-13/two lengths alike", post("Content-Length: 5", "Content-Length: 5").Then("hello"), status(400)},
		{"S-14/\\x0b before chunked", post("Transfer-Encoding: \x0bchunked").Then("0\r\n\r\n"), status(400, 501)},
		{"S-14/twice", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked").Then("0\r\n\r\n"), status(400, 501)},
		{"S-14/chunked and identity in two fields", post("Transfer-Encoding: chunked", "Transfer-Encoding: identity").Then("0\r\n\r\n"), status(400, 501)},
		{"S-14/space before the colon", post("Transfer-Encoding : chunked").Then("0\r\n\r\n"), status(400)},
		{"S-14/folded", post("Transfer-Encoding:", " chunked").Then("0\r\n\r\n"), status(400, 501)},
	}
	for _, coding := range []string{"xchunked", "chunked, chunked", "identity", "", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, gzip", "gzip", "chunkedx", "chunked;q=1", `"chunked"`, "chunked,", ",chunked", "ch\u212aunked", "chunked\x00", "trailers"} {
		rows = append(rows, refusal{"S-14/" + coding, post("Transfer-Encoding: " + coding).Then("0\r\n\r\n"), status(400, 501)})
	}
	for _, length := range []string{"+5", "-1", "0x5", "5 5", "5,5", "5, 6", "", "five", "5.0", "1e1", "18446744073709551621", "9223372036854775808", "99999999999999999999999999", "\u0665", "5;", "'5'", "_5", "5\x00"} {
		rows = append(rows, refusal{"S-13/length " + length, post("Content-Length: " + length).Then("hello"), status(400)})
	}
	return rows
}

// headRows are the rows about the syntax of fields, for one kind of request.
func headRows(kind string, base func() *wstest.Request) []refusal {
	lines := map[string]string{
		"S-16/empty name": ": v", "S-16/name with a space": "X Odd: v", "S-16/NUL in the name": "Foo\x00: b", "S-16/no colon": "Foo",
		"S-16/tab in the name": "X\tOdd: v", "S-16/space before the colon": "X-Odd : v", "S-16/tab before the colon": "X-Odd\t: v",
		"S-16/leading space": " X-Odd: v", "S-16/leading tab": "\tX-Odd: v", "S-16/NUL in the value": "X-Odd: a\x00b", "S-16/DEL in the value": "X-Odd: a\x7fb",
		"S-16/bell in the value": "X-Odd: a\x07b", "S-16/escape in the value": "X-Odd: a\x1b[31mb", "S-16/non-ASCII name": "X-\xc3\xa9: v",
		"S-16/parentheses in the name": "X(): v", "S-16/at sign in the name": "X@: v", "S-16/slash in the name": "X/Y: v", "S-16/DEL in the name": "X\x7f: v",
		"S-18/CR in the value": "X-Odd: a\rb", "S-18/CR in the name": "X\rOdd: v", "S-18/CR at the end of the value": "X-Odd: a\r", "S-18/CR and a field": "X-Odd: a\rX-Evil: b",
		"S-18/LF and a field": "X-Odd: a\nX-Evil: b", "S-18/LF within the value": "X-Odd: a\n b", "S-18/LF for the field's line end": "X-Odd: a\nX-Even: b",
		"S-18/CR CR LF": "X-Odd: a\r\r", "S-18/request behind a bare LF": "X-Odd: a\n\nGET /internal HTTP/1.1\nHost: app.example.com",
		"S-22/underscores": "X_Auth_Sub: admin", "S-22/one underscore": "x-auth_sub: admin", "S-22/semicolon": "X-Auth-Sub;: admin", "S-22/dot": "X.Auth.Sub: admin",
		"S-22/forwarded with underscores": "X_Forwarded_For: 10.0.0.1", "S-22/plus": "X+Auth: admin", "S-22/quote": "X'Auth: admin", "S-22/tilde": "X~Auth: admin",
	}
	var rows []refusal
	for name, line := range lines {
		rows = append(rows, refusal{name + " " + kind, base().Add(line), status(400)})
		first := base()
		first.Fields = slices.Insert(first.Fields, 0, line)
		rows = append(rows, refusal{name + " first " + kind, first, status(400)})
	}
	return append(rows,
		refusal{"S-18/folded line " + kind, base().Add("X-Odd: a", "\tb"), status(400)},
		refusal{"S-18/field of 9 KiB " + kind, base().Add("X-Odd: " + strings.Repeat("a", 9<<10)), status(431)},
		refusal{"S-18/head of 17 KiB " + kind, base().Add(slices.Repeat([]string{"X-Odd: " + strings.Repeat("a", 500)}, 34)...), status(431)},
		refusal{"S-18/101 fields " + kind, base().Add(slices.Repeat([]string{"X-Odd: a"}, 100)...), status(431)},
		refusal{"S-18/1000 fields " + kind, base().Add(slices.Repeat([]string{"A:"}, 1000)...), status(431)},
		refusal{"S-18/target of 9 KiB " + kind, base().Target("/ws?" + strings.Repeat("a", 9<<10)), status(414)},
	)
}

// TestRowsSmugglingLineEnds is row S-18: a head with another line end than CR LF.
func TestRowsSmugglingLineEnds(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("page")})
	for kind, request := range map[string]*wstest.Request{"upgrade": get(), "page": page(), "second": get().Then(second)} {
		for name, end := range map[string]string{"LF": "\n", "CR": "\r", "LF CR": "\n\r", "CR CR LF": "\r\r\n", "VT": "\v", "NEL": "\xc2\x85"} {
			t.Run("S-18/"+name+" "+kind, func(t *testing.T) {
				head := request.Lines(end)
				if !bytes.Contains(head, []byte("\n")) {
					head = append(head, "\r\n\r\n"...) // the end of a head that has one very odd line
				}
				g.refuse(t, head, 400, 505)
			})
		}
	}
	for name, edit := range map[string]func(string) string{
		"one LF in the head":        func(s string) string { return strings.Replace(s, "\r\nUpgrade", "\nUpgrade", 1) },
		"LF at the request line":    func(s string) string { return strings.Replace(s, "HTTP/1.1\r\n", "HTTP/1.1\n", 1) },
		"LF for the empty line":     func(s string) string { return strings.Replace(s, "\r\n\r\n", "\r\n\n", 1) },
		"LF before the empty line":  func(s string) string { return strings.Replace(s, "\r\n\r\n", "\n\r\n", 1) },
		"space on the empty line":   func(s string) string { return strings.Replace(s, "\r\n\r\n", "\r\n \r\n\r\n", 1) },
		"NUL before the empty line": func(s string) string { return strings.Replace(s, "\r\n\r\n", "\r\n\x00\r\n\r\n", 1) },
	} {
		t.Run("S-18/"+name, func(t *testing.T) { g.refuse(t, []byte(edit(string(get().Bytes()))), 400) })
	}
}

// TestRowsSmugglingChunks sends bodies whose chunks are malformed: whatever the gateway answers, the upstream sees no second
// request, and what it gets is well-formed.
func TestRowsSmugglingChunks(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{upstream: wstest.Page("page")})
	for name, body := range map[string]string{
		"S-13/LF in the size line":          "5\nhello\r\n0\r\n\r\n",
		"S-13/LF after the chunk":           "5\r\nhello\n0\r\n\r\n",
		"S-13/hexadecimal prefix":           "0x5\r\nhello\r\n0\r\n\r\n",
		"S-13/signed size":                  "+5\r\nhello\r\n0\r\n\r\n",
		"S-13/negative size":                "-1\r\nhello\r\n0\r\n\r\n",
		"S-13/size over 64 bits":            "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"S-13/size with a space in front":   " 5\r\nhello\r\n0\r\n\r\n",
		"S-13/LF in a chunk extension":      "5;a=\nb\r\nhello\r\n0\r\n\r\n",
		"S-13/CR in a chunk extension":      "5;a=\rb\r\nhello\r\n0\r\n\r\n",
		"S-13/chunk longer than said":       "3\r\nhello\r\n0\r\n\r\n",
		"S-13/no size":                      "\r\nhello\r\n0\r\n\r\n",
		"S-13/request in a trailer":         "0\r\nX: y\r\n" + second,
		"S-13/extension of 64 KiB":          "5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n",
		"S-13/request behind a bad size":    "0\n\n" + second,
		"S-13/request behind the last":      "0\r\n\r\n" + second,
		"S-13/request behind a LF trailer":  "0\r\n\n" + second,
		"S-13/trailer that is a field name": "0\r\nContent-Length: 50\r\nX_Auth_Sub: admin\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := g.up.Dials()
			c := wstest.Dial(t, g.Addr)
			c.Send(post("Transfer-Encoding: chunked", "Connection: close").Then(body).Bytes())
			c.ExpectEnd(5 * time.Second)
			for _, u := range g.up.Conns("")[before:] {
				u.WaitEnd(5 * time.Second)
				all := string(u.All())
				if strings.Contains(all, "/internal") || strings.Contains(all, "X_Auth") || strings.Count(all, "HTTP/1.1\r\n") != 1 {
					t.Errorf("the upstream got\n%q", all)
				}
			}
		})
	}
}
