package policy

import (
	"net/http"
	"testing"
)

func TestRequestPaths(t *testing.T) {
	tests := []struct {
		paths     string
		yes, noes []string
	}{
		{"/ws", []string{"/ws"}, []string{"/", "/ws/", "/ws/a", "/w", "/wsx", "/WS", "/a/ws"}},
		{"/ws/", []string{"/ws/"}, []string{"/ws", "/ws/a"}},
		{"/ws/*", []string{"/ws", "/ws/", "/ws/a", "/ws/a/b"}, []string{"/", "/wsx", "/ws2/a", "/WS/a", "/a/ws/"}},
		{"/", []string{"/"}, []string{"/a"}},
		{"/*", []string{"/", "/a", "/a/b"}, nil},
		{"/a, /b/c/*", []string{"/a", "/b/c", "/b/c/d"}, []string{"/b", "/c", "/a/b/c"}},
		{"/~u/@v=1/x:y", []string{"/~u/@v=1/x:y"}, []string{"/~u"}},
	}
	for _, test := range tests {
		p := mustWrite(t, "request: {paths: ["+test.paths+"]}")
		for _, plain := range []bool{false, true} {
			for _, path := range test.yes {
				if got := ask(p, Request{Path: path, Method: "GET", Plain: plain}); !got.Allow {
					t.Errorf("%s: %s: got %+v, want admission", test.paths, path, got)
				}
			}
			for _, path := range test.noes {
				want := answer{Status: 404, Policy: "p", Rule: "request", Reason: reasonPathRefused}
				if got := ask(p, Request{Path: path, Method: "GET", Plain: plain}); got != want {
					t.Errorf("%s: %s: got %+v, want %+v", test.paths, path, got, want)
				}
			}
		}
	}
}

func TestRequestMethods(t *testing.T) {
	p := mustWrite(t, "request: {methods: [GET, M-SEARCH], paths: [/a]}")
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/a", 0},
		{"M-SEARCH", "/a", 0},
		{"HEAD", "/a", http.StatusMethodNotAllowed},
		{"get", "/a", http.StatusMethodNotAllowed},
		{"POST", "/a", http.StatusMethodNotAllowed},
		{"", "/a", http.StatusMethodNotAllowed},
		{"POST", "/b", http.StatusNotFound}, // what is not there takes no method
	} {
		a := p.Admit(t.Context(), &Request{Plain: true, Method: test.method, Path: test.path})
		d := a.Refused()
		switch {
		case test.status == 0 && d != nil:
			t.Errorf("%s %s: refused with %+v", test.method, test.path, d.Refusal)
		case test.status == 0:
		case d == nil || d.Refusal.Status != test.status:
			t.Errorf("%s %s: got %+v, want status %d", test.method, test.path, d, test.status)
		case (d.Refusal.Allowed == "GET, M-SEARCH") != (test.status == http.StatusMethodNotAllowed):
			t.Errorf("%s %s: refused with Allow %q", test.method, test.path, d.Refusal.Allowed)
		}
	}
	// Without GET there is no handshake.
	p = mustWrite(t, "request: {methods: [POST]}")
	if got := ask(p, Request{Method: "GET"}); got.Status != http.StatusMethodNotAllowed || got.Reason != reasonMethodRefused {
		t.Errorf("a handshake where only POST may be used: %+v", got)
	}
}

func TestRequestMistakes(t *testing.T) {
	const noPath = "is not a path, want one such as /ws, or /ws/*"
	checkMistakes(t, []mistake{
		{"request: {}", "p.request", "is empty, want methods, paths or both"},
		{"request: {methods: []}", "p.request.methods", "want 1 or more entries"},
		{"request: {methods: [get]}", "p.request.methods[0]", `"get" is not a method, want one in capital letters such as GET`},
		{"request: {methods: ['']}", "p.request.methods[0]", "is not a method"},
		{"request: {methods: ['GET,POST']}", "p.request.methods[0]", "is not a method"},
		{"request: {methods: [GET, GET]}", "p.request.methods[1]", "method GET is listed twice"},
		{"request: {methods: [TRACE]}", "p.request.methods[0]", "TRACE is refused whatever policies say"},
		{"request: {methods: [CONNECT]}", "p.request.methods[0]", "CONNECT is refused whatever policies say"},
		{"request: {paths: [/a, /a]}", "p.request.paths[1]", `path "/a" is listed twice`},
		{"request: {paths: ['']}", "p.request.paths[0]", noPath},
		{"request: {paths: [ws]}", "p.request.paths[0]", noPath},
		{"request: {paths: ['*']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/ws*']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/*/a']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['//*']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/ws//*']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['//a']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a/../b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/.']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a?b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a#b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a;b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/%61']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a\\b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/ä']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['/a b']}", "p.request.paths[0]", noPath},
		{"request: {paths: ['https://a.example/']}", "p.request.paths[0]", noPath},
	})
}

// FuzzPathPattern states that a pattern matches the path that it is made of, and nothing outside of it.
func FuzzPathPattern(f *testing.F) {
	for _, seed := range [][2]string{{"/ws", "/ws"}, {"/ws/*", "/ws/a"}, {"/*", "/"}, {"/a/", "/a"}, {"//", "/"}, {"/a/./b", "/a/b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, ok := parsePathPattern(text)
		if !ok {
			return
		}
		if !p.matches(p.path) {
			t.Errorf("%q does not match %q", text, p.path)
		}
		outside := path != p.path && (!p.below || len(path) <= len(p.path) || path[:len(p.path)+1] != p.path+"/")
		if p.matches(path) == outside {
			t.Errorf("%q matches %q: %t", text, path, !outside)
		}
	})
}
