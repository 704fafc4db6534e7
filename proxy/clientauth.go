package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
)

// ClientAuthConfig asks clients for a certificate in the TLS handshake.
type ClientAuthConfig struct {
	Mode    string            `yaml:"mode" enum:"require,verify_if_given" default:"require" doc:"Whether a client without a certificate is refused or let in. One with a certificate that does not verify is refused either way."`
	CA      string            `yaml:"ca" required:"true" doc:"File with the CAs (PEM) that certificates of clients must come from; those of the system count for nothing."`
	Headers map[string]string `yaml:"headers" doc:"What of the certificate the upstream gets as header fields, by name: subject, common_name, issuer, serial, fingerprint, dns, emails, uris. What clients send in these fields never reaches it, by no listener and no route."`
}

const (
	authRequire   = "require"
	maxClientCA   = 1 << 20
	maxIdentities = 100 // names in a client's certificate
)

// A clientAuth is the compiled form: how clients prove who they are.
type clientAuth struct {
	require bool
	ca      [sha256.Size]byte // of the file
	pool    *x509.CertPool
	fields  []identityField
}

// An identityField tells the upstream something of the certificate.
type identityField struct{ what, field string }

// same reports whether who has passed one has passed the other. Both may be nil.
func (a *clientAuth) same(o *clientAuth) bool {
	return a == o || a != nil && o != nil && a.require == o.require && a.ca == o.ca
}

// compileClientAuth makes a clientAuth, nil for none.
func compileClientAuth(c *ClientAuthConfig, report Report) *clientAuth {
	if c == nil {
		return nil
	}
	report = prefixed("client_auth", report)
	a := &clientAuth{require: c.Mode != "verify_if_given", pool: x509.NewCertPool()}
	switch content, err := readBounded(c.CA, maxClientCA); {
	case c.CA == "": // reported as missing
	case err != nil:
		report("ca", "cannot read %q: %v", c.CA, err)
	case !a.pool.AppendCertsFromPEM(content):
		report("ca", "%q holds no certificate, want those of the CAs in PEM", c.CA)
	default:
		a.ca = sha256.Sum256(content)
	}
	taken := map[string]string{}
	for _, what := range slices.Sorted(maps.Keys(c.Headers)) {
		path := strictyaml.Key("headers", what)
		if known := policy.CertificateNames(); !slices.Contains(known, what) {
			unknown(report, path, "part of a certificate", what, known)
		}
		field, err := policy.ManagedField(c.Headers[what])
		if err != nil {
			report(path, "%v", err)
		} else if first, twice := taken[field]; twice {
			report(path, "field %s is that of %s already", field, first)
		}
		taken[field] = what
		a.fields = append(a.fields, identityField{what, field})
	}
	return a
}

// identity is what the upstream gets of a certificate.
func (a *clientAuth) identity(c *x509.Certificate) [][2]string {
	if a == nil || c == nil || len(a.fields) == 0 {
		return nil
	}
	var all [][2]string
	vars := policy.CertificateVars(c)
	for _, f := range a.fields {
		switch v := vars[f.what].(type) {
		case string:
			all = append(all, [2]string{f.field, v})
		case []string:
			if len(v) == 0 {
				continue
			}
			names := make([]string, len(v))
			for i, name := range v {
				names[i] = strings.ReplaceAll(name, ",", "%2C") // else one name could be two
			}
			all = append(all, [2]string{f.field, strings.Join(names, ", ")})
		}
	}
	return all
}

// config is a TLS configuration that asks for a certificate. Tickets would let a
// client come back without one.
func (a *clientAuth) config(base *tls.Config) *tls.Config {
	conf := base.Clone()
	conf.GetConfigForClient = nil
	conf.SessionTicketsDisabled = true
	conf.ClientCAs, conf.ClientAuth = a.pool, tls.VerifyClientCertIfGiven
	if a.require {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil
		}
		return fitIdentity(s.PeerCertificates[0])
	}
	return conf
}

var errIdentity = errors.New("the client's certificate has a name that could be taken for another one")

// fitIdentity refuses a certificate with names that who reads them, in a header
// or in C, could take for others: with control characters or NUL, or white space
// around them.
func fitIdentity(c *x509.Certificate) error {
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	for _, attribute := range slices.Concat(c.Subject.Names, c.Issuer.Names) {
		if text, ok := attribute.Value.(string); ok {
			names = append(names, text)
		}
	}
	if len(names) > maxIdentities {
		return fmt.Errorf("the client's certificate has %d names, more than %d", len(names), maxIdentities)
	}
	if slices.ContainsFunc(names, func(name string) bool {
		return strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl)
	}) {
		return errIdentity
	}
	return nil
}

// secure makes the configuration of a door's TLS handshakes, where routes may
// have an authentication of their own: the host that a client asks for decides.
func (d *door) secure(r *router) {
	d.router = r
	if d.handshake = d.tls; d.tls == nil || d.auth == nil && !r.asks() {
		return
	}
	configs := map[*clientAuth]*tls.Config{}
	for _, a := range append(r.auths(), d.auth) {
		if a != nil && configs[a] == nil {
			configs[a] = a.config(d.tls)
		}
	}
	d.handshake = d.tls.Clone()
	d.handshake.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if d.tls.GetConfigForClient != nil {
			if own, err := d.tls.GetConfigForClient(hello); own != nil || err != nil {
				return own, err
			}
		}
		return configs[d.authOf(hello.ServerName)], nil // nil: d.handshake
	}
}

// authOf is how clients of a host prove who they are: as its routes say, or else
// the listener.
func (d *door) authOf(host string) *clientAuth {
	if d.router == nil {
		return d.auth
	}
	if p := d.router.of(strings.ToLower(strings.TrimSuffix(host, "."))); p != nil && p.first.auth != nil {
		return p.first.auth
	}
	return d.auth
}

// asks reports whether any route has an authentication of its own.
func (r *router) asks() bool { return len(r.auths()) > 0 }

// auths are those of all routes.
func (r *router) auths() (all []*clientAuth) {
	for _, table := range []map[string]*paths{r.hosts, r.wildcards} {
		for _, p := range table {
			if p.first.auth != nil {
				all = append(all, p.first.auth)
			}
		}
	}
	return all
}

// authOf is what a request for a host must have passed in its handshake, nil for
// nothing.
func (st *site) authOf(c *peer, host string) *clientAuth {
	d := st.doors[c.listener]
	if d == nil { // the listener is gone, its connections go on
		d = &door{auth: c.auth, router: &st.router}
	}
	return d.authOf(host)
}

// passed reports whether a connection's handshake was what a host demands now. A
// later configuration, or another host, may demand another one.
func (c *peer) passed(a *clientAuth) bool {
	if !c.secure {
		return a == nil || !a.require
	}
	return a == nil || c.auth.same(a)
}

// proven notes the certificate that the client of a connection has proved to
// have.
func (c *peer) proven(a *clientAuth, s tls.ConnectionState) {
	if c.auth = a; a != nil && len(s.VerifiedChains) > 0 {
		c.certificate = s.PeerCertificates[0]
	}
}

// identityFields are all fields that tell of certificates. Only the gateway may
// set them, whatever listener and route a request comes by.
func (st *site) identityFields() (all []string) {
	auths := st.router.auths()
	for _, d := range st.doors {
		auths = append(auths, d.auth)
	}
	for _, a := range auths {
		if a == nil {
			continue
		}
		for _, f := range a.fields {
			all = append(all, f.field)
		}
	}
	return all
}

// disclaim takes from a request the fields that only the gateway may set.
func (st *site) disclaim(r *http.Request) {
	for _, field := range st.identity {
		delete(r.Header, field)
		delete(r.Trailer, field)
	}
}

// readCA notes the file of CAs, if there is one.
func (b *fileBook) readCA(c *ClientAuthConfig) {
	if c != nil {
		b.read(c.CA)
	}
}
