package jwks

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/policy/jwt"
)

func TestLifetime(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                                10 * time.Minute,
		"max-age=300":                     5 * time.Minute,
		"MAX-AGE=300":                     5 * time.Minute,
		`max-age="300"`:                   5 * time.Minute,
		"public , max-age=300,must-x":     5 * time.Minute,
		"max-age=0":                       time.Minute,
		"max-age=59":                      time.Minute,
		"max-age=86400":                   24 * time.Hour,
		"max-age=31536000":                24 * time.Hour,
		"max-age=9223372036":              24 * time.Hour, // in nanoseconds the largest duration
		"max-age=99999999999999999999999": 24 * time.Hour,
		"max-age=-1":                      10 * time.Minute,
		"max-age=-99999999999999999999":   10 * time.Minute,
		"max-age":                         10 * time.Minute,
		"max-age=ten":                     10 * time.Minute,
		"s-maxage=300":                    10 * time.Minute, // of shared caches
		"no-cache":                        time.Minute,
		"max-age=300, no-store":           time.Minute,
		"private":                         10 * time.Minute,
	} {
		if got := lifetime(http.Header{"Cache-Control": {value}}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if got := lifetime(http.Header{"Cache-Control": {"private", "max-age=120"}}); got != 2*time.Minute {
		t.Errorf("in a second field: %v", got)
	}
	if got := lifetime(nil); got != 10*time.Minute {
		t.Errorf("without the field: %v", got)
	}
}

// publisher is a real issuer, of https, and a configuration that trusts it.
func publisher(t *testing.T, h http.HandlerFunc) (*httptest.Server, Config) {
	t.Helper()
	cert, file := wstest.SelfSigned(t, "localhost")
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, Config{URL: "https://localhost:" + server.URL[strings.LastIndexByte(server.URL, ':')+1:] + "/keys?p=1", CAFile: file}
}

func TestFetch(t *testing.T) {
	var request *http.Request
	_, c := publisher(t, func(w http.ResponseWriter, r *http.Request) {
		request = r
		w.Header().Set("Cache-Control", "max-age=120")
		w.Write(document("a"))
	})
	a, err := get(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	set, skipped, result, err := a.parse()
	if err != nil || !set.Has("a") || len(skipped) != 0 || result != resultOK || lifetime(a.header) != 2*time.Minute {
		t.Errorf("got %v, skipped %v, %s, error %v, %v", set, skipped, result, err, a.header)
	}
	if request.Method != "GET" || request.RequestURI != "/keys?p=1" || len(request.Header) != 3 || request.Header.Get("Connection") != "close" {
		t.Errorf("asked with %s %s %v", request.Method, request.RequestURI, request.Header)
	}
}

// A document of 256 KiB is read, a byte more is not, and what never ends is not waited for.
func TestFetchOfLargeDocuments(t *testing.T) {
	size := 0
	_, c := publisher(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(document("a"))
		io.Copy(w, io.LimitReader(spaces{}, int64(size-len(document("a")))))
	})
	for size = range map[int]bool{jwt.MaxKeySet: true, jwt.MaxKeySet + 1: false, 1 << 40: false} {
		a, err := get(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		_, _, result, err := a.parse()
		if fits := size <= jwt.MaxKeySet; fits != (err == nil) || fits != (result == resultOK) || len(a.body) > jwt.MaxKeySet+1 {
			t.Errorf("%d bytes: %s, error %v, %d bytes read", size, result, err, len(a.body))
		}
	}
}

// spaces is an endless document.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil }

// Where a redirect leads is for the issuer's users to say, in the configuration.
func TestFetchFollowsNoRedirect(t *testing.T) {
	var elsewhere atomic.Int32
	other, _ := publisher(t, func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		w.Write(document("evil"))
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, c := publisher(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		a, err := get(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, result, err := a.parse(); result != resultStatus || !strings.Contains(err.Error(), fmt.Sprint("status ", status)) {
			t.Errorf("%d: %s, error %v", status, result, err)
		}
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestFetchErrors(t *testing.T) {
	_, good := publisher(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(document("a")) })
	_, stranger := wstest.SelfSigned(t, "localhost")
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"another authority":  {Config{URL: good.URL, CAFile: stranger}, "certificate"},
		"system's authority": {Config{URL: good.URL}, "certificate"},
		"another name":       {Config{URL: strings.Replace(good.URL, "localhost", "127.0.0.1", 1), CAFile: good.CAFile}, "certificate"},
		"nobody there":       {Config{URL: "https://127.0.0.1:" + unusedPort(t), CAFile: good.CAFile}, "connection refused"},
		"no CA file":         {Config{URL: good.URL, CAFile: "/nowhere.pem"}, "jwks_ca: file \"/nowhere.pem\" cannot be read"},
		"plain http":         {Config{URL: answering(t, "HTTP/1.1 200 OK\r\n\r\n"), CAFile: good.CAFile}, "want https"},
		"no TLS":             {Config{URL: secure(answering(t, "HTTP/1.1 200 OK\r\n\r\n"))}, "does not speak TLS"},
		"no HTTP":            {Config{URL: answering(t, "S3CRET\r\n\r\n"), DangerouslyAllowHTTP: true}, "no valid TLS or HTTP in the answer"},
		"huge head": {
			Config{URL: answering(t, "HTTP/1.1 200 OK\r\nX: S3CRET"+strings.Repeat("x", 20<<10)+"\r\n\r\n"), DangerouslyAllowHTTP: true},
			"no valid TLS or HTTP in the answer",
		},
		"cut short": {
			Config{URL: answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), DangerouslyAllowHTTP: true}, "unexpected EOF",
		},
		"endless interim answers": {
			Config{URL: answering(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n", 10_000)), DangerouslyAllowHTTP: true},
			"no valid TLS or HTTP in the answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t.Context(), test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// The time-out is for the whole document, whatever of it has come.
func TestFetchOfASlowDocument(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	_, c := publisher(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		defer close(gone)
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
		}
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		cancel(context.DeadlineExceeded)
	}()
	if _, err := get(ctx, c); err == nil || err.Error() != "timed out" {
		t.Errorf("error %v", err)
	}
	<-gone // the connection ended with the fetch
}

// A source over the real path.
func TestCacheOverTLS(t *testing.T) {
	var current atomic.Value
	current.Store("a")
	_, config := publisher(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(document(current.Load().(string))) })
	c := New(nil, prometheus.NewRegistry())
	t.Cleanup(c.Close)
	s, err := c.Source(config)
	if err != nil {
		t.Fatal(err)
	}
	c.Start([]*Source{s})
	for _, kid := range []string{"a", "b"} {
		current.Store(kid)
		if got, _ := lookup(s, kid); got != "found" {
			t.Errorf("%s is %s", kid, got)
		}
	}
}

// answering is the URL of a server that sends a text to whoever connects.
func answering(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/"
}

func secure(url string) string { return strings.Replace(url, "http:", "https:", 1) }

func unusedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
