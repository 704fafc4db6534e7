package upstream

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// clientCertificate is what the gateway shows to servers that ask who it is. Certificates of services live for hours: the files are read again
// when they have changed, and what was good stays while the new ones are not.
type clientCertificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	stamps  [2]stamp
}

// stamp tells one content of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// newClientCertificate reads both files, and returns nil where it has reported a mistake.
func newClientCertificate(certFile, keyFile string, report Report) *clientCertificate {
	switch {
	case keyFile == "":
		report("cert", "has no key beside it, want both")
		return nil
	case certFile == "":
		report("key", "has no cert beside it, want both")
		return nil
	}
	c := &clientCertificate{certFile: certFile, keyFile: keyFile}
	stamps, _ := c.look()
	cert, file, err := c.read()
	switch {
	case err != nil && file == keyFile:
		report("key", "file %q cannot be read: %s", file, reason(err))
		return nil
	case err != nil && file == certFile:
		report("cert", "file %q cannot be read: %s", file, reason(err))
		return nil
	case err != nil:
		report("cert", "file %q and the key do not make a certificate: %s", certFile, err.Error())
		return nil
	}
	c.current, c.stamps = cert, stamps
	return c
}

func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return err.Error()
}

// read reads the files as they are now. It names the file that could not be read, if it is that.
func (c *clientCertificate) read() (cert *tls.Certificate, file string, err error) {
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, c.certFile, err
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, c.keyFile, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, "", err
	}
	return &pair, "", nil
}

// look tells the files' present contents from others.
func (c *clientCertificate) look() (stamps [2]stamp, ok bool) {
	for i, file := range [...]string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return stamps, false
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, true
}

// get is tls.Config.GetClientCertificate.
func (c *clientCertificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamps, ok := c.look(); ok && stamps != c.stamps {
		// Files that are being written do not match yet: they are looked at again the next time.
		if cert, _, err := c.read(); err == nil {
			c.current, c.stamps = cert, stamps
		}
	}
	return c.current, nil
}
