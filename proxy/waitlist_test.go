package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// limited is a configuration of one route with a section limits.
func limited(server, limits string) string {
	return oneRoute(server, "") + "limits: " + limits + "\n"
}

// Who opens connections and says nothing loses the oldest, and keeps nobody out: neither in the TLS handshake, nor before a request, nor
// between two.
func TestWaitlistDropsTheOldest(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, limited("ws://"+up.Addr(), "{waiting: 4}"))
	kept, _ := g.open(t, up, "/") // a session does not wait
	idle := wstest.Dial(t, g.addr)
	idle.Send(wstest.Plain("/plain").Bytes())
	if resp := idle.Response(); resp.Status == 0 {
		t.Fatal("no answer")
	}
	var silent []*wstest.Client
	for range 12 {
		silent = append(silent, wstest.Dial(t, g.addr))
	}
	for _, c := range silent[:8] {
		c.Drain(wstest.Patience)
	}
	waitFor(t, "four to be left", func() bool { return g.waitlist.len() <= 4 })
	g.open(t, up, "/late")
	kept.Send(wstest.ClientFrame(0x81, []byte("still there")))
	kept.ExpectFrame(0x81, []byte("still there"))
}

// The same holds where a client stops in its TLS handshake.
func TestWaitlistCountsTLSHandshakes(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	storage := t.TempDir()
	config := strings.Replace(limited("ws://"+up.Addr(), "{waiting: 3}"), `{certificates: "off"}`, "{certificates: internal}", 1) + "tls: {storage: {file: " + storage + "}}\n"
	g := startGateway(t, config)
	var half []net.Conn
	for range 9 {
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte{22, 3, 1, 2, 0, 1}) // the beginning of a ClientHello
		half = append(half, c)
	}
	for _, c := range half[:6] {
		wstest.NewClient(t, c).ExpectEnd(wstest.Patience)
	}
	c, err := tls.Dial("tcp", g.addr, trusting(t, storage, "app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
}

// Over all listeners there are so many connections, and no more.
func TestConnectionsInAll(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, limited("ws://"+up.Addr(), "{connections: 2}"))
	first, _ := g.open(t, up, "/1")
	g.open(t, up, "/2")
	over := wstest.Dial(t, g.addr)
	resp := over.Response()
	if resp.Status != http.StatusServiceUnavailable || resp.Get("Retry-After") == "" {
		t.Errorf("got %q, want 503 with Retry-After", resp.Line)
	}
	first.Close()
	waitFor(t, "the place", func() bool { return g.connections.InUse() == 1 })
	g.open(t, up, "/3")
}

// Handshakes over the rate of all listeners get 503 before anything is spent on them.
func TestHandshakesInAll(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, limited("ws://"+up.Addr(), "{handshakes: 1/h burst 2}"))
	for i, want := range []int{101, 101, 503, 503} {
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.HS0("/").Without("Origin").Bytes())
		resp := c.Head()
		if resp.Status != want || want == 503 && resp.Get("Retry-After") == "" {
			t.Errorf("handshake %d: got %q %q, want %d", i, resp.Line, resp.Fields, want)
		}
	}
	if up.Dials() != 2 {
		t.Errorf("%d dials of the upstream, want 2", up.Dials())
	}
	if got := g.metrics.series(t)["framegate_handshakes_total{result=limit,route=-}"]; got != 2 {
		t.Errorf("%v refusals are counted, want 2", got)
	}
}

// A default does not undercut what a policy says.
func TestDefaultRateOfHandshakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "500/s burst 500",
		"limits: {handshakes: 10/s}\n": "10/s burst 10",
		"policies: {p: {handshakes: {per_ip: 10/s burst 40}}}\n":                                "500/s burst 500",
		"policies: {p: {handshakes: {per_ip: 100000/s burst 100000}}}\n":                        "100000/s burst 100000",
		"policies: {p: {handshakes: {per_ip: 100000/s}}}\nlimits: {handshakes: 1/s burst 70}\n": "1/s burst 70",
	} {
		loaded, _, err := loadText(t, oneRoute("ws://127.0.0.1:9", "")+text)
		if err != nil {
			t.Fatal(err)
		}
		if got := loaded.Config.handshakes().String(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
