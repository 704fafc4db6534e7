package policytest

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy"
)

// Request is a request that nobody sends.
type Request struct {
	URL          string              `yaml:"url" required:"true" doc:"ws:// or wss:// for a WebSocket handshake, http:// or https:// for a plain request."`
	Method       string              `yaml:"method" default:"GET" doc:"Method of a plain request."`
	Headers      map[string]Values   `yaml:"headers" doc:"Header fields, each with its value or a list of values. Those of the handshake are made."`
	Subprotocols []string            `yaml:"subprotocols" doc:"Subprotocols that are offered."`
	Token        *Token              `yaml:"token" doc:"A token that is made for the request."`
	Certificate  *Certificate        `yaml:"certificate" doc:"The certificate that the client has proved to have. Default: none."`
	ForwardAuth  *Service            `yaml:"forward_auth" doc:"What the services of forward_auth answer. Default: they cannot be reached."`
	Address      string              `yaml:"address" default:"192.0.2.1" doc:"The client's IP address."`
	Time         string              `yaml:"time" doc:"When the request comes, such as 2026-11-25T12:00:00Z. Default: now."`
	Times        int                 `yaml:"times" default:"1" min:"1" max:"100000" doc:"How often the request comes; what is expected is expected of the last one. Connections stay open."`
	Every        strictyaml.Duration `yaml:"every" default:"0s" min:"0" doc:"Time from one of these requests to the next."`
}

// Values is one value of a header field, or several.
type Values []string

// UnmarshalText reads the form that is one value.
func (v *Values) UnmarshalText(text []byte) error {
	*v = Values{string(text)}
	return nil
}

// Wanted names the form in error messages.
func (Values) Wanted() string { return "a value or a list of values" }

// JSONSchema describes the form that is one value.
func (Values) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// check reports what cannot be a request.
func (r *Request) check(report proxy.Report) {
	if u, err := url.Parse(r.URL); r.URL != "" && (err != nil || u.Host == "" || !known(u.Scheme)) {
		report("url", "%q is not an address, want one such as wss://app.example.com/ws", r.URL)
	}
	if _, err := netip.ParseAddr(r.Address); err != nil {
		report("address", "%q is not an IP address, want one such as 192.0.2.1", r.Address)
	}
	if r.Token != nil {
		r.Token.check(func(path, format string, args ...any) { report(strictyaml.Join("token", path), format, args...) })
	}
	if r.Certificate != nil {
		r.Certificate.check(report)
	}
	if _, err := r.at(time.Time{}); err != nil {
		report("time", "%q is not a time, want one such as 2026-11-25T12:00:00Z", r.Time)
	}
}

// Check returns what is wrong with a request that does not come from a file.
func (r *Request) Check() error {
	var faults []error
	r.check(func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	})
	return errors.Join(faults...)
}

func known(scheme string) bool {
	switch scheme {
	case "ws", "wss", "http", "https":
		return true
	}
	return false
}

// at is when the request comes.
func (r *Request) at(now time.Time) (time.Time, error) {
	if r.Time == "" {
		return now, nil
	}
	return time.Parse(time.RFC3339, r.Time)
}

// make builds the n-th of the requests. Its token is signed with a key of keys.
func (r *Request) make(n int, now time.Time, keys *keyring) (*proxy.TrialRequest, error) {
	address, err := netip.ParseAddr(r.Address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", r.Address, err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	start, err := r.at(now)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	if handshake, ok := strings.CutPrefix(u.Scheme, "ws"); ok {
		u.Scheme = "http" + handshake
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Version", "13")
		h.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") // of RFC 6455 §1.3; no upstream sees it
	}
	if len(r.Subprotocols) > 0 {
		h.Set("Sec-WebSocket-Protocol", strings.Join(r.Subprotocols, ", "))
	}
	for name, values := range r.Headers {
		h[http.CanonicalHeaderKey(name)] = values
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	at := start.Add(time.Duration(n) * time.Duration(r.Every))
	if r.Token != nil {
		token, err := keys.sign(r.Token, at)
		if err != nil {
			return nil, err
		}
		r.Token.put(req, token)
	}
	return &proxy.TrialRequest{Request: req, Address: address, Certificate: r.Certificate.make(), Now: at}, nil
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
