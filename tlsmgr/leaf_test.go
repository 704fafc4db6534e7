package tlsmgr

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// countingRandom counts the certificates made through it: each reads 16 bytes for its serial.
type countingRandom struct {
	serials atomic.Int64
	fail    atomic.Bool
}

func (c *countingRandom) Read(p []byte) (int, error) {
	if c.fail.Load() {
		return 0, errors.New("no entropy")
	}
	if len(p) == 16 {
		c.serials.Add(1)
	}
	return rand.Read(p)
}

func startLeaves(t testing.TB, random io.Reader, hosts ...string) *leafSource {
	t.Helper()
	r, _, err := openRoot(t.TempDir(), time.Now(), rand.Reader)
	check(t, err)
	set, _, err := newHostSet(hosts)
	check(t, err)
	return newLeafSource(r, set, time.Now, random)
}

func (s *leafSource) get(t testing.TB, name string) *tls.Certificate {
	t.Helper()
	cert, err := s.certificate(&tls.ClientHelloInfo{ServerName: name})
	check(t, err)
	return cert
}

func TestInternalCertificates(t *testing.T) {
	dir := t.TempDir()
	m, book := startManager(t, Config{Storage: StorageConfig{File: dir}})
	config, err := m.Listener(ListenerConfig{Certificates: "internal"}, []string{"chat.example.com", "*.w.example", "127.0.0.1"})
	check(t, err)
	book.wait(t, "level=WARN", "host is an IP address", "host=127.0.0.1")
	book.wait(t, "level=INFO", "internal root made", dir)
	rootPEM, err := RootPEM(dir)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(rootPEM)
	for name, ok := range map[string]bool{
		"localhost":             true,
		"LOCALHOST":             true,
		"chat.example.com":      true,
		"a.w.example":           true,
		"a.b.w.example":         true,
		"w.example":             false,
		"x.localhost":           false,
		"x.chat.example.com":    false,
		"example.com":           false,
		"unknown":               false,
		"aw.example":            false,
		"chat.example.com.evil": false,
	} {
		state, _, err := shake(t, config, &tls.Config{ServerName: name, RootCAs: pool})
		if !ok {
			wantError(t, err, "unrecognized name")
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		leaf := state.PeerCertificates[0]
		if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != strings.ToLower(name) || len(state.PeerCertificates) != 1 {
			t.Errorf("%q: certificate for %q, chain of %d", name, leaf.DNSNames, len(state.PeerCertificates))
		}
		if life := time.Until(leaf.NotAfter); life > leafLifetime || life < leafLifetime-time.Minute {
			t.Errorf("%q: ends in %v", name, life)
		}
		if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 {
			t.Errorf("%q: can do more than it should", name)
		}
	}
}

// A second listener, and a second manager, work below the same root.
func TestInternalRootIsShared(t *testing.T) {
	dir := t.TempDir()
	var configs []*tls.Config
	for range 2 {
		m, _ := startManager(t, Config{Storage: StorageConfig{File: dir}})
		for _, host := range []string{"a.example", "b.example"} {
			config, err := m.Listener(ListenerConfig{Certificates: "internal"}, []string{host})
			check(t, err)
			configs = append(configs, config)
		}
	}
	rootPEM, err := RootPEM(dir)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(rootPEM)
	for i, config := range configs {
		_, _, err := shake(t, config, &tls.Config{ServerName: []string{"a.example", "b.example"}[i%2], RootCAs: pool})
		if err != nil {
			t.Errorf("listener %d: %v", i, err)
		}
		_, _, err = shake(t, config, &tls.Config{ServerName: []string{"b.example", "a.example"}[i%2], RootCAs: pool})
		wantError(t, err, "unrecognized name")
	}
}

func TestLeavesAreMadeOnce(t *testing.T) {
	random := &countingRandom{}
	s := startLeaves(t, random, "*.example.com")
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 64 {
		all.Go(func() {
			<-start
			if s.get(t, fmt.Sprintf("%d.example.com", i%4)) == nil {
				t.Error("no certificate")
			}
		})
	}
	close(start)
	all.Wait()
	if n := random.serials.Load(); n != 4 {
		t.Errorf("%d certificates made for 4 names", n)
	}
	if s.get(t, "0.example.com") != s.get(t, "0.EXAMPLE.com.") {
		t.Error("two spellings have two certificates")
	}
}

func TestLeavesAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startLeaves(t, rand.Reader)
		first := s.get(t, "localhost")
		advance(leafLifetime/3*2 - time.Second)
		if s.get(t, "localhost") != first {
			t.Error("renewed early")
		}
		advance(2 * time.Second)
		second := s.get(t, "localhost")
		if second == first || second.Leaf.NotAfter.Sub(first.Leaf.NotAfter) < leafLifetime/2 {
			t.Errorf("not renewed with a third left: ends %v, then %v", first.Leaf.NotAfter, second.Leaf.NotAfter)
		}
		// Nobody asked for long.
		advance(30 * 24 * time.Hour)
		if third := s.get(t, "localhost"); !third.Leaf.NotAfter.After(time.Now()) {
			t.Error("serves an expired certificate")
		}
		if len(s.exact) != 1 {
			t.Errorf("%d certificates kept for one name", len(s.exact))
		}
	})
}

func TestLeavesWhenTheClockIsSetBack(t *testing.T) {
	s := startLeaves(t, rand.Reader)
	now := time.Now()
	s.now = func() time.Time { return now }
	first := s.get(t, "localhost")
	now = now.Add(-30 * time.Minute)
	if s.get(t, "localhost") != first {
		t.Error("half an hour back made a new certificate, the old one was valid")
	}
	now = now.Add(-24 * time.Hour)
	if cert := s.get(t, "localhost"); cert.Leaf.NotBefore.After(now) {
		t.Error("serves a certificate from the future")
	}
}

func TestLeavesEndWithTheirRoot(t *testing.T) {
	s := startLeaves(t, rand.Reader)
	end := s.root.cert.NotAfter
	now := end.Add(-3 * time.Hour)
	s.now = func() time.Time { return now }
	first := s.get(t, "localhost")
	if !first.Leaf.NotAfter.Equal(end) {
		t.Errorf("ends %v, the root %v", first.Leaf.NotAfter, end)
	}
	now = end.Add(-30 * time.Minute)
	if s.get(t, "localhost") == first {
		t.Error("not renewed with a third left")
	}
	now = end.Add(time.Second)
	_, err := s.certificate(&tls.ClientHelloInfo{ServerName: "localhost"})
	wantError(t, err, `"localhost"`, "root expired on")
	if len(s.exact) != 0 {
		t.Error("the failure is kept")
	}
}

func TestLeafFailureIsNotKept(t *testing.T) {
	random := &countingRandom{}
	s := startLeaves(t, random, "*.example.com")
	random.fail.Store(true)
	for _, name := range []string{"localhost", "a.example.com"} {
		_, err := s.certificate(&tls.ClientHelloInfo{ServerName: name})
		wantError(t, err, name, "no entropy")
	}
	random.fail.Store(false)
	if s.get(t, "localhost") == nil || s.get(t, "a.example.com") == nil {
		t.Error("no certificate after the failure has passed")
	}
}

func TestLeavesOfWildcardsAreBounded(t *testing.T) {
	random := &countingRandom{}
	s := startLeaves(t, random, "*.example.com", "fixed.example.com")
	fixed := s.get(t, "fixed.example.com")
	for i := range maxWildLeaves + 200 {
		s.get(t, fmt.Sprintf("%d.example.com", i))
	}
	if len(s.wild) != maxWildLeaves {
		t.Errorf("%d certificates kept, want %d", len(s.wild), maxWildLeaves)
	}
	if s.get(t, "fixed.example.com") != fixed {
		t.Error("a flood of names pushed a configured host out")
	}
	for _, name := range []string{"unknown", "", "127.0.0.1", "example.com"} {
		if s.get(t, name) != nil {
			t.Errorf("a certificate for %q", name)
		}
	}
	if n := random.serials.Load(); n != maxWildLeaves+200+1 {
		t.Errorf("%d certificates made, want none for unknown names", n)
	}
}

func BenchmarkLeafCached(b *testing.B) {
	s := startLeaves(b, rand.Reader)
	hello := &tls.ClientHelloInfo{ServerName: "localhost"}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.certificate(hello)
	}
}

func BenchmarkLeafNew(b *testing.B) {
	s := startLeaves(b, rand.Reader)
	for b.Loop() {
		_, err := s.root.issue("localhost", time.Now(), rand.Reader)
		check(b, err)
	}
}
