package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/jwt"
)

// tokenNow is the time of the tests with tokens.
var tokenNow = time.Unix(1_800_000_000, 0)

// tokenSecret is that of an issuer.
func tokenSecret(issuer string) string { return fmt.Sprintf("%064s", "S3CRET-"+issuer) }

// tokenIssuer is the configuration of an issuer that signs with its tokenSecret.
func tokenIssuer(name string) jwt.IssuerConfig {
	return jwt.IssuerConfig{Issuer: name, Audience: jwt.Texts{"chat"}, Secret: tokenSecret(name)}
}

// tokenOf is a good token of an issuer for alice, with some claims changed; a nil one is left out.
func tokenOf(t testing.TB, issuer string, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": issuer, "aud": "chat", "sub": "alice", "iat": tokenNow.Unix(), "exp": tokenNow.Unix() + 60}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(tokenSecret(issuer))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// members makes a policy called members of a jwt section, by default of the issuer id.
func members(t *testing.T, c JWTConfig) *Policy {
	t.Helper()
	if c.Only.Issuer == "" && c.Issuers == nil {
		c.Only = tokenIssuer("id")
	}
	return mustCompile(t, map[string]Config{"members": {JWT: &c}}, "members")
}

// TestTokenAnswers shows the status and challenge of each refusal.
func TestTokenAnswers(t *testing.T) {
	down := errors.New("S3CRET down")
	tests := []struct {
		name      string
		changes   map[string]any
		status    int
		reason    string
		challenge string
	}{
		{"expired", map[string]any{"exp": tokenNow.Unix() - 31}, 401, "token expired", challengeInvalid},
		{"another issuer", map[string]any{"iss": "x"}, 401, "token issuer not allowed", challengeInvalid},
		{"without exp", map[string]any{"exp": nil}, 401, "token lacks a required claim", challengeInvalid},
		{"without role", map[string]any{"role": nil}, 403, "token claim refused", ""},
		{"another role", map[string]any{"role": "user"}, 403, "token claim refused", ""},
		{"a claim that would be two fields", map[string]any{"name": "x\r\nX-Auth-Role: admin"}, 403, reasonClaimUnfit, ""},
		{"a claim with a space behind", map[string]any{"name": "admin "}, 403, reasonClaimUnfit, ""},
		{"a claim with a wide space before", map[string]any{"name": "\u2003admin"}, 403, reasonClaimUnfit, ""},
		{"a claim with a NUL", map[string]any{"name": "a\x00b"}, 403, reasonClaimUnfit, ""},
		{"a claim with a C1 control", map[string]any{"name": "a\u0085b"}, 403, reasonClaimUnfit, ""},
	}
	only := tokenIssuer("id")
	only.Require = map[string]jwt.Texts{"role": {"admin"}}
	p := members(t, JWTConfig{Only: only, ClaimsToHeaders: map[string]string{"name": "X-Auth-Name"}})
	for _, test := range tests {
		changes := map[string]any{"role": "admin"}
		maps.Copy(changes, test.changes)
		r := tokenRequest("header", tokenOf(t, "id", changes))
		d := p.Admit(context.Background(), &r).Refused()
		if d == nil || d.Refusal.Status != test.status || d.Refusal.Reason != test.reason || d.Refusal.Challenge != test.challenge {
			t.Errorf("%s: %+v", test.name, d)
		}
	}
	r := tokenRequest("", "")
	if d := p.Admit(context.Background(), &r).Refused(); d == nil || d.Refusal.Challenge != "Bearer" {
		t.Errorf("without a token: %+v", d)
	}

	env := testEnv(t)
	env.Keys = func(jwt.IssuerConfig) (jwt.Keys, error) { return unavailable{down}, nil }
	p = Compile(map[string]Config{"members": {JWT: &JWTConfig{Only: tokenIssuer("id")}}}, env, failOn(t)).Route([]string{"members"}, failOn(t))
	got := ask(p, tokenRequest("header", tokenOf(t, "id", nil)))
	if want := (answer{Status: 503, Policy: "members", Rule: "jwt", Reason: "token keys unavailable"}); got != want {
		t.Errorf("without keys: %+v, want %+v", got, want)
	}
}

// unavailable has no keys.
type unavailable struct{ err error }

func (u unavailable) Keys(context.Context, string) (*jwt.KeySet, error) { return nil, u.err }

// TestClaimsToHeaders shows what the upstream is told, and that clients cannot tell it themselves.
func TestClaimsToHeaders(t *testing.T) {
	p := members(t, JWTConfig{ClaimsToHeaders: map[string]string{
		"sub": "x-auth-sub", "name": "X-Auth-Name", "level": "X-Auth-Level", "admin": "X-Auth-Admin", "roles": "X-Auth-Roles", "email": "X-Auth-Email",
	}})
	r := tokenRequest("header", tokenOf(t, "id", map[string]any{"name": "José 😀", "level": 3, "admin": true, "roles": []string{"a"}}))
	for _, field := range []string{"X-Auth-Sub", "X-Auth-Roles", "X-Auth-Email"} {
		r.Header[field] = []string{"root"}
	}
	h := r.Header.Clone()
	p.Admit(context.Background(), &r).Edit(h)
	want := http.Header{"Accept": {"*/*"}, "X-Auth-Sub": {"alice"}, "X-Auth-Name": {"José 😀"}, "X-Auth-Level": {"3"}, "X-Auth-Admin": {"true"}}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("the upstream gets %v, want %v", h, want)
	}
}

// TestShadowTokens shows that a policy in shadow takes nothing from the upstream and tells it nothing.
func TestShadowTokens(t *testing.T) {
	c := JWTConfig{Only: tokenIssuer("id"), From: everywhere, ClaimsToHeaders: map[string]string{"sub": "X-Auth-Sub"}}
	p := mustCompile(t, map[string]Config{"trial": {Mode: shadow, JWT: &c}}, "trial")
	for _, place := range []string{"header", "bearer", "k8s", "cookie", "query"} {
		r := tokenRequest(place, tokenOf(t, "id", nil))
		r.Header["X-Auth-Sub"] = []string{"as before"}
		h := r.Header.Clone()
		a := p.Admit(context.Background(), &r)
		a.Edit(h)
		if !reflect.DeepEqual(h, r.Header) || a.Query() != r.RawQuery || !reflect.DeepEqual(a.Offered(), r.Subprotocols) {
			t.Errorf("%s: the upstream gets %v, %q, %q", place, h, a.Query(), a.Offered())
		}
	}
}

// TestSeveralIssuers shows that users of two issuers are two, whatever they are called.
func TestSeveralIssuers(t *testing.T) {
	list := JWTConfig{Issuers: []jwt.IssuerConfig{tokenIssuer("a"), tokenIssuer("b")}}
	beside := JWTConfig{Only: tokenIssuer("a"), Issuers: []jwt.IssuerConfig{tokenIssuer("b")}}
	for name, c := range map[string]JWTConfig{"a list": list, "a list beside one": beside} {
		p := members(t, c)
		for _, issuer := range []string{"a", "b"} {
			r := tokenRequest("header", tokenOf(t, issuer, nil))
			if a := p.Admit(context.Background(), &r); a.Refused() != nil || a.User != "alice@"+issuer {
				t.Errorf("%s, issuer %s: user %q, %+v", name, issuer, a.User, a.Refused())
			}
		}
		r := tokenRequest("header", tokenOf(t, "a", map[string]any{"sub": nil}))
		if a := p.Admit(context.Background(), &r); a.Refused() != nil || a.User != "" {
			t.Errorf("%s, without sub: user %q, %+v", name, a.User, a.Refused())
		}
		if got := ask(p, tokenRequest("header", tokenOf(t, "c", nil))); got.Status != 401 || got.Reason != "token signature invalid" {
			t.Errorf("%s, a stranger: %+v", name, got)
		}
	}
}

// TestTokenEnd shows until when a connection is admitted.
func TestTokenEnd(t *testing.T) {
	short, long := tokenOf(t, "id", nil), tokenOf(t, "b", map[string]any{"exp": tokenNow.Unix() + 600})
	all := map[string]Config{
		"id":     {JWT: &JWTConfig{Only: tokenIssuer("id")}},
		"b":      {JWT: &JWTConfig{Only: tokenIssuer("b"), From: everywhere[3:]}},
		"ignore": {JWT: &JWTConfig{Only: tokenIssuer("id"), OnExpiry: "ignore"}},
		"shadow": {Mode: "shadow", JWT: &JWTConfig{Only: tokenIssuer("id")}},
	}
	r := tokenRequest("header", short)
	r.RawQuery = "access_token=" + long
	for names, want := range map[string]time.Time{
		"id": tokenNow.Add(90 * time.Second), "b": tokenNow.Add(630 * time.Second), "id b": tokenNow.Add(90 * time.Second),
		"b id": tokenNow.Add(90 * time.Second), "ignore": {}, "ignore b": tokenNow.Add(630 * time.Second), "shadow": {},
	} {
		a := mustCompile(t, all, strings.Fields(names)...).Admit(context.Background(), &r)
		if !a.End().Equal(want) || a.Refused() != nil {
			t.Errorf("policies %s: end %v, want %v (%+v)", names, a.End(), want, a.Refused())
		}
	}
}

// TestPlainRequestsNeedTokens shows that who cannot open a socket cannot fetch pages either.
func TestPlainRequestsNeedTokens(t *testing.T) {
	p := members(t, JWTConfig{})
	if got := ask(p, Request{Plain: true, Now: tokenNow}); got.Status != 401 {
		t.Errorf("without a token: %+v", got)
	}
	r := tokenRequest("header", tokenOf(t, "id", nil))
	r.Plain = true
	if got := ask(p, r); !got.Allow {
		t.Errorf("with one: %+v", got)
	}
}

func TestJWTMistakes(t *testing.T) {
	good := func(change func(c *JWTConfig)) JWTConfig {
		c := JWTConfig{Only: tokenIssuer("id")}
		change(&c)
		return c
	}
	tests := []struct {
		name          string
		config        JWTConfig
		path, message string
	}{
		{"an issuer without audience", good(func(c *JWTConfig) { c.Only.Audience = nil }), "m.jwt.audience", "audience is missing"},
		{"one of several", JWTConfig{Issuers: []jwt.IssuerConfig{tokenIssuer("a"), {Issuer: "b", Audience: jwt.Texts{"x"}}}}, "m.jwt.issuers[1]", "no keys"},
		{"a key beside issuers that belongs into them", JWTConfig{Only: jwt.IssuerConfig{Issuer: "a", Audience: jwt.Texts{"x"}, MaxLifetime: 5}, Issuers: []jwt.IssuerConfig{tokenIssuer("a")}}, "m.jwt", "no keys"},
		{"a file that is missing", good(func(c *JWTConfig) { c.Only.Secret, c.Only.PEM = "", "x.pem" }), "m.jwt.pem", "no file x.pem for m"},
		{"a short secret", good(func(c *JWTConfig) { c.Only.Secret = "S3CRET" }), "m.jwt.secret", "a secret of 6 bytes"},
		{"no field name", good(func(c *JWTConfig) { c.ClaimsToHeaders = map[string]string{"sub": "X_Auth_Sub"} }), "m.jwt.claims_to_headers.sub", `"X_Auth_Sub" is not the name of a header field`},
		{"an empty field name", good(func(c *JWTConfig) { c.ClaimsToHeaders = map[string]string{"a.b": ""} }), `m.jwt.claims_to_headers["a.b"]`, "is not the name"},
		{"a field of HTTP", good(func(c *JWTConfig) { c.ClaimsToHeaders = map[string]string{"sub": "content-length"} }), "m.jwt.claims_to_headers.sub", "field Content-Length has a meaning"},
		{"a field of the handshake", good(func(c *JWTConfig) { c.ClaimsToHeaders = map[string]string{"sub": "Sec-WebSocket-Key"} }), "m.jwt.claims_to_headers.sub", "has a meaning"},
		{"a field twice", good(func(c *JWTConfig) { c.ClaimsToHeaders = map[string]string{"sub": "X-A", "uid": "x-a"} }), "m.jwt.claims_to_headers.uid", `field X-A is that of claim "sub" already`},
		{"a place twice", good(func(c *JWTConfig) { c.From = []TokenSource{{Cookie: "a"}, {Query: "a"}, {Cookie: "a"}} }), "m.jwt.from[2]", "this place is listed twice"},
		{"two places in one", good(func(c *JWTConfig) { c.From = []TokenSource{{Cookie: "a", Query: "a"}} }), "m.jwt.from[0]", "want one entry for each"},
		{"no place", good(func(c *JWTConfig) { c.From = []TokenSource{{}} }), "m.jwt.from[0]", "want header, subprotocol"},
		{"no cookie's name", good(func(c *JWTConfig) { c.From = []TokenSource{{Cookie: "a b"}} }), "m.jwt.from[0]", `"a b" is not the name of a cookie`},
	}
	for _, test := range tests {
		var r reports
		Compile(map[string]Config{"m": {JWT: &test.config}}, testEnv(t), r.add)
		r.expect(t, test.name, test.path, test.message)
		if strings.Contains(fmt.Sprint(r), "S3CRET") {
			t.Errorf("%s: the report quotes the secret: %v", test.name, r)
		}
	}
	var r reports
	env := testEnv(t)
	env.Keys = func(jwt.IssuerConfig) (jwt.Keys, error) { return nil, errors.New("no keys to be had") }
	Compile(map[string]Config{"m": {JWT: &JWTConfig{Only: tokenIssuer("id")}}}, env, r.add)
	r.expect(t, "the environment has no keys", "m.jwt", "no keys to be had")
}

// TestJWTDecode reads the section as it is written.
func TestJWTDecode(t *testing.T) {
	decode := func(text string) (Config, error) {
		var c Config
		_, errs := strictyaml.Decode("f", []byte(text), nil, &c)
		return c, errs.Err()
	}
	c, err := decode("jwt: {issuer: id, audience: [a, b], jwks_url: https://id.example/keys, from: [subprotocol, {cookie: session}], forward: true, leeway: 0s}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := JWTConfig{
		Only: jwt.IssuerConfig{Issuer: "id", Audience: jwt.Texts{"a", "b"}, JWKSURL: "https://id.example/keys", Leeway: new(strictyaml.Duration(0))},
		From: []TokenSource{{Place: "subprotocol"}, {Cookie: "session"}}, Forward: true, OnExpiry: "close",
	}
	if !reflect.DeepEqual(*c.JWT, want) {
		t.Errorf("%+v, want %+v", *c.JWT, want)
	}
	if c, err = decode("jwt: {issuers: [{issuer: a, audience: x}]}\n"); err != nil || !reflect.DeepEqual(c.JWT.From, everywhere[:1]) || !reflect.ValueOf(c.JWT.Only).IsZero() {
		t.Errorf("%+v, %v", c.JWT, err)
	}
	for text, want := range map[string]string{
		"jwt: {from: [Header]}\n":      "jwt.from[0]: want header, subprotocol, {cookie: NAME} or {query: NAME}, not \"Header\"",
		"jwt: {from: header}\n":        "jwt.from: want a list",
		"jwt: {from: []}\n":            "jwt.from: want 1 to 8 entries",
		"jwt: {from: [{body: x}]}\n":   "jwt.from[0].body: unknown key",
		"jwt: {on_expiry: never}\n":    "jwt.on_expiry: want one of close, ignore",
		"jwt: {issuers: []}\n":         "jwt.issuers: want 1 to 16 entries",
		"jwt: {jwks: https://a.b/c}\n": "jwt.jwks: unknown key",
		"jwt: {leeway: 1h}\n":          "jwt.leeway: ",
	} {
		if _, err := decode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
