package policy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/framegate/framegate/policy/forward"
)

// service is an http.RoundTripper that answers for a service, or fails.
type service struct {
	status   int
	header   http.Header
	err      error
	requests []*http.Request
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests = append(s.requests, r)
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: s.status, Header: s.header, Body: io.NopCloser(&bytes.Buffer{})}, nil
}

// forwardPolicy makes a policy that asks s.
func forwardPolicy(t *testing.T, s *service, c forward.Config) *Policy {
	t.Helper()
	env := testEnv(t)
	env.Service = s
	c.URL = "https://auth.example/check"
	p := Compile(map[string]Config{"sessions": {ForwardAuth: &c}}, env, failOn(t)).Route([]string{"sessions"}, failOn(t))
	if p == nil {
		t.FailNow()
	}
	return p
}

// forwardRequest is one whose origin is the route's own.
func forwardRequest() *Request {
	return &Request{
		Secure: true, Method: "GET", Host: "app.example", Path: "/ws", RawQuery: "room=1", Origin: "https://app.example", HasOrigin: true,
		Header: http.Header{"Cookie": {"sid=S3CRET"}, "Origin": {"https://app.example"}, "X-Auth-User": {"root"}}, Address: netip.MustParseAddr("192.0.2.1"),
	}
}

func TestForwardAuth(t *testing.T) {
	for status, want := range map[int]*Refusal{
		200: nil,
		204: nil,
		401: {Status: 401, Reason: "sign-in required", Challenge: `Session realm="app"`},
		403: {Status: 403, Reason: "not allowed"},
		302: {Status: 503, Reason: "authentication unavailable"},
		500: {Status: 503, Reason: "authentication unavailable"},
	} {
		s := &service{status: status, header: http.Header{"Www-Authenticate": {`Session realm="app"`}}}
		a := forwardPolicy(t, s, forward.Config{}).Admit(t.Context(), forwardRequest())
		d := a.Decisions[len(a.Decisions)-1]
		if !reflect.DeepEqual(d.Refusal, want) || d.Name != "forward_auth" || d.Policy != "sessions" {
			t.Errorf("%d: got %+v, want %+v", status, d.Refusal, want)
		}
		if failed := status == 302 || status == 500; failed != strings.Contains(d.Detail, "the service answered with status") {
			t.Errorf("%d: detail %q", status, d.Detail)
		}
	}
}

// The upstream gets what the service says of the user, and never what the client says.
func TestForwardAuthTellsTheUpstream(t *testing.T) {
	for _, user := range []string{"alice", ""} {
		s := &service{status: 200, header: http.Header{"X-Auth-User": {user}, "X-Other": {"no"}}}
		r := forwardRequest()
		a := forwardPolicy(t, s, forward.Config{ResponseHeaders: []string{"x-auth-user"}, UserHeader: "X-Auth-User"}).Admit(t.Context(), r)
		a.Edit(r.Header)
		want := http.Header{"Cookie": {"sid=S3CRET"}, "Origin": {"https://app.example"}}
		if user != "" {
			want["X-Auth-User"] = []string{user}
		}
		if !reflect.DeepEqual(r.Header, want) || a.User != user || a.Refused() != nil {
			t.Errorf("user %q: the upstream gets %v, user %q", user, r.Header, a.User)
		}
	}
}

// A service that fails may be told to admit; the log knows.
func TestForwardAuthFailsOpen(t *testing.T) {
	s := &service{err: errors.New("S3CRET")}
	a := forwardPolicy(t, s, forward.Config{OnFailure: "dangerously_allow"}).Admit(t.Context(), forwardRequest())
	d := a.Decisions[len(a.Decisions)-1]
	if a.Refused() != nil || d.Outcome() != OutcomeAdmitted || d.Detail == "" || strings.Contains(d.Detail, "S3CRET") {
		t.Errorf("got %+v", d)
	}
}

// The service is told of the request as the client sent it, without the tokens that other rules took out of the query.
func TestForwardQuery(t *testing.T) {
	for name, test := range map[string]struct {
		change      func(*Request)
		host, proto string
		uri         string
	}{
		"as it is":      {func(*Request) {}, "app.example", "https", "/ws?room=1"},
		"plain":         {func(r *Request) { r.Secure = false }, "app.example", "http", "/ws?room=1"},
		"port":          {func(r *Request) { r.Port = "8443" }, "app.example:8443", "https", "/ws?room=1"},
		"no query":      {func(r *Request) { r.RawQuery = "" }, "app.example", "https", "/ws"},
		"token":         {func(r *Request) { r.RawQuery = "token=S3CRET&a=1" }, "app.example", "https", "/ws?a=1"},
		"IPv6":          {func(r *Request) { r.Host = "2001:db8::1" }, "[2001:db8::1]", "https", "/ws?room=1"},
		"IPv6 and port": {func(r *Request) { r.Host, r.Port = "[2001:db8::1]", "8443" }, "[2001:db8::1]:8443", "https", "/ws?room=1"},
	} {
		r := forwardRequest()
		test.change(r)
		a := changesOf(r, nil, func(a *Admission) { a.removeQuery("token") })
		q := forwardQuery(a)
		want := forward.Query{Method: "GET", Proto: test.proto, Host: test.host, URI: test.uri, For: "192.0.2.1", Header: r.Header}
		if !reflect.DeepEqual(q, want) {
			t.Errorf("%s: got %+v, want %+v", name, q, want)
		}
	}
}

// Plain requests are asked about too.
func TestForwardAuthOfPlainRequests(t *testing.T) {
	s := &service{status: 403}
	r := forwardRequest()
	r.Plain, r.Method = true, "POST"
	if d := forwardPolicy(t, s, forward.Config{}).Admit(context.Background(), r).Refused(); d == nil || d.Refusal.Status != 403 {
		t.Errorf("got %+v", d)
	}
	if got := s.requests[0].Header.Get("X-Forwarded-Method"); got != "POST" {
		t.Errorf("asked about the method %q", got)
	}
}

func TestForwardAuthMistakes(t *testing.T) {
	var r reports
	all := map[string]Config{"a": {ForwardAuth: &forward.Config{URL: "http://192.0.2.1/", CA: "ca.pem"}}}
	Compile(all, testEnv(t), r.add)
	if len(r) != 2 || !strings.HasPrefix(r[0], "a.forward_auth.url: ") || !strings.Contains(r[1], `a.forward_auth.ca: file "a/ca.pem" cannot be read`) {
		t.Errorf("got reports %q", r)
	}
}

// Close ends the connections that rules keep.
func TestCloseOfASet(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(gone)
		}
	}
	server.Start()
	defer server.Close()
	set := Compile(map[string]Config{"a": {ForwardAuth: &forward.Config{URL: server.URL}, Origin: &OriginConfig{}}}, testEnv(t), failOn(t))
	if d := set.Route([]string{"a"}, failOn(t)).Admit(t.Context(), forwardRequest()).Refused(); d != nil {
		t.Errorf("refused by %+v", d)
	}
	set.Close()
	<-gone
}
