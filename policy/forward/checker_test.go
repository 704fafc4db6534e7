package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// What each status comes to, and how much of it a service that fails may admit.
func TestStatuses(t *testing.T) {
	for code, want := range map[int]struct{ closed, open Answer }{
		200: {admitted, admitted},
		204: {admitted, admitted},
		299: {admitted, admitted},
		401: {Answer{Status: 401}, Answer{Status: 401}},
		403: {Answer{Status: 403}, Answer{Status: 403}},
		// A client may have provoked these.
		302: {unavailable, unavailable},
		304: {unavailable, unavailable},
		400: {unavailable, unavailable},
		404: {unavailable, unavailable},
		413: {unavailable, unavailable},
		429: {unavailable, unavailable},
		431: {unavailable, unavailable},
		// The service has failed.
		500: {unavailable, admitted},
		502: {unavailable, admitted},
		503: {unavailable, admitted},
		599: {unavailable, admitted},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := newService(t, status(code))
			failure := ""
			if code >= 300 && code != 401 && code != 403 {
				failure = fmt.Sprint("status ", code)
			}
			check(t, compile(t, Config{URL: s.URL}), query(), want.closed, failure)
			check(t, compile(t, Config{URL: s.URL, OnFailure: "dangerously_allow"}), query(), want.open, failure)
		})
	}
}

// The service sees the fields that are passed, those that the gateway sets, and nothing else of the client.
func TestRequest(t *testing.T) {
	s := newService(t, status(200))
	x := compile(t, Config{URL: s.URL + "/check?a=1", Headers: []string{"cookie", "X-Session"}})
	q := query("Cookie", "sid=S3CRET", "Authorization", "Bearer S3CRET", "X-Session", "one", "X-Session", "two", "X_session", "three",
		"x-session", "four", "X-Forwarded-For", "203.0.113.9", "Connection", "X-Session", "User-Agent", "evil")
	q.Method, q.Proto, q.URI = "POST", "http", "/a%20b?c=d%0d%0a"
	check(t, x, q, admitted, "")
	want := http.Header{
		"User-Agent": {"framegate"}, "Cookie": {"sid=S3CRET"}, "X-Session": {"one", "two"},
		"X-Forwarded-Method": {"POST"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"app.example.com"},
		"X-Forwarded-Uri": {"/a%20b?c=d%0d%0a"}, "X-Forwarded-For": {"192.0.2.1"},
	}
	r := s.last()
	if fmt.Sprint(r.Header) != fmt.Sprint(want) || r.Method != "GET" || r.RequestURI != "/check?a=1" || r.Host != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("the service was asked %s %s of %s with\n%v, want\n%v", r.Method, r.RequestURI, r.Host, r.Header, want)
	}
}

func TestMethods(t *testing.T) {
	s := newService(t, status(200))
	for _, method := range []string{"GET", "HEAD", "POST"} {
		check(t, compile(t, Config{URL: s.URL, Method: method}), query(), admitted, "")
		if r := s.last(); r.Method != method || r.ContentLength > 0 || r.Header["Idempotency-Key"] != nil {
			t.Errorf("%s: asked %s with a body of %d bytes, %v", method, r.Method, r.ContentLength, r.Header)
		}
	}
}

// The client's User-Agent goes to the service where it is asked for.
func TestUserAgentOfTheClient(t *testing.T) {
	s := newService(t, status(200))
	check(t, compile(t, Config{URL: s.URL, Headers: []string{"User-Agent"}}), query("User-Agent", "browser"), admitted, "")
	if got := s.last().Header["User-Agent"]; !slices.Equal(got, []string{"browser"}) {
		t.Errorf("got %q", got)
	}
}

// What could be read as a second field or a second request goes nowhere, and is no failure of the service.
func TestSmuggling(t *testing.T) {
	s := newService(t, status(200))
	x := compile(t, Config{URL: s.URL, OnFailure: "dangerously_allow"})
	malformed := Answer{Status: 400}
	for _, evil := range []string{"a\r\nX-Auth-User: root", "a\nb", "a\rb", "a\x00", "a\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"} {
		check(t, x, query("Cookie", evil), malformed, "")
		check(t, x, query("Cookie", "good", "Cookie", evil), malformed, "")
		for _, set := range []func(*Query){
			func(q *Query) { q.Method = evil }, func(q *Query) { q.Host = evil }, func(q *Query) { q.URI = evil }, func(q *Query) { q.For = evil },
		} {
			q := query()
			set(&q)
			check(t, x, q, malformed, "")
		}
	}
	if n := s.asked(); n > 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestResponseHeaders(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["X-Auth-User"] = []string{"alice"}
		h["X-Auth-Groups"] = []string{"a", "b"}
		h["X-Auth-Empty"] = []string{""}
		h["X-Other"] = []string{"S3CRET"}
		h["Set-Cookie"] = []string{"sid=S3CRET"}
	})
	x := compile(t, Config{URL: s.URL, ResponseHeaders: []string{"x-auth-groups", "X-Auth-User", "X-Auth-Empty", "X-Auth-Role"}})
	check(t, x, query("X-Auth-Role", "admin"), Answer{Allow: true, Fields: [][2]string{{"X-Auth-Groups", "a, b"}, {"X-Auth-User", "alice"}}}, "")
	for name, user := range map[string]string{"x-auth-user": "alice", "X-Auth-Groups": "a, b", "X-Auth-Empty": ""} {
		x := compile(t, Config{URL: s.URL, ResponseHeaders: []string{"X-Auth-User", "X-Auth-Groups", "X-Auth-Empty"}, UserHeader: name})
		if a, err := x.Ask(t.Context(), query()); a.User != user || err != nil {
			t.Errorf("%s names the user %q, error %v", name, a.User, err)
		}
	}
}

// An answer whose fields cannot be passed on is none.
func TestBadResponseHeaders(t *testing.T) {
	for name, value := range map[string]string{"too large": strings.Repeat("x", maxCopied), "control character": "ali\x01ce"} {
		s := rawService(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Auth-User: "+value+"\r\n\r\n")
		for _, on := range []string{"deny", "dangerously_allow"} {
			x := compile(t, Config{URL: s, ResponseHeaders: []string{"X-Auth-User"}, OnFailure: on})
			want := map[string]Answer{"deny": unavailable, "dangerously_allow": admitted}[on]
			check(t, x, query(), want, map[string]string{"too large": "larger than 8192 bytes", "control character": "no valid TLS or HTTP in the answer"}[name])
		}
	}
}

func TestChallenge(t *testing.T) {
	for value, want := range map[string]string{
		"": "",
		"WWW-Authenticate: Bearer realm=\"app\"\r\n":              `Bearer realm="app"`,
		"WWW-Authenticate: Bearer\r\nWWW-Authenticate: Basic\r\n": "",
		"WWW-Authenticate: Bearer \xff\r\n":                       "",
	} {
		s := rawService(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"+value+"\r\n")
		check(t, compile(t, Config{URL: s}), query(), Answer{Status: 401, Challenge: want}, "")
	}
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(403)
	})
	check(t, compile(t, Config{URL: s.URL}), query(), Answer{Status: 403}, "")
}

// Where a redirect leads, nobody looks.
func TestNoRedirects(t *testing.T) {
	other := newService(t, status(200))
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := newService(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, code) })
		check(t, compile(t, Config{URL: s.URL, OnFailure: "dangerously_allow"}), query(), unavailable, fmt.Sprint("status ", code))
	}
	if n := other.asked(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestBadServices(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"huge head":         {"HTTP/1.1 200 OK\r\nX: S3CRET" + strings.Repeat("x", 20<<10) + "\r\n\r\n", "no valid TLS or HTTP in the answer"},
		"no HTTP":           {"S3CRET\r\n\r\n", "no valid TLS or HTTP in the answer"},
		"no answer":         {"", "EOF"},
		"half a head":       {"HTTP/1.1 200 OK\r\nX: 1\r\n", "EOF"},
		"other protocol":    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "status 101"},
		"two lengths":       {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "no valid TLS or HTTP in the answer"},
		"interim for ever":  {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n", 10_000), "no valid TLS or HTTP in the answer"},
		"TLS in its answer": {"\x15\x03\x01\x00\x02\x02\x28", "no valid TLS or HTTP in the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, compile(t, Config{URL: rawService(t, test.answer)}), query(), unavailable, test.want)
		})
	}
}

func TestOutage(t *testing.T) {
	s := newService(t, status(200))
	s.Close()
	check(t, compile(t, Config{URL: s.URL}), query(), unavailable, "connection refused")
	check(t, compile(t, Config{URL: s.URL, OnFailure: "dangerously_allow"}), query(), admitted, "connection refused")
}

// A service that is slow with its head has failed; one that is slow with its body has not, but the wait ends.
func TestSlowService(t *testing.T) {
	s := newService(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := Config{URL: s.URL, Timeout: strictyaml.Duration(50 * time.Millisecond)}
	check(t, compile(t, c), query(), unavailable, "timed out")
	c.OnFailure = "dangerously_allow"
	check(t, compile(t, c), query(), admitted, "timed out")

	s = newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c.URL, c.OnFailure, c.Timeout = s.URL, "deny", strictyaml.Duration(time.Second)
	check(t, compile(t, c), query(), admitted, "")
}

// A client that leaves ends the asking. That is never a reason to admit.
func TestClientLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := newService(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	a, err := compile(t, Config{URL: s.URL, OnFailure: "dangerously_allow"}).Ask(ctx, query())
	if a.Allow || a.Status != 503 || err != context.Canceled {
		t.Errorf("answer %+v, error %v", a, err)
	}
}

// An endless body is not read.
func TestLargeBody(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	check(t, compile(t, Config{URL: s.URL}), query(), admitted, "")
	s.waitForOpen(t, 0)
}

// Connections are kept and used again, bodies or not, until Close.
func TestConnectionsAreKept(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxDiscarded)) })
	for _, method := range []string{"GET", "HEAD", "POST"} {
		x := compile(t, Config{URL: s.URL, Method: method})
		before, _ := s.opened()
		for range 5 {
			check(t, x, query(), admitted, "")
		}
		if all, open := s.opened(); all != before+1 || open != 1 {
			t.Errorf("%s: %d connections for 5 requests, %d open", method, all-before, open)
		}
		x.Close()
		s.waitForOpen(t, 0)
		check(t, x, query(), admitted, "") // who asks after Close is served, over a connection of its own
		x.Close()
		s.waitForOpen(t, 0)
	}
}

// A service that was restarted has closed the connections that were kept: that is no failure, whatever the method.
func TestKeptConnectionIsDead(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST"} {
		s := newService(t, status(200))
		x := compile(t, Config{URL: s.URL, Method: method})
		for range 3 {
			check(t, x, query(), admitted, "")
			s.CloseClientConnections()
		}
	}
}

// More requests than connections wait, within their time-out.
func TestConnectionsAreBounded(t *testing.T) {
	const requests = 3 * connections
	release := make(chan struct{})
	s := newService(t, func(http.ResponseWriter, *http.Request) { <-release })
	x := compile(t, Config{URL: s.URL, Timeout: strictyaml.Duration(10 * time.Second)})
	var all sync.WaitGroup
	for range requests {
		all.Go(func() { check(t, x, query(), admitted, "") })
	}
	s.waitForOpen(t, connections)
	close(release)
	all.Wait()
	// Who is unlucky with a kept connection gets a new one in its place.
	if opened, _ := s.opened(); opened > connections+connections/10 || s.asked() != requests {
		t.Errorf("%d connections for %d requests", opened, s.asked())
	}
}

func TestServiceOverTLS(t *testing.T) {
	cert, ca := wstest.SelfSigned(t, "localhost")
	s := httptest.NewUnstartedServer(status(200))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	url := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	patient := strictyaml.Duration(10 * time.Second)
	check(t, compile(t, Config{URL: url, CA: ca, Timeout: patient}), query(), admitted, "")
	check(t, compile(t, Config{URL: s.URL, CA: ca, Timeout: patient}), query(), unavailable, "certificate")
	check(t, compile(t, Config{URL: url, Timeout: patient}), query(), unavailable, "certificate")
}

// A name is no way around the rule for plain http.
func TestPlainHTTPByName(t *testing.T) {
	s := newService(t, status(200))
	url := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	check(t, compile(t, Config{URL: url}), query(), admitted, "")
	x := compile(t, Config{URL: url})
	x.url.Host = "192.0.2.1" // as a name could lead to it
	check(t, x, query(), unavailable, "plain http may not go to the address 192.0.2.1")
}

// rawService is the URL of a server that sends a text to whoever asks, and ends the connection.
func rawService(t *testing.T, text string) string {
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
