package upstream

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// loads are the live connections of a pool's servers.
func loads(p *Pool) map[string]int64 {
	all := map[string]int64{}
	for _, s := range p.Servers() {
		all[s.String()] = s.Live()
	}
	return all
}

// fill makes n connections that stay.
func fill(t *testing.T, p *Pool, n int) []*Lease {
	t.Helper()
	leases := make([]*Lease, n)
	for i := range leases {
		if leases[i] = p.Pick(&Facts{Now: time.Now()}).Next(); leases[i] == nil {
			t.Fatal("no server")
		}
	}
	return leases
}

// Strategies that know the load bring connections to the servers' weights, also from an uneven beginning.
func TestBalanceByLoad(t *testing.T) {
	t.Parallel()
	for balance, slack := range map[string]float64{"least_connections": 1, "random_two": 60} {
		p := mustCompile(t, Config{Balance: balance, Servers: []ServerConfig{{URL: "ws://a", Weight: 1}, {URL: "ws://b", Weight: 2}, {URL: "ws://c", Weight: 3}}})
		for range 300 {
			p.registry.acquire(p.Servers()[0], time.Now())
		}
		fill(t, p, 2700)
		for name, want := range map[string]float64{"a:80": 500, "b:80": 1000, "c:80": 1500} {
			if got := float64(loads(p)[name]); math.Abs(got-want) > slack {
				t.Errorf("%s: %v connections at %s, want %v", balance, got, name, want)
			}
		}
	}
}

// Of equal servers chance takes one: gateways that have just begun do not all take the first.
func TestLeastConnectionsAmongEquals(t *testing.T) {
	t.Parallel()
	first := map[string]int{}
	for range 300 {
		p := mustCompile(t, Config{Balance: "least_connections", Servers: urls("ws://a", "ws://b", "ws://c")})
		first[p.Pick(&Facts{}).Next().Server().String()]++
	}
	for name, n := range first {
		if n < 60 || n > 140 {
			t.Errorf("%s came first %d times of 300", name, n)
		}
	}
}

// The two that randomTwo draws differ, and each is as likely as its weight says.
func TestRandomTwoDraws(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: []ServerConfig{{URL: "ws://a", Weight: 1}, {URL: "ws://b", Weight: 3}, {URL: "ws://c", Weight: 6}}})
	from := p.Pick(&Facts{}).left
	var drawn [3]int
	for range 10000 {
		a := draw(from, -1)
		drawn[a]++
		if b := draw(from, a); b == a {
			t.Fatal("the same server twice")
		}
	}
	for i, want := range []int{1000, 3000, 6000} {
		if drawn[i] < want-300 || drawn[i] > want+300 {
			t.Errorf("drawn %v, want about 1000, 3000 and 6000", drawn)
		}
	}
}

// A new server is eased in: its share of the connections grows with its time there, and those it has are no more than that.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"round_robin", "random_two", "least_connections"} {
		synctest.Test(t, func(t *testing.T) {
			r := NewRegistry(time.Now(), quiet)
			load := func(servers ...string) *Pool {
				p := Compile("app", Config{Servers: urls(servers...), Balance: balance, SlowStart: strictyaml.Duration(30 * time.Second)}, failOn(t))
				p.Attach(r, time.Now())
				return p
			}
			old := load("ws://a", "ws://b")
			fill(t, old, 1000)
			if got := loads(old)["a:80"]; got < 450 || got > 550 {
				t.Errorf("%s: %d of 1000 at one of the first two servers: these are not eased in", balance, got)
			}
			time.Sleep(time.Minute)
			p := load("ws://a", "ws://b", "ws://c")
			old.Detach()
			for i := range 30 {
				time.Sleep(time.Second)
				fill(t, p, 20)
				if got, most := loads(p)["c:80"], float64(i+2)/30*500+20; float64(got) > most {
					t.Errorf("%s: after %d s the new server has %d connections, want at most %.0f", balance, i+1, got, most)
				}
			}
			if got := loads(p)["c:80"]; got < 60 {
				t.Errorf("%s: in the end the new server has %d connections", balance, got)
			}
			c := p.Servers()[2]
			c.Mark(Unhealthy)
			c.Clear(Unhealthy, time.Now())
			if share := c.easedIn(30*time.Second, time.Now().Add(15*time.Second)); share != 0.5 {
				t.Errorf("%s: a server that is back counts for %v of its weight after half the time", balance, share)
			}
		})
	}
}

// sessions are requests that differ in what is hashed.
func sessions(n int) []*Facts {
	all := make([]*Facts, n)
	for i := range all {
		all[i] = &Facts{
			Address: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Header: http.Header{"X-Room": {fmt.Sprintf("room-%d", i)}},
			Query: fmt.Sprintf("room=%d&x=%%zz", i), Claim: func(name string) (string, bool) { return fmt.Sprint(name, i), name == "sub" },
		}
		all[i].Header["Cookie"] = []string{fmt.Sprintf("a=b; session=s%d", i)}
	}
	return all
}

// place gives each session a connection and returns where it is.
func place(t *testing.T, p *Pool, all []*Facts) map[*Facts]*Lease {
	t.Helper()
	at := map[*Facts]*Lease{}
	for _, f := range all {
		if at[f] = p.Pick(f).Next(); at[f] == nil {
			t.Fatal("no server")
		}
	}
	return at
}

// moves counts the sessions that another pool would take to another server.
func moves(before, after map[*Facts]*Lease) (moved int) {
	for f, l := range before {
		if after[f].Server().String() != l.Server().String() {
			moved++
		}
	}
	return moved
}

var fiveServers = []string{"ws://10.0.0.1:9000", "ws://10.0.0.2:9000", "ws://10.0.0.3:9000", "ws://10.0.0.4:9000", "ws://10.0.0.5:9000"}

// hashPool is a gateway's pool: by consistent_hash, or sticky by a hash.
func hashPool(t *testing.T, sticky bool, by HashConfig, servers ...string) *Pool {
	t.Helper()
	c := Config{Servers: urls(servers...), Balance: "consistent_hash", Hash: &by}
	if sticky {
		c.Balance, c.Hash, c.Sticky = "least_connections", nil, &StickyConfig{Hash: &by}
	}
	return mustCompile(t, c)
}

// 10,000 sessions over five servers, of which one goes, or a sixth comes: no more of them move than must, and the load stays even.
func TestHashMovesFew(t *testing.T) {
	t.Parallel()
	const n = 10000
	all := sessions(n)
	for name, by := range map[string]HashConfig{"address": {Address: true}, "header": {Header: "x-room"}, "query": {Query: "room"}, "cookie": {Cookie: "session"}, "claim": {Claim: "sub"}} {
		for _, sticky := range []bool{true, false} {
			five := place(t, hashPool(t, sticky, by, fiveServers...), all)
			for what, tt := range map[string]struct {
				servers []string
				fair    float64
			}{
				"one goes":  {fiveServers[1:], n / 5},
				"one comes": {append([]string{"ws://10.0.0.6:9000"}, fiveServers...), n / 6.},
			} {
				p := hashPool(t, sticky, by, tt.servers...)
				after := place(t, p, all)
				// Sticky sessions move only from the server that goes, or to the one that comes: its share, give or take chance. Those under a bound
				// move too where a server has come to its bound, which random values hardly do.
				most := tt.fair * 1.1
				if moved := float64(moves(five, after)); moved > most || moved < tt.fair*0.9 {
					t.Errorf("%s, sticky %v: %s, and %v of %d sessions move, want %.0f to %.0f", name, sticky, what, moved, n, tt.fair*0.9, most)
				}
				for f, l := range after {
					old := five[f].Server().String()
					if at := l.Server().String(); sticky && at != old && old != "10.0.0.1:9000" && at != "10.0.0.6:9000" {
						t.Fatalf("%s: %s, and a session moves from %s to %s", name, what, old, at)
					}
				}
				for server, live := range loads(p) {
					if share := float64(live) * float64(len(tt.servers)) / n; share > 1.1 || share < 0.9 {
						t.Errorf("%s, sticky %v: %s, and %s has %.2f of its share", name, sticky, what, server, share)
					}
				}
			}
		}
	}
}

// Gateways agree, whatever the order in which their servers stand, and whatever else they carry.
func TestHashGatewaysAgree(t *testing.T) {
	t.Parallel()
	all := sessions(10000)
	by := HashConfig{Header: "X-Room"}
	one := hashPool(t, true, by, fiveServers...)
	two := hashPool(t, true, by, fiveServers[3], fiveServers[0], fiveServers[4], fiveServers[1], fiveServers[2])
	for range 5000 {
		two.registry.acquire(two.Servers()[1], time.Now())
	}
	if n := moves(place(t, one, all), place(t, two, all)); n != 0 {
		t.Errorf("two gateways disagree about %d of 10000 sessions", n)
	}
}

// However values are chosen, no server has more than its bound; by weight too.
func TestHashHoldsBound(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Balance: "consistent_hash", Hash: &HashConfig{Header: "X-Room"}, Servers: []ServerConfig{
		{URL: "ws://a", Weight: 1}, {URL: "ws://b", Weight: 2}, {URL: "ws://c", Weight: 1}, {URL: "ws://d", Weight: 4}}})
	same := &Facts{Header: http.Header{"X-Room": {"everybody"}}}
	for n := range 4000 {
		if p.Pick(same).Next() == nil {
			t.Fatal("no server")
		}
		for _, s := range p.Servers() {
			if bound := math.Ceil(1.25 * float64(n+1) * float64(s.weight) / 8); float64(s.Live()) > bound {
				t.Fatalf("%d of %d connections at %s, whose bound is %v", s.Live(), n+1, s, bound)
			}
		}
	}
	busiest := 0
	for _, s := range p.Servers() {
		if float64(s.Live()) == 1.25*4000*float64(s.weight)/8 {
			busiest++
		}
	}
	if busiest < 2 {
		t.Errorf("loads are %v: the servers that the value likes most are not at their bounds", loads(p))
	}
}

// Shares of values are those of the weights.
func TestHashWeights(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Sticky: &StickyConfig{Hash: &HashConfig{Header: "X-Room"}}, Servers: []ServerConfig{{URL: "ws://a"}, {URL: "ws://b", Weight: 9}}})
	place(t, p, sessions(10000))
	if got := loads(p)["a:80"]; got < 900 || got > 1100 {
		t.Errorf("%d of 10000 sessions at a server of weight 1 in 10", got)
	}
}

// A server that is down, full or fails hands its values on, each to the next one that it likes, and gets them back.
func TestHashFailsOver(t *testing.T) {
	t.Parallel()
	all := sessions(2000)
	p := hashPool(t, true, HashConfig{Header: "X-Room"}, fiveServers...)
	before := place(t, p, all)
	down := p.Servers()[2]
	down.Mark(Unhealthy)
	after := place(t, p, all)
	to := map[string]int{}
	for f, l := range before {
		got := after[f].Server()
		if l.Server() != down && got != l.Server() || l.Server() == down && got == down {
			t.Fatalf("moved from %s to %s while %s is down", l.Server(), got, down)
		}
		if l.Server() == down {
			to[got.String()]++
			k := p.Pick(f)
			if first, second := k.Next().Server(), k.Next().Server(); first != got || second == first {
				t.Fatal("another order at another time")
			}
		}
	}
	if len(to) != 4 {
		t.Errorf("the values went to %v, want all four others", to)
	}
	down.Clear(Unhealthy, time.Now())
	if n := moves(before, place(t, p, all)); n != 0 {
		t.Errorf("%d sessions do not go back", n)
	}
}

// A request without the value is balanced like any other; so is one that has it twice.
func TestHashWithoutValue(t *testing.T) {
	t.Parallel()
	for what, by := range map[string]HashConfig{"header": {Header: "X-Room"}, "query": {Query: "room"}, "cookie": {Cookie: "session"}, "claim": {Claim: "sub"}} {
		p := hashPool(t, false, by, fiveServers...)
		facts := []*Facts{{}, {Header: http.Header{"X-Room": {"a", "b"}, "Cookie": {"session=a; session=b"}}, Query: "room=a&room=b"}}
		for i := range 1000 {
			p.Pick(facts[i%2]).Next()
		}
		for server, live := range loads(p) {
			if live < 150 || live > 250 {
				t.Errorf("%s: %d of 1000 connections at %s", what, live, server)
			}
		}
	}
}

// An IPv6 client has a whole /64; an IPv4 client is the same however its address is written.
func TestHashAddress(t *testing.T) {
	t.Parallel()
	of := func(text string) string {
		value, ok := addressValue(&Facts{Address: netip.MustParseAddr(text)})
		if !ok {
			t.Errorf("%s: no value", text)
		}
		return value
	}
	if of("2001:db8::1") != of("2001:db8::ffff:1:2") || of("2001:db8::1") == of("2001:db8:0:1::1") || of("::ffff:10.0.0.1") != of("10.0.0.1") || of("10.0.0.1") == of("10.0.0.2") {
		t.Error("addresses are not taken for their clients")
	}
	if _, ok := addressValue(&Facts{}); ok {
		t.Error("no address has a value")
	}
}

func BenchmarkPick(b *testing.B) {
	for _, balance := range []string{"round_robin", "random_two", "least_connections", "consistent_hash"} {
		for _, n := range []int{3, 100} {
			b.Run(fmt.Sprintf("%s-%d", balance, n), func(b *testing.B) {
				var servers []string
				for i := range n {
					servers = append(servers, fmt.Sprintf("ws://10.0.0.%d", i+1))
				}
				p := Compile("app", Config{Servers: urls(servers...), Balance: balance}, func(path, format string, args ...any) { b.Fatal(path, format, args) })
				p.Attach(NewRegistry(time.Now(), quiet), time.Now())
				f := sessions(1)[0]
				for b.Loop() {
					p.Pick(f).Next().Release()
				}
			})
		}
	}
}
