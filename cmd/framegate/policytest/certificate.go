package policytest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"

	"github.com/framegate/framegate/proxy"
)

// Certificate is a client's certificate, as far as conditions can read it. It is not verified: client_auth of the gateway does that.
type Certificate struct {
	CommonName   string   `yaml:"common_name" doc:"Common name of the subject."`
	Organization []string `yaml:"organization" doc:"Organizations of the subject."`
	Issuer       string   `yaml:"issuer" doc:"Common name of the CA."`
	DNS          []string `yaml:"dns" doc:"DNS names."`
	Emails       []string `yaml:"emails" doc:"Email addresses."`
	URIs         []string `yaml:"uris" doc:"URIs, such as spiffe://example.com/feeder."`
}

// check reports what no certificate can hold.
func (c *Certificate) check(report proxy.Report) {
	for i, text := range c.URIs {
		if u, err := url.Parse(text); err != nil || u.Scheme == "" {
			report(indexed("certificate.uris", i), "%q is not a URI, want one such as spiffe://example.com/feeder", text)
		}
	}
}

// make builds the certificate, nil for none.
func (c *Certificate) make() *x509.Certificate {
	if c == nil {
		return nil
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: c.CommonName, Organization: c.Organization}, Issuer: pkix.Name{CommonName: c.Issuer},
		DNSNames: c.DNS, EmailAddresses: c.Emails,
	}
	for _, text := range c.URIs {
		if u, err := url.Parse(text); err == nil {
			x.URIs = append(x.URIs, u)
		}
	}
	return x
}
