package handshake

import (
	"net/url"
	"strings"
	"testing"
)

func TestCanonicalPath(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"/", "/"},
		{"/ws", "/ws"},
		{"/ws/", "/ws/"},
		{"/w%73", "/ws"},
		{"/%77%53", "/wS"},
		{"/a%20b", "/a%20b"},
		{"/a%2bb+c", "/a+b+c"},
		{"/a%3fb", "/a%3Fb"},
		{"/a%c3%a9", "/a%C3%A9"},
		{"/~a.b-c_d!$&'()*+,=:@", "/~a.b-c_d!$&'()*+,=:@"},
		{"/%7e%2E.x/...", "/~..x/..."},
		{"/a|b", "/a%7Cb"},
		{"/a[b]", "/a%5Bb%5D"},
		{"/a%22%3c%3E", "/a%22%3C%3E"},
		{"/100%25", "/100%25"},
		{"/100%25x1", "/100%25x1"},
		{"/.well-known/x", "/.well-known/x"},
		{"http://a", "/"},
		{"http://a/ws", "/ws"},
		{"http://a?q", "/"},
	} {
		u, err := url.ParseRequestURI(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		got, refusal := CanonicalPath(u)
		if refusal != nil || got != tc.want {
			t.Errorf("%q: got %q, %v; want %q", tc.in, got, refusal, tc.want)
		}
	}
}

// s24 are paths that some server reads as a different one.
var s24 = []string{
	"/ws/..%2fadmin", "/ws/..%2Fadmin", "/%2fadmin", "/ws%2f", "/ws%5c..%5cadmin", "/ws%5C",
	"/%2e%2e/admin", "/ws/%2e%2e", "/ws/../admin", "/ws/..", "/./ws", "/ws/.", "/%2e", "/.%2E/x", "/..",
	"//admin", "/ws//x", "/ws//", "//", "///",
	"/ws;x", "/ws;jsessionid=1/..;/admin", "/ws%3bx", "/..;/admin", "/ws%3B",
	"/ws%00", "/ws%0a", "/ws%0d%0aX:y", "/ws%1f", "/ws%7f", "/ws%23", "/ws%23frag",
	"/ws\\..\\admin", "/\\admin",
	"/ws%c0%ae%c0%ae/admin", "/ws%c0%af", "/ws%e0%80%af", "/ws%f0%80%80%af", "/ws%ff", "/ws%c3", "/ws%ed%a0%80",
	"/ws/%252e%252e/admin", "/ws%252fadmin", "/ws%2500", "/ws%25%32%65",
}

func TestCanonicalPathRefuses(t *testing.T) {
	for _, in := range s24 {
		u, err := url.ParseRequestURI(in)
		if err != nil {
			t.Fatal(err)
		}
		got, refusal := CanonicalPath(u)
		if got != "" {
			t.Errorf("%q: got %q", in, got)
		}
		checkStatus(t, refusal, 400)
	}
	for _, u := range []*url.URL{
		{Opaque: "//evil/x"},
		{Path: "/ws", Fragment: "x"},
		{Path: "*"},
		{Path: "ws"},
		{Path: "/ws\n"},
		{Path: "/ws\xff"},
		{Path: "/a/../b"},
		{Path: "/a#b"},
		{Path: "/a/b", RawPath: "/a%2fb"},
	} {
		got, refusal := CanonicalPath(u)
		if got != "" {
			t.Errorf("%#v: got %q", u, got)
		}
		checkStatus(t, refusal, 400)
	}
	// A RawPath that does not spell Path is not believed.
	if got, refusal := CanonicalPath(&url.URL{Path: "/good", RawPath: "/../evil"}); got != "/good" || refusal != nil {
		t.Errorf("got %q, %v", got, refusal)
	}
}

func TestCanonicalPathDoesNotAllocate(t *testing.T) {
	u := &url.URL{Path: "/ws/" + strings.Repeat("room-", 20)}
	if got := testing.AllocsPerRun(100, func() {
		if _, refusal := CanonicalPath(u); refusal != nil {
			t.Error(refusal)
		}
	}); got != 0 {
		t.Errorf("%v allocations for a path that is canonical", got)
	}
}
