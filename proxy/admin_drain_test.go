package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// drainable is a configuration of two routes to one upstream, whose drains are short.
func drainable(more string, servers ...string) string {
	return fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: app, hosts: [app.example.com], upstream: app, policies: [o], close_timeout: 1s}
  - {name: other, hosts: [other.example.com], upstream: app, policies: [o], close_timeout: 1s}
upstreams: {app: {servers: ["ws://%s"]}}
policies: {o: {origin: {allow: ["https://app.example.com"]}}}
drain: {delay: 0s, window: 200ms, hard_stop: 30s}
admin: {address: "127.0.0.1:0"}
%s
`, strings.Join(servers, `", "ws://`), more)
}

// closedGoingAway answers the Close of a drain.
func closedGoingAway(t *testing.T, c *wstest.Client) {
	t.Helper()
	if _, reason := c.ExpectClose(1001); reason != "going away" {
		t.Errorf("closed for %q, want going away", reason)
	}
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
	c.Close()
}

// A server that is drained loses its sessions and gets no new ones, also after a reload, until that is called off. Others are not touched.
func TestDrainServer(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			one, two := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
			g := startGateway(t, drainable(driver, one.Addr(), two.Addr()))
			body := fmt.Sprintf(`{"upstream": "app", "server": "%s"}`, one.Addr())
			series := fmt.Sprintf("framegate_upstream_server_draining{server=%s,upstream=app}", one.Addr())
			enter := func(from *wstest.Recorder) (all []*wstest.Client) {
				before := from.Dials()
				for range 4 {
					all = append(all, g.enter(t, "app.example.com"))
				}
				if from.Dials() == before {
					t.Error("the server got no session")
				}
				return all
			}
			live := g.site.Load().pools["app"].Servers()
			enter(one)
			if status, text := g.post(t, "/-/drain", body); status != 200 || !strings.Contains(text, `"draining":true`) {
				t.Fatalf("got %d %s", status, text)
			}
			waitFor(t, "the end of its sessions", func() bool { return live[0].Live() == 0 })
			if n := live[1].Live(); n != 2 {
				t.Errorf("%d sessions of the other server, want 2", n)
			}
			changed, _, err := loadText(t, drainable(driver+"\nlimits: {connections: 77}", one.Addr(), two.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Reload(changed.Config); err != nil {
				t.Fatal(err)
			}
			before := one.Dials()
			if enter(two); one.Dials() != before || g.metrics.series(t)[series] != 1 {
				t.Errorf("%d sessions came to the drained server, series %v", one.Dials()-before, g.metrics.series(t)[series])
			}
			if status, text := g.post(t, "/-/undrain", body); status != 200 || !strings.Contains(text, `"draining":false`) {
				t.Fatalf("got %d %s", status, text)
			}
			enter(one)
			if got := g.metrics.series(t)[series]; got != 0 {
				t.Errorf("series %v", got)
			}
			if a, b := len(g.log.lines(t, "drain asked for")), len(g.log.lines(t, "drain called off")); a != 1 || b != 1 {
				t.Errorf("%d and %d lines of the log", a, b)
			}
		})
	}
}

// A route that is drained loses its sessions and refuses new ones, and plain requests, until that is called off. Others are not touched.
func TestDrainRoute(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			up := wstest.NewRecorder(t, wstest.Echo)
			g := startGateway(t, drainable(driver, up.Addr()))
			mine, others := g.enter(t, "app.example.com"), g.enter(t, "other.example.com")
			answered := func(host string, r *wstest.Request, want int) {
				t.Helper()
				c := wstest.Dial(t, g.addr)
				defer c.Close()
				c.Send(r.With("Host", host).Bytes())
				if resp := c.Head(); resp.Status != want || want == 503 && resp.Get("Retry-After") == "" {
					t.Errorf("%s: %q, Retry-After %q, want %d", host, resp.Line, resp.Get("Retry-After"), want)
				}
			}
			if status, text := g.post(t, "/-/drain", `{"route": "app"}`); status != 200 || !strings.Contains(text, `"connections":1`) {
				t.Fatalf("got %d %s", status, text)
			}
			closedGoingAway(t, mine)
			lives(t, "other", others)
			answered("app.example.com", wstest.HS0("/"), 503)
			answered("app.example.com", wstest.Plain("/"), 503)
			answered("other.example.com", wstest.HS0("/"), 101)
			all := g.metrics.series(t)
			for series, want := range map[string]float64{
				"framegate_route_draining{route=app}": 1, "framegate_route_draining{route=other}": 0,
				"framegate_handshakes_total{result=draining,route=app}": 1, "framegate_requests_total{result=draining,route=app}": 1,
			} {
				if all[series] != want {
					t.Errorf("%s is %v, want %v", series, all[series], want)
				}
			}
			if lines := g.log.lines(t, "refused"); len(lines) != 2 || lines[0]["reason"] != "route is drained" {
				t.Errorf("the log has %v", lines)
			}
			g.post(t, "/-/undrain", `{"route": "app"}`)
			answered("app.example.com", wstest.HS0("/"), 101)

			// One that is removed is not drained when it comes back.
			g.post(t, "/-/drain", `{"route": "app"}`)
			whole := drainable(driver, up.Addr())
			for _, config := range []string{strings.Replace(whole, "name: app,", "name: new,", 1), whole} {
				next, _, err := loadText(t, config)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Reload(next.Config); err != nil {
					t.Fatal(err)
				}
				answered("app.example.com", wstest.HS0("/"), 101)
			}
		})
	}
}

// A session whose handshake was under way is drained too; calling the drain off spares those that have not been closed.
func TestDrainLate(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			drained := make(chan struct{})
			up := wstest.NewRecorder(t, func(u *wstest.Upstream) {
				<-drained
				wstest.Echo(u)
			})
			g := startGateway(t, strings.Replace(drainable(driver, up.Addr()), "window: 200ms", "window: 1h", 1))
			c := wstest.Dial(t, g.addr)
			r := wstest.HS0("/").With("Host", "app.example.com")
			c.Send(r.Bytes())
			waitFor(t, "the handshake at the upstream", func() bool { return up.Dials() == 1 })
			g.post(t, "/-/drain", `{"route": "app"}`)
			close(drained)
			c.Accepted(r)
			closedGoingAway(t, c)

			g.post(t, "/-/undrain", `{"route": "app"}`)
			spared := g.enter(t, "app.example.com")
			g.post(t, "/-/drain", `{"route": "app"}`) // somewhen within an hour
			g.post(t, "/-/undrain", `{"route": "app"}`)
			lives(t, "spared", spared)
		})
	}
}

func TestDrainOrders(t *testing.T) {
	t.Parallel()
	g := startGateway(t, drainable("", "127.0.0.1:9"))
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		``:                                     {400, "want JSON"},
		`{}`:                                   {400, "want JSON"},
		`[]`:                                   {400, "want JSON"},
		`{"route": 7}`:                         {400, "want JSON"},
		`{"rout": "app"}`:                      {400, "want JSON"},
		`{"route": "app"} {}`:                  {400, "want JSON"},
		`{"route": "app", "upstream": "app"}`:  {400, "want JSON"},
		`{"upstream": "app"}`:                  {400, "want JSON"},
		`{"server": "127.0.0.1:9"}`:            {400, "want JSON"},
		`{"route": "none"}`:                    {404, "no such route, there are: app, other"},
		`{"upstream": "none", "server": "x"}`:  {404, "no such upstream, there are: app"},
		`{"upstream": "app", "server": "x:1"}`: {404, "no such server, there are: 127.0.0.1:9"},
	} {
		for _, path := range []string{"/-/drain", "/-/undrain"} {
			if status, text := g.post(t, path, body); status != want.status || !strings.Contains(text, want.text) {
				t.Errorf("%s %s: got %d %s, want %d %s", path, body, status, text, want.status, want.text)
			}
		}
	}
	if status, text := g.post(t, "/-/undrain", `{"route": "app"}`); status != 200 || len(g.log.lines(t, "drain called off")) != 0 {
		t.Errorf("what is not drained: got %d %s", status, text)
	}
	resp, err := http.Post("http://"+g.admin.ln.Addr().String()+"/-/drain", "text/plain", strings.NewReader(`{"route": "app"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a form of a web page gets %d", resp.StatusCode)
	}
	if g.drains.has(drainTarget{Route: "app"}) {
		t.Error("the route is drained")
	}
}
