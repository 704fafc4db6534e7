package forward

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a real service that keeps what it is asked.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	conns    map[net.Conn]http.ConnState
	changed  chan struct{} // after each change of conns
}

func newService(t *testing.T, answer http.HandlerFunc) *service {
	t.Helper()
	s := &service{conns: make(map[net.Conn]http.ConnState), changed: make(chan struct{}, 1000)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		s.conns[c] = state
		s.mu.Unlock()
		s.changed <- struct{}{}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// asked is the number of requests so far.
func (s *service) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// last is the newest request.
func (s *service) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

// opened is the number of connections so far, and how many of them are not closed.
func (s *service) opened() (all, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.conns {
		if all++; state != http.StateClosed {
			open++
		}
	}
	return all, open
}

// waitForOpen waits until so many connections are not closed.
func (s *service) waitForOpen(t *testing.T, want int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		_, open := s.opened()
		if open == want {
			return
		}
		select {
		case <-s.changed:
		case <-deadline:
			t.Fatalf("%d connections are open, want %d", open, want)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// mistakes returns what compiling c reports.
func mistakes(c Config) (x *Checker, all []string) {
	x = c.Compile(func(path, format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) })
	return x, all
}

func compile(t *testing.T, c Config) *Checker {
	t.Helper()
	x, all := mistakes(c)
	if x == nil {
		t.Fatalf("mistakes %q", all)
	}
	t.Cleanup(x.Close)
	return x
}

// query is one of a browser.
func query(fields ...string) Query {
	q := Query{Method: "GET", Proto: "https", Host: "app.example.com", URI: "/ws?room=1", For: "192.0.2.1", Header: http.Header{}}
	for i := 0; i < len(fields); i += 2 {
		q.Header[fields[i]] = append(q.Header[fields[i]], fields[i+1])
	}
	return q
}

// check asks and fails unless the answer is so, and the error's text holds failure; without one there must be no error.
func check(t *testing.T, x *Checker, q Query, want Answer, failure string) {
	t.Helper()
	got, err := x.Ask(context.Background(), q)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	if failure == "" && err != nil || failure != "" && (err == nil || !strings.Contains(err.Error(), failure)) {
		t.Errorf("error %v, want %q", err, failure)
	}
}

var (
	admitted    = Answer{Allow: true}
	unavailable = Answer{Status: 503}
)
