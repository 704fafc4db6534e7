package wstest

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

// tlsRecorder starts a recorder that reports the server names that it was asked for.
func tlsRecorder(t *testing.T) (rec *Recorder, names chan string) {
	t.Helper()
	cert, _ := SelfSigned(t, "app.example.com")
	names = make(chan string, 16)
	return NewTLSRecorder(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- h.ServerName
		return &cert, nil
	}}, Echo), names
}

func insecure(version uint16) *tls.Config {
	return &tls.Config{ServerName: "app.example.com", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

func TestSetSNIChangesNothingElse(t *testing.T) {
	rec, names := tlsRecorder(t)
	hello := ClientHello(t, insecure(tls.VersionTLS13))
	for _, name := range []string{"x", "app.example.com", "other.example.com", strings.Repeat("a.", 60) + "b"} {
		c := Dial(t, rec.Addr())
		c.Send(SetSNI(t, hello, name))
		select {
		case got := <-names:
			if got != name {
				t.Errorf("server name %q, want %q", got, name)
			}
		case <-time.After(Patience):
			t.Fatalf("no ClientHello with %q arrived", name)
		}
	}
	c := Dial(t, rec.Addr())
	c.Send(SetSNI(t, hello, "192.0.2.1."), []byte("and nothing that could follow"))
	if alert := c.Alert(); alert < 0 {
		t.Errorf("no alert for a trailing dot and junk")
	}
}

func TestSplitHelloIsTheSameHandshake(t *testing.T) {
	rec, _ := tlsRecorder(t)
	c := Dial(t, rec.Addr())
	conn := tls.Client(SplitHello(c.conn), insecure(tls.VersionTLS13))
	split := NewClient(t, conn)
	split.Upgrade(HS0("/ws"))
	split.Send(ClientFrame(0x81, []byte("a")))
	split.ExpectFrame(0x81, []byte("a"))
}

func TestRawTLSRecordsAreRead(t *testing.T) {
	rec, _ := tlsRecorder(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		path := "/" + strings.ReplaceAll(tls.VersionName(version), " ", "")
		config := insecure(version)
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		r := DialRawTLS(t, rec.Addr(), config)
		r.Send(r.Seal(23, HS0(path).Bytes()))
		u := rec.Wait(path)
		if version == tls.VersionTLS13 {
			r.Send(r.Seal(22, Hex("18 000001 00")))
			r.NextSecret(t)
		}
		r.Send(r.Seal(23, ClientFrame(0x81, []byte("sealed"))))
		if f := u.WaitFrames(1)[0]; string(f.Payload) != "sealed" {
			t.Errorf("%s: got %v", tls.VersionName(version), f)
		}
	}
}
