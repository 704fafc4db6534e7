package outbound

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
)

// Roots reads the file of PEM certificates that the value at path names, and reports what is wrong with it; then it returns nil. Unlike
// x509.CertPool.AppendCertsFromPEM it passes over nothing: a certificate that cannot be read, or a private key that has no business here, is a
// mistake.
func Roots(file, path string, report Report) *x509.CertPool {
	data, err := os.ReadFile(file)
	if err != nil {
		report(path, "file %q cannot be read: %s", file, withoutPath(err))
		return nil
	}
	pool := x509.NewCertPool()
	n := 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			report(path, "file %q holds a PEM block of type %q, want CERTIFICATE blocks alone", file, block.Type)
			return nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			report(path, "file %q holds a certificate (number %d) that cannot be read: %s", file, n+1, err.Error())
			return nil
		}
		pool.AddCert(cert)
	}
	if begun := bytes.Count(data, []byte("-----BEGIN ")); begun != n || n == 0 {
		report(path, "file %q holds %d whole PEM certificates of %d begun, want at least one and each whole", file, n, begun)
		return nil
	}
	return pool
}

// withoutPath returns the text of a file system error that does not name the file, which stands in the report already.
func withoutPath(err error) string {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}
