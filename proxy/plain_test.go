package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// An application is an upstream that keeps what it is asked.
type application struct {
	*httptest.Server
	seen chan *http.Request // without bodies; as many as the test takes
}

// newApplication starts an upstream with a handler of the test's own.
func newApplication(t *testing.T, handler http.HandlerFunc) *application {
	t.Helper()
	a := &application{seen: make(chan *http.Request, 100)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.seen <- r
		handler(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// server is the upstream's address as a configuration has it.
func (a *application) server() string { return "ws://" + a.Listener.Addr().String() }

// asked returns the next request that the upstream got.
func (a *application) asked(t *testing.T) *http.Request {
	t.Helper()
	select {
	case r := <-a.seen:
		return r
	default:
		t.Fatal("the request did not reach the upstream")
		return nil
	}
}

// ok answers as mirror does, and nothing else.
func ok(http.ResponseWriter, *http.Request) {}

func TestPlainTellsWhoAsks(t *testing.T) {
	t.Parallel()
	app := newApplication(t, ok)
	g := startGateway(t, oneRoute(app.server(), ""))
	c := wstest.Dial(t, g.addr)
	request := wstest.Plain("/page?q=%2F;x&y").With("Host", "App.Example.COM:8080").Add(
		"X-Forwarded-For: 1.2.3.4", "x-forwarded-for: 5.6.7.8", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 443",
		"X-Forwarded-Prefix: /admin", "X-Forwarded-Server: evil", "X-FORWARDED-SSL: on", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4",
		"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "Proxy: evil.example:80",
		"Connection: keep-alive, X-Hop, close-not", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Authorization: Basic eA==", "Proxy-Connection: keep-alive", "TE: gzip",
		"Cookie: a=b", "Accept: text/html", "X-Own: kept", "Origin: https://elsewhere.example")
	c.Send(request.Bytes())
	if resp := c.Response(); resp.Status != http.StatusOK {
		t.Fatalf("got %q", resp.Line)
	}
	r := app.asked(t)
	if r.Host != "app.example.com:8080" || r.RequestURI != "/page?q=%2F;x&y" || r.ContentLength != 0 {
		t.Errorf("the upstream was asked for %q %q with %d bytes", r.Host, r.RequestURI, r.ContentLength)
	}
	want := http.Header{
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"app.example.com:8080"},
		"Cookie": {"a=b"}, "Accept": {"text/html"}, "X-Own": {"kept"}, "Origin": {"https://elsewhere.example"},
	}
	for name, values := range r.Header {
		if !slices.Equal(values, want[name]) {
			t.Errorf("the upstream got %s: %q, want %q", name, values, want[name])
		}
	}
	for name := range want {
		if r.Header[name] == nil {
			t.Errorf("the upstream did not get %s", name)
		}
	}
}

func TestPlainAnswersWithWhatTheUpstreamSays(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
		h["Set-Cookie"] = []string{"a=1", "b=2"}
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "body")
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	c := wstest.Dial(t, g.addr)
	for range 2 {
		c.Send(get("/"))
		if hints := c.Head(); hints.Status != http.StatusEarlyHints || hints.Get("Link") == "" {
			t.Errorf("got %q %q, want 103", hints.Line, hints.Fields)
		}
		resp := c.Response()
		if resp.Status != http.StatusTeapot || string(resp.Body) != "body" || resp.Get("Set-Cookie") != "a=1, b=2" {
			t.Errorf("got %q %q %q", resp.Line, resp.Fields, resp.Body)
		}
		for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate", "Connection", "Link"} {
			if value := resp.Get(name); value != "" {
				t.Errorf("%s: %s was relayed", name, value)
			}
		}
	}
}

// get asks a gateway as an ordinary client does.
func (g *gateway) get(t *testing.T, path string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "app.example.com"
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// What was matched is what is asked for: there is one spelling of a path.
func TestPlainForwardsTheCanonicalPath(t *testing.T) {
	t.Parallel()
	app := newApplication(t, ok)
	g := startGateway(t, oneRoute(app.server(), ", paths: [/, /ws/*, /~user, /é/*]"))
	for target, want := range map[string]string{
		"/":                               "/",
		"/ws":                             "/ws",
		"/ws/":                            "/ws/",
		"/ws/a%20b":                       "/ws/a%20b",
		"/%77s/x?%77=1":                   "/ws/x?%77=1",
		"/%7Euser":                        "/~user",
		"/%7euser?a=b?c":                  "/~user?a=b?c",
		"/%c3%a9/%C3%a9":                  "/%C3%A9/%C3%A9",
		"/ws/%3F":                         "/ws/%3F",
		"/ws/%2B+&=":                      "/ws/++&=",
		"/ws/..%2fadmin":                  "",
		"/ws/%2e%2e/admin":                "",
		"/ws/../admin":                    "",
		"/ws//x":                          "",
		"//ws":                            "",
		"/ws/;x":                          "",
		"/ws%00":                          "",
		"/ws/%5cadmin":                    "",
		"/ws/%252e":                       "",
		"/ws/%23":                         "",
		"/ws/%ff":                         "",
		"/wsx":                            "",
		"/admin":                          "",
		"http://app.example.com/ws/abs?x": "/ws/abs?x",
		"http://app.example.com":          "/",
		"http://other.example.com/ws":     "",
	} {
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.Plain("/").Target(target).Bytes())
		resp := c.Response()
		switch {
		case want == "":
			if resp.Status != http.StatusBadRequest && resp.Status != http.StatusNotFound || len(app.seen) > 0 {
				t.Errorf("%s: got %q, want it refused", target, resp.Line)
			}
			wstest.CheckRefusal(t, resp)
		case resp.Status != http.StatusOK:
			t.Errorf("%s: got %q", target, resp.Line)
		default:
			if got := app.asked(t).RequestURI; got != want {
				t.Errorf("%s: the upstream was asked for %q, want %q", target, got, want)
			}
		}
		c.Close()
	}
}

// Nothing waits in the gateway: an event is at the client before the upstream sends the next one.
func TestPlainStreamsEvents(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for event := range next {
			io.WriteString(w, event)
			w.(http.Flusher).Flush()
		}
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	resp := g.get(t, "/events")
	for i := range 3 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		buf := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != event {
			t.Errorf("got %q and %v, want %q", buf, err, event)
		}
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("behind the last event came %q and %v", rest, err)
	}
}

// The upstream reads an upload while the client writes it.
func TestPlainStreamsUploads(t *testing.T) {
	t.Parallel()
	got := make(chan string)
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5)
		for range 3 {
			io.ReadFull(r.Body, buf)
			got <- string(buf)
		}
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	for name, parts := range map[string][]string{
		"length":  {"Content-Length: 15\r\n\r\nfirst", "secon", "third"},
		"chunked": {"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "5\r\nsecon\r\n", "5\r\nthird\r\n0\r\n\r\n"},
		"expect":  {"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n", "first", "secon", "third"},
	} {
		t.Run(name, func(t *testing.T) {
			c := wstest.Dial(t, g.addr)
			c.Send([]byte("POST /upload HTTP/1.1\r\nHost: app.example.com\r\n"), []byte(parts[0]))
			if name == "expect" {
				if resp := c.Head(); resp.Status != http.StatusContinue {
					t.Fatalf("got %q", resp.Line)
				}
				parts = parts[1:]
				c.Send([]byte(parts[0]))
			}
			for i, want := range []string{"first", "secon", "third"} {
				if i > 0 {
					c.Send([]byte(parts[i]))
				}
				if text := <-got; text != want {
					t.Errorf("the upstream read %q, want %q", text, want)
				}
			}
			if resp := c.Response(); resp.Status != http.StatusOK {
				t.Errorf("got %q", resp.Line)
			}
		})
	}
}

// Where the upstream fails, the client learns that and no more.
func TestPlainWithUpstreamsThatFail(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	for path, behaviour := range map[string]wstest.Behaviour{
		"/hangup":    wstest.Hangup,
		"/reset":     wstest.Abort,
		"/garbage":   wstest.Then(wstest.Send([]byte("SSH-2.0-OpenSSH_9.2\r\n")), wstest.Hangup),
		"/101":       wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 101 Switching Protocols")), wstest.EchoFrames),
		"/upgrade":   wstest.Then(wstest.Accept(), wstest.EchoFrames),
		"/long head": wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 200 OK", "X: "+strings.Repeat("x", 100<<10))), wstest.Hangup),
		"/lengths":   wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2")), wstest.Hangup),
	} {
		up.Handle(strings.ReplaceAll(path, " ", "-"), behaviour)
	}
	config := fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: down, hosts: [down.example.com], upstream: down}
  - {name: app, hosts: [app.example.com], upstream: app}
upstreams: {down: {servers: ["ws://127.0.0.1:9"]}, app: {servers: ["ws://%s"]}}
admin: {address: "off"}
`, up.Addr())
	g := startGateway(t, config)
	for host, paths := range map[string][]string{
		"down.example.com": {"/"},
		"app.example.com":  {"/hangup", "/reset", "/garbage", "/101", "/upgrade", "/long-head", "/lengths"},
	} {
		for _, path := range paths {
			c := wstest.Dial(t, g.addr)
			c.Send(wstest.Plain(path).With("Host", host).Bytes())
			resp := c.Response()
			if resp.Status != http.StatusBadGateway || !strings.Contains(string(resp.Body), reasonNoUpstream) {
				t.Errorf("%s%s: got %q %q, want 502", host, path, resp.Line, resp.Body)
			}
			wstest.CheckRefusal(t, resp)
			c.ExpectEnd(wstest.Patience)
		}
	}
	if got := counted(g.metrics.requests.WithLabelValues("app", resultNoUpstream)); got != 7 {
		t.Errorf("%v failures of the upstream were counted, want 7", got)
	}
}
