package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a certificate and its key into a directory, with a time of change of their own.
func writePair(t *testing.T, dir string, pair tls.Certificate, changed time.Time) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A server that asks for it gets the certificate of the files as they are at the time of the handshake; while they do not match, the one before.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	l := listen(t, "tcp")
	seen := make(chan string, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert})
			name := ""
			if err := server.Handshake(); err == nil {
				name = server.ConnectionState().PeerCertificates[0].DNSNames[0]
			}
			seen <- name
			conn.Close()
		}
	}()
	dir, start := t.TempDir(), time.Now()
	certFile, keyFile := writePair(t, dir, ca.issue(t, "first"), start)
	p := mustCompile(t, Config{Servers: urls("wss://" + l.Addr().String()), TLS: &TLSConfig{CA: ca.file, Cert: certFile, Key: keyFile}})
	expectShown := func(what, want string) {
		t.Helper()
		conn, err := p.Servers()[0].Dial(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := <-seen; got != want {
			t.Errorf("%s: the server saw %q, want %q", what, got, want)
		}
		conn.Close()
	}
	expectShown("at first", "first")
	writePair(t, dir, ca.issue(t, "second"), start.Add(time.Second))
	expectShown("changed", "second")
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectShown("half written", "second")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	expectShown("gone", "second")
	writePair(t, dir, ca.issue(t, "third"), start.Add(2*time.Second))
	expectShown("whole again", "third")
}

func TestClientCertificateRefuses(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	certFile, _ := writePair(t, t.TempDir(), ca.issue(t, "a"), time.Now())
	_, otherKey := writePair(t, t.TempDir(), ca.issue(t, "a"), time.Now())
	var r reports
	if Compile("app", Config{Servers: urls("wss://a"), TLS: &TLSConfig{Cert: certFile, Key: otherKey}}, r.add) != nil {
		t.Error("a key of another certificate was taken")
	}
	r.expect(t, "other key", "tls.cert: ", "and the key do not make a certificate: tls: private key does not match public key")
}
