// Package forward asks an HTTP service of the operator's whether a request may proceed: forward authentication, for applications whose sessions
// nobody but they themselves can read.
//
// The service gets a request of the gateway's own, with a few of the client's header fields and with X-Forwarded-Method, -Proto, -Host, -Uri and
// -For. It admits with any 2xx, and refuses with 401 or 403. Everything else is no decision: what happens then is configured, but a status
// that a client can provoke (a redirect, another 4xx) never admits. Nobody follows redirects and nobody reads the body.
package forward

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/outbound"
)

// Config says which service is asked, and how.
type Config struct {
	URL                  string              `yaml:"url" required:"true" doc:"The service that is asked, an https URL, or http of a loopback or private address. It admits with a status of 2xx, and refuses with 401 or 403."`
	Method               string              `yaml:"method" enum:"GET,HEAD,POST" default:"GET" doc:"The method of the request to the service. It never has a body."`
	Headers              []string            `yaml:"headers" default:"Authorization,Cookie,Origin" doc:"The client's header fields that the service gets. X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Uri and X-Forwarded-For are the gateway's own, and always there."`
	ResponseHeaders      []string            `yaml:"response_headers" doc:"The header fields of the service's answer that the upstream gets. Clients cannot send these."`
	UserHeader           string              `yaml:"user_header" doc:"The one of response_headers that names the user, for limits by user."`
	Timeout              strictyaml.Duration `yaml:"timeout" default:"2s" max:"10s" doc:"How long the service may take, connecting included."`
	OnFailure            string              `yaml:"on_failure" enum:"deny,dangerously_allow" default:"deny" doc:"What happens when the service cannot be reached in time, answers with 5xx, or makes no sense: the request is refused with 503 (deny), or admitted as if nobody had been asked (dangerously_allow). A redirect or another 4xx, which a client may have provoked, is always refused with 503."`
	CA                   string              `yaml:"ca" doc:"A file with the certificate authorities that the service is verified with, PEM. Default: the system's."`
	Cache                strictyaml.Duration `yaml:"cache" max:"5m" doc:"How long an admission holds for further requests that look the same to the service. A session that ends in this time is admitted on. Default: each request is asked about."`
	DangerouslyAllowHTTP bool                `yaml:"dangerously_allow_http" doc:"Lets url be http of any address. Whoever is on the network path reads sessions, and admits whom they like."`
}

const (
	defaultTimeout = 2 * time.Second
	maxTimeout     = 10 * time.Second
	maxCache       = 5 * time.Minute

	// connections bounds those to the service. More requests wait, within their time-out.
	connections = 100
)

// Compile makes a Checker, which starts nothing and connects when it is first asked. It returns nil if it reported a mistake.
func (c Config) Compile(report outbound.Report) *Checker {
	ok := true
	mistake := func(path, format string, args ...any) {
		ok = false
		report(path, format, args...)
	}
	x := &Checker{
		method: cmp.Or(c.Method, http.MethodGet), timeout: time.Duration(cmp.Or(c.Timeout, strictyaml.Duration(defaultTimeout))),
		open: c.OnFailure == "dangerously_allow",
	}
	if c.Headers == nil {
		c.Headers = []string{"Authorization", "Cookie", "Origin"}
	}
	x.passed = compileNames("headers", c.Headers, mistake)
	x.copied = compileNames("response_headers", c.ResponseHeaders, mistake)
	x.user = http.CanonicalHeaderKey(c.UserHeader)
	if x.user != "" && !slices.Contains(x.copied, x.user) {
		mistake("user_header", "%q is not among response_headers, want one of these", c.UserHeader)
	}
	service := outbound.Service{Plain: outbound.Private, Timeout: x.timeout, Connections: connections}
	if c.DangerouslyAllowHTTP {
		service.Plain = outbound.Anywhere
	}
	service.URL = outbound.CheckURL(c.URL, service.Plain, "url", mistake)
	if c.CA != "" {
		service.Roots = outbound.Roots(c.CA, "ca", mistake)
		if service.URL != nil && service.URL.Scheme == "http" {
			mistake("ca", "url is plain http, want https or no ca")
		}
	}
	c.checkValues(mistake)
	if !ok {
		return nil
	}
	if c.Cache > 0 {
		x.cache = newCache(time.Duration(c.Cache))
	}
	x.url, x.transport = service.URL, service.Transport()
	return x
}

// checkValues checks what the decoder of a file has checked already, for those who make a Config by other means.
func (c Config) checkValues(report outbound.Report) {
	if methods := []string{"", http.MethodGet, http.MethodHead, http.MethodPost}; !slices.Contains(methods, c.Method) {
		report("method", "unknown method %q, want GET, HEAD or POST", c.Method)
	}
	if values := []string{"", "deny", "dangerously_allow"}; !slices.Contains(values, c.OnFailure) {
		report("on_failure", "unknown value %q, want deny or dangerously_allow", c.OnFailure)
	}
	if c.Timeout < 0 || time.Duration(c.Timeout) > maxTimeout {
		report("timeout", "timeout is %v, want at most %v", c.Timeout, maxTimeout)
	}
	if c.Cache < 0 || time.Duration(c.Cache) > maxCache {
		report("cache", "cache is %v, want at most %v", c.Cache, maxCache)
	}
}

// compileNames returns the names of header fields in canonical spelling.
func compileNames(path string, names []string, report outbound.Report) []string {
	var all []string
	for i, name := range names {
		at, canonical := fmt.Sprintf("%s[%d]", path, i), http.CanonicalHeaderKey(name)
		switch {
		case !isName(name):
			report(at, "%q is not a name of a header field, want letters, digits and hyphens", name)
		case ofHop(canonical):
			report(at, "%q is made anew by each hop, want another field", name)
		case slices.Contains(all, canonical):
			report(at, "%q is listed twice", name)
		}
		all = append(all, canonical)
	}
	return all
}
