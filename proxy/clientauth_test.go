package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// selfIssued is a certificate for a client that is its own CA, and the file that holds it.
func selfIssued(t *testing.T, name string) (pair tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), name+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// What a host demands after a reload holds for connections that are there already: they come again, and their sessions end.
func TestClientAuthOverReloads(t *testing.T) {
	t.Parallel()
	ada, first := selfIssued(t, "ada")
	bob, second := selfIssued(t, "bob")
	up := wstest.NewRecorder(t, wstest.Echo)
	up.Handle("/page", wstest.Page("page"))
	storage := t.TempDir()
	config := func(auth string) string {
		return twoProtocols(storage, "ws://"+up.Addr(), auth) + "drain: {delay: 0s, window: 0s}\n"
	}
	demanding := func(file string) string { return fmt.Sprintf(", client_auth: {ca: %q}", file) }
	g := startGateway(t, config(""))
	trust := func(pair *tls.Certificate) *tls.Config {
		conf := trusting(t, storage, "app.example.com")
		if pair != nil {
			conf.Certificates = []tls.Certificate{*pair}
		}
		return conf
	}
	page := wstest.Plain("/page").Without("Connection").Bytes()
	ask := func(c *wstest.Client, want int) {
		t.Helper()
		c.Send(page)
		if resp := c.Response(); resp.Status != want {
			t.Errorf("got %q, want %d", resp.Line, want)
		}
	}
	open := wstest.DialTLS(t, g.addr, trust(nil))
	ask(open, 200)
	session := wstest.DialTLS(t, g.addr, trust(nil))
	session.Upgrade(wstest.HS0("/ws").Without("Origin"))

	g.reloaded(t, config(demanding(first)))
	ask(open, 421)
	session.ExpectClose(1001)
	known := wstest.DialTLS(t, g.addr, trust(&ada))
	ask(known, 200)
	g.reloaded(t, config(demanding(first)+", http: pass")) // says the same
	ask(known, 200)

	g.reloaded(t, config(demanding(second)))
	ask(known, 421)
	other := wstest.DialTLS(t, g.addr, trust(&bob))
	ask(other, 200)
	g.reloaded(t, config(""))
	ask(other, 200)
}

// The listener's client_auth holds for hosts whose routes have none.
func TestClientAuthOfTheListener(t *testing.T) {
	t.Parallel()
	ada, first := selfIssued(t, "ada")
	bob, second := selfIssued(t, "bob")
	up := wstest.NewRecorder(t, wstest.Echo)
	storage := t.TempDir()
	g := startGateway(t, fmt.Sprintf(`version: 1
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: internal}, client_auth: {ca: %q, headers: {common_name: X-Name}}}
  - {address: "127.0.0.1:0", tls: {certificates: "off"}}
routes:
  - {name: app, hosts: [app.example.com], upstream: app}
  - {name: own, hosts: ["*.own.example.com"], upstream: app, client_auth: {ca: %q, headers: {common_name: X-Own}}}
upstreams: {app: {servers: ["ws://%s"]}}
tls: {storage: {file: %q}}
admin: {address: "off"}
`, first, second, up.Addr(), storage))
	plain := g.Addrs()[1].String()
	for i, row := range []struct {
		host string
		pair *tls.Certificate // nil for the listener without TLS
		want int
		name string // X-Name
		own  string // X-Own
	}{
		{"app.example.com", &ada, 101, "ada", ""}, {"app.example.com", &bob, 0, "", ""}, {"app.example.com", nil, 101, "", ""},
		{"a.own.example.com", &bob, 101, "", "bob"}, {"a.own.example.com", &ada, 0, "", ""}, {"a.own.example.com", nil, 421, "", ""},
	} {
		path := fmt.Sprintf("/ws/%d", i)
		request := wstest.HS0(path).With("Host", row.host).Without("Origin").Add("X-Name: me", "x-own: me")
		var c *wstest.Client
		if row.pair == nil {
			c = wstest.Dial(t, plain)
		} else {
			conf := trusting(t, storage, row.host)
			conf.Certificates = []tls.Certificate{*row.pair}
			conn, err := tls.Dial("tcp", g.addr, conf)
			if err != nil {
				t.Fatal(err)
			}
			c = wstest.NewClient(t, conn)
		}
		c.Send(request.Bytes())
		head, err := c.ReadHead()
		switch {
		case row.want == 0 && err == nil || row.want != 0 && (err != nil || head.Status != row.want):
			t.Errorf("row %d: got %v, %v, want %d", i, head, err, row.want)
		case row.want == 101:
			u := up.Wait(path)
			if name, own := strings.Join(u.Values("X-Name"), "|"), strings.Join(u.Values("X-Own"), "|"); name != row.name || own != row.own {
				t.Errorf("row %d: the upstream gets X-Name %q, X-Own %q, want %q, %q", i, name, own, row.name, row.own)
			}
		}
	}
}

func TestClientAuthRefuses(t *testing.T) {
	t.Parallel()
	_, ca := selfIssued(t, "ada")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct{ listener, route, more, want string }{
		"no file":         {"", ", client_auth: {ca: /nowhere/ca.pem}", "", `cannot read "/nowhere/ca.pem"`},
		"no certificate":  {"", fmt.Sprintf(", client_auth: {ca: %q}", empty), "", "holds no certificate"},
		"no CA":           {"", ", client_auth: {mode: require}", "", "ca"},
		"mode":            {"", fmt.Sprintf(", client_auth: {mode: ask, ca: %q}", ca), "", "mode"},
		"unknown part":    {"", fmt.Sprintf(", client_auth: {ca: %q, headers: {subjekt: X-A}}", ca), "", `did you mean "subject"?`},
		"reserved field":  {"", fmt.Sprintf(", client_auth: {ca: %q, headers: {subject: Authorization}}", ca), "", "has a meaning of its own"},
		"field twice":     {"", fmt.Sprintf(", client_auth: {ca: %q, headers: {subject: X-A, dns: x-a}}", ca), "", "field X-A is that of dns already"},
		"without TLS":     {fmt.Sprintf(", client_auth: {ca: %q}", ca), "", "", "is for listeners with TLS"},
		"two of one host": {"", fmt.Sprintf(", client_auth: {ca: %q}", ca), ", {name: b, hosts: [app.example.com], paths: [/b], upstream: app}", "has another client_auth"},
		"PROXY and h3":    {", protocols: [h1, h3], proxy_protocol: {from: [10.0.0.0/8]}", "", "", "want no h3 on this listener"},
		"PROXY of all":    {", proxy_protocol: {from: [0.0.0.0/0]}", "", "", "is every address"},
		"PROXY of nobody": {", proxy_protocol: {}", "", "", "from"},
	} {
		config := strings.Replace(oneRoute("ws://127.0.0.1:9", row.route), `{certificates: "off"}}`, `{certificates: "off"}`+row.listener+"}", 1)
		config = strings.Replace(config, "upstream: app"+row.route+"}]", "upstream: app"+row.route+"}"+row.more+"]", 1)
		if _, _, err := loadText(t, config); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}
