package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framegate/framegate/internal/wstest"
)

// What an idle session may cost in the whole gateway, in bytes of heap; it has
// no goroutine, so no stack.
const (
	idlePlain = 1536
	idleTLS   = 9728
)

// inUse is what this process has allocated. Stacks are left out: those that
// net/http's goroutines gave back stay in a pool for a while.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestIdleSessions measures many sessions that have relayed a message each way
// and then rest. Their peers are descriptors, which cost nothing here.
func TestIdleSessions(t *testing.T) {
	for _, c := range []struct {
		certificates string
		many, budget int
	}{{"off", 1000, idlePlain}, {"internal", 300, idleTLS}} {
		t.Run(c.certificates, func(t *testing.T) {
			upstream := newEndpoint(t)
			loaded, _, err := loadText(t, fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "%s"}}]
routes: [{name: app, hosts: [app.example.com], upstream: app, max_lifetime: 24h, policies: [strict]}]
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  strict:
    origin: {allow: ["https://app.example.com"]}
    connections: {per_ip: 30000}
    handshakes: {per_ip: 100000/s burst 100000}
    client: {types: [text]}
    upstream: {types: [text]}
tls: {storage: {file: %q}}
admin: {address: "off"}
`, c.certificates, upstream.ln.Addr(), t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(loaded.Config, slog.New(slog.DiscardHandler), "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			t.Cleanup(s.Close)
			secure := c.certificates != "off"
			for range 10 { // what the first ones make for all
				upstream.session(t, s.Addrs()[0].String(), secure)
			}
			goroutines, before := settled(), inUse()
			for range c.many {
				upstream.session(t, s.Addrs()[0].String(), secure)
			}
			waitFor(t, fmt.Sprintf("%d goroutines with %d more sessions", goroutines, c.many), func() bool { return runtime.NumGoroutine() <= goroutines })
			each := (inUse() - before) / c.many
			t.Logf("%d bytes for each of %d idle sessions", each, c.many)
			if each > c.budget {
				t.Errorf("an idle session costs %d bytes, want at most %d", each, c.budget)
			}
		})
	}
}

// An endpoint makes sessions, both ends of which are descriptors alone.
type endpoint struct {
	ln  *net.TCPListener
	fds []int
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{ln: ln.(*net.TCPListener)}
	t.Cleanup(func() {
		ln.Close()
		for _, fd := range e.fds {
			unix.Close(fd)
		}
	})
	return e
}

// keep keeps nothing of a connection but its descriptor.
func (e *endpoint) keep(t *testing.T, c *net.TCPConn) {
	t.Helper()
	file, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	e.fds = append(e.fds, fd)
	file.Close()
	c.Close()
}

// session upgrades a connection and sends a message both ways.
func (e *endpoint) session(t *testing.T, addr string, secure bool) {
	t.Helper()
	var client io.ReadWriter
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	// A session that is refused is told as such, not waited for.
	raw.SetDeadline(time.Now().Add(wstest.Patience))
	e.ln.SetDeadline(time.Now().Add(wstest.Patience))
	client = raw
	if secure {
		client = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "app.example.com"})
	}
	// Nothing of what a request carries is kept but its path and host.
	client.Write(wstest.HS0("/?access_token=" + strings.Repeat("t", 2000)).Bytes())
	upstream, err := e.ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.ReadRequest(bufio.NewReader(upstream))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(upstream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		wstest.AcceptOf(request.Header.Get("Sec-WebSocket-Key")))
	if resp, err := http.ReadResponse(bufio.NewReader(client), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	cross(t, client, upstream, wstest.ClientFrame(0x81, []byte("hello")))
	cross(t, upstream, client, wstest.ServerFrame(0x81, []byte("hello")))
	e.keep(t, raw.(*net.TCPConn))
	e.keep(t, upstream)
}

// cross sends a frame from one end to the other.
func cross(t *testing.T, from io.Writer, to io.Reader, frame []byte) {
	t.Helper()
	from.Write(frame)
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, frame) {
		t.Fatalf("%x has crossed, want %x: %v", got, frame, err)
	}
}
