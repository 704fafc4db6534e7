package tlsmgr

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// maxFileSize bounds what is read of a PEM file. Long chains take some 20 KiB.
const maxFileSize = 1 << 20

// wideKey are the permission bits that a key file should not have. Reading by the file's group is left out: Debian's ssl-cert group and
// Kubernetes' fsGroup give keys to a service that way.
const wideKey fs.FileMode = 0o037

// pairError says which field of a FileConfig an error is about.
type pairError struct {
	field string // ".cert", ".key" or "" for both
	err   error
}

func (e *pairError) Error() string { return e.err.Error() }
func (e *pairError) Unwrap() error { return e.err }

// pairData is what the two files of a pair hold.
type pairData struct {
	cert    *tls.Certificate // with Leaf
	exact   []string         // canonical names that the certificate is for
	parents []string         // of its wildcards
	noSAN   bool             // the names come from the subject's common name
	digest  [sha256.Size]byte
	keyMode fs.FileMode
}

// readPair reads and checks the files of f. The digest of the result is set even if err is not nil, as far as the files could be read.
func readPair(f FileConfig) (pairData, error) {
	var p pairData
	certPEM, _, err := readFile(f.Cert)
	if err != nil {
		return p, &pairError{".cert", fmt.Errorf("reading certificate: %w", err)}
	}
	keyPEM, mode, err := readFile(f.Key)
	if err != nil {
		return p, &pairError{".key", fmt.Errorf("reading key: %w", err)}
	}
	p.keyMode = mode
	p.digest = digestOf(certPEM, keyPEM)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return p, &pairError{"", fmt.Errorf("certificate %q with key %q: %w", f.Cert, f.Key, err)}
	}
	p.cert = &cert
	p.takeNames(cert.Leaf)
	if len(p.exact)+len(p.parents) == 0 {
		return p, &pairError{".cert", fmt.Errorf("certificate %q: names no host, wanted a DNS name as subjectAltName", f.Cert)}
	}
	return p, nil
}

// takeNames reads the names from the leaf. The common name counts only where there is no subjectAltName at all: browsers refuse such
// certificates, but they are what a plain `openssl req -x509` makes.
func (p *pairData) takeNames(leaf *x509.Certificate) {
	names := leaf.DNSNames
	if len(names)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) == 0 {
		names = []string{leaf.Subject.CommonName}
		p.noSAN = true
	}
	for _, name := range names {
		switch exact, parent, ok := canonicalPattern(name); {
		case !ok: // no client can ask for it
		case parent != "":
			p.parents = append(p.parents, parent)
		default:
			p.exact = append(p.exact, exact)
		}
	}
}

// digestOf is a hash over both files and the border between them.
func digestOf(cert, key []byte) (digest [sha256.Size]byte) {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, uint64(len(cert))) // a hash takes every write
	h.Write(cert)
	h.Write(key)
	h.Sum(digest[:0])
	return digest
}

// readFile reads a regular file of at most maxFileSize. Others are refused before they are opened: a named pipe would block for ever.
func readFile(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%q is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxFileSize {
		return nil, 0, fmt.Errorf("%q is larger than 1 MiB, wanted a PEM file", path)
	}
	return data, info.Mode().Perm(), nil
}

// pair is one certificate of a listener over its life. It is guarded by the manager's lock.
type pair struct {
	files   FileConfig
	data    pairData          // the last good state
	seen    [sha256.Size]byte // digest of the last state, good or bad
	problem string            // the last error, so that each is logged once
	expired bool              // warned that the certificate has expired
	alarmed time.Time         // when it was last said to end soon
}

// load reads the pair for the first time.
func (p *pair) load(now time.Time, log *slog.Logger) error {
	data, err := readPair(p.files)
	if err != nil {
		return err
	}
	p.take(data, now, log)
	return nil
}

// refresh reads the pair again and tells whether it changed. A pair that cannot be used leaves the last good one in place.
func (p *pair) refresh(now time.Time, log *slog.Logger) (changed bool) {
	data, err := readPair(p.files)
	switch {
	case err != nil:
		if err.Error() != p.problem || data.digest != p.seen {
			log.Error("certificate not reloaded, the old one stays in service",
				"cert", p.files.Cert, "key", p.files.Key, "error", err.Error())
		}
		p.problem, p.seen = err.Error(), data.digest
	case data.digest == p.data.digest:
		p.problem, p.seen = "", data.digest
	default:
		p.take(data, now, log)
		changed = true
	}
	p.warnExpired(now, log)
	return changed
}

// take puts data in service and warns of what is unwise about it.
func (p *pair) take(data pairData, now time.Time, log *slog.Logger) {
	p.data, p.seen, p.problem, p.expired, p.alarmed = data, data.digest, "", false, time.Time{}
	warnWide(log, "key file is open to other users", p.files.Key, data.keyMode, wideKey, "0600")
	if data.noSAN {
		log.Warn("certificate has no subjectAltName, most clients will refuse it",
			"cert", p.files.Cert, "common_name", data.cert.Leaf.Subject.CommonName)
	}
	if from := data.cert.Leaf.NotBefore; now.Before(from) {
		log.Warn("certificate is not valid yet", "cert", p.files.Cert, "not_before", from)
	}
	p.warnExpired(now, log)
}

// warnExpired warns once for each certificate, when it is loaded or when its time comes, and once a day of one that should have been replaced.
func (p *pair) warnExpired(now time.Time, log *slog.Logger) {
	leaf := p.data.cert.Leaf
	switch end := leaf.NotAfter; {
	case p.expired:
	case now.After(end):
		p.expired = true
		log.Warn("certificate has expired", "cert", p.files.Cert, "not_after", end)
	case endsSoon(leaf, now) && now.Sub(p.alarmed) >= 24*time.Hour:
		p.alarmed = now
		log.Error("certificate ends soon and was not replaced", "cert", p.files.Cert, "not_after", end, "days", int(end.Sub(now).Hours()/24))
	}
}

// warnWide warns of a file or directory with any of the permission bits in wide.
func warnWide(log *slog.Logger, msg, path string, mode, wide fs.FileMode, wanted string) {
	if mode.Perm()&wide != 0 {
		log.Warn(msg, "path", path, "mode", fmt.Sprintf("%#o", mode.Perm()), "wanted", wanted)
	}
}
