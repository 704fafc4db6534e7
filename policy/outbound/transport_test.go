package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/framegate/framegate/internal/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ask sends one request by a transport of its own.
func ask(t *testing.T, s Service) (string, error) {
	t.Helper()
	s.Timeout = 5 * time.Second
	transport := s.Transport()
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Status + " " + string(body), err
}

// Plain http goes to the addresses that it may reach, whatever name led there.
func TestPlainHTTPIsGuarded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("here")) }))
	defer server.Close()
	for _, u := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		for _, r := range []Reach{Loopback, Private, Anywhere} {
			if got, err := ask(t, Service{URL: mustParse(t, u), Plain: r}); got != "200 OK here" {
				t.Errorf("%s with %d: %q, error %v", u, r, got, err)
			}
		}
		if _, err := ask(t, Service{URL: mustParse(t, u), Plain: Nowhere}); err == nil || !strings.Contains(Explain(err), "plain http may not go to the address") {
			t.Errorf("%s: error %v", u, err)
		}
	}
	if _, err := ask(t, Service{URL: mustParse(t, "http://169.254.169.254/"), Plain: Private}); err == nil || !strings.Contains(err.Error(), "169.254.169.254") {
		t.Errorf("the metadata service: error %v", err)
	}
}

func TestHTTPSIsNotGuarded(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	if got, err := ask(t, Service{URL: mustParse(t, server.URL), Roots: roots}); got != "200 OK HTTP/1.1" {
		t.Errorf("got %q, error %v", got, err)
	}
}

// The environment of the process does not say where requests go.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	if (Service{URL: mustParse(t, "https://id.example.com")}).Transport().Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}

// Connections are kept only if asked for, and go when their user does.
func TestConnectionsAreKept(t *testing.T) {
	for conns, want := range map[int]int{0: 3, 1: 1, 4: 1} {
		opened := 0
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		closed := make(chan struct{}, 10)
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				opened++
			case http.StateClosed:
				closed <- struct{}{}
			}
		}
		server.Start()
		transport := Service{URL: mustParse(t, server.URL), Plain: Loopback, Timeout: time.Second, Connections: conns}.Transport()
		for range 3 {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		transport.CloseIdleConnections()
		for range want {
			<-closed
		}
		if server.Close(); opened != want {
			t.Errorf("%d connections with %d to be kept, want %d", opened, conns, want)
		}
	}
}

func TestExplain(t *testing.T) {
	long := errors.New(strings.Repeat("x", 1000))
	for _, test := range []struct {
		err  error
		want string
	}{
		{context.DeadlineExceeded, "timed out"},
		{fmt.Errorf("reading: %w", os.ErrDeadlineExceeded), "timed out"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, "dial tcp: connection refused"},
		{&net.DNSError{Err: "no such host", Name: "id\x1b[2J\n.example"}, "lookup id?[2J?.example: no such host"},
		{io.EOF, "EOF"},
		{io.ErrUnexpectedEOF, "unexpected EOF"},
		{tls.RecordHeaderError{Msg: "S3CRET"}, "the server does not speak TLS"},
		{&net.OpError{Op: "read", Err: long}, "read: " + strings.Repeat("x", maxExplained-len("read: ")) + "..."},
		{&net.OpError{Op: "read", Err: errors.New(strings.Repeat("x", maxExplained-7) + "ü")}, "read: " + strings.Repeat("x", maxExplained-7) + "..."},
		{errors.New(`malformed HTTP response "S3CRET"`), "no valid TLS or HTTP in the answer"},
	} {
		if got := Explain(test.err); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}

func TestRoots(t *testing.T) {
	_, first := wstest.SelfSigned(t, "a.example")
	_, second := wstest.SelfSigned(t, "b.example")
	a, b := mustRead(t, first), mustRead(t, second)
	bundle := writeFile(t, bytes.Join([][]byte{[]byte("# our authorities\n"), a, []byte("\n# old\n"), b}, nil))
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(append(a, b...))
	if got := mistakes(func(report Report) {
		if pool := Roots(bundle, "ca", report); pool == nil || !pool.Equal(want) {
			t.Error("the pool does not hold the bundle's two certificates")
		}
	}); len(got) > 0 {
		t.Errorf("mistakes %q", got)
	}
}

func TestRootsRefuses(t *testing.T) {
	_, file := wstest.SelfSigned(t, "a.example")
	whole := mustRead(t, file)
	block := func(kind string) string {
		return writeFile(t, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("S3CRET")}))
	}
	for what, test := range map[string]struct{ file, want string }{
		"none":        {filepath.Join(t.TempDir(), "none.pem"), "cannot be read: no such file or directory"},
		"empty":       {writeFile(t, nil), "holds 0 whole PEM certificates"},
		"not PEM":     {writeFile(t, []byte("hello")), "holds 0 whole PEM certificates"},
		"cut short":   {writeFile(t, append(bytes.Clone(whole), whole[:len(whole)/2]...)), "holds 1 whole PEM certificates of 2 begun"},
		"private key": {block("PRIVATE KEY"), `holds a PEM block of type "PRIVATE KEY"`},
		"not DER":     {block("CERTIFICATE"), "certificate (number 1) that cannot be read"},
		"directory":   {t.TempDir(), "is a directory"},
	} {
		got := mistakes(func(report Report) {
			if Roots(test.file, "ca", report) != nil {
				t.Errorf("%s: got roots", what)
			}
		})
		if len(got) != 1 || !strings.HasPrefix(got[0], "ca: file ") || !strings.Contains(got[0], test.want) || strings.Contains(got[0], "S3CRET") {
			t.Errorf("%s: mistakes %q, want one with %q", what, got, test.want)
		}
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
