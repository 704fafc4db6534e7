package policytest

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/proxy"
)

// Token is a JSON Web Token that is made for one request. It is signed with a
// key that the issuer of the policy is made to trust, whatever keys its
// configuration names.
type Token struct {
	Claims    map[string]any      `yaml:"claims" doc:"The claims. iss and aud are those that the policy wants, iat is now and exp in five minutes, unless they stand here; null leaves one out."`
	Header    map[string]any      `yaml:"header" doc:"Members of the header beside alg and kid, such as typ."`
	Issuer    string              `yaml:"issuer" doc:"The issuer whose key signs. Default: the first one of the policies."`
	Algorithm string              `yaml:"algorithm" doc:"Default: the first one that the issuer's policy allows."`
	ExpiresIn strictyaml.Duration `yaml:"expires_in" default:"5m" doc:"From the request's time to exp."`
	Forged    bool                `yaml:"forged" doc:"Sign with a key that nobody trusts."`
	In        string              `yaml:"in" default:"header" doc:"Where the token is sent: header, subprotocol, cookie NAME or query NAME."`
}

// keyring makes the keys of issuers, when they are first wanted.
type keyring struct {
	issuers []jwt.IssuerConfig // each once
	keys    map[string]any     // private keys and secrets, by issuer and algorithm
}

// Keys returns the keys of an issuer for policies under test.
func (k *keyring) Keys(c jwt.IssuerConfig) (jwt.Keys, error) {
	if !slices.ContainsFunc(k.issuers, func(known jwt.IssuerConfig) bool { return known.Issuer == c.Issuer }) {
		k.issuers = append(k.issuers, c)
	}
	if c.Secret != "" {
		secret, err := k.key(c.Issuer, symmetric)
		if err != nil {
			return nil, err
		}
		return jwt.ParseSecret(secret.([]byte))
	}
	return issuerKeys{k, c}, nil
}

// issuerKeys are the keys of one issuer. An algorithm is its key's name, so that a key is made when a token names it: to make those of
// RSA takes long.
type issuerKeys struct {
	ring   *keyring
	issuer jwt.IssuerConfig
}

// Keys returns the set of the key of that name, and of the first algorithm's where there is none.
func (k issuerKeys) Keys(_ context.Context, kid string) (*jwt.KeySet, error) {
	alg := k.issuer.Allowed()[0]
	if slices.Contains(k.issuer.Allowed(), kid) {
		alg = kid
	}
	private, err := k.ring.key(k.issuer.Issuer, alg)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.(crypto.Signer).Public(), KeyID: alg, Algorithm: alg, Use: "sig"}}})
	if err != nil {
		return nil, err
	}
	set, faults := jwt.ParseKeySet(data)
	return set, errors.Join(faults...)
}

// symmetric stands for all algorithms that go with a secret.
const symmetric = "HS"

// key returns the key of an issuer for an algorithm.
func (k *keyring) key(issuer, alg string) (any, error) {
	if strings.HasPrefix(alg, symmetric) {
		alg = symmetric
	}
	name := alg + " " + issuer
	if key := k.keys[name]; key != nil {
		return key, nil
	}
	key, err := newKey(alg)
	if err != nil {
		return nil, err
	}
	if k.keys == nil {
		k.keys = map[string]any{}
	}
	k.keys[name] = key
	return key, nil
}

func newKey(alg string) (any, error) {
	switch alg {
	case symmetric:
		secret := make([]byte, 64)
		_, err := rand.Read(secret)
		return secret, err
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

// sign makes the token of a request that comes at a time.
func (k *keyring) sign(t *Token, now time.Time) (string, error) {
	c, err := k.issuer(t.Issuer)
	if err != nil {
		return "", err
	}
	alg := cmp.Or(t.Algorithm, c.Allowed()[0])
	key, err := k.key(c.Issuer, alg)
	if err == nil && t.Forged {
		key, err = newKey(alg)
	}
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithHeader("kid", alg)
	for name, value := range t.Header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", alg, err)
	}
	claims, err := json.Marshal(t.claims(c, now))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// issuer finds the one that signs.
func (k *keyring) issuer(name string) (c jwt.IssuerConfig, err error) {
	var names []string
	for _, known := range k.issuers {
		if known.Issuer == name {
			return known, nil
		}
		names = append(names, known.Issuer)
	}
	switch {
	case len(names) == 0:
		return c, errors.New("a token, but no policy has an issuer")
	case name != "":
		return c, fmt.Errorf("issuer %q is that of no policy, want one of %s", name, strings.Join(names, ", "))
	case len(names) > 1:
		return c, fmt.Errorf("a token without issuer, want one of %s", strings.Join(names, ", "))
	}
	return k.issuers[0], nil
}

// claims are those of the test, with the usual ones where it has none.
func (t *Token) claims(c jwt.IssuerConfig, now time.Time) map[string]any {
	lifetime := time.Duration(t.ExpiresIn)
	if lifetime == 0 {
		lifetime = 5 * time.Minute
	}
	claims := map[string]any{"iss": c.Issuer, "iat": now.Unix(), "exp": now.Add(lifetime).Unix()}
	if len(c.Audience) > 0 {
		claims["aud"] = c.Audience[0]
	}
	maps.Copy(claims, t.Claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// put adds a token to a request.
func (t *Token) put(r *http.Request, token string) {
	where, name, _ := strings.Cut(t.In, " ")
	switch where {
	case "subprotocol":
		offered := append(r.Header["Sec-Websocket-Protocol"], "bearer", token)
		r.Header["Sec-Websocket-Protocol"] = []string{strings.Join(offered, ", ")}
	case "cookie":
		r.AddCookie(&http.Cookie{Name: name, Value: token})
	case "query":
		q := url.Values{name: {token}}.Encode()
		if r.URL.RawQuery != "" {
			q = r.URL.RawQuery + "&" + q
		}
		r.URL.RawQuery = q
	default:
		r.Header.Set("Authorization", "Bearer "+token)
	}
}

// check reports what cannot be a token.
func (t *Token) check(report proxy.Report) {
	where, name, named := strings.Cut(t.In, " ")
	switch where {
	case "", "header", "subprotocol":
		if named {
			report("in", "%q has a name, want %s", t.In, where)
		}
	case "cookie", "query":
		if name == "" || strings.ContainsAny(name, " \t") {
			report("in", "%q has no name, want one such as %s session", t.In, where)
		}
	default:
		report("in", "%q is no place for a token, want header, subprotocol, cookie NAME or query NAME", t.In)
	}
}
