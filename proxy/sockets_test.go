//go:build unix

package proxy

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// handedOver returns the files of new listening sockets under the given names, and where they listen.
func handedOver(t *testing.T, names ...string) (files []*os.File, addrs []string) {
	t.Helper()
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := duplicate(ln, name)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, ln.Addr().String())
		files = append(files, f)
		ln.Close()
	}
	return files, addrs
}

func TestSocketsAreFoundByNameAndAddress(t *testing.T) {
	t.Parallel()
	files, addrs := handedOver(t, "LISTEN_FD_3", "public", SocketName("127.0.0.1:0"), SocketName("127.0.0.1:0"), "unused")
	s, err := NewSockets(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, row := range []struct{ address, name, want string }{
		{addrs[0], "", addrs[0]},
		{":8443", "public", addrs[1]},
		{"127.0.0.1:0", "", addrs[2]},
		{"127.0.0.1:0", "", addrs[3]}, // each one is for one listener
	} {
		ln, err := s.listen(row.address, row.name)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got := ln.Addr().String(); got != row.want {
			t.Errorf("for %q, named %q, there is %s, want %s", row.address, row.name, got, row.want)
		}
	}
	if names := s.Unused(); len(names) != 1 || names[0] != "unused" {
		t.Errorf("%q are unused", names)
	}
	ln, err := s.listen("127.0.0.1:0", "missing")
	if err != nil || ln.Addr().String() == addrs[4] {
		t.Errorf("where there is no socket: %v, %v, want a new one", ln, err)
	}
	ln.Close()
	s.Close()
	if _, err := net.Dial("tcp", addrs[4]); err == nil {
		t.Error("the socket that nobody wanted is still listened to")
	}
}

func TestSocketsMistakes(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	files, addrs := handedOver(t, "good")
	if _, err := NewSockets(append(files, f)); err == nil || !strings.Contains(err.Error(), "is no listening stream socket") {
		t.Errorf("a file: %v", err)
	}
	if _, err := net.Dial("tcp", addrs[0]); err == nil {
		t.Error("after the error a socket is still listened to")
	}
	var none *Sockets
	none.Close()
	if len(none.Unused()) > 0 {
		t.Error("no sockets have an unused one")
	}
}

func TestBoundTo(t *testing.T) {
	t.Parallel()
	at := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for _, row := range []struct {
		addr    net.Addr
		address string
		want    bool
	}{
		{at("::", 8443), ":8443", true},
		{at("::", 8443), "0.0.0.0:8443", true},
		{at("::", 8443), ":8444", false},
		{at("::", 8443), "127.0.0.1:8443", false},
		{at("127.0.0.1", 8443), ":8443", false},
		{at("127.0.0.1", 8443), "localhost:8443", true},
		{at("10.0.0.1", 8443), "localhost:8443", false},
		{at("::ffff:10.0.0.1", 443), "10.0.0.1:443", true},
		{at("::1", 443), "[::1]:https", true},
		{at("::1", 443), "::1", false},
		{&net.UnixAddr{Name: "/run/x"}, ":8443", false},
	} {
		if got := boundTo(row.addr, row.address); got != row.want {
			t.Errorf("%v is %q: %t", row.addr, row.address, got)
		}
	}
}

// successor starts a gateway with the same configuration on the sockets of g.
func (g *gateway) successor(t *testing.T, config string) *gateway {
	t.Helper()
	files, err := g.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := NewSockets(files)
	if err != nil {
		t.Fatal(err)
	}
	loaded, _, err := loadText(t, config)
	if err != nil {
		t.Fatal(err)
	}
	log, book := newLog()
	s, err := New(loaded.Config, log, "test", sockets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if unused := sockets.Unused(); len(unused) > 0 {
		t.Errorf("%q are not used", unused)
	}
	return &gateway{Server: s, log: book, addr: s.Addrs()[0].String()}
}

// Two gateways on one socket: the old one keeps whom it has, new clients come to the new one, and nobody is refused.
func TestRetireServesOn(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := withAdmin(oneRoute("ws://"+up.Addr(), ""))
	old := startGateway(t, config)
	c, _ := old.open(t, up, "/old")
	waiting := wstest.Dial(t, old.addr) // has not said what it wants
	waitFor(t, "the connection", func() bool { return old.waitlist.len() == 1 })

	next := old.successor(t, config)
	if next.addr != old.addr || next.admin.ln.Addr().String() != old.admin.ln.Addr().String() {
		t.Errorf("the new one listens on %s and %s", next.addr, next.admin.ln.Addr())
	}
	retired := make(chan error, 1)
	go func() { retired <- old.Retire(context.Background()) }()
	waitFor(t, "the end of the old listener", func() bool { return len(old.log.lines(t, "retired")) == 1 })
	queued := wstest.Dial(t, old.addr) // nobody accepts at the moment
	next.Start()
	queued.Upgrade(handshakeOf(t, "/queued", 0))
	if status := next.readyz(t); status != http.StatusOK {
		t.Errorf("/readyz says %d", status)
	}
	waiting.Upgrade(handshakeOf(t, "/waiting", 0))
	for _, c := range []*wstest.Client{c, waiting, queued} {
		c.Send(wstest.ClientFrame(0x81, []byte("on")))
		c.ExpectFrame(0x81, []byte("on"))
	}
	waitFor(t, "a client of the new gateway", func() bool { return len(next.log.lines(t, "admitted")) > 0 })
	if n := len(next.log.lines(t, "admitted")); n != 1 {
		t.Errorf("the new gateway has admitted %d clients, want the one that came last", n)
	}
	for _, c := range []*wstest.Client{c, waiting} {
		if len(retired) > 0 {
			t.Error("it has ended with a session open")
		}
		c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		c.ExpectClose(1000)
		c.Close()
	}
	if err := <-retired; err != nil {
		t.Error(err)
	}
	old.Close()
	queued.Send(wstest.ClientFrame(0x81, []byte("still")))
	queued.ExpectFrame(0x81, []byte("still"))
}

// What a retired gateway still has follows the configuration, whatever that says of listeners.
func TestRetiredIsReloaded(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), "")
	g := startGateway(t, config)
	g.open(t, up, "/old")
	ctx, cancel := context.WithCancel(context.Background())
	retired := make(chan error, 1)
	go func() { retired <- g.Retire(ctx) }()
	waitFor(t, "the end of the listener", func() bool { return len(g.log.lines(t, "retired")) == 1 })
	changed := strings.Replace(config, "listeners: [", `listeners: [{address: "127.0.0.1:1", tls: {certificates: "off"}}, `, 1)
	loaded, _, err := loadText(t, strings.Replace(changed, "name: app,", "name: renamed,", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(loaded.Config); err != nil {
		t.Errorf("the reload of a retired gateway: %v", err)
	}
	if name := g.site.Load().routes[0].name; name != "renamed" {
		t.Errorf("the route is %q still", name)
	}
	cancel()
	if err := <-retired; err == nil {
		t.Error("it has a session, and says that all have ended")
	}
}

// Before a gateway takes another's place it has what it needs.
func TestWarm(t *testing.T) {
	t.Parallel()
	g := newGateway(t, oneRoute("ws://127.0.0.1:9", ""))
	if err := g.Warm(t.Context()); err != nil {
		t.Error(err)
	}
	g.Close()
	g = newGateway(t, strings.Replace(oneRoute("ws://127.0.0.1:9", ", policies: [members]"), "admin:", `policies:
  members: {jwt: {issuer: "https://id.example.com", audience: app, jwks_url: "https://127.0.0.1:1/keys"}}
admin:`, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Warm(ctx); err == nil || !strings.Contains(err.Error(), "no keys of a token issuer yet") {
		t.Errorf("without the keys: %v", err)
	}
	g.Close()
}
