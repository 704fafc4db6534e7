package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// An authority issues certificates of clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// file writes the authority's certificate.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// issue makes a certificate of a client.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), Subject: pkix.Name{CommonName: "ada", Organization: []string{"Example, Ltd"}}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"ada.example"}, EmailAddresses: []string{"ada@example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const (
	publicHost = "public.example.com"
	memberHost = "members.example.com"
	maybeHost  = "maybe.example.com"
	ownHost    = "own.example.com"
)

// startMembers starts a gateway with one host that is open, one that wants certificates of ca, one that takes them, and one whose certificates
// come from another CA.
func startMembers(t *testing.T, ca, other *authority) (*rowGate, func(host string, certs ...tls.Certificate) *tls.Config) {
	t.Helper()
	up := wstest.NewRecorder(t, wstest.Echo)
	p := wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: internal}, protocols: [h1, h2, h3]}]
routes:
  - {name: public, hosts: [%s], upstream: app, policies: [any]}
  - {name: members, hosts: [%s], upstream: app, policies: [ada], client_auth: {ca: %q, headers: {subject: X-Client-Subject, dns: X-Client-DNS, serial: X-Client-Serial}}}
  - {name: maybe, hosts: [%s], upstream: app, policies: [any], client_auth: {mode: verify_if_given, ca: %[3]q, headers: {common_name: X-Client-Name}}}
  - {name: own, hosts: [%[5]s], upstream: app, policies: [any], client_auth: {ca: %q}}
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  any: {origin: {absent: allow}}
  ada: {origin: {absent: allow}, conditions: [{require: "certificate.common_name == 'ada' && certificate.serial == '0abc' && 'ada.example' in certificate.dns"}]}
log: {level: debug}
`, publicHost, memberHost, ca.file(t), maybeHost, ownHost, other.file(t), up.Addr()))
	return &rowGate{Process: p, up: up}, func(host string, certs ...tls.Certificate) *tls.Config {
		config := p.ClientTLS()
		config.ServerName = host
		if len(certs) > 0 { // whatever CAs the gateway names
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
		}
		return config
	}
}

// shook opens a WebSocket by a version of HTTP and returns its status; 0 where TLS failed.
func shook(t *testing.T, addr, version string, config *tls.Config, request *wstest.Request) int {
	t.Helper()
	var transport http.RoundTripper
	switch version {
	case "2":
		transport = wstest.HTTP2(t, addr, config)
	case "3":
		transport = wstest.HTTP3(t, addr, config)
	default:
		conn, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return 0
		}
		c := wstest.NewClient(t, conn)
		c.Send(request.Bytes())
		head, err := c.ReadHead()
		switch {
		case err != nil:
			return 0
		case head.Status == 101:
			return 200
		}
		return head.Status
	}
	s, err := wstest.TryOpenStream(t, transport, request)
	if err != nil {
		return 0
	}
	return s.Status
}

var versions = []string{"1.1", "2", "3"}

// TestRowsClientCertificates are the rows T-07, and T-01 between hosts that want different certificates, on every version of HTTP.
func TestRowsClientCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	g, named := startMembers(t, ca, other)
	good := ca.issue(t, nil)
	handshake := func(host string) *wstest.Request { return wstest.HS0("/ws").With("Host", host).Without("Origin") }
	rows := []struct {
		name string
		host string
		cert []tls.Certificate
		want int // 0: the TLS handshake fails
	}{
		{"good", memberHost, []tls.Certificate{good}, 200},
		{"none", memberHost, nil, 0},
		{"another CA", memberHost, []tls.Certificate{other.issue(t, nil)}, 0},
		{"a CA of the same name", memberHost, []tls.Certificate{newAuthority(t, "ca").issue(t, nil)}, 0},
		{"expired", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, 0},
		{"not yet valid", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })}, 0},
		{"for servers", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, 0},
		{"NUL in a name", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"ada.example\x00.evil.example"} })}, 0},
		{"NUL in the subject", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "ada\x00" })}, 0},
		{"space behind the subject", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "ada " })}, 0},
		{"somebody else", memberHost, []tls.Certificate{ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "bob" })}, 403},
		{"none where it may be", maybeHost, nil, 200},
		{"good where it may be", maybeHost, []tls.Certificate{good}, 200},
		{"another CA where it may be", maybeHost, []tls.Certificate{other.issue(t, nil)}, 0},
		{"of another host", ownHost, []tls.Certificate{good}, 0},
		{"good of another CA", ownHost, []tls.Certificate{other.issue(t, nil)}, 200},
		{"good where none is asked for", publicHost, []tls.Certificate{good}, 200},
	}
	for _, row := range rows {
		for _, version := range versions {
			if got := shook(t, g.Addr, version, named(row.host, row.cert...), handshake(row.host)); got != row.want {
				t.Errorf("T-07/%s, HTTP/%s: status %d, want %d", row.name, version, got, row.want)
			}
		}
	}
	before := g.up.Dials()
	for _, row := range []struct{ sni, host string }{{publicHost, memberHost}, {maybeHost, memberHost}, {memberHost, publicHost}, {memberHost, ownHost}, {publicHost, maybeHost}} {
		for _, version := range versions {
			if got := shook(t, g.Addr, version, named(row.sni, good), handshake(row.host)); got != 421 {
				t.Errorf("T-01/%s for %s, HTTP/%s: status %d, want 421", row.host, row.sni, version, got)
			}
		}
	}
	if got := g.up.Dials(); got != before {
		t.Errorf("T-01: %d requests reached the upstream", got-before)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} { // no ticket brings a client back without its certificate
		config := named(memberHost, good)
		config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(10)
		for range 2 {
			conn, err := tls.Dial("tcp", g.Addr, config)
			if err != nil {
				t.Fatal(err)
			}
			c := wstest.NewClient(t, conn)
			c.Upgrade(handshake(memberHost))
			if conn.ConnectionState().DidResume {
				t.Errorf("a session of TLS %#x was resumed", version)
			}
		}
	}
}

// TestRowsClientIdentity tells the upstream who the client is, and keeps what clients say of that from it, on every host.
func TestRowsClientIdentity(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	g, named := startMembers(t, ca, newAuthority(t, "other"))
	good := ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"ada.example", "x,y.example"} })
	lies := []string{"X-Client-Subject: CN=root", "x-client-subject: CN=root", "X-CLIENT-DNS: root", "X-Client-Serial: 1", "X-Client-Name: root"}
	for _, row := range []struct {
		host string
		cert []tls.Certificate
		want map[string]string
	}{
		{memberHost, []tls.Certificate{good}, map[string]string{"X-Client-Subject": `CN=ada,O=Example\, Ltd`, "X-Client-DNS": "ada.example, x%2Cy.example", "X-Client-Serial": "0abc"}},
		{maybeHost, []tls.Certificate{good}, map[string]string{"X-Client-Name": "ada"}},
		{maybeHost, nil, nil},
		{publicHost, []tls.Certificate{good}, nil},
	} {
		for i, version := range versions {
			path := fmt.Sprintf("/ws/%s/%d/%d", row.host, i, len(row.cert))
			if got := shook(t, g.Addr, version, named(row.host, row.cert...), wstest.HS0(path).With("Host", row.host).Without("Origin").Add(lies...)); got != 200 {
				t.Errorf("%s by HTTP/%s: status %d", row.host, version, got)
				continue
			}
			checkIdentity(t, g.up.Wait(path), row.want)
		}
		path := fmt.Sprintf("/page/%s/%d", row.host, len(row.cert))
		g.up.Handle(path, wstest.Page("page"))
		c := wstest.DialTLS(t, g.Addr, named(row.host, row.cert...))
		c.Send(wstest.Plain(path).With("Host", row.host).Add(lies...).Bytes())
		if resp := c.Response(); resp.Status != 200 {
			t.Errorf("page of %s: %q", row.host, resp.Line)
			continue
		}
		checkIdentity(t, g.up.Wait(path), row.want)
	}
}

func checkIdentity(t *testing.T, u *wstest.Upstream, want map[string]string) {
	t.Helper()
	for _, name := range []string{"X-Client-Subject", "X-Client-DNS", "X-Client-Serial", "X-Client-Name"} {
		got := u.Values(name)
		if value, ok := want[name]; ok && (len(got) != 1 || got[0] != value) || !ok && len(got) > 0 {
			t.Errorf("the upstream gets %s %q, want %q", name, got, value)
		}
	}
	if bytes.Contains(u.All(), []byte("root")) {
		t.Errorf("the upstream gets %q, which the client has made up", u.All())
	}
}
