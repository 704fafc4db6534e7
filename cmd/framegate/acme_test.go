package main_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/internal/wstest"
)

// These tests run the real binary with certificates by ACME, from a CA in the test's own process (internal/acmetest).

// acmeGateway is the configuration of a gateway with a listener for challenges and one with certificates of a CA; acme is its section tls.
func acmeGateway(up, acme string) string {
	return fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0", tls: {certificates: "off"}, redirect_to_https: 443}
  - {address: "127.0.0.1:0", tls: {certificates: auto}}
routes: [{name: app, hosts: [app.example.com], upstream: app}]
upstreams: {app: {servers: ["ws://%s"]}}
log: {level: debug}
tls:
%s`, up, acme)
}

// aim has a CA make its checks at a gateway of acmeGateway.
func aim(ca *acmetest.CA, p *wstest.Process) {
	ca.HTTP.To(p.Addrs[0])
	ca.TLS.To(p.Addrs[1])
}

// certified waits until a gateway has a certificate of the CA for app.example.com, at most for so long, and returns its serial number.
func certified(t *testing.T, ca *acmetest.CA, addr string, limit time.Duration) string {
	t.Helper()
	serial, err := "", error(nil)
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if serial, err = served(ca, addr); err == nil {
			return serial
		}
		if !strings.Contains(err.Error(), "unrecognized name") {
			break
		}
	}
	t.Fatalf("no certificate within %v: %v", limit, err)
	return ""
}

// served is the serial number of the certificate that a client gets who trusts the CA.
func served(ca *acmetest.CA, addr string) (string, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: wstest.Patience}, Config: &tls.Config{RootCAs: ca.Issuers(), ServerName: "app.example.com"}}
	c, err := dialer.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Text(16), nil
}

// A gateway with a fresh directory serves a new host within seconds, and `framegate certs` lists, exports and renews its certificate.
func TestACMEFreshDirectory(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	dir := t.TempDir()
	wstest.Build(t)
	start := time.Now()
	p := wstest.StartIn(t, dir, acmeGateway(up.Addr(), ca.Config(filepath.Join(dir, "store"))))
	aim(ca, p)
	serial := certified(t, ca, p.Addrs[1], wstest.Patience)
	t.Logf("a certificate %v after the start of the process", time.Since(start).Round(time.Millisecond))
	c := wstest.DialTLS(t, p.Addrs[1], &tls.Config{RootCAs: ca.Issuers(), ServerName: "app.example.com"})
	c.Upgrade(wstest.HS0("/").Without("Origin"))
	c.Close()
	if p.Metrics()[`framegate_certificate_expiry_seconds{name="app.example.com"}`] < 89*86400 {
		t.Errorf("the expiry in the metrics: %v", p.Metrics()[`framegate_certificate_expiry_seconds{name="app.example.com"}`])
	}

	certs := func(args ...string) string {
		t.Helper()
		p := wstest.StartCommand(t, append([]string{"certs"}, args...)...)
		if code := p.Wait(); code != 0 {
			t.Fatalf("certs %q: exit code %d\n%s", args, code, p.Stderr())
		}
		return p.Stdout()
	}
	config := "--config=" + filepath.Join(dir, "gateway.yaml")
	if list := certs("list", config); !regexp.MustCompile(`(?m)^app\.example\.com +\S+Z +89 +127\.0\.0\.1-\d+-dir +` + serial + `$`).MatchString(list) {
		t.Errorf("list:\n%s", list)
	}
	key := filepath.Join(dir, "exported.key")
	chain := certs("export", config, "--key="+key, "app.example.com")
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(chain), keyPEM)
	if err != nil || pair.Leaf.SerialNumber.Text(16) != serial {
		t.Errorf("export: %v", err)
	}
	if info, _ := os.Stat(key); info.Mode().Perm() != 0o600 {
		t.Errorf("the exported key has mode %v", info.Mode())
	}
	if out := certs("renew", config, "app.example.com"); strings.TrimSpace(out) != "app.example.com: renewed" {
		t.Errorf("renew: %q", out)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		next, err := served(ca, p.Addrs[1])
		if err != nil || time.Now().After(end) {
			t.Fatalf("the renewed certificate is not in service: %v", err)
		}
		if next != serial {
			break
		}
	}
	other := wstest.StartCommand(t, "certs", "renew", config, "other.example.com")
	if code := other.Wait(); code != 1 || !strings.Contains(other.Stderr(), `"other.example.com" is not among the hosts`) {
		t.Errorf("a foreign host: exit code %d, %q", code, other.Stderr())
	}
	if n := ca.Orders(); n != 2 {
		t.Errorf("%d orders, want 2", n)
	}
}

// Two gateways share a Redis: the certificate is ordered once, and the second one answers the challenge that the first one has.
func TestACMEFleet(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			ca, redis := acmetest.New(t, acmetest.Setup{}), miniredis.RunT(t)
			up := wstest.NewRecorder(t, wstest.Echo)
			acme := strings.Replace(ca.Config("unused", "    challenges: ["+challenge+"]"), "{file: unused}",
				"{file: unused, redis: {encryption_keys: [MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=]}}", 1)
			config := acmeGateway(up.Addr(), acme) + "redis: {url: \"redis://" + redis.Addr() + "\"}\n"
			first := wstest.Start(t, config)
			for end := time.Now().Add(wstest.Patience); ca.Orders() == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("no order")
				}
			}
			second := wstest.Start(t, config)
			aim(ca, second) // the CA has waited
			a, b := certified(t, ca, first.Addrs[1], wstest.Patience), certified(t, ca, second.Addrs[1], wstest.Patience)
			if a != b {
				t.Errorf("certificates %s and %s", a, b)
			}
			if n := ca.Orders(); n != 1 {
				t.Errorf("%d orders, want 1", n)
			}
			answered := func(p *wstest.Process) int {
				return len(p.Logs("acme: served key authentication")) + len(p.Logs("acme: served key authentication certificate"))
			}
			if answered(first) != 0 || answered(second) == 0 {
				t.Errorf("the first gateway answered %d checks, the second %d", answered(first), answered(second))
			}
			if dump := redis.Dump(); strings.Contains(dump, "PRIVATE KEY") {
				t.Error("a private key is in Redis in the clear")
			}
			redis.Close()
			for _, p := range []*wstest.Process{first, second} {
				if _, err := served(ca, p.Addrs[1]); err != nil {
					t.Errorf("without Redis: %v", err)
				}
			}
		})
	}
}

// a store that cannot be written costs the new certificate, and nothing else.
func TestACMEStoreNotWritable(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	store := t.TempDir()
	if err := os.WriteFile(filepath.Join(store, "acme"), nil, 0o600); err != nil { // root may write anywhere, but not below a file
		t.Fatal(err)
	}
	p := wstest.Start(t, acmeGateway(up.Addr(), ca.Config(store)))
	aim(ca, p)
	lines := p.WaitLogs("no certificate yet, trying again", 1)
	if lines[0]["reason"] != "storage" || lines[0]["wait"] != "1m0s" {
		t.Errorf("logged %v", lines[0])
	}
	if n := p.Metrics()[`framegate_certificate_errors_total{reason="storage"}`]; n == 0 {
		t.Error("not counted")
	}
	c := wstest.Dial(t, p.Addrs[0])
	c.Send(wstest.Plain("/").Bytes())
	if resp := c.Response(); resp.Status != 308 {
		t.Errorf("the other listener: %q", resp.Line)
	}
	if n := ca.Orders(); n != 0 {
		t.Errorf("%d orders for certificates that cannot be kept", n)
	}
}

// T-14: who pretends to check a challenge is not waited for.
func TestACMEStalls(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	p := wstest.Start(t, acmeGateway(up.Addr(), ca.Config(t.TempDir())))
	aim(ca, p)
	certified(t, ca, p.Addrs[1], wstest.Patience)
	config := &tls.Config{ServerName: "app.example.com", NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true}
	hello := wstest.ClientHello(t, config)
	whole := wstest.Dial(t, p.Addrs[1])
	whole.Send(hello)
	if alert := whole.Alert(); alert != alertUnrecognizedName {
		t.Errorf("without a challenge: alert %d", alert)
	}
	start := time.Now()
	half := wstest.Dial(t, p.Addrs[1])
	half.Send(hello[:len(hello)/2])
	half.ExpectEnd(wstest.Patience)
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("half a hello was waited for %v", took)
	}
}

// The example of certificates works as it stands, but for its ports, its host and its CA.
func TestExampleCertificates(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	up := wstest.NewRecorder(t, wstest.Echo)
	config := string(must(os.ReadFile("../../examples/certificates/gateway.yaml")))
	for old, by := range map[string]string{
		`":80"`: `"127.0.0.1:0"`, `":443"`: `"127.0.0.1:0"`, "127.0.0.1:3000": up.Addr(), "/var/lib/framegate": t.TempDir(), "chat.example.com": "app.example.com",
		"    email: ops@example.com\n": "    email: ops@example.com\n    ca: [" + ca.URL + "]\n    ca_roots: " + ca.Roots + "\n",
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("the example has no %q", old)
		}
		config = strings.ReplaceAll(config, old, by)
	}
	p := wstest.Start(t, config)
	aim(ca, p)
	certified(t, ca, p.Addrs[1], wstest.Patience)
	c := wstest.DialTLS(t, p.Addrs[1], &tls.Config{RootCAs: ca.Issuers(), ServerName: "app.example.com"})
	c.Upgrade(wstest.HS0("/ws").With("Origin", "https://app.example.com"))
	c.Close()
	plain := wstest.Dial(t, p.Addrs[0])
	plain.Send(wstest.Plain("/a?b=c").Bytes())
	if resp := plain.Response(); resp.Status != 308 || resp.Get("Location") != "https://app.example.com/a?b=c" {
		t.Errorf("http: %q to %q", resp.Line, resp.Get("Location"))
	}
}
