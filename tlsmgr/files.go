package tlsmgr

import (
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// fileSet serves the pairs of one listener. The manager's lock guards all of it but the index, which handshakes read.
type fileSet struct {
	config *tls.Config // of which it is the source
	pairs  []*pair
	hosts  hostSet
	index  atomic.Pointer[certIndex]
}

// certIndex finds the certificates for a server name. It is never changed once a fileSet holds it.
type certIndex struct {
	exact map[string][]*tls.Certificate
	wild  map[string][]*tls.Certificate // by what follows "*."
}

// newFileSet reads all pairs; the first that cannot be used is an error.
func newFileSet(files []FileConfig, hosts hostSet, now time.Time, log *slog.Logger) (*fileSet, error) {
	s := &fileSet{hosts: hosts}
	for _, f := range files {
		p := &pair{files: f}
		if err := p.load(now, log); err != nil {
			return nil, err
		}
		s.pairs = append(s.pairs, p)
	}
	s.publish(log)
	return s, nil
}

// refresh reads all pairs again and puts those that changed in service, all of them in one step.
func (s *fileSet) refresh(now time.Time, log *slog.Logger) {
	var changed []*pair
	for _, p := range s.pairs {
		if p.refresh(now, log) {
			changed = append(changed, p)
		}
	}
	if len(changed) == 0 {
		return
	}
	s.publish(log)
	for _, p := range changed { // said once it is true
		log.Info("certificate reloaded", "cert", p.files.Cert, "not_after", p.data.cert.Leaf.NotAfter)
	}
}

// publish replaces the index by one of the pairs as they are now.
func (s *fileSet) publish(log *slog.Logger) {
	x := &certIndex{exact: make(map[string][]*tls.Certificate), wild: make(map[string][]*tls.Certificate)}
	for _, p := range s.pairs {
		for _, name := range p.data.exact {
			x.exact[name] = append(x.exact[name], p.data.cert)
		}
		for _, parent := range p.data.parents {
			x.wild[parent] = append(x.wild[parent], p.data.cert)
		}
	}
	s.index.Store(x)
	for _, host := range x.uncovered(s.hosts) {
		log.Warn("no certificate for a host of the routes, its clients will be refused", "host", host)
	}
}

// uncovered lists the hosts that no certificate is for, sorted.
func (x *certIndex) uncovered(hosts hostSet) []string {
	var missing []string
	for host := range hosts.exact {
		if x.find(host) == nil {
			missing = append(missing, host)
		}
	}
	for parent := range hosts.parents {
		if x.wild[parent] == nil {
			missing = append(missing, "*."+parent)
		}
	}
	slices.Sort(missing)
	return missing
}

// find gives the certificates for a canonical name: those that have it, else those whose wildcard stands for its whole left label
// (RFC 9525 §6.3).
func (x *certIndex) find(name string) []*tls.Certificate {
	if certs := x.exact[name]; certs != nil {
		return certs
	}
	_, parent, _ := strings.Cut(name, ".")
	return x.wild[parent]
}

// certificate is the tls.Config.GetCertificate of the listener. An RSA and an ECDSA pair may be for the same name: the first that the
// client can use is taken. Nothing found is no error, see the package comment.
func (s *fileSet) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := canonicalName(hello.ServerName)
	if !ok {
		return nil, nil
	}
	certs := s.index.Load().find(name)
	if len(certs) == 0 {
		return nil, nil
	}
	if len(certs) > 1 {
		for _, cert := range certs {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return certs[0], nil
}
