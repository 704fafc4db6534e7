package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// reviewed is a configuration of one listener, two routes of which the second has a policy, and what more there is.
func reviewed(server, driver, policy string) string {
	return fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: other, hosts: [other.example.com], upstream: app, policies: [any]}
  - {name: app, hosts: [app.example.com], upstream: app, policies: [p]}
upstreams: {app: {servers: ["%s"]}}
policies:
  any: {origin: {allow: ["https://app.example.com"]}}
  p: {%s}
admin: {address: "off"}
drain: {window: 50ms}
%s
`, server, policy, driver)
}

// enter opens a session of a host. The gateway has it when enter returns, which may be a moment after its 101: the upstream is to echo.
func (g *gateway) enter(t *testing.T, host string, lines ...string) *wstest.Client {
	t.Helper()
	c := wstest.Dial(t, g.addr)
	c.Upgrade(wstest.HS0("/").With("Host", host).Add(lines...))
	lives(t, "entrant", c)
	return c
}

// lives demands that a session relays.
func lives(t *testing.T, name string, c *wstest.Client) {
	t.Helper()
	c.Send(wstest.ClientFrame(0x81, []byte("hello "+name)))
	c.ExpectFrame(0x81, []byte("hello "+name))
}

// TestReview changes the policy of one route, on both drivers: the connections that it still admits live on, under its new rules; others are
// closed with the rule's reason; those of the other route are not touched.
func TestReview(t *testing.T) {
	t.Parallel()
	page := `origin: {allow: ["https://app.example.com", "https://two.example.com"]}`
	for name, row := range map[string]struct {
		before, after string
		lines         []string // of the handshake
		reason        string   // of the Close; empty where the connection lives on
	}{
		"the same":                     {page, page, nil, ""},
		"a page more":                  {page, `origin: {allow: ["https://app.example.com"]}`, nil, ""},
		"a page less":                  {page, `origin: {allow: ["https://two.example.com"]}`, nil, "origin not allowed"},
		"in shadow":                    {page, page + `, mode: shadow`, nil, "origin not allowed"}, // the default holds then
		"an address":                   {page, page + `, addresses: {deny: [127.0.0.0/8]}`, nil, "address not allowed"},
		"another address":              {page, page + `, addresses: {deny: [10.0.0.0/8]}`, nil, ""},
		"a path":                       {page, page + `, request: {paths: [/ws]}`, nil, "not found"},
		"a token":                      {page, page + `, jwt: {issuer: i, audience: a, secret: "0123456789abcdef0123456789abcdef"}`, nil, "token required"},
		"a CSRF token":                 {page, page + `, csrf: {cookie: c, query: q}`, nil, "policy changed, connect again"},
		"a rate of handshakes":         {page, page + `, handshakes: {per_ip: 1/h}`, nil, ""},
		"a place":                      {page, page + `, connections: {per_ip: 1}`, nil, ""},
		"the same places":              {page + `, connections: {per_ip: 9}`, page + `, connections: {per_ip: 9}, client: {types: [text]}`, nil, ""},
		"fewer places":                 {page + `, connections: {per_ip: 9}`, page + `, connections: {per_ip: 1}`, nil, ""},
		"a subprotocol":                {page, page + `, subprotocols: {require: true}`, nil, "subprotocol required"},
		"a condition that holds":       {page, page + `, conditions: [{require: "request.path == '/' && client.address == '127.0.0.1'"}]`, nil, ""},
		"one that does not":            {page, page + `, conditions: [{require: "request.host == 'other'"}]`, nil, "condition not met"},
		"one that nobody knows":        {page, page + `, conditions: [{require: "request.headers['x-tenant'] == 'a'"}]`, []string{"X-Tenant: a"}, "policy changed, connect again"},
		"one over what was kept":       {page + `, conditions: [{require: "'x-tenant' in request.headers"}]`, page + `, conditions: [{require: "request.headers['x-tenant'] == 'a'"}]`, []string{"X-Tenant: a"}, ""},
		"one against what was kept":    {page + `, conditions: [{require: "has(request.headers.tenant)"}]`, page + `, conditions: [{require: "request.headers.tenant == 'a'"}]`, []string{"Tenant: b"}, "condition not met"},
		"one that is not new, renewed": {page + `, conditions: [{require: "request.headers['x-tenant'] == 'a'"}]`, page + `, conditions: [{require: "request.headers['x-tenant'] == 'a'"}], client: {types: [text]}`, []string{"X-Tenant: a"}, ""},
	} {
		for _, driver := range drivers {
			t.Run(name+", "+driver, func(t *testing.T) {
				t.Parallel()
				up := wstest.NewRecorder(t, wstest.Echo)
				g := startGateway(t, reviewed("ws://"+up.Addr(), driver, row.before))
				other, c := g.enter(t, "other.example.com"), g.enter(t, "app.example.com", row.lines...)
				lives(t, "before", c)
				g.reloaded(t, reviewed("ws://"+up.Addr(), driver, row.after))
				if row.reason == "" {
					lives(t, "after", c)
				} else if _, reason := c.ExpectClose(1008); reason != row.reason {
					t.Errorf("closed for %q, want %q", reason, row.reason)
				}
				lives(t, "other", other)
			})
		}
	}
}

// A connection lives on under the new rules of messages, from its next one on, and what it has sent counts still.
func TestReviewAdoptsRules(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		up := wstest.NewRecorder(t, wstest.Echo)
		config := func(rules string) string {
			return reviewed("ws://"+up.Addr(), driver, `origin: {allow: ["https://app.example.com"]}, `+rules)
		}
		g := startGateway(t, config(`client: {messages: {per_connection: 1/h burst 3, per_ip: 1/h burst 100}}`))
		c := g.enter(t, "app.example.com") // with a message
		lives(t, "2", c)
		g.reloaded(t, config(`client: {messages: {per_connection: 1/h burst 9, per_ip: 1/h burst 101, on_limit: drop}}`))
		waitFor(t, "the review", func() bool { return g.metrics.series(t)["framegate_reviews_total{outcome=adopted}"] == 1 })
		lives(t, "3", c)
		c.Send(wstest.ClientFrame(0x81, []byte("one too many")))
		waitFor(t, "the drop", func() bool {
			return g.metrics.series(t)["framegate_message_rules_total{from=client,outcome=drop,policy=p,route=app,rule=client.messages.per_connection}"] == 1
		})
		g.reloaded(t, config(`client: {deny: [evil]}`))
		waitFor(t, "the next review", func() bool { return g.metrics.series(t)["framegate_reviews_total{outcome=adopted}"] == 2 })
		lives(t, "4", c)
		c.Send(wstest.ClientFrame(0x81, []byte("evil")))
		c.ExpectClose(1008)
	}
}

// Where a limit has become less than there are connections, those that came first stay.
func TestReviewKeepsTheOldest(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := func(n int) string {
		return reviewed("ws://"+up.Addr(), "", fmt.Sprintf(`origin: {allow: ["https://app.example.com"]}, connections: {per_ip: %d}`, n))
	}
	g := startGateway(t, config(9))
	var all []*wstest.Client
	for range 5 {
		c := g.enter(t, "app.example.com")
		lives(t, "new", c) // who has a 101 is reviewed, but perhaps behind those that are sessions already
		all = append(all, c)
	}
	// One that goes stays until its message has ended, but not in the place of an older one.
	all[4].Send(wstest.ClientFrame(0x01, []byte("begun, ")))
	all[4].ExpectFrame(0x01, []byte("begun, "))
	g.reloaded(t, config(2))
	waitFor(t, "the reviews", func() bool { return g.metrics.series(t)["framegate_reviews_total{outcome=adopted}"] == 2 })
	all[4].Send(wstest.ClientFrame(0x80, []byte("ended")))
	all[4].ExpectFrame(0x80, []byte("ended"))
	for i, c := range all {
		if i < 2 {
			lives(t, "old", c)
		} else if _, reason := c.ExpectClose(1008); reason != "too many connections" {
			t.Errorf("connection %d was closed for %q", i, reason)
		}
	}
	if got := status(t, g.addr, "app.example.com", "/"); got != 403 && got != 429 {
		t.Errorf("one more is answered %d", got)
	}
	all[0].Close()
	all[1].Close()
	waitFor(t, "places", func() bool {
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.HS0("/").Bytes())
		return c.Head().Status == 101
	})
}

// Connections of what is there no more are drained: of a route, of a server, of a path, of a listener.
func TestReviewDrainsWhatIsGone(t *testing.T) {
	t.Parallel()
	page := `origin: {allow: ["https://app.example.com"]}`
	for name, change := range map[string]func(config, server string) string{
		"route": func(c, _ string) string {
			return strings.Replace(c, "  - {name: app, hosts: [app.example.com], upstream: app, policies: [p]}\n", "", 1)
		},
		"another name": func(c, _ string) string { return strings.Replace(c, "name: app,", "name: new,", 1) },
		"path": func(c, _ string) string {
			return strings.Replace(c, "name: app,", "name: app, paths: [/elsewhere],", 1)
		},
		"upstream": func(c, s string) string {
			return strings.Replace(c, "upstream: app, policies: [p]", "upstream: two, policies: [p]", 1)
		},
		"context in deflate": nil,
	} {
		if change == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, two := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
			config := strings.Replace(reviewed("ws://"+up.Addr(), "", page), "upstreams: {", `upstreams: {two: {servers: ["ws://`+two.Addr()+`"]}, `, 1)
			g := startGateway(t, config)
			other, c := g.enter(t, "other.example.com"), g.enter(t, "app.example.com")
			lives(t, "before", c)
			g.reloaded(t, change(config, two.Addr()))
			if _, reason := c.ExpectClose(1001); reason != "going away" {
				t.Errorf("closed for %q", reason)
			}
			lives(t, "other", other)
		})
	}
}

// A handshake that a site has admitted is reviewed if that is gone when its session begins.
func TestReviewOfLateSessions(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		asked, answer := make(chan struct{}), make(chan struct{})
		up := wstest.NewRecorder(t, func(u *wstest.Upstream) {
			close(asked)
			<-answer
			wstest.Echo(u)
		})
		page := `origin: {allow: ["https://%s.example.com"]}`
		g := startGateway(t, reviewed("ws://"+up.Addr(), driver, fmt.Sprintf(page, "app")))
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.HS0("/").Bytes())
		<-asked
		g.reloaded(t, reviewed("ws://"+up.Addr(), driver, fmt.Sprintf(page, "elsewhere")))
		close(answer)
		if resp := c.Head(); resp.Status != 101 {
			t.Fatalf("answered %d", resp.Status)
		}
		if _, reason := c.ExpectClose(1008); reason != "origin not allowed" {
			t.Errorf("closed for %q", reason)
		}
	}
}

// Many reloads leave nothing behind.
func TestReviewLeaksNothing(t *testing.T) {
	up := wstest.NewRecorder(t, wstest.Echo)
	config := func(i int) string {
		c := reviewed("ws://"+up.Addr(), "", fmt.Sprintf(`origin: {allow: ["https://app.example.com"]}, connections: {per_ip: 50}, client: {messages: {per_ip: 1000/s burst %d}}`, 1000+i))
		if i%10 == 9 {
			c = strings.Replace(c, "policies: [any]", "policies: [nobody]", 1)
		}
		return c
	}
	g := startGateway(t, config(0))
	var all []*wstest.Client
	for range 20 {
		all = append(all, g.enter(t, "app.example.com"), g.enter(t, "other.example.com"))
	}
	g.reloaded(t, config(1))
	goroutines := settled()
	for i := range 100 {
		loaded, _, err := loadText(t, config(i))
		if err == nil {
			err = g.Reload(loaded.Config)
		}
		if (err == nil) != (i%10 != 9) {
			t.Fatalf("reload %d: %v", i, err)
		}
	}
	for _, c := range all {
		lives(t, "after", c)
	}
	waitFor(t, "the goroutines of before", func() bool { return settled() <= goroutines })
	g.sessions.mu.Lock()
	var held []int
	for c := range g.sessions.all {
		c.mu.Lock()
		held = append(held, len(c.held))
		c.mu.Unlock()
	}
	g.sessions.mu.Unlock()
	if slices.Max(held) > 2 {
		t.Errorf("connections hold %v after 100 reloads, want at most a place and a bucket", held)
	}
	if names := len(g.site.Load().named("app").rules[0].names); names > 1 {
		t.Errorf("%d names of rules", names)
	}
	time.Sleep(0)
}
