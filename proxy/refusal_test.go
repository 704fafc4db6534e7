package proxy

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"
)

// The client reads constant text and that the connection ends; what only the log may know stays in the log.
func TestRefusedWrite(t *testing.T) {
	t.Parallel()
	no := refuse(http.StatusServiceUnavailable, resultDraining, "going away").with("Retry-After", "1").detail("dial 10.0.0.1:9000")
	w := httptest.NewRecorder()
	w.Header().Set("Set-Cookie", "left=over")
	w.Header().Set("Content-Encoding", "gzip")
	no.write(w, httptest.NewRequest(http.MethodGet, "/", nil))
	want := http.Header{
		"Retry-After": {"1"}, "Connection": {"close"}, "Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"},
		"Cache-Control": {"no-store"}, "Content-Length": {"72"},
	}
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != `{"title": "Service Unavailable", "status": 503, "detail": "going away"}`+"\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
	for name, values := range w.Header() {
		if !slices.Equal(values, want[name]) {
			t.Errorf("%s is %q, want %q", name, values, want[name])
		}
	}
	if len(w.Header()) != len(want) {
		t.Errorf("got the fields %v", w.Header())
	}
}

// The results are labels of metrics: each once, in one spelling.
func TestResults(t *testing.T) {
	t.Parallel()
	all := results()
	for i, result := range all {
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(result) || slices.Index(all, result) != i {
			t.Errorf("%q", result)
		}
	}
}
