package tlsmgr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// keyValue is an entry of a store.
type keyValue struct {
	key   string
	value []byte
}

// A backend keeps what certmagic needs: files or Redis.
type backend interface {
	certmagic.Storage
	certmagic.TryLocker

	// storeAll stores entries that belong together: all of them, or, where something is wrong, none.
	storeAll(ctx context.Context, entries []keyValue) error

	// close waits a while until no lock is held any more, and gives back what the backend has open.
	close()
}

// lockPoll is how often a lock that somebody else holds is tried again.
const lockPoll = 250 * time.Millisecond

// lock waits for a lock of a backend.
func lock(ctx context.Context, b certmagic.TryLocker, name string) error {
	for {
		ok, err := b.TryLock(ctx, name)
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A store is a backend whose certificates are whole. certmagic writes a key, its certificate and their data one after the other, and after a
// failure deletes what it has written: a full disk, or a CA that sends a chain for another key, would cost the certificate that was there
// before. So the three are gathered here, checked, and stored together.
type store struct {
	backend
	now    func() time.Time
	failed func(err error) // is told of what could not be stored

	mu      sync.Mutex
	sites   map[string][]keyValue // key and certificate that wait for their data, by the directory of their keys
	refused map[string]bool       // directories of which certmagic will delete what was never stored
}

func newStore(b backend, now func() time.Time, failed func(error)) *store {
	return &store{backend: b, now: now, failed: failed, sites: map[string][]keyValue{}, refused: map[string]bool{}}
}

// siteOf splits the key of a certificate's file; ok is false for other keys.
func siteOf(key string) (site, ext string, ok bool) {
	if !strings.HasPrefix(key, "certificates/") {
		return "", "", false
	}
	return path.Dir(key), path.Ext(key), true
}

// Store implements certmagic.Storage.
func (s *store) Store(ctx context.Context, key string, value []byte) error {
	site, ext, ok := siteOf(key)
	if ok && (ext == ".key" || ext == ".crt") {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ext == ".key" {
			s.sites[site] = nil // a new try
			delete(s.refused, site)
		}
		s.sites[site] = append(s.sites[site], keyValue{key, value})
		return nil
	}
	waiting := s.take(site)
	if len(waiting) == 0 {
		return s.report(s.backend.Store(ctx, key, value)) // data of a certificate that is there already, too
	}
	entries := append(waiting, keyValue{key, value})
	err := checkSite(entries, s.now())
	if err == nil {
		err = s.backend.storeAll(ctx, entries)
	}
	if err != nil {
		s.mu.Lock()
		s.refused[site] = true
		s.mu.Unlock()
	}
	return s.report(err)
}

func (s *store) report(err error) error {
	if err != nil {
		s.failed(err)
	}
	return err
}

// take returns what waits for its data, and forgets it.
func (s *store) take(site string) []keyValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.sites[site]
	delete(s.sites, site)
	return waiting
}

// Delete implements certmagic.Storage. What certmagic takes back after a failure was never there.
func (s *store) Delete(ctx context.Context, key string) error {
	if site, ext, ok := siteOf(key); ok && (ext == ".key" || ext == ".crt") {
		s.mu.Lock()
		refused := s.refused[site]
		if ext == ".key" { // which certmagic takes back last
			delete(s.refused, site)
			delete(s.sites, site)
		}
		s.mu.Unlock()
		if refused {
			return nil
		}
	}
	return s.backend.Delete(ctx, key)
}

// errChain says that a CA sent what is no certificate for the key.
var errChain = errors.New("the CA sent a wrong certificate chain")

// checkSite checks a key, its certificate chain and their data: the chain begins with a certificate for the key that is valid now, and each
// certificate is signed by the next one.
func checkSite(entries []keyValue, now time.Time) error {
	if len(entries) != 3 {
		return fmt.Errorf("%w: %d parts, wanted a key, a certificate and its data", errChain, len(entries))
	}
	pair, err := tls.X509KeyPair(entries[1].value, entries[0].value)
	if err != nil {
		return fmt.Errorf("%w: %w", errChain, err)
	}
	if leaf := pair.Leaf; now.After(leaf.NotAfter) || now.Add(24*time.Hour).Before(leaf.NotBefore) {
		return fmt.Errorf("%w: valid from %s to %s", errChain, leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	child := pair.Leaf
	for i, der := range pair.Certificate[1:] {
		parent, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: certificate %d: %w", errChain, i+2, err)
		}
		if err := child.CheckSignatureFrom(parent); err != nil {
			return fmt.Errorf("%w: certificate %d has not signed the one before it: %w", errChain, i+2, err)
		}
		child = parent
	}
	return nil
}

// errNoKey is the error for an entry that is not there, as certmagic.Storage demands it.
func errNoKey(key string) error { return &fs.PathError{Op: "load", Path: key, Err: fs.ErrNotExist} }
