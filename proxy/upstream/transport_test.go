package upstream

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serveHTTP runs an HTTP server that answers with its name and what it saw of the request.
func serveHTTP(t *testing.T, l net.Listener, conf *tls.Config, name string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(r.URL.Query().Get("head")); err == nil {
			w.Header().Set("X-Long", strings.Repeat("a", n))
		}
		fmt.Fprintf(w, "%s %s host=%s accept-encoding=%q", name, r.Proto, r.Host, r.Header.Get("Accept-Encoding"))
	}))
	s.Listener.Close()
	s.Listener = l
	if s.TLS = conf; conf != nil {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
}

// get sends a request over the pool's transport to one server.
func get(t *testing.T, p *Pool, s *Server, query string) (string, error) {
	t.Helper()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(OnConn(t.Context(), conn), http.MethodGet, "http://upstream.invalid/x"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "chat.example.com"
	resp, err := p.Transport().RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// threeServers is a pool of a plain, a TLS and a Unix server.
func threeServers(t *testing.T) *Pool {
	t.Helper()
	ca := newAuthority(t)
	plain, secure, socket := listen(t, "tcp"), listen(t, "tcp"), listen(t, "unix")
	serveHTTP(t, plain, nil, "plain")
	serveHTTP(t, secure, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}}, "secure")
	serveHTTP(t, socket, nil, "socket")
	return mustCompile(t, Config{
		Servers: urls("ws://"+plain.Addr().String(), "wss://"+secure.Addr().String(), "unix:"+socket.Addr().String()),
		TLS:     &TLSConfig{CA: ca.file},
	})
}

func TestTransportReachesEachServer(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	p := threeServers(t)
	for i, name := range []string{"plain", "secure", "socket"} {
		got, err := get(t, p, p.Servers()[i], "")
		if want := name + ` HTTP/1.1 host=chat.example.com accept-encoding=""`; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

// The transport goes nowhere by itself, whatever the URL says.
func TestTransportDialsNothing(t *testing.T) {
	p := mustCompile(t, Config{Servers: urls("ws://a.internal:9000")})
	for _, host := range []string{"a.internal:9000", "169.254.169.254"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/", nil)
		if _, err := p.Transport().RoundTrip(r); err == nil || !strings.Contains(err.Error(), "without a connection") {
			t.Errorf("%s: got error %v", host, err)
		}
	}
}

func TestTransportLimitsResponseHead(t *testing.T) {
	p := threeServers(t)
	if _, err := get(t, p, p.Servers()[0], "?head=60000"); err != nil {
		t.Errorf("60,000 bytes of header: %v", err)
	}
	if _, err := get(t, p, p.Servers()[0], "?head=65536"); err == nil {
		t.Error("more than 64 KiB of header: accepted")
	}
}

func TestTransportSettings(t *testing.T) {
	p := mustCompile(t, Config{Servers: urls("ws://a.internal")})
	tr := p.Transport()
	if tr != p.Transport() {
		t.Error("each call gives a transport of its own, want one")
	}
	if tr.Proxy != nil || !tr.DisableCompression || tr.ResponseHeaderTimeout != time.Minute || tr.MaxResponseHeaderBytes != 64<<10 ||
		tr.MaxIdleConnsPerHost >= 0 || tr.Protocols.HTTP2() || tr.Protocols.UnencryptedHTTP2() {
		t.Errorf("unexpected settings: %+v", tr)
	}
}
