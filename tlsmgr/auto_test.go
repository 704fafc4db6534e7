package tlsmgr

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/acmetest"
)

func TestChallenges(t *testing.T) {
	t.Parallel()
	hook := func(t *testing.T, ca *acmetest.CA) *ExecConfig { // a program that leaves what it is called with in a directory
		dir := t.TempDir()
		program := filepath.Join(dir, "hook")
		check(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$2 $3 $4\" >> "+dir+"/calls\n[ \"$1\" = first ]\n"+
			"while [ \"$2\" = present ] && [ ! -e "+dir+"/ready-$4 ]; do sleep 0.05; done\n"), 0o700))
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			seen := 0
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				text, _ := os.ReadFile(filepath.Join(dir, "calls"))
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				for ; seen < len(lines) && lines[seen] != ""; seen++ {
					f := strings.Fields(lines[seen])
					if f[0] == "cleanup" {
						ca.DNS.Remove(f[1], f[2])
						continue
					}
					ca.DNS.Set(f[1], f[2])
					os.WriteFile(filepath.Join(dir, "ready-"+f[2]), nil, 0o600)
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-done })
		return &ExecConfig{Command: []string{program, "first"}}
	}
	update := func(_ *testing.T, ca *acmetest.CA) *RFC2136Config {
		return &RFC2136Config{Server: ca.DNS.Addr, KeyName: acmetest.TSIGKey, Secret: acmetest.TSIGSecret}
	}
	tests := map[string]struct {
		challenges []string
		dns        func(t *testing.T, ca *acmetest.CA) *DNSConfig
		host, name string
	}{
		"http-01":              {challenges: []string{"http-01"}, host: "http.example.com"},
		"tls-alpn-01":          {challenges: []string{"tls-alpn-01"}, host: "alpn.example.com"},
		"dns-01 by RFC 2136":   {dns: func(t *testing.T, ca *acmetest.CA) *DNSConfig { return &DNSConfig{RFC2136: update(t, ca)} }, host: "update.example.com"},
		"dns-01, wildcard":     {dns: func(t *testing.T, ca *acmetest.CA) *DNSConfig { return &DNSConfig{RFC2136: update(t, ca)} }, host: "*.wild.example.com", name: "any.wild.example.com"},
		"dns-01 by a command":  {dns: func(t *testing.T, ca *acmetest.CA) *DNSConfig { return &DNSConfig{Exec: hook(t, ca)} }, host: "command.example.com"},
		"whatever is possible": {host: "both.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Setup{})
			cfg := acmeConfig(t, ca)
			cfg.ACME.Challenges = test.challenges
			if test.dns != nil {
				cfg.ACME.DNS = test.dns(t, ca)
			}
			g := startAuto(t, ca, cfg, nil, nil, test.host)
			if test.name == "" {
				test.name = test.host
			}
			g.serial(t, test.name)
			if n := ca.Orders(); n != 1 {
				t.Errorf("%d orders, want 1", n)
			}
			if test.dns == nil {
				return
			}
			eventually(t, "the records are removed", func() bool { n, _ := ca.DNS.Records(); return n == 0 })
		})
	}
}

// A start with the certificates of an earlier run orders nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	cfg := acmeConfig(t, ca)
	first := startAuto(t, ca, cfg, nil, nil, "restart.example.com")
	serial := first.serial(t, "restart.example.com")
	check(t, first.Close())
	second := startAuto(t, ca, cfg, nil, nil, "restart.example.com")
	if state, err := second.dial("restart.example.com"); err != nil || state.PeerCertificates[0].SerialNumber.String() != serial {
		t.Errorf("right after the start: %v", err)
	}
	if n := ca.Orders(); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
	check(t, filepath.WalkDir(cfg.Storage.File, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if info, _ := entry.Info(); info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		return err
	}))
}

// Handshakes go on, all of them with a certificate that is valid, while it is renewed.
func TestRenewalUnderLoad(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{Validity: 24}) // renewed when a third is left, which a busy machine may need
	g := startAuto(t, ca, acmeConfig(t, ca), nil, nil, "load.example.com")
	g.serial(t, "load.example.com")
	var mu sync.Mutex
	serials := map[string]int{}
	var clients sync.WaitGroup
	var failed atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				state, err := g.dial("load.example.com")
				if err != nil {
					failed.Add(1)
					t.Errorf("handshake: %v", err)
					return
				}
				mu.Lock()
				serials[state.PeerCertificates[0].SerialNumber.String()]++
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	eventually(t, "a renewal", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(serials) >= 2
	})
	close(stop)
	clients.Wait()
	total := 0
	for _, n := range serials {
		total += n
	}
	t.Logf("%d handshakes with %d certificates, %d failed", total, len(serials), failed.Load())
}

// whatever is wrong with the CA, the certificate that is there serves on, and what is wrong can be seen.
func TestFaultsOfTheCA(t *testing.T) {
	t.Parallel()
	wrongChain := func(t *testing.T, host string) http.HandlerFunc {
		other := certSpec{names: []string{host}}.write(t, t.TempDir())
		chain, err := os.ReadFile(other.Cert)
		check(t, err)
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/certZ/") {
				w.Header().Set("Content-Type", "application/pem-certificate-chain")
				w.Header().Set("Replay-Nonce", "bm9uY2U")
				w.Write(chain)
			}
			if strings.Contains(r.URL.Path, "renewalInfo") { // which the CA does not have for this one
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"suggestedWindow": {"start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z"}}`)
			}
		}
	}
	tests := map[string]struct {
		fault  func(t *testing.T, host string) http.HandlerFunc
		reason string
	}{
		"down": {func(*testing.T, string) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, "unreachable"},
		"rate-limited": {func(*testing.T, string) http.HandlerFunc { return acmetest.Problem(429, "rateLimited") }, "rate_limited"},
		"nonce":        {func(*testing.T, string) http.HandlerFunc { return acmetest.Problem(400, "badNonce") }, "refused"},
		"chain":        {wrongChain, "chain"},
		"refused":      {func(*testing.T, string) http.HandlerFunc { return acmetest.Problem(403, "rejectedIdentifier") }, "refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Setup{})
			cfg := acmeConfig(t, ca)
			faulty, well := name+".fault.example.com", name+".well.example.com" // challenges are kept by name, for the whole process
			g := startAuto(t, ca, cfg, nil, nil, faulty, well)
			serial := g.serial(t, faulty)
			g.serial(t, well)
			ca.Fault(test.fault(t, faulty))
			a := g.auto.Load()
			if err := a.magic.RenewCertSync(context.Background(), faulty, true); err == nil {
				t.Fatal("the renewal went well")
			}
			for _, host := range []string{faulty, well} {
				if _, err := g.dial(host); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			if got := g.serial(t, faulty); got != serial {
				t.Errorf("another certificate is in service")
			}
			if n, _ := g.metric(t, "framegate_certificate_errors_total", test.reason); n == 0 {
				t.Errorf("no error counted as %s:\n%s", test.reason, g.log)
			}
			if test.reason != "chain" { // which certmagic does not tell of
				if n, ok := g.metric(t, "framegate_certificate_failures", faulty, test.reason); !ok || n != 1 {
					t.Errorf("failures: %v %v", n, ok)
				}
				if n, ok := g.metric(t, "framegate_certificate_retry_seconds", faulty); !ok || n < 30 || n > 60 {
					t.Errorf("next attempt in %v s", n)
				}
				g.log.wait(t, "certificate not renewed, the old one stays in service", "reason="+test.reason)
			}
			ca.Fault(nil)
			check(t, a.magic.RenewCertSync(context.Background(), faulty, true))
			eventually(t, "the new certificate is in service", func() bool { return g.serial(t, faulty) != serial })
			if _, ok := g.metric(t, "framegate_certificate_failures", faulty, test.reason); ok {
				t.Error("the problem is still shown")
			}
		})
	}
}

// A CA that fails is followed by the next one; without any, attempts go on, and handshakes get their alert at once.
func TestSeveralCAs(t *testing.T) {
	t.Parallel()
	broken, good := acmetest.New(t, acmetest.Setup{}), acmetest.New(t, acmetest.Setup{EAB: map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}})
	broken.Fault(acmetest.Problem(503, "serverInternal"))
	cfg := acmeConfig(t, broken)
	roots, err := os.ReadFile(broken.Roots)
	check(t, err)
	more, err := os.ReadFile(good.Roots)
	check(t, err)
	cfg.ACME.CARoots = filepath.Join(t.TempDir(), "both.pem")
	check(t, os.WriteFile(cfg.ACME.CARoots, append(roots, more...), 0o600))
	g := startAuto(t, broken, cfg, nil, nil, "several.example.com")
	if _, err := g.dial("several.example.com"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("before there is a certificate: %v", err)
	}
	g.log.wait(t, "client refused, its host has no certificate yet")
	g.log.wait(t, "no certificate yet, trying again", "attempt=2")
	check(t, g.Close())

	cfg.ACME.CA = append(cfg.ACME.CA, CAConfig{URL: good.URL, ExternalAccount: &EABConfig{"kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}})
	second := startAuto(t, good, cfg, nil, nil, "several.example.com")
	second.serial(t, "several.example.com")
}

func TestStaples(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{OCSP: true})
	g := startAuto(t, ca, acmeConfig(t, ca), nil, nil, "staple.example.com")
	g.serial(t, "staple.example.com")
	state, err := g.dial("staple.example.com")
	check(t, err)
	if len(state.OCSPResponse) == 0 || ca.Staples() == 0 {
		t.Errorf("%d bytes of a staple, %d asked for", len(state.OCSPResponse), ca.Staples())
	}
}

// T-12, T-13, T-05: what is nobody's gets nothing, and costs no order.
func TestStrangers(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	g := startAuto(t, ca, acmeConfig(t, ca), nil, nil, "ours.example.com")
	g.serial(t, "ours.example.com")
	for i := range 10000 {
		name := fmt.Sprintf("r%d.example.com", i)
		if cert, err := g.config.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); cert != nil || err != nil {
			t.Fatalf("%s: %v %v", name, cert, err)
		}
		if i%200 == 0 && served(t, g.config, name) != 0 {
			t.Fatal("a certificate for a stranger")
		}
	}
	for _, name := range []string{"", "127.0.0.1", strings.Repeat("a.", 150) + "example.com", "ours.example.com.evil"} {
		if _, _, err := shake(t, g.config, insecure(name)); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if n := ca.Orders(); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
	for _, path := range []string{"unknown", "../x", ".", "", strings.Repeat("a", 200), "a/b", "%2e"} {
		for _, host := range []string{"ours.example.com", "evil.example"} {
			request, err := http.NewRequest("GET", "http://"+g.http.Addr().String()+challengePrefix+path, nil)
			check(t, err)
			request.Host = host
			response, err := http.DefaultTransport.RoundTrip(request)
			check(t, err)
			response.Body.Close()
			if response.StatusCode != http.StatusNotFound {
				t.Errorf("%q of %s: %s", path, host, response.Status)
			}
		}
	}
	challenge := insecure("ours.example.com")
	challenge.NextProtos = []string{"acme-tls/1"}
	if _, _, err := shake(t, g.config, challenge); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a check without a challenge: %v", err)
	}
	challenge.NextProtos = []string{"acme-tls/1", "http/1.1"}
	if state, _, err := shake(t, g.config, challenge); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("a client that offers both: %q %v", state.NegotiatedProtocol, err)
	}
}

// Hosts that go and come with a reload.
func TestReconfigured(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	g := startAuto(t, ca, acmeConfig(t, ca), nil, nil, "old.example.com", "kept.example.com")
	g.serial(t, "old.example.com")
	g.serial(t, "kept.example.com")
	old := g.config
	next, err := g.Listener(ListenerConfig{Certificates: "auto"}, []string{"kept.example.com", "new.example.com"})
	check(t, err)
	if served(t, next, "kept.example.com") == 0 {
		t.Error("no certificate in the new configuration before it is in force")
	}
	check(t, g.Start(g.http.Addr().String(), g.tls.Addr().String()))
	eventually(t, "a certificate for the new host", func() bool { return served(t, next, "new.example.com") != 0 })
	g.Forget(old)
	check(t, g.Start(g.http.Addr().String(), g.tls.Addr().String()))
	if served(t, next, "kept.example.com") == 0 || served(t, next, "old.example.com") != 0 {
		t.Error("kept must be there, old not")
	}
	if _, ok := g.metric(t, "framegate_certificate_expiry_seconds", "old.example.com"); ok {
		t.Error("the old host still has a metric")
	}
	if n := ca.Orders(); n != 3 {
		t.Errorf("%d orders, want 3", n)
	}
}

// A CA that wants a certificate replaced earlier says so by ARI (RFC 9773), and is told in the order which one that is.
func TestARI(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	var replaces atomic.Int64
	ca.Fault(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "renewalInfo") && ca.Orders() < 2:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}`)
		case r.URL.Path == "/order-plz":
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var message struct{ Payload string }
			_ = json.Unmarshal(body, &message)
			if payload, _ := base64.RawURLEncoding.DecodeString(message.Payload); strings.Contains(string(payload), `"replaces"`) {
				replaces.Add(1)
			}
		}
	})
	g := startAuto(t, ca, acmeConfig(t, ca), nil, nil, "ari.example.com")
	first := g.serial(t, "ari.example.com")
	eventually(t, "another certificate", func() bool { return g.serial(t, "ari.example.com") != first })
	if ca.Orders() != 2 || replaces.Load() != 1 {
		t.Errorf("%d orders, of which %d say what they replace", ca.Orders(), replaces.Load())
	}
}

// What ended long ago leaves the store, what serves stays.
func TestClean(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, acmetest.Setup{})
	cfg := acmeConfig(t, ca)
	files := newFileStore(filepath.Join(cfg.Storage.File, acmeDir))
	pair := certSpec{names: []string{"gone.example.com"}, from: time.Now().AddDate(-1, 0, 0), end: time.Now().AddDate(0, -3, 0)}.write(t, t.TempDir())
	old, err := os.ReadFile(pair.Cert)
	check(t, err)
	gone := "certificates/ca/gone.example.com/gone.example.com"
	ctx := context.Background()
	for _, ext := range []string{".key", ".crt", ".json"} {
		check(t, files.Store(ctx, gone+ext, old))
	}
	check(t, files.Store(ctx, "ocsp/gone.example.com-1", []byte("no staple")))
	g := startAuto(t, ca, cfg, nil, nil, "clean.example.com")
	g.serial(t, "clean.example.com")
	eventually(t, "the old certificate is removed", func() bool {
		return !files.Exists(ctx, gone+".crt") && !files.Exists(ctx, gone+".key") && !files.Exists(ctx, "ocsp/gone.example.com-1")
	})
	v, err := OpenInventory(cfg, nil, nil)
	check(t, err)
	defer v.Close()
	all, err := v.List(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "clean.example.com" {
		t.Errorf("left: %v %v", all, err)
	}
}
