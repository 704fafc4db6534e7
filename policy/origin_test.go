package policy

import (
	"strings"
	"testing"
)

const identifier = "abcdefghijklmnopabcdefghijklmnop"

// TestOriginRows holds the rows O-* of the security requirements and their neighbours against one allow list.
func TestOriginRows(t *testing.T) {
	p := mustCompile(t, withOrigin(OriginConfig{
		Allow: []string{
			"https://app.example.com", "https://*.w.example", "https://[::1]:8443", "https://10.0.0.5", "https://*.port.example:8443",
			"http://localhost:3000", "chrome-extension://" + identifier, "moz-extension://0c1f2a3b-1111-4222-8333-444455556666",
		},
	}), "browsers")
	allowed := []string{
		"https://app.example.com", "https://app.example.com:443", "https://APP.Example.COM", // O-01, O-03
		"https://a.w.example", "https://A.W.example:443", "https://xn--bcher-kva.w.example", "https://1.w.example", "https://a_b.w.example", // O-11
		"https://[::1]:8443", "https://[0:0:0:0:0:0:0:1]:8443", "https://[0000:0000::0001]:8443", // O-12
		"https://10.0.0.5", "https://a.port.example:8443", "http://localhost:3000",
		"chrome-extension://" + identifier, "moz-extension://0c1f2a3b-1111-4222-8333-444455556666",
	}
	refused := []string{
		// O-02: another port, and odd ways to write the right one
		"https://app.example.com:8443", "https://app.example.com:0443", "https://app.example.com:", "https://app.example.com:+443",
		"https://app.example.com:443:443", "https://app.example.com:0", "https://app.example.com:65979", "https://app.example.com:4 43",
		"https://app.example.com:80", "https://a.w.example:8443", "https://a.w.example:", "https://a.port.example", "http://localhost", "http://localhost:3001",
		// another scheme
		"http://app.example.com", "http://app.example.com:443", "wss://app.example.com", "HTTPS://app.example.com", "https:app.example.com",
		"https:/app.example.com", "//app.example.com", "app.example.com", "https", "https:", "https://", "://app.example.com", "https://localhost:3000",
		// O-04, O-05: another host
		"https://app.example.com.evil.io", "https://evilapp.example.com", "https://x.app.example.com", "https://example.com", "https://com",
		"https://app.example.com.", "https://app-example.com", "https://app.example.comm", "https://pp.example.com", "https://app.example.com%00",
		"https://app.example.com%2eevil.io", "https://app\uff0eexample.com", "https://\u0430pp.example.com", "https://app.example.com\u0000",
		"https://app..example.com", "https://-app.example.com", "https://app.example.com\n", " https://app.example.com", "https://app.example.com ",
		// O-07: no origin at all
		"null", "NULL", "", " ", "file://", "file:///", "data:", "data:text/html,x", "about:blank", "blob:https://app.example.com", "*", "https://*",
		// more than an origin
		"https://app.example.com/", "https://app.example.com/x", "https://app.example.com?", "https://app.example.com#", "https://app.example.com?x=https://app.example.com",
		"https://user@app.example.com", "https://user:pw@app.example.com", "https://@app.example.com", "https://app.example.com@evil.io",
		"https://evil.io/@app.example.com", `https://app.example.com\@evil.io`, `https://evil.io\.w.example`, "https://evil.io#.w.example", "https://evil.io/.w.example",
		// O-09: several in one header
		"https://app.example.com, https://evil.io", "https://app.example.com https://evil.io", "https://app.example.com,https://app.example.com",
		"https://evil.io https://app.example.com", "https://app.example.com;", "https://app.example.com\thttps://evil.io",
		// O-11: the wildcard is one whole label
		"https://w.example", "https://a.b.w.example", "https://.w.example", "https://aw.example", "https://*.w.example", "http://a.w.example",
		"https://a.w.example.evil.io", "https://a.w.example.", "https://a..w.example", "https://..w.example", "https://a%2e.w.example", "https://example",
		"https://" + strings.Repeat("a", 64) + ".w.example", "https://a:b.w.example", "https://[a].w.example", "https://-.w.example",
		// O-12: IPv6 and IPv4
		"https://[::1%25lo]:8443", "https://[::1%lo]:8443", "https://[::1]", "https://[::2]:8443", "https://::1:8443", "https://[::1:8443", "https://::1]:8443",
		"https://[[::1]]:8443", "https://[::1]x:8443", "https://[]:8443", "https://[::ffff:10.0.0.5]", "https://[10.0.0.5]", "https://167772165",
		"https://10.5", "https://0x0a000005", "https://10.0.0.05", "https://012.0.0.5", "https://10.0.0.5.", "https://10.0.0.6", "https://x.10.0.0.5",
		// extensions are compared whole
		"chrome-extension://" + identifier[1:], "chrome-extension://" + identifier + "/", "chrome-extension://" + strings.ToUpper(identifier),
		"moz-extension://" + identifier, "chrome-extension://", "chrome-extension://" + identifier + ":443", "chrome-extension://" + identifier + ".w.example",
	}
	for _, text := range allowed {
		if d := ask(p, Request{Secure: true, Host: "gateway.example", Origin: text, HasOrigin: true}); d != (answer{Allow: true}) {
			t.Errorf("%q: got %+v, want it allowed", text, d)
		}
	}
	for _, text := range refused {
		d := ask(p, Request{Secure: true, Host: "gateway.example", Origin: text, HasOrigin: true})
		if d.Allow || d.Status != 403 || d.Policy != "browsers" || d.Rule != "origin" || d.Reason != reasonOriginMalformed && d.Reason != reasonOriginRefused {
			t.Errorf("%q: got %+v, want it refused", text, d)
		}
	}
	// Once origins are listed, the gateway's own is no exception.
	if d := ask(p, Request{Secure: true, Host: "gateway.example", Origin: "https://gateway.example", HasOrigin: true}); d.Allow {
		t.Error("the request's own origin is allowed beside a list without it")
	}
}

// TestOwnOrigin holds the default: pages of the request's own scheme, host and port.
func TestOwnOrigin(t *testing.T) {
	tests := []struct {
		request string // scheme, host and port of the request
		origin  string
		allow   bool
	}{
		{"https app.example.com ", "https://app.example.com", true},
		{"https app.example.com 443", "https://app.example.com", true},
		{"https app.example.com ", "https://app.example.com:443", true},
		{"https app.example.com 8443", "https://app.example.com:8443", true},
		{"https app.example.com 8443", "https://App.Example.com:8443", true},
		{"http app.example.com ", "http://app.example.com", true},
		{"http localhost 8080", "http://localhost:8080", true},
		{"https [::1] 8443", "https://[::1]:8443", true},
		{"https ::1 8443", "https://[0::1]:8443", true},
		{"https [::1] ", "https://[::1]", true},
		{"https 127.0.0.1 8443", "https://127.0.0.1:8443", true},
		{"https app.example.com 8443", "https://app.example.com", false},
		{"https app.example.com ", "https://app.example.com:8443", false},
		{"https app.example.com ", "http://app.example.com", false},
		{"https app.example.com 80", "http://app.example.com", false},
		{"http app.example.com ", "https://app.example.com", false},
		{"http app.example.com 443", "https://app.example.com", false},
		{"https app.example.com ", "https://example.com", false},
		{"https app.example.com ", "https://x.app.example.com", false},
		{"https app.example.com ", "null", false},
		{"https app.example.com ", "", false},
		{"https  ", "https://", false},
		{"https null ", "null", false},
		{"https localhost 8443", "https://127.0.0.1:8443", false},
		{"https app.example.com 99999", "https://app.example.com:99999", false},
		{"https abcdefgh ", "chrome-extension://abcdefgh", false},
	}
	policies := map[string]*Policy{
		"no policy":       mustCompile(t, nil),
		"no origin rule":  mustCompile(t, map[string]Config{"p": {}}, "p"),
		"no origins":      mustCompile(t, withOrigin(OriginConfig{}), "browsers"),
		"an empty list":   mustCompile(t, withOrigin(OriginConfig{Allow: []string{}}), "browsers"),
		"absent: deny":    mustCompile(t, withOrigin(OriginConfig{Absent: "deny"}), "browsers"),
		"absent: allowed": mustCompile(t, withOrigin(OriginConfig{Absent: "allow"}), "browsers"),
	}
	for name, p := range policies {
		for _, tt := range tests {
			f := strings.Split(tt.request, " ")
			d := ask(p, Request{Secure: f[0] == "https", Host: f[1], Port: f[2], Origin: tt.origin, HasOrigin: true, HasCookie: true})
			if d.Allow != tt.allow {
				t.Errorf("%s: request to %q from %q: got %+v, want allow=%v", name, tt.request, tt.origin, d, tt.allow)
			}
		}
	}
}

// TestAbsentOrigin holds row O-13: what sends no Origin is no browser, and may pass where no cookie speaks for a user.
func TestAbsentOrigin(t *testing.T) {
	listed := []string{"https://app.example.com"}
	tests := []struct {
		policy               *Policy
		withCookie, noCookie bool
	}{
		{mustCompile(t, nil), false, true},
		{mustCompile(t, withOrigin(OriginConfig{Allow: listed}), "browsers"), false, true},
		{mustCompile(t, withOrigin(OriginConfig{Allow: listed, Absent: "allow"}), "browsers"), true, true},
		{mustCompile(t, withOrigin(OriginConfig{Allow: listed, Absent: "deny"}), "browsers"), false, false},
		{mustCompile(t, withOrigin(OriginConfig{Absent: "deny"}), "browsers"), false, false},
	}
	for i, tt := range tests {
		for _, cookie := range []bool{true, false} {
			want := tt.noCookie
			if cookie {
				want = tt.withCookie
			}
			d := ask(tt.policy, Request{Secure: true, Host: "app.example.com", HasCookie: cookie})
			if d.Allow != want || !d.Allow && (d.Status != 403 || d.Reason != reasonOriginMissing) {
				t.Errorf("policy %d, cookie=%v: got %+v, want allow=%v", i, cookie, d, want)
			}
		}
	}
}

func TestOriginConfigRefuses(t *testing.T) {
	tests := []struct{ text, message string }{
		{"", "is empty"},
		{"*", "would let every web page connect"},
		{"null", "is that of every sandboxed page"},
		{"wss://app.example.com", "is a server's address, want the origin of the page"},
		{"ws://app.example.com", "is a server's address"},
		{"app.example.com", "has no scheme that is allowed"},
		{"*.example.com", "has no scheme that is allowed"},
		{"file://", "has no scheme that is allowed"},
		{"HTTPS://app.example.com", "has no scheme that is allowed"},
		{"https://", "has no valid host"},
		{"https://app.example.com.", "has no valid host"},
		{"https://b\u00fccher.example", "want a DNS name in ASCII"},
		{"https://[::1%lo]", "has no valid host"},
		{"https://app.example.com/", "has a path, want only scheme, host and port, and no final slash"},
		{"https://app.example.com?x", "has a query or fragment"},
		{"https://app.example.com#x", "has a query or fragment"},
		{"https://u:S3CRET@app.example.com", `origin "***@app.example.com" has a user name or password`},
		{"https://app.example.com?token=S3CRET", `origin "https://app.example.com?***" has a query`},
		{"https://app.example.com:", "has no valid port"},
		{"https://app.example.com:0443", "has no valid port"},
		{"chrome-extension://", "has no valid extension identifier"},
		{"chrome-extension://a/b", "has no valid extension identifier"},
		{"https://*", "has a wildcard in another place than its whole left label"},
		{"https://a*.example.com", "has a wildcard in another place"},
		{"https://*a.example.com", "has a wildcard in another place"},
		{"https://a.*.example.com", "has a wildcard in another place"},
		{"https://*.*.example.com", "has a wildcard in another place"},
		{"https://example.com:*", "has a wildcard in another place"},
		{"chrome-extension://*", "has a wildcard in another place"},
		{"chrome-extension://*.a", "has a wildcard under a scheme without domain names"},
		{"*://*.example.com", "has a wildcard under a scheme without domain names"},
		{"https://*.", "has no valid host"},
		{"https://*.example.com/", "has a path"},
		{"https://*.example.com:", "has no valid port"},
		// public suffixes, of registries and of hosting companies, by name and by a wildcard rule
		{"https://*.com", "has a wildcard on a public suffix, under which anybody can have a name"},
		{"https://*.co.uk", "has a wildcard on a public suffix"},
		{"https://*.CO.uk", "has a wildcard on a public suffix"},
		{"https://*.github.io", "has a wildcard on a public suffix"},
		{"https://*.foo.ck", "has a wildcard on a public suffix"},
		{"https://*.kawasaki.jp", "has a wildcard on a public suffix"},
		{"https://*.example", "has a wildcard on a public suffix"},
		{"https://*.localhost", "has a wildcard on a public suffix"},
		{"https://*.10.0.0.5", "has a wildcard before an IP address"},
		{"https://*.[::1]", "has a wildcard before an IP address"},
		// plain HTTP
		{"http://app.example.com", "is open to whoever is on the network path, want https (or dangerously_allow_http: true"},
		{"http://*.example.com", "is open to whoever is on the network path"},
		{"http://localhost.example.com", "is open to whoever is on the network path"},
		{"http://127.0.0.2", "is open to whoever is on the network path"},
		{"http://app.localhost", "is open to whoever is on the network path"},
	}
	for _, tt := range tests {
		all := withOrigin(OriginConfig{Allow: []string{"https://a.example", "https://b.example", tt.text}})
		var r reports
		set := Compile(all, testEnv(t), r.add)
		r.expect(t, tt.text, "browsers.origin.allow[2]", tt.message)
		if strings.Contains(strings.Join(r, ""), "S3CRET") {
			t.Errorf("%q: report holds the secret: %q", tt.text, []string(r))
		}
		if p := set.Route([]string{"browsers"}, failOn(t)); p != nil {
			t.Errorf("%q: got a policy", tt.text)
		}
	}
}

func TestOriginConfigAllowsHTTP(t *testing.T) {
	local := []string{"http://localhost", "http://LOCALHOST:3000", "http://127.0.0.1:8080", "http://[::1]:8080", "http://[0::1]"}
	mustCompile(t, withOrigin(OriginConfig{Allow: local}), "browsers")
	p := mustCompile(t, withOrigin(OriginConfig{Allow: []string{"http://app.example.com", "http://*.w.example"}, DangerouslyAllowHTTP: true}), "browsers")
	for text, allow := range map[string]bool{
		"http://app.example.com": true, "http://app.example.com:80": true, "http://a.w.example": true,
		"https://app.example.com": false, "http://app.example.com:443": false, "http://other.example.com": false,
	} {
		if d := ask(p, Request{Origin: text, HasOrigin: true}); d.Allow != allow {
			t.Errorf("%q: got %+v, want allow=%v", text, d, allow)
		}
	}
}

func TestWildcardOnRegistrableDomains(t *testing.T) {
	for _, text := range []string{"https://*.example.com", "https://*.example.co.uk", "https://*.user.github.io", "https://*.city.kawasaki.jp", "https://*.corp.internal", "https://*.a.b.c.example"} {
		mustCompile(t, withOrigin(OriginConfig{Allow: []string{text}}), "browsers")
	}
}

func TestOriginString(t *testing.T) {
	for text, want := range map[string]string{
		"https://App.example.com:443":          "https://app.example.com",
		"https://app.example.com:80":           "https://app.example.com:80",
		"http://app.example.com:80":            "http://app.example.com",
		"http://app.example.com:443":           "http://app.example.com:443",
		"https://[0:0:0:0:0:0:0:1]:8443":       "https://[::1]:8443",
		"https://[::ffff:10.0.0.5]":            "https://[::ffff:10.0.0.5]",
		"https://10.0.0.5":                     "https://10.0.0.5",
		"safari-web-extension://0C1F-2A3B":     "safari-web-extension://0C1F-2A3B",
		"chrome-extension://" + identifier[:4]: "chrome-extension://abcd",
	} {
		if o, err := parseOrigin(text); err != nil || o.String() != want {
			t.Errorf("%q: got %q, %v, want %q", text, o, err, want)
		}
	}
}

// The header is the client's: what judges it must not cost more than a little, however it looks.
func TestOriginCostsLittle(t *testing.T) {
	p := mustCompile(t, withOrigin(OriginConfig{Allow: []string{"https://app.example.com", "https://*.w.example"}}), "browsers")
	for _, text := range []string{"https://app.example.com", "https://a.w.example", "null", "https://" + strings.Repeat("a.", 4000), strings.Repeat("[", 8000), "https://[" + strings.Repeat(":", 8000) + "]"} {
		r := Request{Origin: text, HasOrigin: true}
		if n := testing.AllocsPerRun(100, func() { ask(p, r) }); n > 6 {
			t.Errorf("%.40q: %v allocations, want at most 6", text, n)
		}
	}
}
