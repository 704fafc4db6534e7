package main_test

import (
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// originRow is one Origin and whether it may connect.
type originRow struct {
	name, origin string
	admitted     bool
}

// TestRowsOrigin runs the Origin rows against the allow list `https://app.example.com`, `https://*.w.example`.
func TestRowsOrigin(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	g.origins(t, []originRow{
		{"O-01/listed", "https://app.example.com", true},
		{"O-02/other port", "https://app.example.com:8443", false},
		{"O-02/port with a leading zero", "https://app.example.com:0443", false},
		{"O-02/empty port", "https://app.example.com:", false},
		{"O-02/port 80", "https://app.example.com:80", false},
		{"O-02/port 0", "https://app.example.com:0", false},
		{"O-02/port over 65535", "https://app.example.com:65979", false},
		{"O-02/negative port", "https://app.example.com:-443", false},
		{"O-02/signed port", "https://app.example.com:+443", false},
		{"O-02/letters in the port", "https://app.example.com:443x", false},
		{"O-02/two ports", "https://app.example.com:443:443", false},
		{"O-04/longer host", "https://app.example.com.evil.io", false},
		{"O-04/trailing dot", "https://app.example.com.", false},
		{"O-04/longer label", "https://app.example.comevil.io", false},
		{"O-04/in the user", "https://app.example.com@evil.io", false},
		{"O-04/in the user with a port", "https://app.example.com:443@evil.io", false},
		{"O-04/in the path", "https://evil.io/app.example.com", false},
		{"O-04/in the query", "https://evil.io?https://app.example.com", false},
		{"O-04/in the fragment", "https://evil.io#https://app.example.com", false},
		{"O-04/with a slash", "https://app.example.com/", false},
		{"O-04/with a path", "https://app.example.com/x", false},
		{"O-04/with a query", "https://app.example.com?", false},
		{"O-04/with a fragment", "https://app.example.com#", false},
		{"O-04/backslash", `https://app.example.com\.evil.io`, false},
		{"O-04/escape", "https://app.example.com%2eevil.io", false},
		{"O-04/escaped NUL", "https://app.example.com%00.evil.io", false},
		{"O-04/semicolon", "https://app.example.com;.evil.io", false},
		{"O-05/no dot before the suffix", "https://evilapp.example.com", false},
		{"O-05/label before", "https://x.app.example.com", false},
		{"O-05/parent", "https://example.com", false},
		{"O-05/sibling", "https://www.example.com", false},
		{"O-05/hyphen before", "https://x-app.example.com", false},
		{"O-05/scheme http", "http://app.example.com", false},
		{"O-05/scheme wss", "wss://app.example.com", false},
		{"O-05/scheme ws", "ws://app.example.com", false},
		{"O-05/scheme with a prefix", "xhttps://app.example.com", false},
		{"O-05/no scheme", "app.example.com", false},
		{"O-05/network path", "//app.example.com", false},
		{"O-05/one slash", "https:/app.example.com", false},
		{"O-05/no slashes", "https:app.example.com", false},
		{"O-05/three slashes", "https:///app.example.com", false},
		{"O-05/user", "https://user@app.example.com", false},
		{"O-05/empty user", "https://@app.example.com", false},
		{"O-05/escaped letter", "https://%61pp.example.com", false},
		{"O-05/non-ASCII letter", "https://\u0430pp.example.com", false},
		{"O-05/full-width dot", "https://app\uff0eexample.com", false},
		{"O-07/null", "null", false},
		{"O-07/empty", "", false},
		{"O-07/file", "file://", false},
		{"O-07/data", "data:", false},
		{"O-07/about:blank", "about:blank", false},
		{"O-07/NULL", "NULL", false},
		{"O-07/undefined", "undefined", false},
		{"O-07/star", "*", false},
		{"O-07/scheme alone", "https://", false},
		{"O-07/extension", "chrome-extension://abcdefgh", false},
		{"O-07/blob", "blob:https://app.example.com/0", false},
		{"O-07/javascript", "javascript://app.example.com", false},
		{"O-07/file with the host", "file://app.example.com", false},
	})
}

// TestRowsOriginLists goes on with lists of origins and with the wildcard.
func TestRowsOriginLists(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{})
	g.origins(t, []originRow{
		{"O-09/good comma evil", "https://app.example.com, https://evil.io", false},
		{"O-09/good space evil", "https://app.example.com https://evil.io", false},
		{"O-09/evil comma good", "https://evil.io, https://app.example.com", false},
		{"O-09/evil space good", "https://evil.io https://app.example.com", false},
		{"O-09/good comma good", "https://app.example.com,https://app.example.com", false},
		{"O-09/good space good", "https://app.example.com https://app.example.com", false},
		{"O-09/good comma", "https://app.example.com,", false},
		{"O-09/tab inside", "https://app.example.com\thttps://evil.io", false},
		{"O-11/one label", "https://a.w.example", true},
		{"O-11/no label", "https://w.example", false},
		{"O-11/two labels", "https://a.b.w.example", false},
		{"O-11/empty label", "https://.w.example", false},
		{"O-11/no dot", "https://aw.example", false},
		{"O-11/punycode label", "https://xn--bcher-kva.w.example", true},
		{"O-11/label of digits", "https://1.w.example", true},
		{"O-11/star itself", "https://*.w.example", false},
		{"O-11/label and an empty one", "https://a..w.example", false},
		{"O-11/escape for the label's dot", "https://a%2e.w.example", false},
		{"O-11/longer host", "https://a.w.example.evil.io", false},
		{"O-11/other port", "https://a.w.example:8443", false},
		{"O-11/other scheme", "http://a.w.example", false},
		{"O-11/user", "https://evil.io@a.w.example", false},
		{"O-11/slash in the label", "https://evil.io/.w.example", false},
		{"O-11/question mark in the label", "https://evil?.w.example", false},
		{"O-11/backslash in the label", `https://evil\.w.example`, false},
		{"O-11/colon in the label", "https://evil:1.w.example", false},
		{"O-11/trailing dot", "https://a.w.example.", false},
		{"O-12/IPv6 that is not listed", "https://[::1]", false},
	})
	g.refuseAll(t, []refusal{
		{"O-09/two fields", get().Add("Origin: https://evil.io"), status(400)},
		{"O-09/two fields, evil first", get().With("Origin", "https://evil.io").Add("Origin: https://app.example.com"), status(400)},
		{"O-09/two fields alike", get().Add("Origin: https://app.example.com"), status(400)},
		{"O-09/two fields in another case", get().Add("ORIGIN: https://app.example.com"), status(400)},
		{"O-09/an empty second field", get().Add("Origin:"), status(400)},
		{"O-09/two evil fields", get().With("Origin", "https://evil.io").Add("Origin: https://evil.io"), status(400)},
		{"O-09/control byte", get().With("Origin", "https://app.example.com\x00"), status(400)},
		{"O-09/Sec-Fetch-Site does not replace it", get().With("Origin", "https://evil.io").Add("Sec-Fetch-Site: same-origin"), status(403)},
		{"O-09/Referer does not replace it", get().With("Origin", "https://evil.io").Add("Referer: https://app.example.com/"), status(403)},
		{"O-09/X-Forwarded-Host does not move it", get().With("Origin", "https://evil.io").Add("X-Forwarded-Host: evil.io"), status(403)},
		{"O-09/Sec-WebSocket-Origin does not replace it", get().With("Origin", "https://evil.io").Add("Sec-WebSocket-Origin: https://app.example.com"), status(403)},
	})
}

// origins runs a table of Origin values: 101 or 403, and no upstream connection for the latter.
func (g *rowGate) origins(t *testing.T, rows []originRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			request := hs("/ws").With("Origin", row.origin)
			if row.admitted {
				g.admit(t, request)
				return
			}
			g.refuse(t, request.Bytes(), 403)
		})
	}
}

func TestRowsOriginIPv6(t *testing.T) {
	t.Parallel()
	short := startRows(t, rowSetup{policy: `origin: {allow: ["https://[::1]:8443"]}`})
	long := startRows(t, rowSetup{policy: `origin: {allow: ["https://[2001:DB8:0:0:0:0:0:1]"]}`})
	short.origins(t, []originRow{
		{"O-12/as listed", "https://[::1]:8443", true},
		{"O-12/all groups", "https://[0:0:0:0:0:0:0:1]:8443", true},
		{"O-12/leading zeros", "https://[0000::0001]:8443", true},
		{"O-12/zone id", "https://[::1%25lo]:8443", false},
		{"O-12/zone id without escape", "https://[::1%lo]:8443", false},
		{"O-12/other port", "https://[::1]:8444", false},
		{"O-12/no port", "https://[::1]", false},
		{"O-12/other address", "https://[::2]:8443", false},
		{"O-12/unspecified address", "https://[::]:8443", false},
		{"O-12/no brackets", "https://::1:8443", false},
		{"O-12/open bracket", "https://[::1:8443", false},
		{"O-12/mapped loopback", "https://[::ffff:127.0.0.1]:8443", false},
		{"O-12/IPv4 loopback", "https://127.0.0.1:8443", false},
		{"O-12/localhost", "https://localhost:8443", false},
		{"O-12/port with a leading zero", "https://[::1]:08443", false},
		{"O-12/text behind the bracket", "https://[::1]x:8443", false},
	})
	long.origins(t, []originRow{
		{"O-12/the list in its long form, shortened", "https://[2001:db8::1]", true},
		{"O-12/the list in its long form, as a browser says it", "https://[2001:db8:0:0::1]", true},
		{"O-12/the list in its long form, other address", "https://[2001:db8::1:1]", false},
	})
}

func TestRowsOriginAbsent(t *testing.T) {
	t.Parallel()
	deny := startRows(t, rowSetup{policy: `origin: {allow: ["https://app.example.com"], absent: deny}`})
	allow := startRows(t, rowSetup{policy: `origin: {allow: ["https://app.example.com"], absent: allow}`})
	bare := func() *wstest.Request { return wstest.HS0("/ws").Without("Origin") }
	cookie := "Cookie: session=" + wstest.Canary + "cookie"
	bearer := "Authorization: Bearer " + wstest.Canary + "token"
	deny.refuseAll(t, []refusal{
		{"O-13/cookie route", bare().Add(cookie), status(403)},
		{"O-13/cookie route without a cookie", bare(), status(403)},
		{"O-13/cookie route with a bearer", bare().Add(bearer), status(403)},
		{"O-13/empty is not absent", bare().Add("Origin:"), status(403)},
		{"O-13/null is not absent", bare().Add("Origin: null"), status(403)},
	})
	t.Run("O-13/bearer route", func(t *testing.T) { allow.admit(t, bare().Add(bearer)) })
	t.Run("O-13/absent where allowed", func(t *testing.T) { allow.admit(t, bare()) })
	allow.refuseAll(t, []refusal{
		{"O-13/allowed absent, empty value", bare().Add("Origin:"), status(403)},
		{"O-13/allowed absent, null", bare().Add("Origin: null"), status(403)},
		{"O-13/allowed absent, other origin", bare().Add("Origin: https://evil.io"), status(403)},
	})
}

// TestRowsOriginDefault is the rule without an allow list: the request's own scheme, host and port, and an absent Origin only where
// no Cookie is sent.
func TestRowsOriginDefault(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{policy: "client: {max_frame: 1MiB}"})
	bare := func() *wstest.Request { return wstest.HS0("/ws").Without("Origin") }
	same := func(host, origin string) *wstest.Request {
		return wstest.HS0("/ws").With("Host", host).With("Origin", origin)
	}
	for name, request := range map[string]*wstest.Request{
		"same host":                 same("app.example.com", "http://app.example.com"),
		"same host and port":        same("app.example.com:8080", "http://app.example.com:8080"),
		"port 80 said by the host":  same("app.example.com:80", "http://app.example.com"),
		"host in upper case":        same("APP.example.com", "http://app.example.com"),
		"IPv6":                      same("[::1]:8080", "http://[::1]:8080"),
		"absent without a cookie":   bare(),
		"absent with a bearer":      bare().Add("Authorization: Bearer " + wstest.Canary),
		"same host with the cookie": same("app.example.com", "http://app.example.com").Add("Cookie: a=" + wstest.Canary),
	} {
		t.Run("O-default/"+name, func(t *testing.T) { g.admit(t, request) })
	}
	g.refuseAll(t, []refusal{
		{"O-default/other scheme", same("app.example.com", "https://app.example.com"), status(403)},
		{"O-default/other port", same("app.example.com:8080", "http://app.example.com:8081"), status(403)},
		{"O-default/no port for one", same("app.example.com:8080", "http://app.example.com"), status(403)},
		{"O-default/port for none", same("app.example.com", "http://app.example.com:8080"), status(403)},
		{"O-default/other host", same("app.example.com", "http://evil.io"), status(403)},
		{"O-default/label before", same("app.example.com", "http://x.app.example.com"), status(403)},
		{"O-default/longer host", same("app.example.com", "http://app.example.com.evil.io"), status(403)},
		{"O-default/null", same("app.example.com", "null"), status(403)},
		{"O-default/empty", same("app.example.com", ""), status(403)},
		{"O-default/scheme ws", same("app.example.com", "ws://app.example.com"), status(403)},
		{"O-default/other host of the gateway", same("app.example.com", "http://victim.example.com"), status(403)},
		{"O-default/X-Forwarded-Host", same("app.example.com", "http://evil.io").Add("X-Forwarded-Host: evil.io"), status(403)},
		{"O-default/X-Forwarded-Proto", same("app.example.com", "https://app.example.com").Add("X-Forwarded-Proto: https"), status(403)},
		{"O-default/absent with a cookie", bare().Add("Cookie: a=" + wstest.Canary), status(403)},
		{"O-default/absent with cookie and bearer", bare().Add("Cookie: a=b", "Authorization: Bearer x"), status(403)},
	})
}
