package proxy

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// reload gives a gateway another configuration.
func (g *gateway) reload(t *testing.T, config string) error {
	t.Helper()
	loaded, _, err := loadText(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return g.Reload(loaded.Config)
}

// reloaded is reload of one that is right.
func (g *gateway) reloaded(t *testing.T, config string) {
	t.Helper()
	if err := g.reload(t, config); err != nil {
		t.Fatal(err)
	}
}

// status is the answer of a listener to a handshake.
func status(t *testing.T, addr, host, path string) int {
	t.Helper()
	c := wstest.Dial(t, addr)
	c.Send(wstest.HS0(path).With("Host", host).With("Origin", "http://"+host).Bytes())
	return c.Response().Status
}

// Another route has another upstream from one request to the next, and a session of the old one goes on.
func TestReloadSwapsRoutes(t *testing.T) {
	t.Parallel()
	one, two := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+one.Addr(), ""))
	old, _ := g.open(t, one, "/a")
	more := strings.Replace(oneRoute("ws://"+one.Addr(), ""), "routes: [", "routes: [{name: more, hosts: [more.example.com], upstream: more}, ", 1)
	more = strings.Replace(more, "upstreams: {", `upstreams: {more: {servers: ["ws://`+two.Addr()+`"]}, `, 1)
	g.reloaded(t, more)
	if got := status(t, g.addr, "more.example.com", "/new"); got != http.StatusSwitchingProtocols {
		t.Errorf("the new route answers %d", got)
	}
	two.Wait("/new")
	old.Send(wstest.ClientFrame(0x81, []byte("still there")))
	old.ExpectFrame(0x81, []byte("still there"))
}

// What cannot hold leaves everything as it was, and says why; so does what only a new process could do.
func TestReloadRejects(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), "")
	g := startGateway(t, config)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, row := range map[string]struct{ old, new, want string }{
		"driver":          {`admin:`, "driver: goroutines\nadmin:", "driver: driver has changed, which needs a restart"},
		"admin":           {`"off"}` + "\n", `"127.0.0.1:0"}` + "\n", "admin.address: admin.address has changed, which needs a restart"},
		"format":          {`admin:`, "log: {format: text}\nadmin:", "needs a restart"},
		"redis":           {`admin:`, "redis: {url: \"redis://127.0.0.1:1\"}\nadmin:", "needs a restart"},
		"storage":         {`admin:`, "tls: {storage: {file: /tmp/elsewhere}}\nadmin:", "needs a restart"},
		"a taken address": {`listeners: [`, `listeners: [{address: "` + taken.Addr().String() + `", tls: {certificates: "off"}}, `, "address already in use"},
	} {
		before, st := strings.Replace(config, `admin: {address: "off"}`, `admin: {address: "off"}`, 1), g.site.Load()
		i := strings.LastIndex(before, row.old)
		err := g.reload(t, before[:i]+row.new+before[i+len(row.old):])
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", name, err, row.want)
		}
		if g.site.Load() != st {
			t.Errorf("%s: the site has changed", name)
		}
	}
	if got := status(t, g.addr, "app.example.com", "/after"); got != http.StatusSwitchingProtocols {
		t.Errorf("answers %d after configurations that were rejected", got)
	}
}

// Listeners come and go; one that stays keeps its socket, and takes on what has changed about it.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), "")
	g := startGateway(t, config)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	two := strings.Replace(config, "listeners: [", `listeners: [{address: "`+address+`", tls: {certificates: "off"}}, `, 1)
	g.reloaded(t, two)
	for _, addr := range []string{g.addr, address} {
		if got := status(t, addr, "app.example.com", "/two"); got != http.StatusSwitchingProtocols {
			t.Errorf("%s answers %d", addr, got)
		}
	}
	g.reloaded(t, config)
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a listener that was removed accepts")
	}
	if got := status(t, g.addr, "app.example.com", "/one"); got != http.StatusSwitchingProtocols {
		t.Errorf("the other one answers %d", got)
	}
	proxied := strings.Replace(config, `"off"}}`, `"off"}, trusted_proxies: [127.0.0.1]}`, 1)
	g.reloaded(t, proxied)
	c := wstest.Dial(t, g.addr)
	c.Upgrade(wstest.HS0("/proxied").Add("X-Forwarded-For: 203.0.113.7").With("Origin", "http://app.example.com"))
	if got := up.Wait("/proxied").Value("X-Forwarded-For"); !strings.HasPrefix(got, "203.0.113.7") {
		t.Errorf("the upstream is told %q", got)
	}
}

// Limits and the level of the log hold anew at once.
func TestReloadLimits(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), "")
	g := startGateway(t, config)
	first, _ := g.open(t, up, "/first")
	g.reloaded(t, config+"limits: {connections: 1}\nlog: {level: warn}\n")
	c := wstest.Dial(t, g.addr)
	if got := c.Response().Status; got != http.StatusServiceUnavailable {
		t.Errorf("a connection over the new limit is answered %d", got)
	}
	if g.Server.log.Enabled(t.Context(), -4) || !g.Server.log.Enabled(t.Context(), 4) {
		t.Error("the level is not the new one")
	}
	first.Send(wstest.ClientFrame(0x81, []byte("still there")))
	first.ExpectFrame(0x81, []byte("still there"))
	g.reloaded(t, config)
	if got := status(t, g.addr, "app.example.com", "/second"); got != http.StatusSwitchingProtocols {
		t.Errorf("answers %d after the limit was raised", got)
	}
}

// A policy's file is read anew with each reload.
func TestReloadReadsFiles(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), ", policies: [p]") + "policies: {p: {client: {json: {schema: s.json}}}}\n"
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("gateway.yaml", config)
	write("s.json", `{"type": "object"}`)
	load := func() (*Loaded, error) { return Load(filepath.Join(dir, "gateway.yaml"), noEnvironment) }
	loaded, err := load()
	if err != nil {
		t.Fatal(err)
	}
	log, book := newLog()
	s, err := New(loaded.Config, log, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	g := &gateway{Server: s, log: book, addr: s.Addrs()[0].String()}
	write("s.json", `{"type": "array"}`)
	if loaded, err = load(); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(loaded.Config); err != nil {
		t.Fatal(err)
	}
	c, _ := g.open(t, up, "/")
	c.Send(wstest.ClientFrame(0x81, []byte(`{}`)))
	c.ExpectClose(1008)
}
