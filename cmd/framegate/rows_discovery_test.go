package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// Loopback is refused where DNS leads there, unless it is listed. So the servers of these tests are at 127.0.0.2 and 127.0.0.3, which are listed,
// and 127.0.0.1 is this host.
const foundKeys = `, dangerously_allow_addresses: [127.0.0.2/31], discovery: {resolver: "%s", min_interval: 100ms, max_interval: 200ms}`

// recordersAt starts recorders at these addresses, all with one port.
func recordersAt(t *testing.T, hosts ...string) (recorders []*wstest.Recorder, port string) {
	t.Helper()
	for _, ln := range wstest.ListenAlike(t, hosts...) {
		r := wstest.NewRecorderOn(t, ln, wstest.Echo)
		recorders, port = append(recorders, r), wstest.Port(t, r.Addr())
	}
	return recorders, port
}

// waitFound waits until a name has led to so many servers.
func waitFound(t *testing.T, p *wstest.Process, name string, n float64) {
	t.Helper()
	series := fmt.Sprintf(`framegate_upstream_found_servers{name=%q,upstream="app"}`, name)
	for end := time.Now().Add(wstest.Patience); p.Metrics()[series] != n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v servers found after %v, want %v: %v", p.Metrics()[series], wstest.Patience, n, p.Logs(""))
		}
	}
}

// waitProblem waits until the last lookup has failed in this way.
func waitProblem(t *testing.T, p *wstest.Process, problem string) {
	t.Helper()
	for n := 1; ; n++ {
		lines := p.WaitLogs("lookup of servers", n)
		if strings.Contains(fmt.Sprint(lines[len(lines)-1]["problem"]), problem) {
			return
		}
	}
}

// TestRowsFlippedName is row X-11 for a name that is looked up for each connection.
func TestRowsFlippedName(t *testing.T) {
	t.Parallel()
	recorders, port := recordersAt(t, "127.0.0.2", "127.0.0.1")
	a, host := recorders[0], recorders[1]
	dns := wstest.NewDNS(t)
	dns.Set("app.test", "127.0.0.2")
	p := startPool(t, fmt.Sprintf(`servers: ["ws://app.test:%s"]`+foundKeys, port, dns.Addr()))
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(hs("/ws/victim"))
	wstest.NewVictim(t, c)
	wstest.Guard(t, p)
	for _, to := range []string{"127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1", "0.0.0.0", "64:ff9b::7f00:1", "fe80::1", "100.100.100.200"} {
		dns.Set("app.test", to)
		c := wstest.Dial(t, p.Addr)
		c.Send(hs("/ws/flipped").Bytes())
		resp := c.Response()
		if resp.Status != 502 {
			t.Errorf("X-11/%s: got %q, want 502", to, resp.Line)
		}
		wstest.CheckRefusal(t, resp)
	}
	dns.Set("app.test", "127.0.0.1", "127.0.0.2")
	if got := sessionsAt(t, p, "/ws/good", 3, a); got[0] != 3 {
		t.Errorf("X-11/one good address of two: %d of 3 sessions", got[0])
	}
	if host.Dials() != 0 || len(a.Conns("/ws/flipped")) != 0 {
		t.Errorf("X-11: %d connections to this host", host.Dials())
	}
}

// TestRowsFlippedDiscovery is row X-11 for servers that are found: an answer that leads to this host changes nothing.
func TestRowsFlippedDiscovery(t *testing.T) {
	t.Parallel()
	recorders, port := recordersAt(t, "127.0.0.2", "127.0.0.1")
	a, host := recorders[0], recorders[1]
	dns := wstest.NewDNS(t)
	dns.Set("app.test", "127.0.0.2")
	p := startPool(t, fmt.Sprintf(`servers: ["dns+ws://app.test:%s"]`+foundKeys, port, dns.Addr()))
	name := "app.test:" + port
	waitFound(t, p, name, 1)
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(hs("/ws/victim"))
	wstest.NewVictim(t, c)
	wstest.Guard(t, p)
	for i, to := range []struct{ addr, problem string }{
		{"127.0.0.1", "has the address 127.0.0.1, a loopback address"}, {"169.254.169.254", "where clouds keep their metadata service"},
		{"::ffff:127.0.0.1", "a loopback address"}, {"64:ff9b::7f00:1", "a loopback address behind a translator"},
	} {
		dns.Set("app.test", to.addr)
		waitProblem(t, p, to.problem)
		if got := sessionsAt(t, p, fmt.Sprint("/ws/kept", i), 2, a); got[0] != 2 {
			t.Errorf("X-11/%s: %d of 2 sessions at the server that was good", to.addr, got[0])
		}
	}
	dns.Set("app.test", "127.0.0.1", "127.0.0.2")
	waitProblem(t, p, "a loopback address")
	dns.Fail(true)
	waitProblem(t, p, "server misbehaving")
	if got := sessionsAt(t, p, "/ws/failed", 2, a); got[0] != 2 {
		t.Errorf("%d of 2 sessions while lookups fail", got[0])
	}
	if host.Dials() != 0 {
		t.Errorf("X-11: %d connections to this host", host.Dials())
	}
}

// TestRowsFound has servers come and go. Sessions at one that has gone live on.
func TestRowsFound(t *testing.T) {
	t.Parallel()
	recorders, port := recordersAt(t, "127.0.0.2", "127.0.0.3")
	a, b := recorders[0], recorders[1]
	dns := wstest.NewDNS(t)
	p := startPool(t, fmt.Sprintf(`servers: ["dns+ws://app.test:%s"]`+foundKeys, port, dns.Addr()))
	name := "app.test:" + port
	waitProblem(t, p, "no addresses")
	c := wstest.Dial(t, p.Addr)
	c.Send(hs("/ws/none").Bytes())
	if resp := c.Response(); resp.Status != 503 || resp.Get("Retry-After") == "" {
		t.Errorf("before the first answer: %q, Retry-After %q", resp.Line, resp.Get("Retry-After"))
	}
	if code := p.Ready(); code != 200 {
		t.Errorf("/readyz is %d although the name was looked up", code)
	}
	dns.Set("app.test", "127.0.0.2")
	waitFound(t, p, name, 1)
	live := wstest.Dial(t, p.Addr)
	live.Upgrade(hs("/ws/live"))
	wstest.NewVictim(t, live)
	dns.Set("app.test", "127.0.0.2", "127.0.0.3")
	waitFound(t, p, name, 2)
	if got := sessionsAt(t, p, "/ws/both", 6, a, b); got[0] != 3 || got[1] != 3 {
		t.Errorf("sessions at the two servers: %v, want 3 each", got)
	}
	dns.Set("app.test", "127.0.0.3")
	waitFound(t, p, name, 1)
	if got := sessionsAt(t, p, "/ws/one", 4, a, b); got[0] != 0 || got[1] != 4 {
		t.Errorf("sessions after the first server has gone: %v, want 0 and 4", got)
	}
	if end := a.Wait("/ws/live").Ended(); end != wstest.Open {
		t.Errorf("a session at a server that has gone: %v, want it to live on", end)
	}
	lines := p.Logs("servers found")
	if last := lines[len(lines)-1]; fmt.Sprint(last["removed"]) != "[127.0.0.2:"+port+"]" || fmt.Sprint(last["added"]) != "[]" {
		t.Errorf("the log tells %v", last)
	}
	wstest.CheckSecrets(t, p)
}

// TestRowsServices finds servers by SRV records: ports, priorities, weights.
func TestRowsServices(t *testing.T) {
	t.Parallel()
	first, _ := recordersAt(t, "127.0.0.2")
	second, _ := recordersAt(t, "127.0.0.2")
	backup, _ := recordersAt(t, "127.0.0.3")
	a, b, c := first[0], second[0], backup[0]
	portOf := func(r *wstest.Recorder) (port uint16) {
		fmt.Sscan(wstest.Port(t, r.Addr()), &port)
		return port
	}
	dns := wstest.NewDNS(t)
	dns.Set("one.test", "127.0.0.2")
	dns.Set("two.test", "127.0.0.3")
	dns.SetSRV("_ws._tcp.app.test", wstest.SRV("one.test", portOf(a), 10, 2), wstest.SRV("one.test", portOf(b), 10, 1), wstest.SRV("two.test", portOf(c), 20, 9))
	p := startPool(t, fmt.Sprintf(`servers: ["srv+ws://_ws._tcp.app.test"], health: {tcp: {}, interval: 100ms, unhealthy: 1}`+foundKeys, dns.Addr()))
	waitFound(t, p, "_ws._tcp.app.test", 3)
	for _, r := range []*wstest.Recorder{a, b, c} {
		waitState(t, p, r.Addr(), "up")
	}
	if got := sessionsAt(t, p, "/ws/all", 9, a, b, c); got[0] != 6 || got[1] != 3 || got[2] != 0 {
		t.Errorf("sessions by weight: %v, want 6, 3 and none at the backup", got)
	}
	addrs := []string{a.Addr(), b.Addr()}
	a.Close()
	b.Close()
	for _, addr := range addrs {
		waitState(t, p, addr, "down")
	}
	if got := sessionsAt(t, p, "/ws/backup", 3, c); got[0] != 3 {
		t.Errorf("%d of 3 sessions at the backup", got[0])
	}
	again(t, addrs[1], wstest.Echo)
	waitState(t, p, addrs[1], "up")
	if got := sessionsAt(t, p, "/ws/restored", 2, c); got[0] != 0 {
		t.Errorf("%d sessions at the backup after the first are back", got[0])
	}
}

// TestRowsServersOverReloads reloads ten times while lookups fail: what was found and checked before holds on, sessions are admitted all the time,
// and the server is checked no more often than it should be.
func TestRowsServersOverReloads(t *testing.T) {
	t.Parallel()
	recorders, port := recordersAt(t, "127.0.0.2")
	a := recorders[0]
	a.Handle("/check", wstest.Page("ok"))
	dns := wstest.NewDNS(t)
	dns.Set("app.test", "127.0.0.2")
	p := startPool(t, fmt.Sprintf(`servers: ["dns+ws://app.test:%s"], health: {http: {path: /check}, interval: 500ms, jitter: 0s}`+foundKeys, port, dns.Addr()))
	waitFound(t, p, "app.test:"+port, 1)
	waitState(t, p, a.Addr(), "up")
	dns.Fail(true)
	waitProblem(t, p, "server misbehaving")
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(hs("/ws/victim"))
	wstest.NewVictim(t, c)
	wstest.Guard(t, p)
	before, start := len(a.Conns("/check")), time.Now()
	for i := range 10 {
		p.Signal(syscall.SIGHUP)
		p.WaitLogs("reloaded", i+1)
		if got := sessionsAt(t, p, fmt.Sprint("/ws/", i), 1, a); got[0] != 1 {
			t.Errorf("after %d reloads: %d sessions, want one", i+1, got[0])
		}
	}
	checks := len(a.Conns("/check")) - before
	if most := int(time.Since(start)/(500*time.Millisecond)) + 2; checks > most {
		t.Errorf("%d checks in %v with ten reloads, want at most %d", checks, time.Since(start).Round(time.Millisecond), most)
	}
	waitState(t, p, a.Addr(), "up")
}
