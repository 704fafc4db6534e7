package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/policy/outbound"
)

const (
	maxCopied    = 8 << 10 // bytes of an answer's fields that go to the upstream
	maxDiscarded = 4 << 10 // bytes of an answer's body that are read, so that the connection can be kept
)

// Query is a request that is asked about.
type Query struct {
	Method string      // of the client's request
	Proto  string      // "https" or "http": how the client came
	Host   string      // that the client named, with its port if it named one
	URI    string      // path and query
	For    string      // the client's address, behind those that it came through
	Header http.Header // the client's end-to-end fields
}

// Answer is what came of asking.
type Answer struct {
	Allow  bool
	Fields [][2]string // for the upstream, names in canonical spelling
	User   string      // whom the field of user_header names

	Status    int    // of the refusal: 400, 401, 403 or 503
	Challenge string // WWW-Authenticate of the service's 401; empty if it sent none that is well-formed
}

// A Checker asks one service. All methods may be called at the same time.
type Checker struct {
	url       *url.URL
	method    string
	timeout   time.Duration
	open      bool     // admit when the service fails
	passed    []string // fields of the client's that the service gets
	copied    []string // fields of the service's that the upstream gets
	user      string   // which of these names the user
	cache     *cache   // nil without one
	transport http.RoundTripper
}

// Through sends the requests to the service through another transport: one that answers in a test. It is called before the first Ask.
func (x *Checker) Through(t http.RoundTripper) { x.transport = t }

// Managed returns the header fields that only the service may set: what a client sends under these names must not reach the upstream.
func (x *Checker) Managed() []string { return slices.Clone(x.copied) }

// Close ends the connections that are not in use, and each other one when its request has ended.
func (x *Checker) Close() { (&http.Client{Transport: x.transport}).CloseIdleConnections() }

// field is one line of the request to the service.
type field struct{ name, value string }

// Ask asks the service whether a request may proceed. The answer is always one to act on. The error says for the log why the service has not
// decided; then the answer is the configured one.
func (x *Checker) Ask(ctx context.Context, q Query) (Answer, error) {
	fields := x.fields(q)
	// net/http has seen to this; but what it would not send must not count as a failure of the service, which may admit.
	if slices.ContainsFunc(fields, func(f field) bool { return !isValue(f.value) }) {
		return Answer{Status: http.StatusBadRequest}, nil
	}
	if x.cache == nil {
		return x.ask(ctx, fields)
	}
	key := keyOf(fields)
	if a, ok := x.cache.get(key, time.Now()); ok {
		return a, nil
	}
	a, err := x.ask(ctx, fields)
	if a.Allow && err == nil {
		x.cache.put(key, a, time.Now())
	}
	return a, err
}

// fields lists all that the service gets of a request.
func (x *Checker) fields(q Query) []field {
	fields := []field{
		{"X-Forwarded-Method", q.Method},
		{"X-Forwarded-Proto", q.Proto},
		{"X-Forwarded-Host", q.Host},
		{"X-Forwarded-Uri", q.URI},
		{"X-Forwarded-For", q.For},
	}
	for _, name := range x.passed {
		for _, value := range q.Header[name] {
			fields = append(fields, field{name, value})
		}
	}
	return fields
}

func (x *Checker) ask(ctx context.Context, fields []field) (Answer, error) {
	limited, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	resp, err := x.transport.RoundTrip(x.request(limited, fields))
	if err != nil {
		if ctx.Err() != nil { // the client is gone, which says nothing about the service
			return Answer{Status: http.StatusServiceUnavailable}, ctx.Err()
		}
		return x.failed(errors.New(outbound.Explain(err)))
	}
	defer discard(resp.Body)
	switch status := resp.StatusCode; {
	case status >= 200 && status <= 299:
		a, err := x.admit(resp.Header)
		if err != nil {
			return x.failed(err)
		}
		return a, nil
	case status == http.StatusUnauthorized:
		return Answer{Status: status, Challenge: challenge(resp.Header)}, nil
	case status == http.StatusForbidden:
		return Answer{Status: status}, nil
	case status >= 500:
		return x.failed(fmt.Errorf("the service answered with status %d", status))
	default: // a client may have provoked it: such a request is never admitted
		return Answer{Status: http.StatusServiceUnavailable}, fmt.Errorf("the service answered with status %d, want 2xx, 401 or 403", status)
	}
}

// failed answers for a service that has not decided.
func (x *Checker) failed(err error) (Answer, error) {
	if x.open {
		return Answer{Allow: true}, err
	}
	return Answer{Status: http.StatusServiceUnavailable}, err
}

func (x *Checker) request(ctx context.Context, fields []field) *http.Request {
	h := http.Header{
		"User-Agent":      {outbound.UserAgent},
		"Idempotency-Key": nil, // not sent: it lets net/http ask again, also by POST, when a kept connection turns out to be dead
	}
	for _, name := range x.passed {
		delete(h, name) // the client's instead
	}
	for _, f := range fields {
		h[f.name] = append(h[f.name], f.value)
	}
	return (&http.Request{Method: x.method, URL: x.url, Header: h}).WithContext(ctx)
}

// admit takes from an answer the fields that the upstream gets. Several of one name become one, as RFC 9110, section 5.3, allows: nobody is to
// read the first where somebody else reads the last. Values with control characters net/http has refused.
func (x *Checker) admit(h http.Header) (Answer, error) {
	a := Answer{Allow: true}
	size := 0
	for _, name := range x.copied {
		value := strings.Join(h[name], ", ")
		if value == "" {
			continue
		}
		if size += len(name) + len(value); size > maxCopied {
			return Answer{}, fmt.Errorf("the service's response_headers are larger than %d bytes", maxCopied)
		}
		a.Fields = append(a.Fields, [2]string{name, value})
		if name == x.user {
			a.User = value
		}
	}
	return a, nil
}

// challenge returns the WWW-Authenticate of an answer, if there is exactly one and it is well-formed.
func challenge(h http.Header) string {
	if values := h["Www-Authenticate"]; len(values) == 1 && isChallenge(values[0]) {
		return values[0]
	}
	return ""
}

// discard reads the start of a body, which is short where services are built for this, and closes it. The request's time-out still runs.
func discard(body io.ReadCloser) {
	io.CopyN(io.Discard, body, maxDiscarded)
	body.Close()
}
