package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// drainConfig is a DrainConfig of these times.
func drainConfig(delay, window, hardStop time.Duration) DrainConfig {
	return DrainConfig{Delay: strictyaml.Duration(delay), Window: strictyaml.Duration(window), HardStop: strictyaml.Duration(hardStop)}
}

// drain drains a gateway in a goroutine; the channel is closed when it is done.
func (g *gateway) drain(d DrainConfig) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Drain(context.Background(), d)
	}()
	return done
}

// open makes a session on a path of an upstream that is a recorder.
func (g *gateway) open(t *testing.T, up *wstest.Recorder, path string) (*wstest.Client, *wstest.Upstream) {
	t.Helper()
	c := wstest.Dial(t, g.addr)
	c.Upgrade(handshakeOf(t, path, 0))
	return c, up.Wait(path)
}

// readyz is the answer of the admin listener.
func (g *gateway) readyz(t *testing.T) int {
	t.Helper()
	c := wstest.Dial(t, g.admin.ln.Addr().String())
	c.Send(wstest.Plain("/readyz").With("Host", g.admin.ln.Addr().String()).Bytes())
	return c.Response().Status
}

// withAdmin gives a configuration an admin listener.
func withAdmin(config string) string {
	return strings.Replace(config, `admin: {address: "off"}`, `admin: {address: "127.0.0.1:0"}`, 1)
}

// Until the delay is over a load balancer may still send clients, which are served.
func TestDrainServesDuringTheDelay(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, withAdmin(oneRoute("ws://"+up.Addr(), "")))
	if status := g.readyz(t); status != http.StatusOK {
		t.Errorf("before the drain /readyz says %d", status)
	}
	start := time.Now()
	const delay = 500 * time.Millisecond
	done := g.drain(drainConfig(delay, 0, time.Minute))
	waitFor(t, "the end of the readiness", func() bool { return g.readyz(t) == http.StatusServiceUnavailable })
	c, _ := g.open(t, up, "/late")
	c.Send(wstest.ClientFrame(0x81, []byte("a")))
	c.ExpectFrame(0x81, []byte("a"))
	c.ExpectClose(1001)
	if passed := time.Since(start); passed < delay {
		t.Errorf("the session was ended after %v, within the delay", passed)
	}
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
	c.Close()
	<-done
	if _, err := wstest.TryDial(t, g.addr); err == nil {
		t.Error("after the drain the listener accepts")
	}
	if status := g.readyz(t); status != http.StatusServiceUnavailable {
		t.Errorf("after the drain /readyz says %d", status)
	}
}

// Connections that live on are told that there are no new sessions.
func TestDrainRefusesNewSessions(t *testing.T) {
	t.Parallel()
	app := newApplication(t, ok)
	g := startGateway(t, oneRoute(app.server(), ""))
	idle := wstest.Dial(t, g.addr)
	idle.Send(get("/"))
	idle.Response()
	app.asked(t)
	g.Server.draining.Store(true)
	idle.Send(handshakeOf(t, "/refused", 0).Bytes())
	resp := idle.Response()
	if resp.Status != http.StatusServiceUnavailable || resp.Get("Retry-After") == "" {
		t.Errorf("got %q %q, want 503 with Retry-After", resp.Line, resp.Fields)
	}
	wstest.CheckRefusal(t, resp)
	if got := counted(g.metrics.handshakes.WithLabelValues(noRoute, resultDraining)); got != 1 {
		t.Errorf("%v handshakes were counted as refused by the drain", got)
	}
}

// A handshake that has been admitted before the drain is completed, and its session ended like the others.
func TestDrainEndsASessionThatBeginsMeanwhile(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { testSessionDuringDrain(t, driver) })
	}
}

func testSessionDuringDrain(t *testing.T, driver string) {
	proceed := make(chan struct{})
	up := wstest.NewRecorder(t, func(u *wstest.Upstream) {
		<-proceed
		u.Accept()
	})
	g := startGateway(t, oneRoute("ws://"+up.Addr(), "")+driver)
	c := wstest.Dial(t, g.addr)
	request := handshakeOf(t, "/", 0)
	c.Send(request.Bytes())
	u := up.Wait("/")
	done := g.drain(drainConfig(0, time.Minute, 2*time.Minute))
	waitFor(t, "the drain", g.draining.Load)
	close(proceed)
	c.Accepted(request)
	c.ExpectClose(1001)
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
	c.Close()
	if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
		t.Errorf("the upstream got Close %d, want 1001", code)
	}
	u.Send(wstest.ServerFrame(0x88, wstest.CloseFrame(1001, "")))
	u.Close()
	<-done
}

// Who was accepted before the drain is answered, also where TLS has not been spoken yet.
func TestDrainAnswersWhoWasAccepted(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	config := strings.Replace(oneRoute("ws://127.0.0.1:9", ""), `certificates: "off"`, "certificates: internal", 1)
	g := startGateway(t, config+"tls: {storage: {file: "+storage+"}}\n")
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the connection", func() bool { return g.waitlist.len() == 1 })
	done := g.drain(drainConfig(0, time.Minute, 2*time.Minute))
	waitFor(t, "the drain", g.draining.Load)
	c := wstest.NewClient(t, tls.Client(conn, trusting(t, storage, "app.example.com")))
	c.Send(handshakeOf(t, "/", 0).Bytes())
	if resp := c.Response(); resp.Status != http.StatusServiceUnavailable || resp.Get("Retry-After") == "" {
		t.Errorf("got %q %q, want 503 with Retry-After", resp.Line, resp.Fields)
	}
	c.Close()
	<-done
}

// A request under way has the window to end.
func TestDrainLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-proceed
		io.WriteString(w, "whole")
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	resp := g.get(t, "/")
	done := g.drain(drainConfig(0, time.Minute, 2*time.Minute))
	waitFor(t, "the drain", g.draining.Load)
	close(proceed)
	<-done
	g.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "whole" {
		t.Errorf("got %q and %v, want the whole answer", body, err)
	}
}

// At the hard stop the drain is over, whatever is left; Close ends that with a reset.
func TestDrainEndsAtTheHardStop(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { testHardStop(t, driver) })
	}
}

func testHardStop(t *testing.T, driver string) {
	up := wstest.NewRecorder(t, wstest.Accept())
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ", close_timeout: 1h")+driver)
	c, u := g.open(t, up, "/")
	g.Drain(t.Context(), drainConfig(0, 0, 100*time.Millisecond))
	c.ExpectClose(1001)
	u.WaitClose(wstest.Patience)
	if n := g.sessions.count(); n != 1 {
		t.Errorf("%d sessions are left, want 1", n)
	}
	g.Close()
	if _, err := c.Drain(wstest.Patience); !wstest.IsReset(err) {
		t.Errorf("the client's connection ended with %v, want a reset", err)
	}
	if end := u.WaitEnd(wstest.Patience); end != wstest.Reset {
		t.Errorf("the upstream's connection ended with %v, want a reset", end)
	}
	if n := len(g.log.lines(t, "connection")); n != 1 {
		t.Errorf("%d connections were logged, want 1", n)
	}
}

// Close leaves nothing behind: not what is idle, not what is under way.
func TestCloseEndsEverything(t *testing.T) {
	up := wstest.NewRecorder(t, wstest.Silent)
	up.Handle("/open", wstest.Accept())
	started := goleak.IgnoreCurrent()
	g := startGateway(t, withAdmin(oneRoute("ws://"+up.Addr(), "")))
	wstest.Dial(t, g.addr)
	g.open(t, up, "/open")
	half := wstest.Dial(t, g.addr)
	half.Send(get("/")[:10])
	for _, request := range [][]byte{get("/plain"), handshakeOf(t, "/handshake", 0).Bytes()} {
		c := wstest.Dial(t, g.addr)
		c.Send(request)
		defer c.ExpectEnd(wstest.Patience)
	}
	up.Wait("/plain")
	up.Wait("/handshake")
	g.Close()
	up.Close()
	goleak.VerifyNone(t, started)
	for _, addr := range []string{g.addr, g.admin.ln.Addr().String()} {
		if _, err := wstest.TryDial(t, addr); err == nil {
			t.Errorf("%s is still listened to", addr)
		}
	}
}

// A server that cannot start has bound nothing.
func TestNewLeavesNothingBehindAnError(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	for name, row := range map[string]struct{ second, admin, storage string }{
		"a listener's address is taken":     {taken.Addr().String(), "off", t.TempDir()},
		"the admin's address is taken":      {"127.0.0.1:0", taken.Addr().String(), t.TempDir()},
		"the storage cannot be written":     {"127.0.0.1:0", "off", "/dev/null/storage"},
		"the configuration is not valid":    {"example.com:80", "off", t.TempDir()},
		"the configuration names no policy": {"127.0.0.1:0", "nowhere", t.TempDir()},
	} {
		cfg, err := Single(addr, "ws://127.0.0.1:9", []string{"localhost"})
		if err != nil {
			t.Fatal(err)
		}
		cfg.TLS.Storage.File = row.storage
		cfg.Admin.Address = row.admin
		second := cfg.Listeners[0]
		second.Address = row.second
		cfg.Listeners = append(cfg.Listeners, second)
		log, _ := newLog()
		if s, err := New(cfg, log, "test", nil); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "\n\n") {
			t.Errorf("%s: %q", name, err)
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("%s: the first listener is still bound: %v", name, err)
			continue
		}
		ln.Close()
	}
}

// New does not start: a client that comes before Start waits.
func TestStartAccepts(t *testing.T) {
	t.Parallel()
	config := withAdmin(oneRoute("ws://127.0.0.1:9", ""))
	g := newGateway(t, config)
	c := wstest.Dial(t, g.addr)
	c.Send(wstest.Plain("/").With("Host", "nobody.example.com").Bytes())
	g.Start()
	if resp := c.Response(); resp.Status != http.StatusNotFound {
		t.Errorf("got %q", resp.Line)
	}
	g.Close()
	var told []string
	for _, line := range g.log.lines(t, "listening") {
		told = append(told, fmt.Sprintf("%v %v", line["address"], line["for"]))
	}
	if want := g.addr + " clients"; len(told) != 2 || told[1] != want {
		t.Errorf("the log says %q, want %q last", told, want)
	}

	unstarted := newGateway(t, config)
	unstarted.Close() // without Start
	if _, err := wstest.TryDial(t, unstarted.admin.ln.Addr().String()); err == nil {
		t.Error("the admin listener of a server that never started is still bound")
	}
}
