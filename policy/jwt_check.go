package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/revocation"
)

// JWTConfig demands a JSON Web Token of one of the issuers.
type JWTConfig struct {
	Only            jwt.IssuerConfig   `yaml:",inline" doc:"The only issuer, or one beside issuers."`
	Issuers         []jwt.IssuerConfig `yaml:"issuers" min:"1" max:"16" doc:"Several issuers, each with the keys that stand here for one. A token of any of them will do."`
	From            []TokenSource      `yaml:"from" default:"header" min:"1" max:"8" doc:"Where clients may put the token: header (Authorization: Bearer TOKEN), subprotocol (bearer, TOKEN or base64url.bearer.authorization.k8s.io.TOKEN, beside the real subprotocols), {cookie: NAME}, {query: NAME}. Two tokens at once are refused."`
	Forward         bool               `yaml:"forward" doc:"Whether the upstream gets the token as well: in the header or cookie that it came in, or, from a query or subprotocol, of which it is always removed, as Authorization: Bearer. Default: false."`
	ClaimsToHeaders map[string]string  `yaml:"claims_to_headers" doc:"Claims that the upstream gets as header fields, if they are text, numbers or booleans. What clients send in these fields never reaches it."`
	Renew           *RenewConfig       `yaml:"renew" doc:"Lets clients bring a new token of the same subject over a live connection, in a text message that the gateway takes out. All text messages of clients are then kept until they are whole."`
	OnExpiry        string             `yaml:"on_expiry" enum:"close,ignore" default:"close" doc:"What happens to a connection when its token expires: it is closed with code 1008, or nothing."`
}

// What the client is told, beside the errors of package jwt.
const (
	reasonTokenMissing = "token required"
	reasonTokenTwice   = "more than one token"
	reasonClaimUnfit   = "token claim unfit for a header"
	reasonRevoked      = "token revoked"
)

// These challenges are those of RFC 6750, section 3: without an error where no token was sent.
const (
	challengeMissing = "Bearer"
	challengeInvalid = `Bearer error="invalid_token"`
)

// jwtRule is the compiled form.
type jwtRule struct {
	issuers []*jwt.Issuer
	sources []tokenSource
	headers []claimHeader
	forward bool
	close   bool // at the token's end
	revoked *revocation.Set
}

// claimHeader is a claim and the field that tells it to the upstream.
type claimHeader struct{ claim, field string }

// compileJWT makes the check of one policy.
func compileJWT(p place, c *Config, report Report) []rule {
	if c.JWT == nil {
		return nil
	}
	at := func(section string) Report {
		return func(path, format string, args ...any) { report(strictyaml.Join(section, path), format, args...) }
	}
	j := &jwtRule{
		sources: c.JWT.compileSources(at("jwt")), headers: c.JWT.compileHeaders(at("jwt")),
		forward: c.JWT.Forward, close: c.JWT.OnExpiry != "ignore", revoked: p.env.Revoked,
	}
	if len(c.JWT.Issuers) == 0 || !reflect.ValueOf(c.JWT.Only).IsZero() {
		j.issuers = append(j.issuers, p.issuer(c.JWT.Only, at("jwt")))
	}
	for i, issuer := range c.JWT.Issuers {
		j.issuers = append(j.issuers, p.issuer(issuer, at(indexed("jwt.issuers", i))))
	}
	manages := make([]string, len(j.headers))
	for i, h := range j.headers {
		manages[i] = h.field
	}
	return []rule{{renew: j.compileRenew(c.JWT.Renew), judge: j.judge, manages: manages, recall: j.recall, again: j.again}}
}

// issuer compiles an issuer with its keys.
func (p place) issuer(c jwt.IssuerConfig, report Report) *jwt.Issuer {
	var keys jwt.Keys
	var err error
	switch {
	case p.env.Keys != nil:
		keys, err = p.env.Keys(c)
	case c.JWKSURL != "":
		keys, err = p.fetched(c, report)
	default:
		keys = c.StaticKeys(p.file, report)
	}
	if err != nil {
		report("", "%v", err)
	}
	return c.Compile(keys, report)
}

// fetched returns the keys of an issuer that publishes them; none, if nothing is to be fetched.
func (p place) fetched(c jwt.IssuerConfig, report Report) (jwt.Keys, error) {
	source := jwks.Config{URL: c.JWKSURL, MaxStale: time.Duration(c.MaxStale), DangerouslyAllowHTTP: c.DangerouslyAllowHTTP}
	if c.JWKSCA != "" {
		source.CAFile = p.path(c.JWKSCA)
	}
	ok := true
	source.Validate(func(path, format string, args ...any) {
		ok = false
		report(path, format, args...)
	})
	if !ok || p.env.Fetched == nil {
		return nil, nil
	}
	return p.env.Fetched(source)
}

// compileHeaders compiles claims_to_headers, in a constant order.
func (c *JWTConfig) compileHeaders(report Report) (list []claimHeader) {
	taken := make(map[string]string)
	for _, claim := range slices.Sorted(maps.Keys(c.ClaimsToHeaders)) {
		name, path := c.ClaimsToHeaders[claim], strictyaml.Key("claims_to_headers", claim)
		field, err := ManagedField(name)
		switch first, twice := taken[field]; {
		case err != nil:
			report(path, "%v", err)
		case twice:
			report(path, "field %s is that of claim %q already", field, first)
		}
		taken[field] = claim
		list = append(list, claimHeader{claim, field})
	}
	return list
}

// ManagedField returns the canonical spelling of a field by which the gateway may tell the upstream who the client is.
func ManagedField(name string) (field string, err error) {
	field = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case name == "" || !isASCIIOf(name, isIdentifier):
		err = fmt.Errorf("%q is not the name of a header field, want letters, digits and hyphens, such as X-Auth-Sub", name)
	case reservedField(field):
		err = fmt.Errorf("field %s has a meaning of its own, want another one such as X-Auth-Sub", field)
	}
	return field, err
}

// reservedField says whether HTTP, the gateway or a browser gives a meaning to a field, in canonical spelling.
func reservedField(field string) bool {
	for _, prefix := range []string{"Sec-", "Proxy-", "X-Forwarded-", "Access-Control-", "Content-", "If-"} {
		if strings.HasPrefix(field, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"Accept-Encoding", "Authorization", "Connection", "Cookie", "Early-Data", "Expect", "Forwarded", "Host", "Keep-Alive", "Origin", "Range",
		"Referer", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Real-Ip",
	}, field)
}

func (j *jwtRule) judge(ctx context.Context, a *Admission) *Refusal {
	var tokens []sentToken
	for _, source := range j.sources {
		tokens = append(tokens, source(a.Request)...)
	}
	switch len(tokens) {
	case 0:
		return &Refusal{Status: http.StatusUnauthorized, Reason: reasonTokenMissing, Challenge: challengeMissing}
	case 1:
	default:
		return &Refusal{Status: http.StatusBadRequest, Reason: reasonTokenTwice}
	}
	claims, err := jwt.Verify(ctx, j.issuers, tokens[0].text, a.Now)
	if err != nil {
		return refusedToken(err)
	}
	names := namesOf(claims)
	if j.revoked.Has(names, a.Now) {
		return &Refusal{Status: http.StatusUnauthorized, Reason: reasonRevoked, Challenge: challengeInvalid}
	}
	j.know(a, claims)
	if a.changes.names != names {
		a.changes.names += names
	}
	j.pass(a, tokens[0])
	return j.tell(a)
}

// namesOf returns those by which a token can be revoked.
func namesOf(claims *jwt.Claims) revocation.Names {
	return revocation.Names(claims.Derive(func(c *jwt.Claims) string { return string(revocation.NamesOf(c.Issuer, c.IssuedAt, c.Get)) }))
}

// know notes who the client is.
func (j *jwtRule) know(a *Admission, claims *jwt.Claims) {
	a.Claims, a.User = claims, claims.Subject
	if len(j.issuers) > 1 && a.User != "" {
		a.User += "@" + claims.Issuer // what one issuer calls alice is nobody of another's
	}
	if j.close {
		a.endBy(claims.Until)
	}
}

// recall notes who a live connection's client is.
func (j *jwtRule) recall(_ context.Context, a *Admission) *Refusal {
	if m := a.live.record.more().token; m != nil {
		if claims := m.Claims(); claims != nil {
			j.know(a, claims)
		}
	}
	return nil
}

// again judges the token of a live connection by its claims.
func (j *jwtRule) again(_ context.Context, a *Admission) *Refusal {
	token := a.live.record.more().token
	if token == nil {
		return &Refusal{Status: http.StatusUnauthorized, Reason: reasonTokenMissing, Challenge: challengeMissing}
	}
	claims, err := jwt.Review(j.issuers, token, a.Now)
	if err != nil {
		return refusedToken(err)
	}
	j.know(a, claims)
	return nil
}

// refusedToken answers a token that is not admitted. The errors of package jwt are constant.
func refusedToken(err error) *Refusal {
	switch {
	case errors.Is(err, jwt.ErrUnavailable):
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: err.Error()}
	case errors.Is(err, jwt.ErrClaimRefused):
		return forbidden(err.Error())
	}
	return &Refusal{Status: http.StatusUnauthorized, Reason: err.Error(), Challenge: challengeInvalid}
}

// pass keeps the token from the upstream, or lets it have it.
func (j *jwtRule) pass(a *Admission, t sentToken) {
	if !j.forward || t.exposed {
		t.remove(a)
	}
	if j.forward && t.exposed {
		a.setField("Authorization", "Bearer "+t.text)
	}
}

// tell sets the fields for the upstream. A claim that would be another one after a field was parsed is refused: one with a control character, or
// with white space around it, since "admin " would arrive as admin.
func (j *jwtRule) tell(a *Admission) *Refusal {
	for _, h := range j.headers {
		value, ok := a.Claims.Get(h.claim)
		if !ok {
			continue
		}
		if strings.TrimSpace(value) != value || strings.ContainsFunc(value, unicode.IsControl) {
			return forbidden(reasonClaimUnfit)
		}
		a.setField(h.field, value)
	}
	return nil
}

// compileSources compiles from.
func (c *JWTConfig) compileSources(report Report) (list []tokenSource) {
	from := c.From
	if len(from) == 0 {
		from = []TokenSource{{Place: placeHeader}}
	}
	for i, s := range from {
		source, err := s.compile()
		if err == nil && slices.Index(from, s) < i {
			err = errors.New("this place is listed twice")
		}
		if err != nil {
			report(indexed("from", i), "%v", err)
		}
		list = append(list, source)
	}
	return list
}
