package upstream

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
)

// serveTLS accepts connections, finishes their handshakes with conf, and tells for each one what was agreed.
func serveTLS(t *testing.T, conf *tls.Config) (address string, states <-chan tls.ConnectionState) {
	t.Helper()
	l := listen(t, "tcp")
	out := make(chan tls.ConnectionState, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secured := tls.Server(conn, conf)
			if secured.Handshake() == nil {
				out <- secured.ConnectionState()
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String(), out
}

// dialOnce dials the only server of c and closes the connection.
func dialOnce(t *testing.T, c Config) error {
	t.Helper()
	conn, err := mustCompile(t, c).Servers()[0].Dial(t.Context())
	if err == nil {
		conn.Close()
	}
	return err
}

func TestDialTLSVerifies(t *testing.T) {
	trusted, other := newAuthority(t), newAuthority(t)
	tests := []struct {
		what  string
		certs []string // what the server's certificate is for
		tls   *TLSConfig
		sni   string
		want  string // part of the error, empty for success
	}{
		{"host of the URL", []string{"127.0.0.1"}, &TLSConfig{CA: trusted.file}, "", ""},
		{"server_name", []string{"app.internal"}, &TLSConfig{CA: trusted.file, ServerName: "App.Internal."}, "app.internal", ""},
		{"server_name is an IP", []string{"10.1.2.3", "::1"}, &TLSConfig{CA: trusted.file, ServerName: "::1"}, "", ""},
		{"wrong host", []string{"app.internal"}, &TLSConfig{CA: trusted.file}, "", "127.0.0.1"},
		{"wrong server_name", []string{"127.0.0.1"}, &TLSConfig{CA: trusted.file, ServerName: "app.internal"}, "app.internal", "app.internal"},
		{"wrong authority", []string{"127.0.0.1"}, &TLSConfig{CA: other.file}, "", "unknown authority"},
		{"the system's authorities", []string{"127.0.0.1"}, nil, "", "x509"},
	}
	for _, tt := range tests {
		address, states := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{trusted.issue(t, tt.certs...)}, NextProtos: []string{"h2", "http/1.1"}})
		err := dialOnce(t, Config{Servers: urls("wss://" + address), TLS: tt.tls})
		if tt.want != "" {
			var dialErr *DialError
			if !errors.As(err, &dialErr) || dialErr.Phase != PhaseTLS || dialErr.Server != address || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got error %v, want a DialError of phase tls about %s with %q", tt.what, err, address, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if state := <-states; state.ServerName != tt.sni || state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: server saw SNI %q and agreed on %q, want %q and http/1.1", tt.what, state.ServerName, state.NegotiatedProtocol, tt.sni)
		}
	}
}

func TestDialTLSParameters(t *testing.T) {
	ca := newAuthority(t)
	cert := []tls.Certificate{ca.issue(t, "127.0.0.1")}
	tests := []struct {
		what   string
		server *tls.Config
		want   string
	}{
		{"TLS 1.2", &tls.Config{Certificates: cert, MaxVersion: tls.VersionTLS12}, ""},
		{"no ALPN", &tls.Config{Certificates: cert}, ""},
		{"TLS 1.1", &tls.Config{Certificates: cert, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
		{"no common protocol", &tls.Config{Certificates: cert, NextProtos: []string{"mqtt"}}, "no application protocol"},
	}
	for _, tt := range tests {
		address, _ := serveTLS(t, tt.server)
		err := dialOnce(t, Config{Servers: urls("wss://" + address), TLS: &TLSConfig{CA: ca.file}})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.what, err, tt.want)
		}
	}
}

// A server that answers in plaintext to our ClientHello is not a connection (S-20).
func TestDialTLSMeetsPlaintext(t *testing.T) {
	l := listen(t, "tcp")
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
		conn.Read(make([]byte, 1)) // leave the ClientHello to the client's error, not to a reset
		conn.Close()
	}()
	err := dialOnce(t, Config{Servers: urls("wss://" + l.Addr().String())})
	if err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") {
		t.Errorf("got error %v", err)
	}
	<-done
}

func TestTLSConfigOfServers(t *testing.T) {
	p := mustCompile(t, Config{Servers: urls("wss://app.internal.", "wss://[fd00::1]:1", "ws://plain")})
	if got := p.Servers()[0].tls.ServerName; got != "app.internal" {
		t.Errorf("got server name %q", got)
	}
	if got := p.Servers()[1].tls.ServerName; got != "fd00::1" {
		t.Errorf("got server name %q", got)
	}
	if p.Servers()[2].tls != nil {
		t.Error("a ws server has a TLS configuration")
	}
	for _, s := range p.Servers()[:2] {
		if s.tls.MinVersion != tls.VersionTLS12 || s.tls.InsecureSkipVerify || s.tls.RootCAs != nil || !s.tls.DynamicRecordSizingDisabled {
			t.Errorf("%s: unexpected TLS configuration %+v", s, s.tls)
		}
	}
}
