package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/upstream"
)

// refusedWith makes a request of either kind and demands a 503 for this reason, with a time to come back.
func (g *gateway) refusedWith(t *testing.T, request *wstest.Request, reason string) {
	t.Helper()
	c := wstest.Dial(t, g.addr)
	defer c.Close()
	c.Send(request.Bytes())
	resp := c.Response()
	wait, err := strconv.Atoi(resp.Get("Retry-After"))
	if resp.Status != http.StatusServiceUnavailable || !strings.Contains(string(resp.Body), reason) || err != nil || wait < 2 || wait > 10 {
		t.Errorf("got %q %q %q, want 503 for %q and a time to come back", resp.Line, resp.Fields, resp.Body, reason)
	}
	wstest.CheckRefusal(t, resp)
}

// Where all servers have as many connections as they may, or all are down, clients are told to come back, and the metrics tell which it is.
func TestReachFullAndDown(t *testing.T) {
	t.Parallel()
	one, two := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
	one.Handle("/page", wstest.Page("page"))
	config := strings.Replace(severalServers("X", "ws://"+two.Addr()), `"X"`, `{url: "ws://`+one.Addr()+`", max_connections: 2}`, 1)
	g := startGateway(t, config)
	servers := g.site.Load().pools["app"].Servers()
	servers[1].Mark(upstream.Unhealthy)
	a, _ := g.open(t, one, "/a")
	g.open(t, one, "/b")
	hs, page := handshakeOf(t, "/c", 0), wstest.Plain("/page")
	g.refusedWith(t, hs, "upstream is full")
	g.refusedWith(t, page, "upstream is full")
	servers[0].Mark(upstream.Ejected)
	g.refusedWith(t, hs, "upstream is down")
	g.refusedWith(t, page, "upstream is down")
	servers[0].Clear(upstream.Ejected, time.Now())
	a.Close()
	waitFor(t, "the place of the session that ended", func() bool { return servers[0].Live() == 1 })
	if resp := g.get(t, "/page"); resp.StatusCode != http.StatusOK {
		t.Errorf("with a free place: %s", resp.Status)
	}
	waitFor(t, "the place of the request", func() bool { return servers[0].Live() == 1 })
	all := g.metrics.series(t)
	for series, want := range map[string]float64{
		"framegate_handshakes_total{result=upstream_full,route=app}": 1, "framegate_handshakes_total{result=upstream_down,route=app}": 1,
		"framegate_requests_total{result=upstream_full,route=app}": 1, "framegate_requests_total{result=upstream_down,route=app}": 1,
		fmt.Sprintf("framegate_upstream_connections{server=%s,upstream=app}", one.Addr()):    1,
		fmt.Sprintf("framegate_upstream_picks_total{server=%s,upstream=app}", one.Addr()):    3,
		fmt.Sprintf("framegate_upstream_failures_total{server=%s,upstream=app}", one.Addr()): 0,
		fmt.Sprintf("framegate_upstream_picks_total{server=%s,upstream=app}", two.Addr()):    0,
	} {
		if all[series] != want {
			t.Errorf("%s is %v, want %v", series, all[series], want)
		}
	}
	results := map[any]int{}
	for _, line := range g.log.lines(t, "refused") {
		results[line["result"]]++
	}
	if results[resultFull] != 2 || results[resultDown] != 2 {
		t.Errorf("the log tells of %v", results)
	}
}

// A plain request takes the next server too where one cannot be reached, and its body arrives whole.
func TestReachPlainTakesTheNextServer(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	g := startGateway(t, severalServers(refusedPort, app.server(), "ws://127.0.0.1:10"))
	body := strings.Repeat("body ", 5000)
	for range 6 {
		c := wstest.Dial(t, g.addr)
		c.Send(post("/page", body))
		if resp := c.Response(); resp.Status != http.StatusOK || string(resp.Body) != body {
			t.Fatalf("got %q and %d bytes, want the body", resp.Line, len(resp.Body))
		}
		c.Close()
	}
	all := g.metrics.series(t)
	if got := all["framegate_upstream_failures_total{server=127.0.0.1:9,upstream=app}"]; got == 0 {
		t.Error("failures are not counted")
	}
	for _, s := range g.site.Load().pools["app"].Servers() {
		waitFor(t, "no connection", func() bool { return s.Live() == 0 })
	}
}

// Places come back however a handshake or a request ends.
func TestReachGivesPlacesBack(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	up.Handle("/hangup", wstest.Hangup)
	up.Handle("/no", wstest.Page("no"))
	up.Handle("/silent", wstest.Silent)
	up.Handle("/wrong", wstest.Accept("Sec-WebSocket-Protocol: unasked"))
	for _, driver := range drivers {
		g := startGateway(t, oneRoute("ws://"+up.Addr(), "")+driver)
		server := g.site.Load().pools["app"].Servers()[0]
		for _, path := range []string{"/hangup", "/no", "/wrong", "/silent", "/echo"} {
			for _, r := range []*wstest.Request{handshakeOf(t, path, 0), wstest.Plain(path)} {
				c := wstest.Dial(t, g.addr)
				c.Send(r.Bytes())
				if path != "/silent" {
					c.Head()
				} else {
					waitFor(t, "the request at the server", func() bool { return server.Live() > 0 })
				}
				c.Close()
				waitFor(t, path+" gives its place back", func() bool { return server.Live() == 0 })
			}
		}
	}
}

// The count of a server's sessions is that of before the reload, so that caps and strategies go by it.
func TestReachCountsSurviveReload(t *testing.T) {
	t.Parallel()
	one, two, three := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
	config := func(servers ...*wstest.Recorder) string {
		var urls []string
		for _, s := range servers {
			urls = append(urls, "ws://"+s.Addr())
		}
		return strings.Replace(severalServers(urls...), "]}}", "], balance: least_connections}}", 1)
	}
	g := startGateway(t, config(one, two))
	for i := range 6 {
		c := wstest.Dial(t, g.addr)
		c.Upgrade(handshakeOf(t, fmt.Sprintf("/before/%d", i), 0))
	}
	g.reloaded(t, config(three, two, one))
	for i := range 3 {
		c := wstest.Dial(t, g.addr)
		c.Upgrade(handshakeOf(t, fmt.Sprintf("/after/%d", i), 0))
	}
	if one.Dials() != 3 || two.Dials() != 3 || three.Dials() != 3 {
		t.Errorf("%d, %d and %d connections, want the new server to come level", one.Dials(), two.Dials(), three.Dials())
	}
}
