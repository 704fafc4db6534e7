package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// startLimited starts a gateway that lets two connections in.
func startLimited(t *testing.T, server, tls, more string) *gateway {
	t.Helper()
	config := strings.Replace(oneRoute(server, ", close_timeout: 300ms"), `{certificates: "off"}}`, `{certificates: "`+tls+`"}, max_connections: 2}`, 1)
	return startGateway(t, config+"tls: {storage: {file: "+t.TempDir()+"}}\n"+more)
}

// Over the limit a client is told so, and its place is free as soon as another connection ends, however it does.
func TestListenerLimitsConnections(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { testLimitedConnections(t, driver) })
	}
}

func testLimitedConnections(t *testing.T, driver string) {
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startLimited(t, "ws://"+up.Addr(), "off", driver)
	l := g.listeners()[0]
	full := func() {
		t.Helper()
		c := wstest.Dial(t, g.addr)
		resp := c.Response()
		if resp.Status != http.StatusServiceUnavailable || resp.Get("Retry-After") == "" {
			t.Errorf("got %q %q, want 503 with Retry-After", resp.Line, resp.Fields)
		}
		wstest.CheckRefusal(t, resp)
		c.ExpectEnd(wstest.Patience)
	}
	inUse := func(n int64) {
		t.Helper()
		waitFor(t, "a free place", func() bool { return l.count.InUse() == n })
	}
	ends := map[string]func(*wstest.Client, *wstest.Upstream){
		"client closes":   func(c *wstest.Client, _ *wstest.Upstream) { c.Close() },
		"client resets":   func(c *wstest.Client, _ *wstest.Upstream) { c.Reset() },
		"upstream closes": func(_ *wstest.Client, u *wstest.Upstream) { u.Close() },
		"cut amid a frame": func(_ *wstest.Client, u *wstest.Upstream) {
			u.Send(wstest.ServerFrame(0x82, make([]byte, 100<<10))[:50<<10])
			u.Reset()
		},
		"Close": func(c *wstest.Client, _ *wstest.Upstream) {
			c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
			c.ExpectClose(1000)
			c.Close()
		},
	}
	idle := wstest.Dial(t, g.addr)
	for name, end := range ends {
		c, u := g.open(t, up, "/"+strings.ReplaceAll(name, " ", "-"))
		inUse(2)
		full()
		end(c, u)
		inUse(1)
	}
	idle.Close()
	inUse(0)
	if got, want := counted(g.metrics.requests.WithLabelValues(noRoute, resultLimit)), float64(len(ends)); got != want {
		t.Errorf("%v refusals were counted, want %v", got, want)
	}
	if got := len(g.log.lines(t, "refused")); got != len(ends) {
		t.Errorf("%d refusals were logged, want %d", got, len(ends))
	}
}

// On TLS there is nobody to tell it to before the handshake, which is not begun.
func TestListenerLimitsConnectionsBeforeTLS(t *testing.T) {
	t.Parallel()
	g := startLimited(t, "ws://127.0.0.1:9", "internal", "")
	for range 2 {
		wstest.Dial(t, g.addr)
	}
	waitFor(t, "both connections", func() bool { return g.listeners()[0].count.InUse() == 2 })
	if rest := wstest.Dial(t, g.addr).ExpectEnd(wstest.Patience); len(rest) > 0 {
		t.Errorf("got %q", rest)
	}
}

// Who speaks HTTP to a TLS port is told, who speaks anything else is not; neither holds anything.
func TestListenerWithoutTLSOnATLSPort(t *testing.T) {
	t.Parallel()
	g := startLimited(t, "ws://127.0.0.1:9", "internal", "")
	c := wstest.Dial(t, g.addr)
	c.Send(get("/"))
	resp := c.Response()
	if resp.Status != http.StatusBadRequest || !strings.Contains(string(resp.Body), "TLS") {
		t.Errorf("got %q %q", resp.Line, resp.Body)
	}
	wstest.CheckRefusal(t, resp)
	c.ExpectEnd(wstest.Patience)
	for _, junk := range []string{"SSH-2.0-OpenSSH\r\n", "\x16\x03\x01\x00\x05hello", strings.Repeat("\x00", 100)} {
		c := wstest.Dial(t, g.addr)
		c.Send([]byte(junk))
		if rest := c.ExpectEnd(wstest.Patience); strings.Contains(string(rest), "HTTP") {
			t.Errorf("%q was answered with %q", junk, rest)
		}
	}
	waitFor(t, "the end of all connections", func() bool { return g.listeners()[0].count.InUse() == 0 })
	if got := counted(g.metrics.tlsErrors); got != 4 {
		t.Errorf("%v TLS errors were counted, want 4", got)
	}
}

// A failing listener fails as often as it is told, and notes when it was asked.
type failingListener struct {
	*pipeListener
	fail  []error
	asked []time.Time
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.asked = append(l.asked, time.Now())
	if len(l.fail) > 0 {
		err := l.fail[0]
		l.fail = l.fail[1:]
		return nil, err
	}
	return l.pipeListener.Accept()
}

func emfile() error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: &net.AddrError{Err: syscall.EMFILE.Error()}}
}

// Out of descriptors the gateway waits, longer each time, and serves on.
func TestListenerBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := &failingListener{pipeListener: newPipes(), fail: slices.Repeat([]error{emfile()}, 12)}
		start := time.Now()
		f := newFront(t, ln, mirror)
		c := wstest.NewClient(t, ln.dial())
		c.Send(get("/"))
		expect(t, c, "GET / ")
		want := []time.Duration{0, 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 0}
		synctest.Wait()
		if len(ln.asked) != len(want) {
			t.Fatalf("it was asked %d times, want %d", len(ln.asked), len(want))
		}
		for i, at := range ln.asked {
			if got := at.Sub(start); got != want[i]*time.Millisecond {
				t.Errorf("attempt %d came after %v, want %v", i, got, want[i]*time.Millisecond)
			}
			start = at
		}
		if got := len(f.log.lines(t, "cannot accept")); got != 12 {
			t.Errorf("%d failures were logged, want 12", got)
		}
	})
}

func TestListenerEndsWhileItBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := &failingListener{pipeListener: newPipes(), fail: slices.Repeat([]error{emfile()}, 1000)}
		f := newFront(t, ln, mirror)
		time.Sleep(10 * time.Second)
		start := time.Now()
		f.close()
		f.wait(t.Context())
		wantAfter(t, start, 0)
	})
}

// A TLS handshake has its time, also on a listener that closes, as far as that has the time.
func TestListenerTimesTheTLSHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cert, _ := wstest.SelfSigned(t, "localhost")
		pipes := newPipes()
		f := newTLSFront(t, pipes, &tls.Config{Certificates: []tls.Certificate{cert}}, mirror)
		hello := wstest.ClientHello(t, &tls.Config{ServerName: "localhost"})
		for name, sent := range map[string][]byte{"nothing": nil, "half a hello": hello[:len(hello)/2]} {
			start := time.Now()
			conn := pipes.dial()
			conn.Write(sent)
			io.Copy(io.Discard, conn)
			if passed := time.Since(start); passed != tlsTimeout {
				t.Errorf("%s: the connection ended after %v, want %v", name, passed, tlsTimeout)
			}
		}
		conn := pipes.dial()
		conn.Write(hello[:10])
		start := time.Now()
		f.close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		f.wait(ctx)
		wantAfter(t, start, 3*time.Second)
		if n := f.count.InUse(); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}

func TestAddrPort(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, "10.0.0.1:80"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 80}, "10.0.0.1:80"}, // one client, one spelling
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 443}, "[2001:db8::1]:443"},
		{&net.UnixAddr{Name: "/run/app.sock"}, netip.AddrPort{}.String()},
		{nil, netip.AddrPort{}.String()},
	} {
		if got := addrPort(row.addr).String(); got != row.want {
			t.Errorf("%v: got %s, want %s", row.addr, got, row.want)
		}
	}
}

func TestLooksLikeHTTP(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"GET / HTTP": true, "POST /x": true, "HEAD /": true, "OPTIONS": true, "CONNECT": true, "GET http://": true,
		"SSH-2.0": false, "\x16\x03\x01\x00\x05": false, "get / ": false, "\x00\x00\x00\x00\x00": false,
	} {
		if got := looksLikeHTTP([5]byte([]byte(text))); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
	if errors.Is(emfile(), net.ErrClosed) {
		t.Error("the failures of the test would end the listener")
	}
}
