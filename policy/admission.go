package policy

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/revocation"
)

// Request is what the checks see of a request. None of them changes it.
type Request struct {
	Now      time.Time
	Plain    bool   // no WebSocket handshake
	Secure   bool   // the client came over TLS
	Method   string // of a plain request; handshakes are GET whatever they came as
	Host     string // canonical: lower case, no port; IPv6 with or without brackets
	Port     string // as the client named it, empty for the scheme's default
	Path     string // canonical
	RawQuery string

	Origin    string // the only Origin header's value
	HasOrigin bool   // there is an Origin header, even an empty one
	HasCookie bool   // there is a Cookie header

	Header       http.Header // the end-to-end fields
	Subprotocols []string    // offered, in the client's order

	Address     netip.Addr        // of the client, as trusted proxies tell it
	Certificate *x509.Certificate // that the client has proved to have; nil without one
	Identity    [][2]string       // fields by which the upstream is told of it, and values
	Route       string
	Listener    string // its address
}

// A judge decides about one request. It may note on the admission who the client is and what changes on the way to the upstream.
type judge func(ctx context.Context, a *Admission) *Refusal

// A Refusal is the answer of a rule that does not let a request pass. Every text is constant or from the configuration.
type Refusal struct {
	Status     int           // HTTP status
	Reason     string        // fit for the client and the log
	Challenge  string        // WWW-Authenticate, with status 401
	Allowed    string        // Allow, with status 405 (RFC 9110, section 15.5.6)
	RetryAfter time.Duration // when it may be worth trying again; 0 to say nothing
}

// forbidden refuses with 403.
func forbidden(reason string) *Refusal { return &Refusal{Status: http.StatusForbidden, Reason: reason} }

// A Decision is what one rule said.
type Decision struct {
	Rule    int // number among the Rules of the Policy
	Policy  string
	Name    string // of the rule
	Shadow  bool   // it was only to be counted and logged
	Refusal *Refusal
	Detail  string // for the log only: why the rule could not decide as it should
}

// Outcome names the decision in logs and metrics: admitted, refused, or would_refuse in shadow mode.
func (d *Decision) Outcome() string {
	switch {
	case d.Refusal == nil:
		return OutcomeAdmitted
	case d.Shadow:
		return OutcomeWouldRefuse
	}
	return OutcomeRefused
}

// The outcomes of a decision.
const (
	OutcomeAdmitted    = "admitted"
	OutcomeRefused     = "refused"
	OutcomeWouldRefuse = "would_refuse"
)

// An Admission is the outcome of all checks for one request.
type Admission struct {
	*Request
	Decisions []Decision  // in the order in which the rules judged
	User      string      // who the client is; empty where no rule has found out
	Claims    *jwt.Claims // of the token that admitted it; nil without one

	refused int      // index of Decisions; -1 for none
	noted   string   // by the rule that judges now
	managed []string // header fields that clients may not send
	changes changes
	held    []Held
	reads   *reads         // of the policy
	live    *review        // where a connection is judged again
	vars    map[string]any // of conditions; nil until one asks
}

// changes are made to the request on its way to the upstream, once all rules have seen it as it came, and to its connection.
type changes struct {
	fields       []string         // header fields to be removed
	set          [][2]string      // and to be set
	cookies      []string         // to be removed
	query        []string         // parameters to be removed
	subprotocols []string         // to be removed
	end          time.Time        // of what admits the client; zero for none
	names        revocation.Names // by which that can be revoked
}

// Rule names one rule of a Policy.
type Rule struct {
	Policy, Name string
	Shadow       bool
}

// Rules lists the rules in the order in which they judge. A Decision's Rule is an index of it.
func (p *Policy) Rules() []Rule {
	all := make([]Rule, len(p.rules))
	for i, r := range p.rules {
		all[i] = Rule{r.policy, r.name, r.shadow}
	}
	return all
}

// Admit judges one request. The first enforced rule that refuses it decides, and no other one is asked then. Release must be called at the end
// of what was admitted; after a refusal there is nothing to release. A rule in shadow changes nothing.
func (p *Policy) Admit(ctx context.Context, r *Request) *Admission { return p.judge(ctx, r, false) }

// Explain judges one request by every rule, also by those that Admit would not ask any more.
func (p *Policy) Explain(ctx context.Context, r *Request) *Admission { return p.judge(ctx, r, true) }

func (p *Policy) judge(ctx context.Context, r *Request, all bool) *Admission {
	a := &Admission{Request: r, Decisions: make([]Decision, 0, len(p.rules)), managed: p.managed, reads: p.reads, refused: -1}
	p.ask(ctx, a, all)
	return a
}

// ask asks the rules in turn.
func (p *Policy) ask(ctx context.Context, a *Admission, all bool) {
	r := a.Request
	for i := range p.rules {
		rule := &p.rules[i]
		if r.Plain && !checks[rule.check].plain {
			continue
		}
		before := a.changes
		d := Decision{Rule: i, Policy: rule.policy, Name: rule.name, Shadow: rule.shadow}
		if a.live == nil {
			d.Refusal = rule.judge(ctx, a)
		} else if a.stands(ctx, rule) {
			continue // nothing was asked
		} else {
			d.Refusal = a.again(ctx, rule)
		}
		d.Detail, a.noted = a.noted, ""
		if d.Shadow {
			a.changes = before
		}
		a.Decisions = append(a.Decisions, d)
		if d.Refusal == nil || d.Shadow {
			continue
		}
		if a.refused < 0 {
			a.refused = len(a.Decisions) - 1
		}
		if !all {
			break
		}
	}
	if a.refused >= 0 {
		a.Release()
	}
}

// Refused returns the decision by which the request was refused, or nil.
func (a *Admission) Refused() *Decision {
	if a.refused < 0 {
		return nil
	}
	return &a.Decisions[a.refused]
}

// Release gives back what the connection held: places that are counted. It may be called more than once, and for no admission.
func (a *Admission) Release() {
	if a == nil {
		return
	}
	for _, h := range a.held {
		h.Release()
	}
	a.held = nil
}

// Held is something that counts, such as a place, and that a connection has until its end.
type Held struct {
	limit   unique.Handle[string] // its name
	key     uint64                // that it is counted by, hashed
	release func()
}

// Release gives it back.
func (h Held) Release() { h.release() }

// Keep returns what Release would have called: it is now the caller's to do so. Who keeps a connection need not keep its admission, which refers
// to the whole request.
func (a *Admission) Keep() []Held {
	held := a.held
	a.held = nil
	if a.live != nil {
		kept, _ := a.settle()
		held = append(held, kept...)
	}
	return held
}

// Hold has release called at the end of the connection, or once nothing needs it.
func (a *Admission) Hold(release func()) { a.held = append(a.held, Held{release: release}) }

// note keeps for the log why the rule that judges now cannot decide as it should. It quotes nothing of the client's.
func (a *Admission) note(detail string) { a.noted = detail }

// removeField keeps a header field from the upstream.
func (a *Admission) removeField(name string) { a.changes.fields = append(a.changes.fields, name) }

// claim returns a scalar claim as text.
func (a *Admission) claim(name string) (string, bool) {
	if a.Claims == nil {
		return "", false
	}
	return a.Claims.Get(name)
}

// setField tells the upstream something. name must be among what the rule manages.
func (a *Admission) setField(name, value string) {
	a.changes.set = append(a.changes.set, [2]string{name, value})
}

// removeCookie keeps the cookies of one name from the upstream.
func (a *Admission) removeCookie(name string) { a.changes.cookies = append(a.changes.cookies, name) }

// endBy ends the connection at a time at the latest.
func (a *Admission) endBy(t time.Time) {
	if a.changes.end.IsZero() || t.Before(a.changes.end) {
		a.changes.end = t
	}
}

// End returns when what admits the client does so no more, by the wall clock: when its token expires, leeway included. It is zero where it
// always does.
func (a *Admission) End() time.Time { return a.changes.end }

// removeQuery keeps a query parameter from the upstream.
func (a *Admission) removeQuery(name string) { a.changes.query = append(a.changes.query, name) }

// removeSubprotocol keeps an element of the offered subprotocols from the upstream.
func (a *Admission) removeSubprotocol(element string) {
	a.changes.subprotocols = append(a.changes.subprotocols, element)
}

// Edit makes the fields of a client those for the upstream: without the ones that only the gateway may set, then with those that rules set.
func (a *Admission) Edit(h http.Header) {
	for _, name := range a.managed {
		delete(h, name)
	}
	for _, name := range a.changes.fields {
		delete(h, name)
	}
	if len(a.changes.cookies) > 0 {
		RemoveCookies(h, a.changes.cookies...)
	}
	if len(a.changes.query) > 0 {
		a.cleanReferer(h)
	}
	for _, fields := range [][][2]string{a.changes.set, a.Identity} {
		for _, f := range fields {
			h[f[0]] = []string{f[1]}
		}
	}
}

// RemoveCookies takes the cookies with some names out of a request's fields, and leaves the others as they were sent.
func RemoveCookies(h http.Header, names ...string) {
	var fields []string
	for _, field := range h["Cookie"] {
		var kept []string
		for pair := range strings.SplitSeq(field, ";") {
			name, _, _ := strings.Cut(pair, "=")
			if pair = strings.Trim(pair, " \t"); pair != "" && !slices.Contains(names, strings.Trim(name, " \t")) {
				kept = append(kept, pair)
			}
		}
		if len(kept) > 0 {
			fields = append(fields, strings.Join(kept, "; "))
		}
	}
	delete(h, "Cookie")
	if len(fields) > 0 {
		h["Cookie"] = fields
	}
}

// cleanReferer takes the parameters that were removed out of the address of the page too.
func (a *Admission) cleanReferer(h http.Header) {
	values := h["Referer"]
	if len(values) == 0 {
		return
	}
	u, err := url.Parse(values[0])
	if err != nil || len(values) > 1 {
		delete(h, "Referer")
		return
	}
	u.RawQuery = a.without(u.RawQuery)
	u.Fragment, u.RawFragment = "", ""
	h["Referer"] = []string{u.String()}
}

// Query returns the raw query for the upstream.
func (a *Admission) Query() string { return a.without(a.RawQuery) }

// without removes parameters from a raw query and leaves the others as they were sent.
func (a *Admission) without(raw string) string {
	if len(a.changes.query) == 0 {
		return raw
	}
	kept := make([]string, 0, 8)
	for part := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		if !slices.Contains(a.changes.query, name) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// Offered returns the subprotocols for the upstream.
func (a *Admission) Offered() []string {
	if len(a.changes.subprotocols) == 0 {
		return a.Subprotocols
	}
	return slices.DeleteFunc(slices.Clone(a.Subprotocols), func(s string) bool { return slices.Contains(a.changes.subprotocols, s) })
}
