package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/ratelimit"
)

// A front is one listener in front of a handler of the test's own: the real path of a connection through acceptLoop, headConn and
// net/http, without routes.
type front struct {
	*listener
	log *logBook
}

// newFront starts a listener on loopback, or on pipes where the test wants to hold the clock.
func newFront(t *testing.T, ln net.Listener, handler http.HandlerFunc) *front {
	t.Helper()
	return newTLSFront(t, ln, nil, handler)
}

// newTLSFront is newFront with TLS. Connections of loopback are wrapped for the reactor, as those of a gateway are.
func newTLSFront(t *testing.T, ln net.Listener, conf *tls.Config, handler http.HandlerFunc) *front {
	t.Helper()
	log, book := newLog()
	s := &Server{log: log, metrics: newMetrics("test"), connections: ratelimit.NewCount(100), waitlist: waitlist{max: 100}}
	l, err := newListener(s, ListenerConfig{Address: "127.0.0.1:0", MaxConnections: 100})
	if err != nil {
		t.Fatal(err)
	}
	s.site.Store(&site{doors: map[*listener]*door{l: {tls: conf, handshake: conf}}})
	if ln != nil {
		l.ln.Close()
		l.ln = ln
	} else if s.driver, err = newDriver("auto"); err != nil {
		t.Fatal(err)
	}
	l.http.Handler = handler
	l.start()
	t.Cleanup(func() {
		l.close()
		l.stop()
		l.http.Close()
		l.accepting.Wait()
		l.serving.Wait()
		s.driver.close()
	})
	return &front{l, book}
}

// dial connects to a front on loopback.
func (f *front) dial(t *testing.T) *wstest.Client {
	t.Helper()
	return wstest.Dial(t, f.ln.Addr().String())
}

// refusals is how many requests were counted with a result before a route was found.
func (f *front) refusals(result string) float64 {
	return counted(f.server.metrics.requests.WithLabelValues(noRoute, result))
}

// A pipeListener accepts pipes, which take no time of their own: in a bubble of testing/synctest the clock stands still until all
// sides wait.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// dial returns the client's end of a new connection.
func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
