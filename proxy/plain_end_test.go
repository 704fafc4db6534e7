package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// A body that the upstream does not complete is not completed for the client either, whatever frames it.
func TestPlainDoesNotCompleteABodyThatWasCut(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	up.Handle("/length", wstest.Then(wstest.Send(append(wstest.Head("HTTP/1.1 200 OK", "Content-Length: 100"), "half"...)), wstest.Hangup))
	up.Handle("/chunked", wstest.Then(wstest.Send(append(wstest.Head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), "4\r\nhalf\r\n"...)), wstest.Hangup))
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	for _, path := range []string{"/length", "/chunked"} {
		resp := g.get(t, path)
		body, err := io.ReadAll(resp.Body)
		if err != io.ErrUnexpectedEOF || string(body) != "half" {
			t.Errorf("%s: got %q and %v, want half and an unexpected end", path, body, err)
		}
	}
	failed := g.metrics.requests.WithLabelValues("app", resultBadReply)
	waitFor(t, "the count of the bodies that were cut", func() bool { return counted(failed) == 2 })
}

// The end of a chunked body is not looked for, so the connection ends with the answer and what comes behind is never a request: not
// even where an interim answer has let net/http forget about it.
func TestPlainEndsTheConnectionAfterAChunkedBody(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		mirror(w, r)
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	chunked := "Host: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
	for _, path := range []string{"/plain", "/hints"} {
		for _, before := range []string{"", string(get("/before"))} {
			c := wstest.Dial(t, g.addr)
			c.Send([]byte(before), []byte("POST "+path+" HTTP/1.1\r\n"+chunked), []byte("GET /behind HTTP/1.1\nHost: app.example.com\n\n"))
			if before != "" {
				expect(t, c, "GET /before ")
				app.asked(t)
			}
			if path == "/hints" {
				if hints := c.Head(); hints.Status != http.StatusEarlyHints {
					t.Errorf("got %q, want 103", hints.Line)
				}
			}
			resp := c.Response()
			if string(resp.Body) != "POST "+path+" body" || resp.Get("Connection") != "close" {
				t.Errorf("%s: got %q %q %q", path, resp.Line, resp.Fields, resp.Body)
			}
			if rest := c.ExpectEnd(wstest.Patience); len(rest) > 0 {
				t.Errorf("%s: the connection went on with %q", path, rest)
			}
			app.asked(t)
			if len(app.seen) > 0 {
				t.Errorf("%s: %q was taken for a request", path, app.asked(t).RequestURI)
			}
		}
	}
}

// A client that leaves is not worked for any longer.
func TestPlainEndsWithItsClient(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	app := newApplication(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	c := wstest.Dial(t, g.addr)
	c.Send(get("/"))
	waitFor(t, "the request at the upstream", func() bool { return len(app.seen) == 1 })
	c.Close()
	<-ended
	gone := g.metrics.requests.WithLabelValues("app", resultClientGone)
	waitFor(t, "the count of the clients that left", func() bool { return counted(gone) == 1 })
}

func TestPlainRefuses(t *testing.T) {
	t.Parallel()
	app := newApplication(t, ok)
	g := startGateway(t, `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: app, hosts: [app.example.com], paths: [/app/*], upstream: app}
  - {name: deny, hosts: [app.example.com], paths: [/ws], upstream: app, http: deny}
upstreams: {app: {servers: ["`+app.server()+`"]}}
admin: {address: "off"}
`)
	method := func(name string) *wstest.Request {
		r := wstest.Plain("/app")
		r.Line = name + " /app HTTP/1.1"
		return r
	}
	for _, row := range []struct {
		name    string
		request *wstest.Request
		status  int
		result  string
		header  string // of the answer
	}{
		{"no such path", wstest.Plain("/"), 404, resultNoRoute, ""},
		{"no such host", wstest.Plain("/app").With("Host", "www.example.com"), 404, resultNoRoute, ""},
		{"dot segment", wstest.Plain("/app/../ws"), 400, resultMalformed, ""},
		{"TRACE", method("TRACE"), 405, resultMalformed, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"early data", wstest.Plain("/app").Add("Early-Data: 1"), 425, resultMalformed, ""},
		{"http: deny", wstest.Plain("/ws"), 426, resultNotHTTP, "Upgrade: websocket"},
		{"http: deny with a body", wstest.Plain("/ws").Add("Content-Length: 4").Then("body"), 426, resultNotHTTP, ""},
		{"asterisk", &wstest.Request{Line: "OPTIONS * HTTP/1.1", Fields: []string{"Host: app.example.com"}}, 400, resultMalformed, ""},
	} {
		name := "app"
		if row.result == resultNotHTTP {
			name = "deny"
		} else if row.result == resultNoRoute || row.result == resultMalformed {
			name = noRoute
		}
		count := g.metrics.requests.WithLabelValues(name, row.result)
		before := counted(count)
		c := wstest.Dial(t, g.addr)
		c.Send(row.request.Bytes())
		resp := c.Response()
		if resp.Status != row.status {
			t.Errorf("%s: got %q, want %d", row.name, resp.Line, row.status)
		}
		wstest.CheckRefusal(t, resp)
		if field, value, _ := strings.Cut(row.header, ": "); resp.Get(field) != value {
			t.Errorf("%s: %s is %q, want %q", row.name, field, resp.Get(field), value)
		}
		c.ExpectEnd(wstest.Patience)
		if got := counted(count) - before; got != 1 {
			t.Errorf("%s: %v requests were counted with %s of route %s", row.name, got, row.result, name)
		}
	}
	if len(app.seen) > 0 {
		t.Errorf("%q reached the upstream", app.asked(t).RequestURI)
	}
}
