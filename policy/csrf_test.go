package policy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// token is a good one.
const token = "S3CRET0123456789"

func TestCSRFInTheQuery(t *testing.T) {
	p := mustWrite(t, "csrf: {cookie: __Host-csrf, query: csrf_token}")
	const good = "__Host-csrf=" + token
	tests := []struct {
		cookies []string
		query   string
		want    string // the reason of the refusal
	}{
		{[]string{good}, "csrf_token=" + token, ""},
		{[]string{"a=1; " + good + "; b=2"}, "room=7&csrf_token=" + token + "&x", ""},
		{[]string{"a=1", good}, "csrf_token=" + token, ""},
		{[]string{"a=1;" + good + "\t"}, "csrf%5Ftoken=%53" + token[1:], ""},
		{[]string{`__Host-csrf="` + token + `"`}, "csrf_token=" + token, ""},
		{[]string{"__Host-csrf=" + token + "=="}, "csrf_token=" + token + "==", ""},
		{[]string{"__Host-csrf=" + token + "/+="}, "csrf_token=" + url.QueryEscape(token+"/+="), ""},

		{nil, "csrf_token=" + token, reasonCSRFMissing},
		{[]string{""}, "csrf_token=" + token, reasonCSRFMissing},
		{[]string{good}, "", reasonCSRFMissing},
		{[]string{good}, "CSRF_TOKEN=" + token, reasonCSRFMissing},
		{[]string{"__host-csrf=" + token}, "csrf_token=" + token, reasonCSRFMissing},
		{[]string{"x__Host-csrf=" + token}, "csrf_token=" + token, reasonCSRFMissing},
		{[]string{"a=" + good}, "csrf_token=" + token, reasonCSRFMissing},
		{[]string{good}, "a=csrf_token=" + token, reasonCSRFMissing},

		{[]string{good}, "csrf_token", reasonCSRFWrong},
		{[]string{good}, "csrf_token=", reasonCSRFWrong},
		{[]string{good}, "csrf_token=" + token[1:], reasonCSRFWrong},
		{[]string{good}, "csrf_token=" + token + "x", reasonCSRFWrong},
		{[]string{good}, "csrf_token=" + strings.ToLower(token), reasonCSRFWrong},
		{[]string{"__Host-csrf="}, "csrf_token=", reasonCSRFWrong},
		{[]string{"__Host-csrf"}, "csrf_token", reasonCSRFWrong},
		{[]string{"__Host-csrf=" + token[:15]}, "csrf_token=" + token[:15], reasonCSRFWrong},
		{[]string{`__Host-csrf="` + token[:14] + `"`}, "csrf_token=" + token[:14], reasonCSRFWrong},
		{[]string{`__Host-csrf="` + token}, "csrf_token=" + token, reasonCSRFWrong},

		{[]string{good + "; " + good}, "csrf_token=" + token, reasonCSRFTwice},
		{[]string{good, "__Host-csrf=evil0123456789abc"}, "csrf_token=" + token, reasonCSRFTwice},
		{[]string{good}, "csrf_token=" + token + "&csrf_token=" + token, reasonCSRFTwice},
		{[]string{good}, "csrf_token=" + token + "&csrf%5ftoken", reasonCSRFTwice},
	}
	for _, test := range tests {
		r := &Request{Header: http.Header{"Cookie": test.cookies}, RawQuery: test.query}
		checkCSRF(t, p, r, test.want)
	}
}

// checkCSRF asks once, and looks for the token in what goes on to the upstream and the log.
func checkCSRF(t *testing.T, p *Policy, r *Request, want string) {
	t.Helper()
	a := p.Admit(t.Context(), r)
	d := a.Refused()
	status := http.StatusForbidden
	if want == reasonCSRFTwice {
		status = http.StatusBadRequest
	}
	switch {
	case want == "" && d != nil:
		t.Errorf("%q %q %q: refused with %+v", r.Header["Cookie"], r.RawQuery, r.Subprotocols, d.Refusal)
	case want != "" && (d == nil || d.Refusal.Reason != want || d.Refusal.Status != status || d.Name != "csrf"):
		t.Errorf("%q %q %q: got %+v, want %d %s", r.Header["Cookie"], r.RawQuery, r.Subprotocols, d, status, want)
	case want == "" && (strings.Contains(a.Query(), "token") || strings.Contains(strings.Join(a.Offered(), " "), token)):
		t.Errorf("the upstream sees %q %q", a.Query(), a.Offered())
	}
}

func TestCSRFInASubprotocol(t *testing.T) {
	p := mustWrite(t, "csrf: {cookie: csrf, subprotocol: csrf.}, subprotocols: {allow: [chat], require: true}")
	tests := []struct{ offered, want string }{
		{"csrf." + token + " chat", ""},
		{"chat csrf." + token, ""},
		{"chat", reasonCSRFMissing},
		{token + " chat", reasonCSRFMissing},
		{"CSRF." + token + " chat", reasonCSRFMissing},
		{"csrf. chat", reasonCSRFWrong},
		{"csrf." + token[1:] + " chat", reasonCSRFWrong},
		{"csrf." + token + " csrf.other chat", reasonCSRFTwice},
	}
	for _, test := range tests {
		r := &Request{Header: http.Header{"Cookie": {"csrf=" + token}}, Subprotocols: strings.Fields(test.offered)}
		checkCSRF(t, p, r, test.want)
	}
	// The element is not taken for a subprotocol.
	got := ask(p, Request{Header: http.Header{"Cookie": {"csrf=" + token}}, Subprotocols: []string{"csrf." + token}})
	if got.Reason != reasonSubprotocolMissing {
		t.Errorf("with the token only: got %+v", got)
	}
}

// A plain request is the application's to check: it may well be the one that sets the cookie.
func TestCSRFIsForHandshakes(t *testing.T) {
	if got := ask(mustWrite(t, "csrf: {cookie: csrf, query: csrf}"), Request{Plain: true}); !got.Allow {
		t.Errorf("got %+v", got)
	}
}

func TestCSRFMistakes(t *testing.T) {
	checkMistakes(t, []mistake{
		{"csrf: {query: t}", "p.csrf.cookie", "required key is missing"},
		{"csrf: {cookie: c}", "p.csrf", "does not say where the page sends the token, want query or subprotocol"},
		{"csrf: {cookie: c, query: t, subprotocol: s}", "p.csrf", "has query and subprotocol, want one of them"},
		{"csrf: {cookie: '', query: t}", "p.csrf.cookie", `"" is not the name of a cookie, want one such as __Host-csrf`},
		{"csrf: {cookie: 'c=1', query: t}", "p.csrf.cookie", "is not the name of a cookie"},
		{"csrf: {cookie: 'c;', query: t}", "p.csrf.cookie", "is not the name of a cookie"},
		{"csrf: {cookie: c, subprotocol: 'a b'}", "p.csrf.subprotocol", `"a b" cannot begin a subprotocol, want letters`},
		{"csrf: {cookie: c, subprotocol: 'a,'}", "p.csrf.subprotocol", "cannot begin a subprotocol"},
	})
}

// FuzzCookies compares with net/http's own reading, which knows fewer names and values and calls what it does not know none.
func FuzzCookies(f *testing.F) {
	for _, field := range []string{"a=1; b=2", `a="1"`, "a", "a=b=c", "; ;a=;", "a =1", "a=1,b=2", "a=\"1;2\"", "=x", "a= 1", "a==", "a=\x00", "A=1"} {
		f.Add(field, "a")
	}
	f.Fuzz(func(t *testing.T, field, name string) {
		if strings.ContainsFunc(field, func(c rune) bool { return c < ' ' && c != '\t' }) {
			return // no field of a request holds control bytes
		}
		ours := cookies([]string{field}, name)
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {field}}}).CookiesNamed(name) {
			if !slices.Contains(ours, c.Value) {
				t.Errorf("%q: net/http reads %s=%q, we %q", field, name, c.Value, ours)
			}
		}
	})
}

// FuzzParameters compares with net/url's own reading, of queries that it can read.
func FuzzParameters(f *testing.F) {
	for _, raw := range []string{"", "a=1&b=2&a=3", "a", "=", "&&", "a+b=%20", "%zz=1", "a=%", "a;b"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := url.Values{}
		for name, value := range parameters(raw) {
			got.Add(name, value)
		}
		want, err := url.ParseQuery(raw)
		if err == nil && got.Encode() != want.Encode() {
			t.Errorf("%q: got %v, want %v", raw, got, want)
		}
	})
}
