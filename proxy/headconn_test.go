package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/handshake"
)

// get is a plain request for a path with further header lines.
func get(path string, lines ...string) []byte {
	return wstest.Plain(path).Add(lines...).Bytes()
}

// post is a request with a body of a length that is announced.
func post(path, body string) []byte {
	r := wstest.Plain(path).Add(fmt.Sprintf("Content-Length: %d", len(body))).Then(body)
	r.Line = "POST " + path + " HTTP/1.1"
	return r.Bytes()
}

// mirror answers with the method, the path and the body of the request.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
}

// expect reads one answer of mirror.
func expect(t *testing.T, c *wstest.Client, want string) {
	t.Helper()
	if resp := c.Response(); resp.Status != http.StatusOK || string(resp.Body) != want {
		t.Fatalf("got %q %q, want 200 %q", resp.Line, resp.Body, want)
	}
}

func TestHeadConnServesOneRequestAfterTheOther(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil, mirror)
	for name, chop := range map[string]int{"whole": 1 << 20, "in pieces of 7 bytes": 7, "byte by byte": 1} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			c.Chop(get("/1"), chop)
			expect(t, c, "GET /1 ")
			c.Chop(post("/2", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), chop)
			expect(t, c, "POST /2 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			c.Chop(get("/3"), chop)
			expect(t, c, "GET /3 ")
		})
	}
}

// Requests that come ahead of their turn wait; how they were cut into segments does not matter.
func TestHeadConnServesPipelinedRequests(t *testing.T) {
	t.Parallel()
	const requests = 60
	padding := "X-Padding: " + strings.Repeat("p", 1000) // all of them together are more than any buffer of the connection holds
	var all []byte
	for i := range requests {
		if i%2 == 0 {
			all = append(all, get(fmt.Sprintf("/%d", i), padding)...)
		} else {
			all = append(all, post(fmt.Sprintf("/%d", i), "body")...)
		}
	}
	gone := make(chan error, requests)
	release := make(chan struct{})
	f := newFront(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/0" {
			<-release
		}
		gone <- r.Context().Err()
		mirror(w, r)
	})
	for _, chop := range []int{1 << 20, 997} {
		t.Run(fmt.Sprint(chop), func(t *testing.T) {
			c := f.dial(t)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				c.Chop(all, chop)
			}()
			select {
			case release <- struct{}{}:
			case <-sent:
				release <- struct{}{}
			}
			for i := range requests {
				if err := <-gone; err != nil {
					t.Fatalf("request %d: the handler was told that the client is gone: %v", i, err)
				}
				if i%2 == 0 {
					expect(t, c, fmt.Sprintf("GET /%d ", i))
				} else {
					expect(t, c, fmt.Sprintf("POST /%d body", i))
				}
			}
			<-sent
		})
	}
}

// net/http reads from the connection while the handler runs, to learn whether the client has left. What it meets then is the next
// request, in whatever pieces.
func TestHeadConnWhileTheHandlerRuns(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	f := newFront(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			started <- struct{}{}
			<-release
		}
		mirror(w, r)
	})
	second := get("/second")
	for _, cut := range []int{0, 1, 2, 5, len(second) / 2, len(second) - 1, len(second)} {
		t.Run(fmt.Sprintf("%d bytes ahead", cut), func(t *testing.T) {
			c := f.dial(t)
			for range 2 { // a connection is as good as new after it
				c.Send(post("/slow", "x"))
				<-started
				c.Chop(second[:cut], 1)
				release <- struct{}{}
				expect(t, c, "POST /slow x")
				c.Send(second[cut:])
				expect(t, c, "GET /second ")
			}
		})
	}
	t.Run("malformed", func(t *testing.T) {
		c := f.dial(t)
		c.Send(get("/slow"))
		<-started
		c.Send([]byte("GET /second HTTP/1.1\nHost: a\n\n"))
		release <- struct{}{}
		expect(t, c, "GET /slow ") // the first one has done nothing wrong
		wantRefusal(t, c, http.StatusBadRequest)
	})
}

// The context of a request ends with its client, so that nobody works for nobody.
func TestHeadConnTellsTheHandlerThatTheClientIsGone(t *testing.T) {
	t.Parallel()
	started, ended := make(chan struct{}), make(chan struct{})
	f := newFront(t, nil, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		started <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	for name, request := range map[string][]byte{"without a body": get("/"), "with a body": post("/", "body")} {
		for how, leave := range map[string]func(*wstest.Client){"close": (*wstest.Client).Close, "reset": (*wstest.Client).Reset} {
			t.Run(name+", "+how, func(t *testing.T) {
				c := f.dial(t)
				c.Send(request)
				<-started
				leave(c)
				<-ended
			})
		}
	}
}

// A handler may answer without reading the body. What is left of it is neither a request nor in the way of the next one.
func TestHeadConnWithBodiesThatNobodyReads(t *testing.T) {
	t.Parallel()
	var reached []string
	f := newFront(t, nil, func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.Path)
		io.ReadFull(r.Body, make([]byte, 3))
		io.WriteString(w, "answered")
	})
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"
	t.Run("short", func(t *testing.T) {
		c := f.dial(t)
		c.Send(post("/short", "abc"+strings.Repeat(smuggled, 100)), get("/next"))
		expect(t, c, "answered")
		expect(t, c, "answered")
		if want := []string{"/short", "/next"}; !slices.Equal(reached, want) {
			t.Errorf("the handler was reached for %q, want %q", reached, want)
		}
	})
	t.Run("long", func(t *testing.T) {
		reached = nil
		c := f.dial(t)
		c.Send(post("/long", "abc"+strings.Repeat(smuggled, 8000)), get("/next"))
		expect(t, c, "answered")
		c.ExpectEnd(wstest.Patience) // too much for net/http to take without a reader
		if want := []string{"/long"}; !slices.Equal(reached, want) {
			t.Errorf("the handler was reached for %q, want %q", reached, want)
		}
	})
}

// wantRefusal reads the answer that headConn gives in net/http's place, and the end of the connection behind it.
func wantRefusal(t *testing.T, c *wstest.Client, status int) {
	t.Helper()
	resp := c.Response()
	if resp.Status != status || resp.Get("X-Content-Type-Options") != "nosniff" || resp.Get("Date") != "" {
		t.Errorf("got %q %q, want a refusal of the gateway's own with %d", resp.Line, resp.Fields, status)
	}
	wstest.CheckRefusal(t, resp)
	if rest := c.ExpectEnd(wstest.Patience); len(rest) > 0 {
		t.Errorf("behind the refusal came %q", rest)
	}
}

// Whatever is ambiguous is refused before net/http sees it, on the first request of a connection and on a later one.
func TestHeadConnRefuses(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/first" {
			t.Errorf("the handler was reached for %q", r.URL.Path)
		}
	})
	long := strings.Repeat("x", 9<<10)
	rows := []struct {
		name    string
		request string
		status  int
	}{
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
		{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400},
		{"empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 400},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
		{"length and chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		{"underscore", "GET / HTTP/1.1\r\nHost: a\r\nX_Auth: 1\r\n\r\n", 400},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405},
		{"long target", "GET /" + long + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"long line", "GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", 431},
		{"long head", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: "+long[:4000]+"\r\n", 5) + "\r\n", 431},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", handshake.MaxFields) + "\r\n", 431},
		{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	}
	before := f.refusals(resultMalformed)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := f.dial(t)
			c.Send([]byte(row.request))
			wantRefusal(t, c, row.status)
			c = f.dial(t)
			c.Send(get("/first"), []byte(row.request))
			if resp := c.Response(); resp.Status != http.StatusOK {
				t.Errorf("the request before got %q", resp.Line)
			}
			wantRefusal(t, c, row.status)
		})
	}
	if got, want := f.refusals(resultMalformed)-before, float64(2*len(rows)); got != want {
		t.Errorf("%v refusals were counted, want %v", got, want)
	}
	lines := f.log.lines(t, "refused")
	if len(lines) != 2*len(rows) {
		t.Fatalf("%d refusals were logged, want %d", len(lines), 2*len(rows))
	}
	for _, line := range lines {
		if line["client"] == "" || line["route"] != noRoute || line["status"] == nil || line["reason"] == "" || line["result"] != resultMalformed {
			t.Errorf("line %v lacks a field", line)
		}
	}
}

// A head of the greatest size passes, with the most early bytes behind it, whatever the reads cut it into.
func TestHeadConnPassesTheGreatestHead(t *testing.T) {
	t.Parallel()
	f := newFront(t, nil, mirror)
	head := get("/", "X-A: "+strings.Repeat("a", 6000), "X-B: "+strings.Repeat("b", 6000), "X-C: ")
	fill := bytes.Repeat([]byte("c"), handshake.MaxHead-len(head))
	head = slices.Insert(head, len(head)-4, fill...)
	for _, chop := range []int{1 << 20, 1500, 4096, 4097} {
		c := f.dial(t)
		c.Chop(append(slices.Clone(head), head...), chop)
		expect(t, c, "GET / ")
		expect(t, c, "GET / ")
	}
}
