package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
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
