package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/relay"
)

// A nameless connection has an address, and no descriptor.
type nameless struct{ net.Conn }

// RemoteAddr implements net.Conn.
func (nameless) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }

// A client whose connection has no descriptor, with TLS over it or without, is served beside the reactor, by goroutines.
func TestSessionWithoutDescriptor(t *testing.T) {
	t.Parallel()
	for _, certificates := range []string{"off", "internal"} {
		t.Run(certificates, func(t *testing.T) {
			t.Parallel()
			up := wstest.NewRecorder(t, wstest.Echo)
			config := strings.Replace(oneRoute("ws://"+up.Addr(), ""), `"off"`, `"`+certificates+`"`, 1)
			g := newGateway(t, config+"tls: {storage: {file: "+t.TempDir()+"}}\n")
			pipes := newPipes()
			l := g.listeners()[0]
			l.ln.Close()
			l.ln = pipes
			g.Start()
			t.Cleanup(g.Close)

			client, server := net.Pipe()
			pipes.conns <- nameless{server}
			if certificates != "off" {
				client = tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: "app.example.com", NextProtos: []string{"http/1.1"}})
			}
			c := wstest.NewClient(t, client)
			c.Upgrade(wstest.HS0("/").Without("Origin"))
			for _, payload := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("x"), 300_000)} {
				go c.Send(wstest.ClientFrame(0x82, payload)) // a pipe takes no byte that nobody reads
				c.ExpectFrame(0x82, payload)
			}
			live := func() float64 { return g.metrics.series(t)["framegate_connections{route=app}"] }
			if n := g.sum(t, "framegate_loop_sessions"); n != 0 || live() != 1 {
				t.Errorf("the reactor has %v sessions, %v are live; want one that it does not have", n, live())
			}
			c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(4321, "bye")))
			if _, reason := c.ExpectClose(4321); reason != "bye" {
				t.Errorf("closed with %q", reason)
			}
			c.Close()
			waitFor(t, "the end", func() bool { return live() == 0 })
		})
	}
}

// A loop that is stuck is told of, and only as long as it is.
func TestHealthOfLoops(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, strings.Replace(oneRoute("ws://"+up.Addr(), ""), `admin: {address: "off"}`, `admin: {address: "127.0.0.1:0"}`, 1))
	client, _ := g.open(t, up, "/a")
	lives(t, "first", client) // the gateway has its session
	health := func() (int, string) {
		resp, err := http.Get("http://" + g.admin.ln.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	if status, text := health(); status != http.StatusOK || text != "ok\n" {
		t.Fatalf("%d %q", status, text)
	}
	release, stuck := make(chan struct{}), make(chan struct{})
	for _, c := range g.sessions.youngest() {
		g.sessions.do(c, func(*relay.Session, time.Time) {
			close(stuck)
			<-release
		})
	}
	<-stuck
	for range 2 {
		if status, text := health(); status != http.StatusServiceUnavailable || !strings.Contains(text, "does not answer") {
			t.Errorf("with a loop that is stuck: %d %q", status, text)
		}
	}
	close(release)
	waitFor(t, "it to answer", func() bool {
		status, _ := health()
		return status == http.StatusOK
	})
	lives(t, "after it", client)
}
