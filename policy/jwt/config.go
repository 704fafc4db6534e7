package jwt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/go-jose/go-jose/v4"
)

const (
	defaultLeeway      = 30 * time.Second
	maxLeeway          = time.Minute
	defaultMaxLifetime = 24 * time.Hour
)

// standardAlgorithms are those of an issuer that names none, and whose keys are public.
var standardAlgorithms = []algorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256}

// IssuerConfig says whose tokens are admitted. Exactly one of JWKSURL, JWKSFile, PEM and Secret says with which keys they are verified. What is
// absent is zero.
type IssuerConfig struct {
	Issuer               string               `yaml:"issuer" doc:"What the claim iss must be, exactly."`
	Audience             Texts                `yaml:"audience" doc:"What the claim aud must be or hold: one of these."`
	Algorithms           []string             `yaml:"algorithms" enum:"ES256,ES384,ES512,EdDSA,RS256,RS384,RS512,PS256,PS384,PS512,HS256,HS384,HS512" min:"1" doc:"The algorithms that tokens may be signed with. HS256, HS384 and HS512 go with a secret, the others with public keys. Default: ES256, EdDSA, RS256 and PS256; with a secret HS256."`
	Type                 string               `yaml:"typ" doc:"What the header's typ must be, such as at+jwt. Default: anything."`
	Leeway               *strictyaml.Duration `yaml:"leeway" min:"0" max:"60s" doc:"How far the clocks of issuer and gateway may be apart, when exp, nbf and iat are compared with now. Default: 30s."`
	MaxLifetime          strictyaml.Duration  `yaml:"max_lifetime" doc:"The longest time from iat (or, without one, from now) to exp. A token that is meant to live longer is refused. Default: 24h."`
	Require              map[string]Texts     `yaml:"require" doc:"Claims that a token must have, each with a value or a list of values of which it must have one. A claim that is a list must hold one of them. Of scope, a list of names between spaces, it must hold all."`
	JWKSURL              string               `yaml:"jwks_url" doc:"Where the issuer publishes its keys, an https URL."`
	JWKSFile             string               `yaml:"jwks_file" doc:"A file with the issuer's keys, a JSON Web Key Set."`
	JWKSCA               string               `yaml:"jwks_ca" doc:"A file with the certificate authorities that the server of jwks_url is verified with, PEM. Default: the system's."`
	MaxStale             strictyaml.Duration  `yaml:"max_stale" doc:"How long keys from jwks_url may serve after their time, while they cannot be fetched again. Default: 1h."`
	DangerouslyAllowHTTP bool                 `yaml:"dangerously_allow_http" doc:"Lets jwks_url be plain http to a loopback address: whatever else runs on this host can then forge tokens."`
	PEM                  string               `yaml:"pem" doc:"A file with the issuer's public keys or certificates, PEM. At most 8."`
	Secret               string               `yaml:"secret" secret:"true" doc:"The secret that the issuer signs with, 32 bytes or more: ${file:/run/secrets/NAME}. With public keys nobody but the issuer could sign."`
}

// Texts is one text or a list of them.
type Texts []string

// UnmarshalText reads the form that is one text.
func (t *Texts) UnmarshalText(text []byte) error {
	*t = Texts{string(text)}
	return nil
}

// StaticKeys returns the keys that the configuration itself holds or names a file of, which read reads: those of secret, pem and jwks_file. It
// returns nil for jwks_url, without any source, and if a mistake was reported.
func (c IssuerConfig) StaticKeys(read func(path string) ([]byte, error), report Report) *KeySet {
	var data []byte
	var err error
	name, parse := "", func([]byte) (*KeySet, error) { return nil, nil }
	switch {
	case c.Secret != "":
		name, data, parse = "secret", []byte(c.Secret), ParseSecret
	case c.PEM != "":
		name, parse = "pem", ParsePEM
		data, err = read(c.PEM)
	case c.JWKSFile != "":
		name, parse = "jwks_file", parseWholeSet
		data, err = read(c.JWKSFile)
	}
	if err != nil {
		report(name, "reading the keys: %v", err)
		return nil
	}
	set, err := parse(data)
	if err != nil {
		report(name, "%v", err)
		return nil
	}
	return set
}

// parseWholeSet parses a key set in which no key may be bad: who writes a file can mend it, unlike who fetches one.
func parseWholeSet(data []byte) (*KeySet, error) {
	set, errs := ParseKeySet(data)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("a key set without keys, want one or more")
	}
	return set, nil
}

// Compile makes an Issuer that verifies with keys, of which StaticKeys returns those that are not fetched. Without any (nil, to check a
// configuration) it refuses each token with ErrUnavailable. Compile returns nil if it reported a mistake.
func (c IssuerConfig) Compile(keys Keys, report Report) *Issuer {
	ok := true
	mistake := func(path, format string, args ...any) {
		ok = false
		report(path, format, args...)
	}
	if keys == nil {
		keys = (*KeySet)(nil)
	}
	c.checkNames(mistake)
	source := c.checkSource(mistake)
	i := &Issuer{
		memory: &memory{},
		keys:   keys, algorithms: c.compileAlgorithms(source, mistake), name: c.Issuer, audience: c.Audience, typ: mediaType(c.Type),
		leeway: defaultLeeway, maxLifetime: cmp.Or(time.Duration(c.MaxLifetime), defaultMaxLifetime), require: c.compileRequire(mistake),
	}
	if c.Leeway != nil {
		i.leeway = time.Duration(*c.Leeway)
	}
	if i.leeway < 0 || i.leeway > maxLeeway {
		mistake("leeway", "leeway is %v, want at most %v", i.leeway, maxLeeway)
	}
	if i.maxLifetime < 0 {
		mistake("max_lifetime", "max_lifetime is %v, want a duration above zero", i.maxLifetime)
	}
	if set, static := keys.(*KeySet); static && set != nil && ok && !set.usable(i.algorithms) {
		mistake(source, "none of the keys fits one of the algorithms %s", joined(i.algorithms))
	}
	if !ok {
		return nil
	}
	return i
}

// Allowed lists the algorithms that tokens may be signed with, those that hold where none is named included.
func (c IssuerConfig) Allowed() []string {
	if len(c.Algorithms) > 0 {
		return c.Algorithms
	}
	if c.Secret != "" {
		return []string{string(jose.HS256)}
	}
	names := make([]string, len(standardAlgorithms))
	for i, alg := range standardAlgorithms {
		names[i] = string(alg)
	}
	return names
}

// checkNames checks that iss and aud are given.
func (c IssuerConfig) checkNames(report Report) {
	if c.Issuer == "" {
		report("issuer", "issuer is missing, want what the claim iss must be, such as https://id.example.com")
	}
	if len(c.Audience) == 0 {
		report("audience", "audience is missing, want what the claim aud must be: the name that the issuer has for this service")
	}
	for n, audience := range c.Audience {
		if audience == "" {
			report(fmt.Sprintf("audience[%d]", n), "this audience is empty, want the name that the issuer has for this service")
		}
	}
}

// checkSource returns the key of the section that says where the keys are, and checks that it is the only one.
func (c IssuerConfig) checkSource(report Report) string {
	values := map[string]string{"jwks_url": c.JWKSURL, "jwks_file": c.JWKSFile, "pem": c.PEM, "secret": c.Secret}
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	names := slices.Sorted(maps.Keys(values))
	if len(names) == 0 {
		report("", "no keys, want one of jwks_url, jwks_file, pem and secret")
		return ""
	}
	if len(names) > 1 {
		report(names[1], "%s beside %s, want one source of keys", names[1], names[0])
	}
	for _, key := range []struct {
		name string
		set  bool
	}{{"jwks_ca", c.JWKSCA != ""}, {"max_stale", c.MaxStale != 0}, {"dangerously_allow_http", c.DangerouslyAllowHTTP}} {
		if key.set && c.JWKSURL == "" {
			report(key.name, "%s without jwks_url, which is what it is for", key.name)
		}
	}
	return names[0]
}

// compileAlgorithms returns the algorithms that tokens may have, and checks that they go with the source of the keys.
func (c IssuerConfig) compileAlgorithms(source string, report Report) []algorithm {
	var list []algorithm
	for n, name := range c.Allowed() {
		path, alg := fmt.Sprintf("algorithms[%d]", n), algorithm(name)
		a, known := algorithms[alg]
		switch secret := a.family == familySecret; {
		case !known:
			report(path, "unknown algorithm %q, want one such as ES256", name)
		case slices.Contains(list, alg):
			report(path, "algorithm %s is listed twice", name)
		case secret && source != "secret" && c.Secret == "": // with both, that was reported
			report(path, "algorithm %s goes with a secret only: with a public key as secret everybody could sign", name)
		case !secret && source == "secret":
			report(path, "algorithm %s goes with public keys, want HS256, HS384 or HS512 with a secret", name)
		case secret && minSecretLen <= len(c.Secret) && len(c.Secret) < a.hash.Size(): // a shorter one is good for nothing: see StaticKeys
			report(path, "algorithm %s needs a secret of %d bytes or more", name, a.hash.Size())
		}
		list = append(list, alg)
	}
	return list
}

func (c IssuerConfig) compileRequire(report Report) []requirement {
	var list []requirement
	for _, claim := range slices.Sorted(maps.Keys(c.Require)) {
		values := c.Require[claim]
		if len(values) == 0 || slices.Contains(values, "") {
			report(strictyaml.Key("require", claim), "claim %q without a value, want one or a list of those that are allowed", claim)
		}
		list = append(list, requirement{claim, values})
	}
	return list
}

// usable says whether one of the keys fits one of the algorithms.
func (s *KeySet) usable(list []algorithm) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return slices.ContainsFunc(list, k.fits) })
}

func joined(list []algorithm) string {
	names := make([]string, len(list))
	for n, alg := range list {
		names[n] = string(alg)
	}
	return strings.Join(names, ", ")
}
