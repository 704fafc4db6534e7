package tlsmgr

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// leafLifetime of the certificates below the internal root. They are renewed when a third of it is left.
	leafLifetime = 7 * 24 * time.Hour

	// maxWildLeaves bounds the certificates kept for names that only a wildcard allows, of which a client can think of any number.
	maxWildLeaves = 1024
)

// leafSource makes certificates below the internal root when a client asks for them, and keeps them in memory.
type leafSource struct {
	root   *root
	hosts  hostSet
	now    func() time.Time
	random io.Reader

	mu    sync.Mutex
	exact map[string]*leaf // of hosts.exact, and so bounded
	wild  map[string]*leaf // at most maxWildLeaves
}

// leaf is one certificate, made by whoever asks first while the others wait.
type leaf struct {
	from, renew time.Time // in service between these
	cert        func() (*tls.Certificate, error)
}

func newLeafSource(r *root, hosts hostSet, now func() time.Time, random io.Reader) *leafSource {
	hosts.exact["localhost"] = true
	return &leafSource{
		root: r, hosts: hosts, now: now, random: random,
		exact: make(map[string]*leaf), wild: make(map[string]*leaf),
	}
}

// certificate is the tls.Config.GetCertificate of the listener. A name that is not configured is no error, see the package comment.
func (s *leafSource) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := canonicalName(hello.ServerName)
	if !ok || !s.hosts.has(name) {
		return nil, nil
	}
	l, cache := s.leaf(name, s.now().Round(0)) // certificates live by the wall clock, also after a suspend
	cert, err := l.cert()
	if err != nil {
		s.forget(cache, name, l)
		return nil, fmt.Errorf("making an internal certificate for %q: %w", name, err)
	}
	return cert, nil
}

// leaf finds the leaf of name or puts a new one, yet to be made, in the cache that it belongs to.
func (s *leafSource) leaf(name string, now time.Time) (*leaf, map[string]*leaf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cache, bounded := s.wild, true
	if s.hosts.exact[name] {
		cache, bounded = s.exact, false
	}
	// A clock that was set back makes a certificate one from the future: not before from.
	if l := cache[name]; l != nil && now.Before(l.renew) && !now.Before(l.from) {
		return l, cache
	}
	if _, replaced := cache[name]; bounded && !replaced && len(cache) >= maxWildLeaves {
		s.evict()
	}
	l := s.newLeaf(name, now)
	cache[name] = l
	return l, cache
}

// evict drops a leaf of the wildcards, any of them: a flood of names leaves no order worth keeping, and a leaf costs 0.1 ms to make again.
func (s *leafSource) evict() {
	for name := range s.wild {
		delete(s.wild, name)
		return
	}
}

// forget drops a leaf that could not be made, so that the next handshake tries again.
func (s *leafSource) forget(cache map[string]*leaf, name string, l *leaf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cache[name] == l {
		delete(cache, name)
	}
}

func (s *leafSource) newLeaf(name string, now time.Time) *leaf {
	end := s.root.leafEnd(now)
	return &leaf{
		from:  now.Add(-backdate),
		renew: now.Add(end.Sub(now) / 3 * 2),
		cert:  sync.OnceValues(func() (*tls.Certificate, error) { return s.root.issue(name, now, s.random) }),
	}
}

// leafEnd is when a leaf made now ends: no leaf outlives its root.
func (r *root) leafEnd(now time.Time) time.Time {
	end := now.Add(leafLifetime)
	if r.cert.NotAfter.Before(end) {
		return r.cert.NotAfter
	}
	return end
}

// issue makes the certificate of one name. It is sent without the root, which the client either has or does not trust.
func (r *root) issue(name string, now time.Time, random io.Reader) (*tls.Certificate, error) {
	end := r.leafEnd(now)
	if !now.Before(end) {
		return nil, fmt.Errorf("the internal root expired on %s", end.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Framegate development"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{name},
	}
	der, err := x509.CreateCertificate(random, template, r.cert, key.Public(), r.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}
