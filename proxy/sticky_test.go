package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// stickyServers is the configuration of severalServers with a cookie; more is further keys of its section.
func stickyServers(more string, servers ...string) string {
	return strings.Replace(severalServers(servers...), `"]}}`, `"], sticky: {cookie: {`+more+`}}}}`, 1)
}

const stickyKey = "key: 0123456789abcdef0123456789abcdef"

// cookieOf returns the name and value of the only cookie that an answer sets.
func cookieOf(t *testing.T, resp *wstest.Response) string {
	t.Helper()
	field := resp.Get("Set-Cookie")
	pair, attributes, _ := strings.Cut(field, ";")
	if field != "" && (!strings.HasPrefix(pair, "__Host-fg=") || attributes != " Path=/; Secure; HttpOnly; SameSite=Lax") {
		t.Errorf("got Set-Cookie: %q", field)
	}
	return pair
}

// A client stays at one server with its handshakes and its plain requests, by a cookie that it is given with the first answer of either kind
// and that its server never sees.
func TestStickyOverBothKinds(t *testing.T) {
	t.Parallel()
	var ups []*wstest.Recorder
	var servers []string
	for range 3 {
		up := wstest.NewRecorder(t, wstest.Echo)
		up.Handle("/page", wstest.Page("page"))
		up.Handle("/no", wstest.Page("not here"))
		ups, servers = append(ups, up), append(servers, "ws://"+up.Addr())
	}
	g := startGateway(t, stickyServers(stickyKey, servers...))
	ask := func(r *wstest.Request, cookie string) *wstest.Response {
		c := wstest.Dial(t, g.addr)
		if cookie != "" {
			r.Add("Cookie: a=b; " + cookie)
		}
		c.Send(r.Bytes())
		defer c.Close()
		return c.Head()
	}
	for name, first := range map[string]*wstest.Request{
		"handshake": wstest.HS0("/ws").Without("Origin"), "plain": wstest.Plain("/page"), "refused handshake": wstest.HS0("/no").Without("Origin"),
	} {
		cookie := cookieOf(t, ask(first, ""))
		if cookie == "" {
			t.Fatalf("%s: no cookie", name)
		}
		before := [3]int{ups[0].Dials(), ups[1].Dials(), ups[2].Dials()}
		for range 4 {
			// A client that is no browser has no Origin. That it carries the gateway's cookie must not change what it may; so only that one is sent.
			for _, r := range []*wstest.Request{wstest.HS0("/ws").Without("Origin"), wstest.Plain("/page")} {
				c := wstest.Dial(t, g.addr)
				c.Send(r.Add("Cookie: " + cookie).Bytes())
				resp := c.Head()
				if again := cookieOf(t, resp); resp.Status >= 400 || again != "" {
					t.Errorf("%s: got %q and the cookie %q, want none again", name, resp.Line, again)
				}
				c.Close()
			}
		}
		at := 0
		for i, up := range ups {
			if n := up.Dials() - before[i]; n == 8 {
				at++
			} else if n != 0 {
				t.Errorf("%s: %d of 8 requests came to one server", name, n)
			}
		}
		if at != 1 {
			t.Errorf("%s: the requests came to %d servers", name, at)
		}
	}
	ask(wstest.Plain("/page"), "__Host-fg=x; c=d")
	ask(wstest.HS0("/ws"), "__Host-fg=x; c=d")
	seen := 0
	for _, up := range ups {
		for _, u := range up.Conns("") {
			if all := string(u.All()); strings.Contains(all, "__Host-fg") {
				t.Errorf("a server got the gateway's cookie: %q", all)
			} else if strings.Contains(all, "Cookie: a=b; c=d\r\n") {
				seen++
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d requests with the other cookies, want that which was admitted", seen)
	}
}

// On HTTP/2 it is the same, where cookies come in crumbs (RFC 9113, section 8.2.3).
func TestStickyOverHTTP2(t *testing.T) {
	t.Parallel()
	one, two := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
	storage := t.TempDir()
	config := twoProtocols(storage, "ws://"+one.Addr()+`", "ws://`+two.Addr(), "")
	g := startGateway(t, strings.Replace(config, `"]}}`, `"], sticky: {cookie: {`+stickyKey+`}}}}`, 1))
	client := wstest.HTTP2(t, g.addr, trusting(t, storage, "app.example.com"))
	cookie, _, _ := strings.Cut(wstest.OpenStream(t, client, wstest.HS0("/first")).Header.Get("Set-Cookie"), ";")
	for range 3 {
		s := wstest.OpenStream(t, client, wstest.HS0("/more").Add("Cookie: a=b", "Cookie: "+cookie, "Cookie: c=d"))
		if again := s.Header.Get("Set-Cookie"); s.Status != http.StatusOK || again != "" {
			t.Errorf("status %d, and the cookie %q again", s.Status, again)
		}
	}
	home := one
	if two.Dials() > one.Dials() {
		home = two
	}
	if home.Dials() != 4 {
		t.Errorf("%d and %d connections, want all at one server", one.Dials(), two.Dials())
	}
	if all := string(home.Wait("/more").All()); strings.Contains(all, "__Host-fg") || !strings.Contains(all, "a=b") || !strings.Contains(all, "c=d") {
		t.Errorf("the server got %q", all)
	}
}

// What caches may keep for everybody gets no cookie of one client.
func TestStickyAndCaches(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", r.URL.Query().Get("cache"))
		w.Header().Set("Set-Cookie", "app=1")
	})
	g := startGateway(t, stickyServers(stickyKey, app.server()))
	for cache, want := range map[string]int{"": 2, "private,max-age=3": 2, "no-store": 2, "max-age=9,%20Public": 1, "s-maxage=9": 1} {
		if got := g.get(t, "/?cache="+cache).Header["Set-Cookie"]; len(got) != want || got[0] != "app=1" {
			t.Errorf("Cache-Control: %s: got the cookies %q, want %d", cache, got, want)
		}
	}
}

// Two gateways with one secret agree; with a key of their own each they do not, and each keeps its own in its store.
func TestStickyKeys(t *testing.T) {
	t.Parallel()
	var apps []*application
	var servers []string
	for range 3 {
		apps = append(apps, newApplication(t, ok))
		servers = append(servers, apps[len(apps)-1].server())
	}
	at := func(g *gateway, cookie string) (server int, given string) {
		t.Helper()
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.Plain("/").Add("Cookie: " + cookie).Bytes())
		given = cookieOf(t, c.Response())
		c.Close()
		for i, app := range apps {
			select {
			case <-app.seen:
				return i, given
			default:
			}
		}
		t.Fatal("the request did not reach any server")
		return 0, ""
	}
	one, two := startGateway(t, stickyServers(stickyKey, servers...)), startGateway(t, stickyServers(stickyKey, servers[2], servers[0], servers[1]))
	store := "tls: {storage: {file: " + t.TempDir() + "}}\n"
	own, again := startGateway(t, stickyServers("", servers...)+store), startGateway(t, stickyServers("", servers...)+store)
	other := startGateway(t, stickyServers("", servers...)+"tls: {storage: {file: "+t.TempDir()+"}}\n")
	for range 3 {
		server, cookie := at(one, "")
		if got, given := at(two, cookie); got != server || given != "" {
			t.Errorf("one secret: server %d, then %d with the cookie %q", server, got, given)
		}
		server, cookie = at(own, "")
		if got, given := at(again, cookie); got != server || given != "" {
			t.Errorf("one store: server %d, then %d with the cookie %q", server, got, given)
		}
		if _, given := at(other, cookie); given == "" {
			t.Error("another store takes the cookie")
		}
	}
	for _, g := range []*gateway{own, one} {
		if said := strings.Contains(g.log.String(), "sticky cookies hold for this installation alone"); said != (g == own) {
			t.Errorf("the log says %v that the key is the gateway's own", said)
		}
	}
}

// A store that cannot be written is no reason not to start.
func TestStickyWithoutStore(t *testing.T) {
	t.Parallel()
	app := newApplication(t, ok)
	g := startGateway(t, stickyServers("", app.server())+"tls: {storage: {file: /dev/null/store}}\n")
	if got := g.get(t, "/").Header["Set-Cookie"]; len(got) != 1 {
		t.Errorf("got the cookies %q", got)
	}
	if len(g.log.lines(t, "sticky cookies will not survive a restart, and hold for this gateway alone: set sticky.cookie.key")) != 1 {
		t.Error("nobody is told")
	}
}

// Pools of one host would take each other's cookies.
func TestStickyNamesDiffer(t *testing.T) {
	t.Parallel()
	_, _, err := loadText(t, `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: a, hosts: [a.example.com], upstream: a}, {name: b, hosts: [a.example.com], paths: [/b], upstream: b}]
upstreams:
  a: {servers: ["ws://a"], sticky: {cookie: {}}}
  b: {servers: ["ws://b"], sticky: {cookie: {ttl: 1h}}}
`)
	if err == nil || !strings.Contains(err.Error(), `gateway.yaml:6:45: upstreams.b.sticky.cookie.name: "__Host-fg" is the cookie of upstream "a", want a name of its own`) {
		t.Errorf("got %v", err)
	}
}
