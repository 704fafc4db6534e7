package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/ratelimit"
)

// A Trial asks what a configuration decides about requests that nobody sends:
// for tests and explanations of policies. It runs no gateway.
type Trial struct {
	site  *site
	store ratelimit.Store
}

// NewTrial compiles a configuration that Load has found to be right. change,
// where not nil, replaces what the policies would use of the outside.
func NewTrial(cfg *Config, change func(*policy.Env)) (*Trial, error) {
	common := cfg.shared()
	if change != nil {
		change(common.policies)
	}
	var mistakes []error
	st := compile(cfg, common, func(path, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}, ignore)
	return &Trial{st, common.policies.Limits}, errors.Join(mistakes...)
}

// TrialRequest is a request and where it comes from.
type TrialRequest struct {
	*http.Request // over TLS where its URL has the scheme https; it names that server
	Address       netip.Addr
	Certificate   *x509.Certificate // that the client has proved to have, nil for none
	Now           time.Time
	Policies      []string // instead of those of its route, where not nil
	All           bool     // ask the rules behind a refusal too
}

// Outcome is what was decided. Of a request that was admitted, Header, Query
// and Subprotocols are what the upstream would be sent.
type Outcome struct {
	Route        string // empty where none was found, or Policies were given
	Status       int    // of the refusal; 0 where the request is admitted
	Reason       string // of the refusal
	Rules        []policy.Rule
	Admission    *policy.Admission // nil where the request did not come so far
	Header       http.Header
	Query        string
	Subprotocols []string

	route *route // whose rules the session's messages are under
	store ratelimit.Store
}

// Try decides about one request. The outcome's Admission is to be released. An
// error says that Policies cannot be used.
func (t *Trial) Try(ctx context.Context, r *TrialRequest) (*Outcome, error) {
	q, no := trialRequest(r)
	if no != nil {
		return &Outcome{Status: no.Status, Reason: no.Reason}, nil
	}
	rt, out, err := t.route(r, q)
	if rt == nil {
		return out, err
	}
	p := rt.policy
	out.route, out.store = rt, t.store
	q.Now, q.Address, q.Certificate, q.Secure = r.Now, r.Address, r.Certificate, r.URL.Scheme == "https"
	q.HasCookie = rt.hasCookie(q.Header)
	judge := p.Admit
	if r.All {
		judge = p.Explain
	}
	a := judge(ctx, q)
	out.Admission, out.Rules = a, p.Rules()
	if d := a.Refused(); d != nil {
		out.Status, out.Reason = d.Refusal.Status, d.Refusal.Reason
		return out, nil
	}
	out.Header = q.Header.Clone()
	a.Edit(out.Header)
	out.Query, out.Subprotocols = a.Query(), a.Offered()
	return out, nil
}

// route finds what holds for a request: a route, or one made of policies.
func (t *Trial) route(r *TrialRequest, q *policy.Request) (rt *route, out *Outcome, err error) {
	if r.Policies != nil {
		p := t.site.policies.Route(r.Policies, func(_, format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) })
		if p == nil {
			return nil, &Outcome{}, err
		}
		rt = &route{policy: p, limits: compileLimits(&RouteConfig{CloseTimeout: strictyaml.Duration(relay.Defaults().CloseTimeout)}, p, ignore)}
		rt.rules = compileRules(p, rt.limits, nil)
		rt.limits.Memory = t.site.routes[0].limits.Memory
		return rt, &Outcome{}, nil
	}
	rt = t.site.router.find(q.Host, q.Path)
	switch {
	case rt == nil:
		return nil, &Outcome{Status: http.StatusNotFound, Reason: "not found"}, nil
	case q.Plain && rt.denyHTTP:
		no := httpDenied()
		return nil, &Outcome{Route: rt.name, Status: no.Status, Reason: no.Reason}, nil
	}
	q.Route = rt.name
	return rt, &Outcome{Route: rt.name}, nil
}

// trialRequest reads a request as the gateway would.
func trialRequest(r *TrialRequest) (*policy.Request, *refused) {
	if !handshake.IsUpgrade(r.Request) {
		_, path, no := readPlain(r.Request)
		if no != nil {
			return nil, no
		}
		return plainRequestOf(r.Request, path), nil
	}
	offer, refusal := handshake.ParseOffer(r.Request)
	if refusal != nil {
		return nil, &refused{Refusal: refusal}
	}
	return requestOf(offer), nil
}

// Rules lists the rules of all routes, about requests and about messages, each
// once.
func (t *Trial) Rules() []policy.Rule {
	seen := map[policy.Rule]bool{}
	var all []policy.Rule
	for _, rt := range t.site.routes {
		for _, rule := range slices.Concat(rt.policy.Rules(), rt.rules[relay.Client].names, rt.rules[relay.Upstream].names) {
			if !seen[rule] {
				seen[rule] = true
				all = append(all, rule)
			}
		}
	}
	return all
}
