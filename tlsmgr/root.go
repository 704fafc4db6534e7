package tlsmgr

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	rootDir      = "internal"
	rootCertFile = "root.crt"
	rootKeyFile  = "root.key"
	rootYears    = 10

	// backdate covers clients whose clock is behind.
	backdate = time.Hour
)

// errNoRoot says that a store holds no internal root yet.
var errNoRoot = errors.New("no internal root")

// root is the internal certificate authority: for development, trusted by those who install it.
type root struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// RootPEM gives the certificate of the internal root of the store in dir (see StorageConfig.Dir; "" is the default one), in PEM. The root is
// made when the store has none.
func RootPEM(dir string) ([]byte, error) {
	dir, err := StorageConfig{File: dir}.Dir()
	if err != nil {
		return nil, err
	}
	r, _, err := openRoot(dir, time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw}), nil
}

// openRoot reads the root of the store in dir, or makes it. made tells which. A root that is there but cannot be used is an error and stays
// as it is: clients trust it, and only a person can know whether it may go.
func openRoot(dir string, now time.Time, random io.Reader) (r *root, made bool, err error) {
	r, err = readRoot(dir, now)
	if !errors.Is(err, errNoRoot) {
		return r, false, err
	}
	made, err = createRoot(dir, now, random)
	if err != nil {
		return nil, false, fmt.Errorf("making the internal root in %q: %w", dir, err)
	}
	r, err = readRoot(dir, now)
	if errors.Is(err, errNoRoot) {
		err = fmt.Errorf("directory %q holds neither %s nor %s and cannot be replaced: empty or remove it",
			filepath.Join(dir, rootDir), rootCertFile, rootKeyFile)
	}
	return r, made, err
}

// readRoot reads and checks the root of the store in dir; errNoRoot if there is none.
func readRoot(dir string, now time.Time) (*root, error) {
	certPath, keyPath := filepath.Join(dir, rootDir, rootCertFile), filepath.Join(dir, rootDir, rootKeyFile)
	certPEM, keyPEM, err := readRootFiles(filepath.Join(dir, rootDir))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("internal root %q with key %q: %w", certPath, keyPath, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch cert := pair.Leaf; {
	case !ok:
		return nil, fmt.Errorf("internal root: key %q cannot sign", keyPath)
	case !cert.IsCA || !cert.BasicConstraintsValid:
		return nil, fmt.Errorf("internal root %q: not a certificate authority", certPath)
	case now.After(cert.NotAfter):
		return nil, fmt.Errorf("internal root %q: expired on %s; remove the directory %q for a new one, which clients must trust again",
			certPath, cert.NotAfter.Format(time.DateOnly), filepath.Dir(certPath))
	}
	return &root{cert: pair.Leaf, key: key}, nil
}

// readRootFiles reads both files through one handle of their directory, so that both are seen from before or from after createRoot's rename.
func readRootFiles(path string) (certPEM, keyPEM []byte, err error) {
	dir, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errNoRoot
	}
	if err != nil {
		return nil, nil, fmt.Errorf("internal root: %w", err)
	}
	defer dir.Close()
	certPEM, certErr := dir.ReadFile(rootCertFile)
	keyPEM, keyErr := dir.ReadFile(rootKeyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return nil, nil, errNoRoot
	}
	for name, err := range map[string]error{rootCertFile: certErr, rootKeyFile: keyErr} {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("internal root: %q is missing; restore it, or remove the directory %q for a new root",
				filepath.Join(path, name), path)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("internal root: reading %q: %w", filepath.Join(path, name), err)
		}
	}
	return certPEM, keyPEM, nil
}

// createRoot makes the root of the store in dir. Both files are written into a new directory, which is then renamed: they appear together,
// and of several processes that start together one wins (made) and the others read what it made.
func createRoot(dir string, now time.Time, random io.Reader) (made bool, err error) {
	certPEM, keyPEM, err := newRoot(now, random)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	temp, err := os.MkdirTemp(dir, "."+rootDir+"-") // mode 0700
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(temp) // nothing, after the rename
	if err := writeFile(filepath.Join(temp, rootKeyFile), keyPEM, 0o600); err != nil {
		return false, err
	}
	if err := writeFile(filepath.Join(temp, rootCertFile), certPEM, 0o644); err != nil {
		return false, err
	}
	syncDir(temp)
	final := filepath.Join(dir, rootDir)
	_ = os.Remove(final) // os.Rename refuses an empty directory too; one that holds something stays
	if err := os.Rename(temp, final); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
		return false, err
	}
	syncDir(dir)
	return true, nil
}

// newRoot makes a key and a certificate that it signs itself.
func newRoot(now time.Time, random io.Reader) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial tells roots of several machines apart in a trust store.
		Subject: pkix.Name{
			Organization: []string{"Framegate"},
			CommonName:   "Framegate development root " + hex.EncodeToString(serial.Bytes()[:4]),
		},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.AddDate(rootYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// newSerial makes a positive serial number of 16 bytes (RFC 5280 §4.1.2.2 allows 20).
func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always of 16 bytes
	return new(big.Int).SetBytes(b[:]), nil
}

// writeFile writes a new file and waits until it is on disk.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

// syncDir puts the names in a directory on disk where the system can do that. After a crash without it the root is there whole or not at all.
func syncDir(path string) {
	if dir, err := os.Open(path); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}
