package proxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/revocation"
	"github.com/framegate/framegate/ratelimit"
)

// renewalRequests is how often one subject may renew by a request: each looks
// for its sessions among all.
var renewalRequests = &ratelimit.Limit{Name: "framegate/renewal", Rate: ratelimit.Rate{PerSecond: 1, Burst: 10}}

// renewalPath is where clients of the route renew by a request, "" where they
// cannot.
func (rt *route) renewalPath() string {
	if r := rt.policy.Renewal(); r != nil {
		return r.Path
	}
	return ""
}

// renewByRequest brings the sessions of a route that are of a request's subject
// under the token that the request has. It is judged as all plain requests are:
// whoever has the token might as well connect anew with it.
func (s *Server) renewByRequest(st *site, rt *route, w http.ResponseWriter, r *http.Request, path string) *refused {
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, resultPolicy, "method not allowed").with("Allow", http.MethodPost)
	}
	a, no := s.decide(st, rt, r, plainRequestOf(r, path))
	if no != nil {
		return no
	}
	defer a.Release()
	if a.Claims == nil || a.Claims.Subject == "" {
		return refuse(http.StatusForbidden, resultPolicy, "token without a subject")
	}
	if ok, wait := s.shared.policies.Limits.Take(renewalRequests, a.Claims.Issuer+"\x00"+a.Claims.Subject, 1, time.Now()); !ok {
		return refuse(http.StatusTooManyRequests, resultLimit, "too many renewals").after(wait)
	}
	no = refuse(http.StatusNotFound, resultPolicy, "no session to renew")
	renewed := false
	for _, c := range s.sessions.named(subjectOf(a.Claims)) {
		if c.routeName() != rt.name {
			continue
		}
		reason := s.renew(c, a.Claims)
		if s.countRenewal(c, reason); reason == "" {
			renewed = true
		} else {
			no = refuse(http.StatusForbidden, resultPolicy, reason)
		}
	}
	if !renewed {
		return no
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// subjectOf is what would revoke a token's subject at its issuer.
func subjectOf(claims *jwt.Claims) revocation.Group {
	return revocation.Group{revocation.NameOf(revocation.Subject, claims.Issuer, claims.Subject): revocation.All}
}

// routeName is the name of the route that has admitted the connection.
func (c *connection) routeName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.under.name
}

// compileRenewal wants the path of renewals among those of the route.
func compileRenewal(p *policy.Policy, patterns []string, report Report) {
	if p == nil || p.Renewal() == nil || p.Renewal().Path == "" {
		return
	}
	path := p.Renewal().Path
	if canonical, ok := canonicalPattern(path); !ok || canonical != path || strings.HasSuffix(path, "/*") {
		report("policies", "renew.path %q of their jwt is not a path, want one such as /renew", path)
		return
	}
	for _, pattern := range patterns {
		if base, wild := strings.CutSuffix(pattern, "/*"); path == pattern || wild && strings.HasPrefix(path+"/", base+"/") {
			return
		}
	}
	report("policies", "renew.path %q of their jwt is not among the paths of the route, want one that is", path)
}
