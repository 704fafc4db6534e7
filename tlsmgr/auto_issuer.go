package tlsmgr

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/framegate/framegate/policy/outbound"
)

// addIssuers makes one issuer for each CA, in order.
func (a *auto) addIssuers(at endpoints) error {
	template := certmagic.ACMEIssuer{
		Email:                   a.cfg.Email,
		Agreed:                  true,
		Profile:                 a.cfg.Profile,
		Logger:                  a.zap,
		DisableHTTPChallenge:    !a.cfg.has(challengeHTTP) || at.http == "",
		DisableTLSALPNChallenge: !a.cfg.has(challengeTLS),
	}
	listenAt(&template, at)
	if a.cfg.CARoots != "" {
		var err error
		if template.TrustedRoots, err = readRoots(a.cfg.CARoots); err != nil {
			return fmt.Errorf("tls.acme.ca_roots: %w", err)
		}
	}
	if a.cfg.DNS != nil {
		template.DNS01Solver = newSolver(*a.cfg.DNS)
	}
	for _, ca := range a.cfg.cas() {
		own := template
		own.CA = ca.directory()
		if e := ca.ExternalAccount; e != nil {
			own.ExternalAccount = &acme.EAB{KeyID: e.KeyID, MACKey: e.MACKey}
		}
		issuer := certmagic.NewACMEIssuer(a.magic, own)
		issuer.TestCA = "" // an order that fails is not tried at a CA that was not asked for
		a.magic.Issuers = append(a.magic.Issuers, issuer)
	}
	a.first.Store(a.magic.Issuers[0].(*certmagic.ACMEIssuer))
	return nil
}

// listenAt tells certmagic that somebody listens already where it would answer challenges itself: it tries to listen, sees that the address is
// taken, and leaves the answers to us.
func listenAt(i *certmagic.ACMEIssuer, at endpoints) {
	httpHost, httpPort := splitEndpoint(at.http)
	tlsHost, tlsPort := splitEndpoint(at.tls)
	i.AltHTTPPort, i.AltTLSALPNPort = httpPort, tlsPort
	if httpHost == tlsHost || at.http == "" {
		i.ListenHost = tlsHost
	}
}

func splitEndpoint(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(text) // of a listener
	return host, port
}

func readRoots(file string) (*x509.CertPool, error) {
	var mistakes []error
	roots := outbound.Roots(file, "", func(_, format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) })
	return roots, errors.Join(mistakes...)
}
