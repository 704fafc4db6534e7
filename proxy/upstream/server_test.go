package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serverOf makes one server whose transport connections come from dial.
func serverOf(t *testing.T, text string, dial connect) *Server {
	t.Helper()
	to, bad := parseTarget(text)
	if bad != nil {
		t.Fatal(bad)
	}
	return newServer(spec{target: to, weight: 1}, 0, &settings{
		tls: &tls.Config{MinVersion: tls.VersionTLS12}, connect: func(target) connect { return dial },
	})
}

// hang never connects.
func hang(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestDialPlain(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		l := listen(t, network)
		scheme := map[string]string{"tcp": "ws://", "unix": "unix:"}[network]
		s := mustCompile(t, Config{Servers: urls(scheme + l.Addr().String())}).Servers()[0]
		for range 2 { // a fresh connection each time
			conn, err := s.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			peer, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("hi")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 2)
			if _, err := io.ReadFull(peer, got); err != nil || string(got) != "hi" {
				t.Errorf("%s: peer read %q, %v", network, got, err)
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				checkSocket(t, tcp)
			}
			conn.Close()
			peer.Close()
		}
	}
}

func TestDialRefused(t *testing.T) {
	l := listen(t, "tcp")
	l.Close()
	tests := []struct{ server, text string }{
		{"ws://" + l.Addr().String(), "upstream server " + l.Addr().String() + ": connect: "},
		{"wss://" + l.Addr().String(), "upstream server " + l.Addr().String() + ": connect: "},
		{"unix:///nonexistent/app.sock", "upstream server unix:/nonexistent/app.sock: connect: "},
	}
	for _, tt := range tests {
		err := dialOnce(t, Config{Servers: urls(tt.server)})
		var dialErr *DialError
		if !errors.As(err, &dialErr) || dialErr.Phase != PhaseConnect || !strings.HasPrefix(err.Error(), tt.text) {
			t.Errorf("%s: got error %v, want a DialError that begins with %q", tt.server, err, tt.text)
		}
	}
}

func TestDialConnectLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := serverOf(t, "ws://app.internal", hang).Dial(t.Context())
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("gave up after %v, want 3s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connect: no connection within 3s") {
			t.Errorf("got error %v", err)
		}
	})
}

// A server that accepts and then keeps silent costs 5 s, and its connection is closed.
func TestDialHandshakeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		begin := time.Now()
		s := serverOf(t, "wss://app.internal", func(context.Context, string, string) (net.Conn, error) { return near, nil })
		closed := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, far)
			closed <- err
		}()
		_, err := s.Dial(t.Context())
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("gave up after %v, want 5s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "tls: no TLS handshake within 5s") {
			t.Errorf("got error %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("peer read: %v, want the end of the stream", err)
		}
	})
}

// The caller's context ends a dial in either phase; its error stays the caller's.
func TestDialEndsWithContext(t *testing.T) {
	silent := func(context.Context, string, string) (net.Conn, error) {
		near, _ := net.Pipe()
		return near, nil
	}
	tests := []struct {
		phase   string
		connect func(context.Context, string, string) (net.Conn, error)
	}{{PhaseConnect, hang}, {PhaseTLS, silent}}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			_, err := serverOf(t, "wss://app.internal", tt.connect).Dial(ctx)
			var dialErr *DialError
			if !errors.As(err, &dialErr) || dialErr.Phase != tt.phase || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got error %v", tt.phase, err)
			}
			if took := time.Since(begin); took != time.Second {
				t.Errorf("%s: ended after %v, want 1s", tt.phase, took)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := serverOf(t, "wss://app.internal", tt.connect).Dial(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "within") {
				t.Errorf("%s: got error %v, want the caller's deadline", tt.phase, err)
			}
		})
	}
}
