package policy

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/policy/jwt"
)

// rotatingKey is the key that an issuer signs with under a name.
func rotatingKey(kid string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, kid)
	return ed25519.NewKeyFromSeed(seed)
}

// rotatingToken is a good token that is signed with it.
func rotatingToken(t *testing.T, kid string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: rotatingKey(kid), KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":"id","aud":"chat","sub":"alice","exp":%d}`, tokenNow.Unix()+60))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// publishing starts an issuer that publishes the key of the name in current.
func publishing(t *testing.T, current *atomic.Pointer[string]) jwt.IssuerConfig {
	t.Helper()
	certificate, ca := wstest.SelfSigned(t, "localhost")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		kid := *current.Load()
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rotatingKey(kid).Public(), KeyID: kid}}})
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return jwt.IssuerConfig{
		Issuer: "id", Audience: jwt.Texts{"chat"}, JWKSURL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), JWKSCA: ca,
	}
}

// fetching makes the policies of a configuration whose keys are fetched by a cache, from the sources.
func fetching(t *testing.T, all map[string]Config) (set *Set, cache *jwks.Cache, sources []*jwks.Source) {
	t.Helper()
	cache = jwks.New(nil, prometheus.NewRegistry())
	t.Cleanup(cache.Close)
	env := testEnv(t)
	env.Path = func(_, path string) string { return path }
	env.Fetched = func(c jwks.Config) (jwt.Keys, error) {
		s, err := cache.Source(c)
		sources = append(sources, s)
		return s, err
	}
	return Compile(all, env, failOn(t)), cache, sources
}

// statusFor is the answer to a handshake with a token: 0 if it is admitted.
func statusFor(t *testing.T, p *Policy, token string) int {
	t.Helper()
	r := &Request{Now: tokenNow, Host: "app.example", Header: http.Header{"Authorization": {"Bearer " + token}}}
	return ask(p, *r).Status
}

// Keys from a URL: none before the cache has started, then those that the issuer publishes, new ones at once.
func TestFetchedKeys(t *testing.T) {
	var kid atomic.Pointer[string]
	kid.Store(new("one"))
	set, cache, sources := fetching(t, map[string]Config{"members": {JWT: &JWTConfig{Only: publishing(t, &kid)}}, "pages": {Origin: &OriginConfig{}}})
	p := set.Route([]string{"members"}, failOn(t))
	if got := statusFor(t, p, rotatingToken(t, "one")); got != 503 {
		t.Errorf("before the start: %d, want 503", got)
	}
	cache.Start(sources)
	if got := statusFor(t, p, rotatingToken(t, "one")); got != 0 {
		t.Errorf("a good token: %d", got)
	}
	kid.Store(new("two"))
	for name, want := range map[string]int{"two": 0, "three": 401} {
		if got := statusFor(t, p, rotatingToken(t, name)); got != want {
			t.Errorf("a token of key %s: %d, want %d", name, got, want)
		}
	}
	if !sources[0].Ready() {
		t.Error("the source is not ready")
	}
}

// Several issuers and policies that name the same keys in the same way share them.
func TestFetchedKeysAreShared(t *testing.T) {
	var kid atomic.Pointer[string]
	kid.Store(new("one"))
	one := publishing(t, &kid)
	two, three := one, one
	two.Issuer, three.MaxStale = "other", 1000
	_, _, sources := fetching(t, map[string]Config{"a": {JWT: &JWTConfig{Issuers: []jwt.IssuerConfig{one, two}}}, "b": {JWT: &JWTConfig{Only: three}}})
	if len(sources) != 3 || sources[0] != sources[1] || sources[1] == sources[2] {
		t.Errorf("sources %p", sources)
	}
}

func TestFetchedKeysMistakes(t *testing.T) {
	issuer := jwt.IssuerConfig{Issuer: "id", Audience: jwt.Texts{"chat"}}
	for url, want := range map[string]string{
		"http://id.example/keys":    `a.jwt.issuers[0].jwks_url: URL "http://id.example/keys" is plain http`, // C-11
		"https://u:S3CRET@id/":      "a.jwt.issuers[0].jwks_url: URL has a user name or password",
		"https://id.example/keys#a": "a.jwt.issuers[0].jwks_url: URL",
	} {
		issuer.JWKSURL = url
		for _, fetches := range []bool{false, true} {
			env := testEnv(t)
			if fetches {
				env.Fetched = func(jwks.Config) (jwt.Keys, error) { panic("of a URL that is refused") }
			}
			var r reports
			Compile(map[string]Config{"a": {JWT: &JWTConfig{Issuers: []jwt.IssuerConfig{issuer}}}}, env, r.add)
			if len(r) != 1 || !strings.HasPrefix(r[0], want) || strings.Contains(r[0], "S3CRET") {
				t.Errorf("%s: got reports %q", url, r)
			}
		}
	}
	issuer.JWKSURL, issuer.JWKSCA = "https://id.example/keys", "ca.pem"
	var r reports
	Compile(map[string]Config{"a": {JWT: &JWTConfig{Only: issuer}}}, testEnv(t), r.add)
	r.expect(t, "a CA that is not there", "a.jwt.jwks_ca", `file "a/ca.pem" cannot be read`)
}
