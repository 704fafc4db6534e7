package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy/upstream/discovery"
	"github.com/framegate/framegate/proxy/upstream/health"
)

// A network is what servers and names are like in a test, in a bubble of synctest.
type network struct {
	t        *testing.T
	registry *Registry

	mu     sync.Mutex
	log    bytes.Buffer
	dead   map[string]bool // by host:port
	dials  map[string]int
	names  map[string][]discovery.Found // nil for an answer that fails
	asked  int
	hanged bool // lookups do not end
}

func newNetwork(t *testing.T) *network {
	n := &network{t: t, dead: map[string]bool{}, dials: map[string]int{}, names: map[string][]discovery.Found{}}
	n.registry = NewRegistry(time.Now(), slog.New(slog.NewJSONHandler(n, nil)))
	return n
}

// Write takes a line of the log.
func (n *network) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(line)
}

// logged returns the lines so far, each as "message key=value key=value" with the keys given, and forgets them.
func (n *network) logged(keys ...string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	for line := range strings.Lines(n.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			n.t.Fatal(err)
		}
		text := fmt.Sprint(fields["msg"])
		for _, key := range keys {
			if fields[key] != nil {
				text += fmt.Sprintf(" %s=%v", key, fields[key])
			}
		}
		lines = append(lines, text)
	}
	n.log.Reset()
	return lines
}

func (n *network) expectLog(what string, keys []string, want ...string) {
	n.t.Helper()
	if got := n.logged(keys...); !slices.Equal(got, want) {
		n.t.Errorf("%s: the log has\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (n *network) connect(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials[address]++
	if n.dead[address] {
		return nil, errors.New("refused")
	}
	near, _ := net.Pipe()
	return near, nil
}

func (n *network) lookup(ctx context.Context, name discovery.Name) ([]discovery.Found, error) {
	time.Sleep(time.Millisecond)
	n.mu.Lock()
	n.asked++
	all, hanged := n.names[name.Host], n.hanged
	n.mu.Unlock()
	if hanged {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if all == nil {
		return nil, errors.New("no answer")
	}
	return all, nil
}

// set changes the network.
func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// dialled returns how many connections to a server were tried.
func (n *network) dialled(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

// lookups returns how many lookups there were.
func (n *network) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// attach compiles a pool and puts it into service in this network, in the place of old, which may be nil.
func (n *network) attach(c Config, old *Pool) *Pool {
	n.t.Helper()
	p := Compile("app", c, failOn(n.t))
	if p == nil {
		n.t.FailNow()
	}
	p.settings.connect = func(target) connect { return n.connect }
	p.settings.lookup = n.lookup
	p.Attach(n.registry, time.Now())
	if old != nil {
		old.Detach()
	}
	return p
}

// picks returns what a pick goes through, in order, without its ports.
func picks(p *Pool) string {
	var all []string
	for k := p.Pick(&Facts{Now: time.Now()}); ; {
		l := k.Next()
		if l == nil {
			return strings.Join(all, " ")
		}
		host, _, _ := net.SplitHostPort(l.Server().String())
		all = append(all, host)
		l.Release()
	}
}

// expectPicks demands which servers a pick goes through; servers of one rank may come in any order.
func expectPicks(t *testing.T, what string, p *Pool, want string) {
	t.Helper()
	got := strings.Fields(picks(p))
	if slices.Sort(got); strings.Join(got, " ") != want {
		t.Errorf("%s: picked %q, want %q", what, got, want)
	}
}

// checked is a section of active checks every ten seconds, without jitter.
func checked() *health.Config {
	none := strictyaml.Duration(0)
	return &health.Config{TCP: &health.TCPConfig{}, Interval: strictyaml.Duration(10 * time.Second), Jitter: &none}
}

// after lets time pass, and all that is to happen until then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var stateKeys = []string{"server", "state", "before", "cause"}

// Checks take a server out and bring it back, each with one line in the log. Nobody but the checks dials a server that is down.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.dead["b:80"] = true
		p := n.attach(Config{Servers: urls("ws://a", "ws://b"), Health: checked()}, nil)
		defer p.Detach()
		if n.registry.Settled() {
			t.Error("settled before the first checks")
		}
		expectPicks(t, "at first", p, "a b")
		synctest.Wait()
		if !n.registry.Settled() {
			t.Error("not settled after the first checks")
		}
		expectPicks(t, "after the first check", p, "a")
		got := n.logged(stateKeys...)
		slices.Sort(got)
		if want := []string{
			"server state server=a:80 state=up before=unchecked",
			"server state server=b:80 state=down before=unchecked cause=upstream server b:80: connect: refused",
		}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		n.set(func() { n.dead["b:80"], n.dead["a:80"] = false, true })
		after(10 * time.Second)
		expectPicks(t, "one good check, one bad check", p, "a")
		after(10 * time.Second)
		expectPicks(t, "two of each", p, "a b")
		if p.Servers()[1].state.eased.Load() == 0 {
			t.Error("a server that is back is not eased in")
		}
		after(10 * time.Second)
		expectPicks(t, "three of each", p, "b")
		n.expectLog("back and out", stateKeys,
			"server state server=b:80 state=up before=down",
			"server state server=a:80 state=down before=up cause=upstream server a:80: connect: refused")
		if a, b := n.dialled("a:80"), n.dialled("b:80"); a != 4 || b != 4 {
			t.Errorf("%d and %d connections in 30 s, want 4 each", a, b)
		}
	})
}

// When all are down nobody is dialled, and the pick says so at once.
func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.dead["a:80"], n.dead["b:80"] = true, true
		p := n.attach(Config{Servers: urls("ws://a", "ws://b"), Health: checked()}, nil)
		defer p.Detach()
		synctest.Wait()
		if k := p.Pick(&Facts{Now: time.Now()}); k.Next() != nil || !errors.Is(k.Err(), ErrDown) {
			t.Errorf("got %v, want %v", k.Err(), ErrDown)
		}
		n.set(func() { n.dead["b:80"] = false })
		after(20 * time.Second)
		expectPicks(t, "one is back", p, "b")
	})
}

// A reload hands the checks over: nobody is checked twice, or too early, and what is known stays.
func TestReloadHandsChecksOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.dead["b:80"] = true
		c := Config{Servers: urls("ws://a", "ws://b"), Health: checked()}
		p := n.attach(c, nil)
		for range 20 {
			after(3 * time.Second)
			p = n.attach(c, p)
			expectPicks(t, "after a reload", p, "a")
		}
		if got := n.dialled("a:80"); got != 6 && got != 7 {
			t.Errorf("%d checks in 60 s with 20 reloads, want one in 10 s", got)
		}
		n.logged()
		p = n.attach(Config{Servers: urls("ws://a", "ws://b")}, p)
		expectPicks(t, "without checks", p, "a b")
		before := n.dialled("a:80")
		after(time.Minute)
		if n.dialled("a:80") != before {
			t.Error("checks go on without a section")
		}
		p = n.attach(c, p)
		after(time.Second)
		expectPicks(t, "with checks again", p, "a")
		p.Detach()
		before = n.dialled("a:80")
		after(time.Minute)
		if n.dialled("a:80") != before {
			t.Error("checks go on in a pool that is detached")
		}
	})
}

// Failures eject a server; one connection after the time tries it; the time doubles.
func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		p := n.attach(Config{Servers: urls("ws://a", "ws://b")}, nil)
		defer p.Detach()
		lease := func(host string) *Lease {
			t.Helper()
			for k := p.Pick(&Facts{Now: time.Now()}); ; {
				l := k.Next()
				if l == nil {
					t.Fatalf("no place at %s", host)
				}
				if l.Server().String() == host+":80" {
					return l
				}
				l.Release()
			}
		}
		fail := func(host string, times int) {
			t.Helper()
			for range times {
				l := lease(host)
				l.Failed(errors.New("answered 500"), time.Now())
				l.Release()
			}
		}
		fail("b", 3)
		expectPicks(t, "three failures", p, "a")
		fail("a", 3)
		expectPicks(t, "the last server is not ejected", p, "a")
		after(10 * time.Second)
		l := lease("b")
		expectPicks(t, "while b is tried", p, "a")
		l.Release()
		expectPicks(t, "who tells nothing makes room", p, "a b")
		fail("b", 1)
		after(19 * time.Second)
		expectPicks(t, "twice as long", p, "a")
		after(time.Second)
		l = lease("b")
		l.Succeeded(time.Now())
		expectPicks(t, "back", p, "a b")
		l.Release()
		fail("b", 2)
		expectPicks(t, "two failures", p, "a b")
		n.expectLog("ejections", stateKeys,
			"server state server=b:80 state=ejected before=up cause=answered 500",
			"server state server=b:80 state=ejected before=trial cause=answered 500",
			"server state server=b:80 state=up before=trial")
		// What is known survives a reload.
		fail("b", 1)
		p = n.attach(Config{Servers: urls("ws://b", "ws://a")}, p)
		expectPicks(t, "after a reload", p, "a")
	})
}

func at(texts ...string) []discovery.Found {
	all := []discovery.Found{}
	for _, text := range texts {
		parts := strings.Split(text+"/0/0", "/")
		f := discovery.Found{Address: netip.MustParseAddrPort(parts[0])}
		fmt.Sscan(parts[1], &f.Priority)
		fmt.Sscan(parts[2], &f.Weight)
		all = append(all, f)
	}
	return all
}

var findKeys = []string{"servers", "added", "removed", "problem"}

// Servers come and go with the answers. Connections to one that has gone live on, and an answer that fails, is empty or leads to this host
// changes nothing.
func TestFinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := Config{Servers: urls("dns+ws://app.test:80", "ws://static")}
		p := n.attach(c, nil)
		if n.registry.Settled() {
			t.Error("settled before the first lookup")
		}
		expectPicks(t, "before the first answer", p, "static")
		after(time.Millisecond)
		if !n.registry.Settled() {
			t.Error("not settled although the first lookup has ended")
		}
		n.set(func() { n.names["app.test"] = at("10.0.0.1:80", "10.0.0.2:80") })
		after(time.Second)
		expectPicks(t, "found", p, "10.0.0.1 10.0.0.2 static")
		n.expectLog("first answers", findKeys,
			"lookup of servers servers=0 problem=no answer",
			"servers found servers=2 added=[10.0.0.1:80 10.0.0.2:80] removed=[]")

		live := p.registry.acquire(server(t, p, "10.0.0.1"), time.Now())
		n.set(func() { n.names["app.test"] = at("10.0.0.2:80", "10.0.0.3:80") })
		after(30 * time.Second)
		expectPicks(t, "one gone, one new", p, "10.0.0.2 10.0.0.3 static")
		if live.Server().Live() != 1 {
			t.Error("the connection to a server that has gone is not counted any more")
		}
		if eased := server(t, p, "10.0.0.3").state.eased.Load(); eased <= server(t, p, "10.0.0.2").state.eased.Load() {
			t.Error("the new server is not eased in")
		}
		live.Release()
		for what, answer := range map[string][]discovery.Found{
			"no answer": nil, "no addresses": at(), "this host": at("127.0.0.1:80"), "metadata": at("169.254.169.254:80"), "mapped": at("[::ffff:127.0.0.1]:80"),
			"NAT64": at("[64:ff9b::7f00:1]:80"),
		} {
			n.set(func() { n.names["app.test"] = answer })
			after(40 * time.Second)
			expectPicks(t, what, p, "10.0.0.2 10.0.0.3 static")
		}
		n.logged()
		n.set(func() { n.names["app.test"] = at("10.0.0.2:80", "10.0.0.3:80") })
		after(40 * time.Second)
		n.expectLog("good again", findKeys, "lookup of servers servers=2 problem=none any more")

		// A reload begins with what is known, and asks when that is due.
		before := n.lookups()
		n.set(func() { n.names["app.test"] = nil })
		for range 10 {
			p = n.attach(c, p)
			expectPicks(t, "after a reload", p, "10.0.0.2 10.0.0.3 static")
		}
		if n.lookups() != before {
			t.Errorf("%d lookups by reloads", n.lookups()-before)
		}
		p = n.attach(Config{Servers: urls("ws://static")}, p)
		before = n.lookups()
		after(time.Hour)
		if expectPicks(t, "without the name", p, "static"); n.lookups() != before || len(n.registry.names) != 0 {
			t.Errorf("%d lookups of a name that nothing has, %d names", n.lookups()-before, len(n.registry.names))
		}
		n.set(func() { n.hanged = true })
		p = n.attach(c, p)
		synctest.Wait()
		p.Detach() // which does not wait for the lookup
	})
}

// A server that is found is not used before its first check, while others are up.
func TestFoundServersAreCheckedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.names["app.test"] = at("10.0.0.1:80")
		c := Config{Servers: urls("dns+ws://app.test:80"), Health: checked()}
		jitter := strictyaml.Duration(5 * time.Second)
		c.Health.Jitter = &jitter
		p := n.attach(c, nil)
		defer p.Detach()
		after(5 * time.Second)
		expectPicks(t, "checked", p, "10.0.0.1")
		n.set(func() { n.names["app.test"], n.dead["10.0.0.2:80"] = at("10.0.0.1:80", "10.0.0.2:80"), true })
		for len(p.Servers()) < 2 {
			time.Sleep(time.Millisecond)
		}
		if got := picks(p); got != "10.0.0.1 10.0.0.2" && got != "10.0.0.1" {
			t.Errorf("picked %q, want the unchecked server last", got)
		}
		after(5 * time.Second)
		expectPicks(t, "its check has failed", p, "10.0.0.1")
		n.set(func() { n.names["app.test"] = at("10.0.0.2:80") })
		after(31 * time.Second)
		before := n.dialled("10.0.0.1:80")
		after(time.Minute)
		if n.dialled("10.0.0.1:80") != before {
			t.Error("a server that has gone is still checked")
		}
	})
}

// Servers of the lowest priority come first, by their weights; others when none of these is left.
func TestServiceRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.names["_ws._tcp.app.test"] = at("10.0.0.1:80/10/30", "10.0.0.2:80/10/0", "10.0.0.3:80/20/5", "10.0.0.4:80/40/5")
		p := n.attach(Config{Servers: []ServerConfig{{URL: "srv+ws://_ws._tcp.app.test", Weight: 2}}, Health: checked()}, nil)
		defer p.Detach()
		after(time.Second)
		if got := picks(p); got != "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4" {
			t.Errorf("picked %q", got)
		}
		var weights []int
		for _, s := range p.Servers() {
			weights = append(weights, s.weight)
		}
		if want := []int{60, 2, 10, 10}; !slices.Equal(weights, want) {
			t.Errorf("weights %v, want %v", weights, want)
		}
		n.set(func() { n.dead["10.0.0.1:80"], n.dead["10.0.0.2:80"] = true, true })
		after(30 * time.Second)
		if got := picks(p); got != "10.0.0.3 10.0.0.4" {
			t.Errorf("with the first two down: picked %q", got)
		}
	})
}

// The sections of a pool are checked with it.
func TestCompileRefusesSections(t *testing.T) {
	for want, c := range map[string]Config{
		"health: no kind of check":                   {Servers: urls("ws://a"), Health: &health.Config{}},
		"health.http.path: \"x\" is no path":         {Servers: urls("ws://a"), Health: &health.Config{HTTP: &health.HTTPConfig{Path: "x"}}},
		"discovery.resolver: \"x\" is no IP address": {Servers: urls("ws://a"), Discovery: discovery.Config{Resolver: "x"}},
		"ejection.max_backoff: 1s is shorter":        {Servers: urls("ws://a"), Ejection: health.Ejection{MaxBackoff: strictyaml.Duration(time.Second)}},
		"proxy_protocol: unknown version \"v3\"":     {Servers: urls("ws://a"), ProxyProtocol: "v3"},
		"tls.cert: has no key":                       {Servers: urls("wss://a"), TLS: &TLSConfig{Cert: "x"}},
		"tls.key: has no cert":                       {Servers: urls("wss://a"), TLS: &TLSConfig{Key: "x"}},
		"tls.cert: file \"/nonexistent\" cannot be":  {Servers: urls("wss://a"), TLS: &TLSConfig{Cert: "/nonexistent", Key: "/nonexistent/key"}},
	} {
		var r reports
		if p := Compile("app", c, r.add); p != nil {
			t.Errorf("%s: got a pool", want)
		}
		if len(r) != 1 || !strings.HasPrefix(r[0], want) {
			t.Errorf("got reports %q, want one: %s", []string(r), want)
		}
	}
}
