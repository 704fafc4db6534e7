package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	proxyproto "github.com/pires/go-proxyproto"

	"github.com/framegate/framegate/internal/wstest"
)

// proxied is an application behind the PROXY protocol: it answers with the address that the header gives, by HTTP and by WebSocket.
func proxied(t *testing.T) (addr string, checked <-chan string) {
	t.Helper()
	checks := make(chan string, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/check" {
			select {
			case checks <- r.RemoteAddr:
			default:
			}
		}
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, r.RemoteAddr)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		c.Write(r.Context(), websocket.MessageText, []byte(r.RemoteAddr))
		c.Read(r.Context())
		c.CloseNow()
	}))
	s.Listener = &proxyproto.Listener{Listener: s.Listener, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), checks
}

// TestRowsProxyProtocol tells servers who the client is, as trusted proxies say it, for sessions and plain requests; checks are the gateway's own.
func TestRowsProxyProtocol(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			addr, checked := proxied(t)
			p := startPoolWith(t, fmt.Sprintf(`servers: ["ws://%s"], proxy_protocol: %s, health: {http: {path: /check}, interval: 100ms}`, addr, version), ", trusted_proxies: [127.0.0.1]", "")
			if got := <-checked; !strings.HasPrefix(got, "127.0.0.1:") {
				t.Errorf("a check comes from %s, want the gateway itself", got)
			}
			for _, row := range []struct{ forwarded, want string }{
				{"203.0.113.9", "203.0.113.9:0"}, {"198.51.100.1, 203.0.113.9", "203.0.113.9:0"}, {"2001:db8::9", "[2001:db8::9]:0"}, {"203.0.113.9:4711", "203.0.113.9:0"}, {"", "127.0.0.1:"},
			} {
				fields := []string{}
				if row.forwarded != "" {
					fields = append(fields, "X-Forwarded-For: "+row.forwarded)
				}
				c := wstest.Dial(t, p.Addr)
				c.Upgrade(hs("/ws").Add(fields...))
				if got := string(c.Frame().Payload); !strings.HasPrefix(got, row.want) {
					t.Errorf("session behind %q: the server sees %s, want %s", row.forwarded, got, row.want)
				}
				c = wstest.Dial(t, p.Addr)
				request := wstest.Head("GET /page HTTP/1.1", append(fields, "Host: app.example.com", "Connection: close")...)
				c.Send(request)
				if got := string(c.Response().Body); !strings.HasPrefix(got, row.want) {
					t.Errorf("request behind %q: the server sees %s, want %s", row.forwarded, got, row.want)
				}
			}
		})
	}
}

// TestRowsClientCertificate reaches a server that wants to know who the gateway is, and tells 502 where it does not know it.
func TestRowsClientCertificate(t *testing.T) {
	t.Parallel()
	serverPair, ca := wstest.SelfSigned(t, "server.test")
	ours, _ := wstest.SelfSigned(t, "gateway.test")
	theirs, _ := wstest.SelfSigned(t, "other.test")
	known := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(ours.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	known.AddCert(leaf)
	up := wstest.NewTLSRecorder(t, &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert}, wstest.Echo)
	for name, row := range map[string]struct {
		pair tls.Certificate
		want int
	}{"known": {ours, 101}, "unknown": {theirs, 502}} {
		t.Run(name, func(t *testing.T) {
			cert, key := pairFiles(t, row.pair)
			p := startPool(t, fmt.Sprintf(`servers: ["wss://%s"], tls: {ca: %q, server_name: server.test, cert: %q, key: %q}`, up.Addr(), ca, cert, key))
			c := wstest.Dial(t, p.Addr)
			c.Send(hs("/ws").Bytes())
			if resp := c.Head(); resp.Status != row.want {
				t.Errorf("got %q, want %d", resp.Line, row.want)
			}
		})
	}
}

// pairFiles writes a certificate and its key.
func pairFiles(t *testing.T, pair tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "PRIVATE KEY", der)
}
