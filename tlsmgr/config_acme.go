package tlsmgr

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/outbound"
	"github.com/framegate/framegate/ratelimit"
)

// ACMEConfig is the section tls.acme.
type ACMEConfig struct {
	Email      string          `yaml:"email" doc:"Address that the CA may write to. Needed for certificates: auto, by which you agree to the terms of the CAs."`
	CA         []CAConfig      `yaml:"ca" min:"1" doc:"The CAs to ask, in order: the next one is asked when one fails. Default: letsencrypt."`
	Staging    bool            `yaml:"staging" doc:"Asks the staging environment of Let's Encrypt, whose certificates nobody trusts, for trying things out."`
	CARoots    string          `yaml:"ca_roots" doc:"PEM file with the certificates that the CA's own https server may be signed by, for a private CA; without it, those of the system."`
	Challenges []string        `yaml:"challenges" enum:"http-01,tls-alpn-01" min:"1" doc:"How names may be proven: http-01 (the CA reaches a listener without TLS on port 80), tls-alpn-01 (this one, on port 443). Default: both, as far as there are listeners for them."`
	DNS        *DNSConfig      `yaml:"dns" doc:"Proves all names by dns-01 instead. Wildcard certificates need it."`
	KeyType    string          `yaml:"key_type" enum:"p256,p384,rsa2048,rsa4096" default:"p256" doc:"Type of the keys of certificates."`
	Profile    string          `yaml:"profile" doc:"Name of the CA's profile for certificates, such as shortlived; without it, the CA's default."`
	OnDemand   *OnDemandConfig `yaml:"on_demand" doc:"Gets certificates for names below wildcard hosts one by one, when a client first asks for one. Off by default."`
}

// CAConfig is one CA: a name that is known, a URL, or a mapping.
type CAConfig struct {
	URL             string     `yaml:"url" required:"true" doc:"Directory of the CA: an https URL, or letsencrypt, letsencrypt-staging, zerossl or google."`
	ExternalAccount *EABConfig `yaml:"external_account" doc:"Ties the ACME account to one that you have at the CA (external account binding)."`
	short           bool       // written as text
}

// EABConfig is an external account binding (RFC 8555 section 7.3.4).
type EABConfig struct {
	KeyID  string `yaml:"key_id" required:"true" doc:"Key identifier that the CA gave you."`
	MACKey string `yaml:"mac_key" required:"true" doc:"MAC key that the CA gave you, base64url; better as ${file:...}."`
}

// OnDemandConfig is the section tls.acme.on_demand.
type OnDemandConfig struct {
	Allow []string `yaml:"allow" doc:"Names, or wildcards such as *.example.com for all below, that certificates may be got for."`
	Ask   string   `yaml:"ask" doc:"https URL (http on this machine) that is asked about other names, with the query domain=NAME: 200 allows, anything else and no answer within 2 seconds do not."`
}

// knownCAs are the directories that have a name.
var knownCAs = map[string]string{
	"letsencrypt":         certmagic.LetsEncryptProductionCA,
	"letsencrypt-staging": certmagic.LetsEncryptStagingCA,
	"zerossl":             certmagic.ZeroSSLProductionCA,
	"google":              certmagic.GoogleTrustProductionCA,
}

// UnmarshalText reads the form that is a name or a URL.
func (c *CAConfig) UnmarshalText(text []byte) error {
	c.URL, c.short = string(text), true
	return nil
}

// Wanted names the form in error messages.
func (CAConfig) Wanted() string {
	return "an https URL or letsencrypt, letsencrypt-staging, zerossl, google"
}

// JSONSchema describes the form that is a name or a URL.
func (CAConfig) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// directory is the URL of the CA's directory.
func (c CAConfig) directory() string { return cmp.Or(knownCAs[c.URL], c.URL) }

// cas are the CAs to ask, in order.
func (c ACMEConfig) cas() []CAConfig {
	switch {
	case c.Staging:
		return []CAConfig{{URL: "letsencrypt-staging"}}
	case len(c.CA) == 0:
		return []CAConfig{{URL: "letsencrypt"}}
	}
	return c.CA
}

// has tells whether a challenge may be used.
func (c ACMEConfig) has(challenge string) bool {
	return c.DNS == nil && (len(c.Challenges) == 0 || slices.Contains(c.Challenges, challenge))
}

const (
	challengeHTTP = "http-01"
	challengeTLS  = "tls-alpn-01"
)

// Uses is what the rest of the configuration makes of the section tls.
type Uses struct {
	Auto  bool                   // a listener has certificates: auto
	Plain bool                   // a listener has no TLS, so that http-01 can be answered
	Redis *ratelimit.RedisConfig // the section redis, nil without
}

// Validate reports every mistake of c, at paths relative to it. It reads the files that c names; it keeps and starts nothing.
func (c Config) Validate(uses Uses, report func(path, format string, args ...any)) {
	c.Storage.validate(uses.Redis, func(path, format string, args ...any) { report(strictyaml.Join("storage", path), format, args...) })
	at := func(path, format string, args ...any) { report(strictyaml.Join("acme", path), format, args...) }
	c.ACME.validate(at)
	if !uses.Auto {
		return
	}
	if c.ACME.Email == "" {
		at("email", "missing, wanted the address that the CA may write to, for the listener with certificates: auto")
	}
	if c.ACME.DNS == nil && !uses.Plain && !c.ACME.has(challengeTLS) {
		at("challenges", "http-01 alone, but no listener is without TLS, wanted one on port 80 with certificates: off, or tls-alpn-01")
	}
}

func (c ACMEConfig) validate(report func(path, format string, args ...any)) {
	if c.Email != "" {
		if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email {
			report("email", "%q is not an address, wanted one such as ops@example.com", c.Email)
		}
	}
	if c.Staging && len(c.CA) > 0 {
		report("staging", "not used with ca, wanted one of the two")
	}
	seen := map[string]int{}
	for i, ca := range c.CA {
		at := func(path, format string, args ...any) {
			report(strictyaml.Join(fmt.Sprintf("ca[%d]", i), path), format, args...)
		}
		ca.validate(at)
		if first, ok := seen[ca.directory()]; ok {
			report(fmt.Sprintf("ca[%d]", i), "is the same as ca[%d]", first)
		}
		seen[ca.directory()] = i
	}
	if c.CARoots != "" {
		outbound.Roots(c.CARoots, "ca_roots", report)
	}
	if c.DNS != nil {
		if len(c.Challenges) > 0 {
			report("challenges", "not used with dns, by which all names are proven")
		}
		c.DNS.validate(func(path, format string, args ...any) { report(strictyaml.Join("dns", path), format, args...) })
	}
	if c.OnDemand != nil {
		c.OnDemand.validate(func(path, format string, args ...any) { report(strictyaml.Join("on_demand", path), format, args...) })
	}
}

func (c CAConfig) validate(report func(path, format string, args ...any)) {
	at := "url"
	if c.short {
		at = ""
	}
	if knownCAs[c.URL] == "" && c.URL != "" {
		if !strings.Contains(c.URL, ":") {
			report(at, "%q is not known, wanted %s", c.URL, c.Wanted())
		} else {
			outbound.CheckURL(c.URL, outbound.Nowhere, at, report)
		}
	}
	if e := c.ExternalAccount; e != nil {
		if key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(e.MACKey, "=")); e.MACKey != "" && (err != nil || len(key) < 16) {
			report("external_account.mac_key", "is not a key of 16 bytes or more in base64url, as the CA gave it")
		}
	}
}

func (c OnDemandConfig) validate(report func(path, format string, args ...any)) {
	if len(c.Allow) == 0 && c.Ask == "" {
		report("", "neither allow nor ask, wanted names that certificates may be got for, or who is asked about them")
	}
	for i, name := range c.Allow {
		if _, _, ok := canonicalPattern(name); !ok {
			report(fmt.Sprintf("allow[%d]", i), "%q is not a name, wanted one such as chat.example.com, or *.example.com for all below it", name)
		}
	}
	if c.Ask != "" {
		outbound.CheckURL(c.Ask, outbound.Loopback, "ask", report)
	}
}

// CheckHost says what keeps a host of the routes from having a certificate of its own, for listeners with certificates: auto. never is a
// mistake in the configuration; what is only odd is for a warning.
func (c Config) CheckHost(host string) (problem string, never bool) {
	exact, parent, ok := canonicalPattern(host)
	switch {
	case !ok:
		return "no certificate can be got for an IP address, its clients will be refused", false
	case parent != "" && c.ACME.DNS == nil && c.ACME.OnDemand == nil:
		return "a wildcard certificate needs tls.acme.dns; or each name below gets its own by tls.acme.on_demand", true
	case c.ACME.public() && notPublic(cmp.Or(exact, parent)):
		return "no public CA gives a certificate for this name, its clients will be refused", false
	}
	return "", false
}

// public tells whether all CAs are public ones.
func (c ACMEConfig) public() bool {
	return !slices.ContainsFunc(c.cas(), func(ca CAConfig) bool {
		return !slices.ContainsFunc([]string{"letsencrypt.org/", "zerossl.com/", "pki.goog/"}, func(s string) bool { return strings.Contains(ca.directory(), s) })
	})
}

// notPublic knows the names that are nobody's (RFC 6761, RFC 6762, RFC 9476 and ICANN's .internal).
func notPublic(name string) bool {
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil || certmagic.SubjectIsInternal(name) {
		return true
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return slices.Contains([]string{"test", "example", "invalid", "alt", "onion"}, last)
}
