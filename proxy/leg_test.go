package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A pair is the gateway's end of a connection, as a session has it, and its peer's.
type pair struct {
	leg  leg
	peer net.Conn
}

// newPair connects two ends over a network, with TLS where the kind says so, and with what the reactor could take over below it.
func newPair(t *testing.T, kind string) *pair {
	t.Helper()
	kind, wrapped := strings.CutSuffix(kind, " wrapped")
	network, address := "tcp", "127.0.0.1:0"
	if kind == "unix" {
		network, address = "unix", filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{peer: peer}
	if wrapped {
		d, err := newDriver("auto")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.close)
		conn = d.wrap(conn)
	}
	if kind == "tls" {
		cert, _ := wstest.SelfSigned(t, "localhost")
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
		shaken := make(chan error, 1)
		go func() { shaken <- client.Handshake() }()
		if err := errors.Join(server.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		conn, p.peer = server, client
	}
	p.leg = leg{conn}
	deadline := time.Now().Add(wstest.Patience)
	conn.SetDeadline(deadline)
	p.peer.SetDeadline(deadline)
	t.Cleanup(func() {
		p.leg.Close()
		p.peer.Close()
	})
	return p
}

var pairKinds = []string{"tcp", "tls", "unix", "tcp wrapped", "tls wrapped", "unix wrapped"}

// After a half-close the peer reads the end, in order, and the other direction goes on.
func TestLegCloseWrite(t *testing.T) {
	t.Parallel()
	for _, kind := range pairKinds {
		t.Run(kind, func(t *testing.T) {
			p := newPair(t, kind)
			p.leg.Write([]byte("last"))
			if err := p.leg.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(p.peer); err != nil || string(got) != "last" {
				t.Errorf("the peer read %q and %v", got, err)
			}
			if tc, ok := p.peer.(*tls.Conn); ok { // after close_notify came FIN
				if n, err := tc.NetConn().Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("below TLS the peer read %d bytes and %v, want the end", n, err)
				}
			}
			p.peer.Write([]byte("answer"))
			p.peer.Close()
			if got, err := io.ReadAll(p.leg); err != nil || string(got) != "answer" {
				t.Errorf("after the half-close the gateway read %q and %v", got, err)
			}
		})
	}
}

// A reset says that what came may not be all: the peer must not take it for an orderly end.
func TestLegAbort(t *testing.T) {
	t.Parallel()
	for _, kind := range pairKinds {
		t.Run(kind, func(t *testing.T) {
			p := newPair(t, kind)
			p.leg.Write([]byte("half"))
			half := make([]byte, 4)
			io.ReadFull(p.peer, half)
			if err := p.leg.Abort(); err != nil {
				t.Error(err)
			}
			n, err := p.peer.Read(make([]byte, 1))
			if n != 0 || !strings.HasPrefix(kind, "unix") && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer read %d bytes and %v, want a reset", n, err)
			}
			p.leg.Abort()
			p.leg.Close()
		})
	}
}

// Whoever reads or writes is woken by the end.
func TestLegEndUnblocks(t *testing.T) {
	t.Parallel()
	for _, kind := range pairKinds {
		for name, end := range map[string]func(leg) error{"abort": leg.Abort, "close": func(l leg) error { return l.Close() }} {
			t.Run(kind+" "+name, func(t *testing.T) {
				p := newPair(t, kind)
				woken := make(chan struct{}, 2)
				go func() {
					p.leg.Read(make([]byte, 1))
					woken <- struct{}{}
				}()
				writing := make(chan struct{})
				go func() {
					block := make([]byte, 1<<20)
					p.leg.Write(block[:1])
					close(writing)
					for { // until nothing fits any more
						if _, err := p.leg.Write(block); err != nil {
							break
						}
					}
					woken <- struct{}{}
				}()
				<-writing
				end(p.leg)
				<-woken
				<-woken
			})
		}
	}
}

// An answer arrives although the peer had sent what nobody reads: a plain close would reset the connection and destroy it.
func TestLingerCloseLetsTheAnswerArrive(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "tls", "tcp wrapped", "tls wrapped"} {
		t.Run(kind, func(t *testing.T) {
			p := newPair(t, kind)
			p.peer.Write(bytes.Repeat([]byte("unread"), 10000))
			p.leg.Write([]byte("answer"))
			done := make(chan struct{})
			go func() {
				defer close(done)
				lingerClose(p.leg.Conn)
			}()
			if got, err := io.ReadAll(p.peer); err != nil || string(got) != "answer" {
				t.Errorf("the peer read %q and %v", got, err)
			}
			p.peer.Close()
			<-done
		})
	}
}

// A peer that goes on to send is not listened to for long, nor for much.
func TestLingerCloseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, row := range map[string]struct {
			size  int
			every time.Duration
			most  time.Duration
		}{
			"a trickle": {1, 100 * time.Millisecond, lingerTime},
			"a flood":   {lingerBytes / 4, time.Millisecond, 10 * time.Millisecond},
			"silence":   {0, time.Hour, lingerTime},
		} {
			ours, theirs := net.Pipe()
			start := time.Now()
			go func() {
				for row.size > 0 {
					if _, err := theirs.Write(make([]byte, row.size)); err != nil {
						return
					}
					time.Sleep(row.every)
				}
			}()
			lingerClose(ours)
			if passed := time.Since(start); passed > row.most {
				t.Errorf("%s: it took %v, want at most %v", name, passed, row.most)
			}
			if _, err := ours.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: the connection is still open: %v", name, err)
			}
			time.Sleep(time.Second)
		}
	})
}
