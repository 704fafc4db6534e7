package proxy

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/internal/wstest"
)

// automatic is a configuration of a listener that redirects and one with certificates of ca. No two tests may share a host: certmagic keeps
// challenges by name, for the whole process.
func automatic(t *testing.T, ca *acmetest.CA, host, server string) string {
	return fmt.Sprintf(`version: 1
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}, redirect_to_https: 443}
  - {address: "127.0.0.1:0", tls: {certificates: auto}, hsts: {max_age: 24h, include_subdomains: true}}
routes: [{name: app, hosts: [%s], paths: [/ws/*], upstream: app}]
upstreams: {app: {servers: ["%s"]}}
admin: {address: "off"}
tls:
%s`, host, server, ca.Config(t.TempDir()))
}

// A host gets its certificate by itself; requests in clear text are sent to https, but for those of the CA.
func TestAutomaticCertificates(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	g := newGateway(t, automatic(t, ca, "app.example.com", "ws://"+up.Addr()))
	plain, secure := g.Addrs()[0].String(), g.Addrs()[1].String()
	ca.HTTP.To(plain)
	ca.TLS.To(secure)
	g.Start()
	t.Cleanup(g.Close)
	client := &tls.Config{RootCAs: ca.Issuers(), ServerName: "app.example.com"}
	waitFor(t, "a certificate", func() bool {
		c, err := tls.Dial("tcp", secure, client)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	c := wstest.DialTLS(t, secure, client)
	c.Upgrade(wstest.HS0("/ws/a").Without("Origin"))
	c.Close()

	request := func(addr string, r *wstest.Request) *wstest.Response {
		c := wstest.Dial(t, addr)
		defer c.Close()
		c.Send(r.Bytes())
		return c.Response()
	}
	for target, want := range map[string]string{
		"/ws/x?a=b%20c": "https://app.example.com/ws/x?a=b%20c",
		"/other":        "https://app.example.com/other",
		"/ws/%C3%A9":    "https://app.example.com/ws/%C3%A9",
	} {
		resp := request(plain, wstest.Plain(target))
		if resp.Status != 308 || resp.Get("Location") != want {
			t.Errorf("%s: %q to %q, want %q", target, resp.Line, resp.Get("Location"), want)
		}
	}
	if resp := request(plain, wstest.HS0("/ws")); resp.Status != 308 {
		t.Errorf("a handshake in clear text: %q", resp.Line)
	}
	if resp := request(plain, wstest.Plain("/").With("Host", "evil.example")); resp.Status != 404 {
		t.Errorf("a foreign host: %q", resp.Line)
	}
	before := up.Dials()
	for _, target := range []string{"", "/unknown", "/../x", "/%2e", "/%2e%2e/x", "/a/b", "/" + strings.Repeat("a", 5000)} {
		for _, host := range []string{"app.example.com", "evil.example"} {
			r := wstest.Plain("/.well-known/acme-challenge"+target).With("Host", host)
			if resp := request(plain, r); resp.Status != 404 {
				t.Errorf("challenge %.20q of %s: %q", target, host, resp.Line)
			}
		}
		c := wstest.DialTLS(t, secure, client)
		c.Send(wstest.Plain("/.well-known/acme-challenge" + target).Bytes())
		resp := c.Response()
		if resp.Status != 404 || resp.Get("Strict-Transport-Security") != "max-age=86400; includeSubDomains" {
			t.Errorf("challenge %.20q by https: %q", target, resp.Line)
		}
		c.Close()
	}
	if n := up.Dials() - before; n != 0 {
		t.Errorf("%d connections to the upstream for challenges", n)
	}
	if n := ca.Orders(); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// The listener's own Strict-Transport-Security stands in for an upstream's.
func TestHSTS(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	up := wstest.NewRecorder(t, wstest.Send(wstest.Head("HTTP/1.1 200 OK", "Strict-Transport-Security: max-age=1", "Content-Length: 0")))
	g := startGateway(t, fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: internal}, hsts: {include_subdomains: true, preload: true}}]
routes: [{name: app, hosts: [app.example.com], upstream: app}]
upstreams: {app: {servers: ["ws://%s"]}}
admin: {address: "off"}
tls: {storage: {file: %s}}
`, up.Addr(), storage))
	for name, r := range map[string]*wstest.Request{"page": wstest.Plain("/"), "refused by the upstream": wstest.HS0("/").Without("Origin"), "refused here": wstest.HS0("/").With("Sec-WebSocket-Version", "7")} {
		c := wstest.DialTLS(t, g.addr, trusting(t, storage, "app.example.com"))
		c.Send(r.Bytes())
		resp := c.Response()
		if got := resp.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains; preload" {
			t.Errorf("%s: %q", name, got)
		}
		c.Close()
	}
}

func TestCompileEntrance(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ listener, more, want string }{
		"redirect of TLS":       {`{certificates: internal}, redirect_to_https: 443`, "", "listeners[0].redirect_to_https: is for listeners without TLS, want certificates: off"},
		"hsts without TLS":      {`{certificates: "off"}, hsts: {}`, "", "listeners[0].hsts: is for listeners with TLS (RFC 6797 section 7.2)"},
		"preload of a day":      {`{certificates: internal}, hsts: {max_age: 24h, include_subdomains: true, preload: true}`, "", "listeners[0].hsts.preload: needs include_subdomains: true and a max_age of 8760h or more"},
		"auto without an email": {`{certificates: auto}`, "", "tls.acme.email: missing"},
		"http-01 without port":  {`{certificates: auto}`, "tls: {acme: {email: a@example.com, challenges: [http-01]}}", "tls.acme.challenges: http-01 alone, but no listener is without TLS"},
		"a wildcard":            {`{certificates: auto}`, "tls: {acme: {email: a@example.com}}", `routes[0].hosts[1]: "*.example.com" with certificates: auto: a wildcard certificate needs tls.acme.dns`},
	} {
		_, _, err := loadText(t, fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: %s}]
routes: [{name: app, hosts: [app.example.com, "*.example.com"], upstream: app}]
upstreams: {app: {servers: ["ws://127.0.0.1:1"]}}
%s
`, test.listener, test.more))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	loaded, _, err := loadText(t, `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: auto}}]
routes: [{name: app, hosts: [app.example.com, localhost, "127.0.0.1"], upstream: app}]
upstreams: {app: {servers: ["ws://127.0.0.1:1"]}}
tls: {acme: {email: a@example.com}}
`)
	if err != nil || len(loaded.Warnings) != 2 {
		t.Errorf("want warnings about two hosts, got %v %v", loaded.Warnings, err)
	}
}

// A host that a reload adds gets its certificate; those of the others stay.
func TestReloadAddsHost(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	config := automatic(t, ca, "old.example.com", "ws://"+up.Addr())
	g := newGateway(t, config)
	secure := g.Addrs()[1].String()
	ca.HTTP.To(g.Addrs()[0].String())
	ca.TLS.To(secure)
	g.Start()
	t.Cleanup(g.Close)
	serial := func(name string) string {
		c, err := tls.Dial("tcp", secure, &tls.Config{RootCAs: ca.Issuers(), ServerName: name})
		if err != nil {
			return ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	waitFor(t, "a certificate", func() bool { return serial("old.example.com") != "" })
	before := serial("old.example.com")
	more, _, err := loadText(t, strings.Replace(config, "[old.example.com]", "[old.example.com, new.example.com]", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(more.Config); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a certificate of the new host", func() bool { return serial("new.example.com") != "" })
	if serial("old.example.com") != before || ca.Orders() != 2 {
		t.Errorf("%d orders, want 2; the first host has another certificate: %t", ca.Orders(), serial("old.example.com") != before)
	}
	less, _, err := loadText(t, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(less.Config); err != nil {
		t.Fatal(err)
	}
	if serial("new.example.com") != "" || serial("old.example.com") != before {
		t.Error("after the second reload the new host must be gone, the other one not")
	}
}
