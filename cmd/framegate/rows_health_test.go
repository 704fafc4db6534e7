package main_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// startPool starts a gateway in front of one upstream with the given keys, for app.example.com.
func startPool(t *testing.T, upstream string) *wstest.Process {
	t.Helper()
	return startPoolWith(t, upstream, "", "")
}

// startPoolWith is startPool with further keys of the listener and of the route, `, key: value`.
func startPoolWith(t *testing.T, upstream, listener, route string) *wstest.Process {
	t.Helper()
	return wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]%s}]
routes:
  - {name: app, hosts: [app.example.com], upstream: app, policies: [pages]%s}
upstreams:
  app: {%s}
policies:
  pages: {%s}
log: {level: debug}
`, listener, route, upstream, originPolicy))
}

// urlsOf is the list of servers at recorders.
func urlsOf(recorders ...*wstest.Recorder) string {
	var urls []string
	for _, r := range recorders {
		urls = append(urls, `"ws://`+r.Addr()+`"`)
	}
	return "servers: [" + strings.Join(urls, ", ") + "]"
}

// sessionsAt opens sessions on a path and tells how many each recorder has got. The sessions end with the test.
func sessionsAt(t *testing.T, p *wstest.Process, path string, n int, recorders ...*wstest.Recorder) []int {
	t.Helper()
	for range n {
		wstest.Dial(t, p.Addr).Upgrade(hs(path))
	}
	var counts []int
	for _, r := range recorders {
		counts = append(counts, len(r.Conns(path)))
	}
	return counts
}

// waitState waits until the metrics say that a server is in a state.
func waitState(t *testing.T, p *wstest.Process, server, state string) {
	t.Helper()
	series := fmt.Sprintf(`framegate_upstream_server_state{server=%q,state=%q,upstream="app"}`, server, state)
	for end := time.Now().Add(wstest.Patience); p.Metrics()[series] != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server %s is not %s after %v: %v", server, state, wstest.Patience, p.Logs("server state"))
		}
	}
}

// again listens where a recorder was that is closed.
func again(t *testing.T, addr string, b wstest.Behaviour) *wstest.Recorder {
	t.Helper()
	return wstest.NewRecorderOn(t, wstest.Listen(t, addr), b)
}

// TestRowsChecked is a server that goes away and comes back under the check by WebSocket: nobody is sent to it meanwhile, and sessions at the
// other one do not notice.
func TestRowsChecked(t *testing.T) {
	t.Parallel()
	a, b := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
	p := startPool(t, urlsOf(a, b)+", health: {websocket: {path: /check, subprotocol: x}, interval: 100ms, healthy: 2, unhealthy: 2}")
	checked := wstest.EchoWith("Sec-WebSocket-Protocol: x")
	a.Handle("/check", checked)
	b.Handle("/check", checked)
	waitState(t, p, a.Addr(), "up")
	waitState(t, p, b.Addr(), "up")
	wstest.Guard(t, p)
	victim := func(server *wstest.Recorder) {
		for { // round robin: one of two comes to it
			c := wstest.Dial(t, p.Addr)
			before := len(server.Conns("/ws/victim"))
			c.Upgrade(hs("/ws/victim"))
			if len(server.Conns("/ws/victim")) > before {
				wstest.NewVictim(t, c)
				return
			}
			c.Close()
		}
	}
	victim(a)
	lost := wstest.Dial(t, p.Addr)
	for lost.Upgrade(hs("/ws/lost")); len(b.Conns("/ws/lost")) == 0; lost.Upgrade(hs("/ws/lost")) {
		lost = wstest.Dial(t, p.Addr)
	}
	addr := b.Addr()
	b.Close()
	lost.ExpectClose(1011)
	waitState(t, p, addr, "down")
	if got := sessionsAt(t, p, "/ws/down", 6, a); got[0] != 6 {
		t.Errorf("%d of 6 sessions at the server that is left", got[0])
	}
	b = again(t, addr, wstest.Echo)
	b.Handle("/check", checked)
	waitState(t, p, addr, "up")
	if got := sessionsAt(t, p, "/ws/back", 6, a, b); !slices.Equal(got, []int{3, 3}) {
		t.Errorf("sessions at the two servers: %v, want 3 each", got)
	}
	// One line for each change.
	var changes []string
	for _, line := range p.Logs("server state") {
		if line["server"] == addr {
			changes = append(changes, fmt.Sprint(line["before"], ">", line["state"]))
		}
	}
	if i := slices.Index(changes, "up>down"); i < 0 || !slices.Equal(changes[i:], []string{"up>down", "down>up"}) {
		t.Errorf("the log tells %v", changes)
	}
	u := b.Wait("/check")
	if code, _ := u.WaitClose(wstest.Patience); code != 1000 {
		t.Errorf("a check ended with %d, want 1000", code)
	}
	if m := p.Metrics(); m[fmt.Sprintf(`framegate_upstream_checks_total{result="failed",server=%q,upstream="app"}`, addr)] < 2 {
		t.Error("failed checks are not counted")
	}
}

// TestRowsAllDown is an upstream all of whose servers are down by their checks: 503 at once, without a try, and with a time to come back.
func TestRowsAllDown(t *testing.T) {
	t.Parallel()
	a := wstest.NewRecorder(t, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 500 X", "Content-Length: 0")), wstest.Hangup))
	p := startPool(t, urlsOf(a)+", health: {http: {path: /healthz}, interval: 100ms, healthy: 1}")
	waitState(t, p, a.Addr(), "down")
	wstest.Guard(t, p)
	var waits []int
	for range 12 {
		for _, request := range [][]byte{hs("/ws/x").Bytes(), []byte("GET /page HTTP/1.1\r\nHost: app.example.com\r\n\r\n")} {
			c := wstest.Dial(t, p.Addr)
			c.Send(request)
			resp := c.Response()
			wait, err := strconv.Atoi(resp.Get("Retry-After"))
			if resp.Status != 503 || err != nil || wait < 1 || wait > 30 {
				t.Errorf("got %q, Retry-After %q, want 503 and a few seconds", resp.Line, resp.Get("Retry-After"))
			}
			wstest.CheckRefusal(t, resp)
			waits = append(waits, wait)
		}
	}
	if slices.Sort(waits); waits[0] == waits[len(waits)-1] {
		t.Errorf("every client is to come back after %d s", waits[0])
	}
	if n := len(a.Conns("/ws/x")) + len(a.Conns("/page")); n != 0 {
		t.Errorf("%d requests at a server that is down", n)
	}
	if code := p.Ready(); code != 200 {
		t.Errorf("/readyz is %d, want 200: the gateway could not do better elsewhere", code)
	}
	if n := p.Metrics()[`framegate_handshakes_total{result="upstream_down",route="app"}`]; n != 12 {
		t.Errorf("%v handshakes counted as upstream_down, want 12", n)
	}
	a.Handle("/healthz", wstest.Page("ok"))
	a.Handle("/ws/back", wstest.Echo)
	waitState(t, p, a.Addr(), "up")
	if got := sessionsAt(t, p, "/ws/back", 1, a); got[0] != 1 {
		t.Error("no session after the server is back")
	}
}

// TestRowsEjected is a server that fails handshakes in every way that there is: after three in a row nobody is sent to it, until one is.
func TestRowsEjected(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	for name, bad := range map[string]wstest.Behaviour{
		"answers 500":       wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 500 X", "Content-Length: 0")), wstest.Hangup),
		"answers a bad 101": wstest.Accept("Sec-WebSocket-Protocol: unasked"),
		"hangs up":          wstest.Hangup,
		"resets":            wstest.Abort,
		"speaks no HTTP":    wstest.Then(wstest.Send([]byte("SSH-2.0-OpenSSH\r\n")), wstest.Hangup),
	} {
		run(name, func(t *testing.T) {
			a, b := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, bad)
			p := startPool(t, urlsOf(a, b)+", ejection: {backoff: 500ms, max_backoff: 500ms}")
			ask := func(times int) (answers []int) {
				for range times {
					c := wstest.Dial(t, p.Addr)
					c.Send(hs("/ws").Bytes())
					answers = append(answers, c.Head().Status)
					c.Close()
				}
				return answers
			}
			start := time.Now()
			ask(20)
			if n := b.Dials(); n != 3 && time.Since(start) < 400*time.Millisecond {
				t.Errorf("%d requests at a server that fails, want 3", n)
			}
			waitState(t, p, b.Addr(), "trial")
			line := p.WaitLogs("server state", 1)[0]
			if line["state"] != "ejected" || line["server"] != b.Addr() || line["level"] != "WARN" || line["cause"] == nil {
				t.Errorf("the log tells %v", line)
			}
			b.Handle("/ws", wstest.Echo) // it works again
			for end := time.Now().Add(wstest.Patience); ; {
				answers := ask(4)
				if slices.Equal(answers, []int{101, 101, 101, 101}) && p.Metrics()[fmt.Sprintf(`framegate_upstream_server_state{server=%q,state="up",upstream="app"}`, b.Addr())] == 1 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the server is not back: %v", p.Logs("server state"))
				}
			}
			wstest.CheckSecrets(t, p)
		})
	}
}

// TestRowsRefusalsEjectNobody holds the other side: what an application refuses on purpose is no failure.
func TestRowsRefusalsEjectNobody(t *testing.T) {
	t.Parallel()
	a := wstest.NewRecorder(t, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 403 Forbidden", "Content-Length: 0")), wstest.Hangup))
	b := wstest.NewRecorder(t, wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 404 Not Found", "Content-Length: 0")), wstest.Hangup))
	p := startPool(t, urlsOf(a, b))
	for range 12 {
		c := wstest.Dial(t, p.Addr)
		c.Send(hs("/ws").Bytes())
		if resp := c.Response(); resp.Status != 403 && resp.Status != 404 {
			t.Errorf("got %q", resp.Line)
		}
	}
	if a.Dials() != 6 || b.Dials() != 6 {
		t.Errorf("%d and %d requests, want 6 each", a.Dials(), b.Dials())
	}
}

// TestRowsPagesAreNoProof has a server whose pages are there, with whatever status, while its handshakes fail: pages that say 500 do not speak for
// it.
func TestRowsPagesAreNoProof(t *testing.T) {
	t.Parallel()
	failing := wstest.Then(wstest.Send(wstest.Head("HTTP/1.1 500 X", "Content-Length: 0")), wstest.Hangup)
	a, b := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, failing)
	p := startPool(t, urlsOf(a, b))
	a.Handle("/page", failing)
	for len(b.Conns("/ws")) < 3 {
		// Three, so that each kind comes to both servers in turn.
		for _, request := range [][]byte{hs("/ws").Bytes(), hs("/ws").Bytes(), wstest.Head("GET /page HTTP/1.1", "Host: app.example.com", "Connection: close")} {
			c := wstest.Dial(t, p.Addr)
			c.Send(request)
			c.Head()
			c.Close()
		}
		if a.Dials()+b.Dials() > 60 {
			t.Fatalf("after %d and %d requests no third handshake at the server that fails", a.Dials(), b.Dials())
		}
	}
	waitState(t, p, b.Addr(), "ejected")
}
