package tlsmgr

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// certSpec describes a self-signed certificate for a test. Serial tells certificates of the same names apart.
type certSpec struct {
	names  []string
	cn     string
	serial int64
	rsa    bool
	from   time.Time // default: an hour ago
	end    time.Time // default: in an hour
}

func (c certSpec) pem(t testing.TB) (certPEM, keyPEM []byte) {
	t.Helper()
	var key crypto.Signer
	var err error
	if c.rsa {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	check(t, err)
	now := time.Now()
	if c.from.IsZero() {
		c.from = now.Add(-time.Hour)
	}
	if c.end.IsZero() {
		c.end = now.Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(c.serial + 1),
		Subject:      pkix.Name{CommonName: c.cn},
		DNSNames:     c.names,
		NotBefore:    c.from,
		NotAfter:     c.end,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "test"}}, key.Public(), key)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// write puts the pair into dir as tls.crt and tls.key, each replaced by a rename, and names them.
func (c certSpec) write(t testing.TB, dir string) FileConfig {
	t.Helper()
	certPEM, keyPEM := c.pem(t)
	files := FileConfig{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	check(t, os.MkdirAll(dir, 0o755))
	replaceFile(t, files.Cert, certPEM)
	replaceFile(t, files.Key, keyPEM)
	return files
}

func replaceFile(t testing.TB, path string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(path+".new", data, 0o600))
	check(t, os.Rename(path+".new", path))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails unless err holds all parts.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}

// logBook keeps log lines and lets tests wait for one.
type logBook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func newLog() (*logBook, *slog.Logger) {
	b := &logBook{lines: make(chan string, 10000)}
	return b, slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines <- string(line)
	return b.text.Write(line)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// count tells how many lines hold part.
func (b *logBook) count(part string) int { return strings.Count(b.String(), part) }

// wait returns the next line that holds all parts.
func (b *logBook) wait(t testing.TB, parts ...string) string {
	t.Helper()
	limit := time.After(20 * time.Second)
next:
	for {
		select {
		case line := <-b.lines:
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue next
				}
			}
			return line
		case <-limit:
			t.Fatalf("no log line with %q in:\n%s", parts, b)
		}
	}
}

// startManager makes a manager with a log and closes it when the test ends.
func startManager(t testing.TB, cfg Config) (*Manager, *logBook) {
	t.Helper()
	book, log := newLog()
	m, err := New(cfg, nil, log)
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	return m, book
}

// filesListener makes the TLS configuration of a listener with the given pairs.
func filesListener(t testing.TB, m *Manager, hosts []string, files ...FileConfig) *tls.Config {
	t.Helper()
	config, err := m.Listener(ListenerConfig{Certificates: "files", Files: files}, hosts)
	check(t, err)
	return config
}

// insecure is a client that takes any certificate.
func insecure(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

// tcpPair is two ends of a connection that buffers, which net.Pipe does not: both sides of a TLS 1.3 handshake may write at a time.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	check(t, err)
	far, err = listener.Accept()
	check(t, err)
	limit := time.Now().Add(20 * time.Second)
	check(t, errors.Join(near.SetDeadline(limit), far.SetDeadline(limit)))
	return near, far
}

// shake runs one handshake, and a byte from the server after it, behind which the client has seen the session tickets.
func shake(t testing.TB, server, client *tls.Config) (clientSide, serverSide tls.ConnectionState, err error) {
	t.Helper()
	near, far := tcpPair(t)
	defer near.Close()
	var done sync.WaitGroup
	done.Go(func() {
		defer far.Close()
		conn := tls.Server(far, server)
		if conn.Handshake() == nil {
			serverSide = conn.ConnectionState()
			conn.Write([]byte("x"))
		}
	})
	conn := tls.Client(near, client)
	err = conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	near.Close()
	done.Wait()
	return conn.ConnectionState(), serverSide, err
}

// served is the serial of the certificate that a client of that name gets, 0 if it gets none.
func served(t testing.TB, server *tls.Config, name string) int64 {
	t.Helper()
	state, _, err := shake(t, server, insecure(name))
	if err != nil {
		if !strings.Contains(err.Error(), "unrecognized name") {
			t.Fatalf("handshake with %q: %v, want unrecognized name", name, err)
		}
		return 0
	}
	return state.PeerCertificates[0].SerialNumber.Int64() - 1
}

// clientHello is the first record of a TLS client for that name.
func clientHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	var done sync.WaitGroup
	done.Go(func() {
		defer near.Close()
		_ = tls.Client(near, config).Handshake()
	})
	record := make([]byte, 16<<10)
	n, err := far.Read(record) // a pipe's Read takes one Write, here the whole record
	check(t, err)
	far.Close()
	done.Wait()
	return record[:n]
}

// answer is what the server sends to the raw bytes of a client, up to its end.
func answer(t testing.TB, server *tls.Config, hello []byte) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() {
		defer far.Close()
		_ = tls.Server(far, server).Handshake()
	})
	done.Go(func() { _, _ = near.Write(hello) })
	reply := make([]byte, 64)
	n, err := near.Read(reply)
	check(t, err)
	near.Close()
	return reply[:n]
}
