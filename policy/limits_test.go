package policy

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/framegate/framegate/ratelimit"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// from is a handshake from an address.
func from(address string) *Request {
	return &Request{Now: noon, Address: netip.MustParseAddr(address), Route: "app", Listener: ":8443"}
}

// rate reads a rate.
func rate(t *testing.T, text string) *ratelimit.Rate {
	t.Helper()
	r := &ratelimit.Rate{}
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// The 65th connection of an address is refused with 429, others are not; a place that is given back is free again (row R-12).
func TestConnectionsPerAddress(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {Connections: &ConnectionsConfig{PerIP: 64}}}, "p")
	var open []*Admission
	for range 64 {
		a := p.Admit(t.Context(), from("192.0.2.1"))
		if a.Refused() != nil {
			t.Fatalf("refused by %+v after %d", a.Refused(), len(open))
		}
		open = append(open, a)
	}
	d := p.Admit(t.Context(), from("::ffff:192.0.2.1")).Refused()
	if d == nil || d.Name != "connections.per_ip" || d.Refusal.Status != 429 || d.Refusal.RetryAfter <= 0 {
		t.Fatalf("the 65th: %+v", d)
	}
	if d := p.Admit(t.Context(), from("192.0.2.2")).Refused(); d != nil {
		t.Errorf("another address is refused by %+v", d)
	}
	open[10].Release()
	if d := p.Admit(t.Context(), from("192.0.2.1")).Refused(); d != nil {
		t.Errorf("refused by %+v, with a place free", d)
	}
}

// A /64 is one client (row R-12).
func TestConnectionsPerIPv6Network(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {Connections: &ConnectionsConfig{PerIP: 2}}}, "p")
	for i, address := range []string{"2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::", "2001:db8:0:1::1"} {
		if refused := p.Admit(t.Context(), from(address)).Refused() != nil; refused != (i == 2) {
			t.Errorf("%s: refused %t", address, refused)
		}
	}
}

// A refusal later on gives the place back.
func TestConnectionsOfTheRefusedAreNotCounted(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {Connections: &ConnectionsConfig{PerIP: 1}, Origin: &OriginConfig{Absent: "deny"}}}, "p")
	for range 3 {
		if d := p.Admit(t.Context(), from("192.0.2.1")).Refused(); d == nil || d.Name != "origin" {
			t.Fatalf("got %+v", d)
		}
	}
}

// Limits on the gateway's side answer 503, and each key counts for itself.
func TestLimitKeys(t *testing.T) {
	for name, row := range map[string]struct {
		config ConnectionsConfig
		status int
		free   func(r *Request) // makes a request of another key
	}{
		"connections.per_route":    {ConnectionsConfig{PerRoute: 1}, 503, func(r *Request) { r.Route = "other" }},
		"connections.per_listener": {ConnectionsConfig{PerListener: 1}, 503, func(r *Request) { r.Listener = ":9443" }},
		"connections.per_user":     {ConnectionsConfig{PerUser: 1}, 429, func(r *Request) { r.Address = netip.MustParseAddr("192.0.2.2") }},
		"connections.total":        {ConnectionsConfig{Total: 2}, 503, func(*Request) {}},
	} {
		p := mustCompile(t, map[string]Config{"p": {Connections: &row.config}}, "p")
		if d := p.Admit(t.Context(), from("192.0.2.1")).Refused(); d != nil {
			t.Errorf("%s: the first one is refused by %+v", name, d)
		}
		other := from("192.0.2.1")
		row.free(other)
		if d := p.Admit(t.Context(), other).Refused(); d != nil {
			t.Errorf("%s: another key is refused by %+v", name, d)
		}
		d := p.Admit(t.Context(), from("192.0.2.1")).Refused()
		if d == nil || d.Name != name || d.Refusal.Status != row.status {
			t.Errorf("%s: got %+v, want %d", name, d, row.status)
		}
	}
}

// A burst passes, then what the rate gives; the client is told when to come again.
func TestHandshakeRate(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {Handshakes: &HandshakesConfig{PerIP: rate(t, "10/s burst 40")}}}, "p")
	admitted := 0
	for range 100 {
		if p.Admit(t.Context(), from("192.0.2.1")).Refused() == nil {
			admitted++
		}
	}
	if admitted != 40 {
		t.Errorf("%d of a burst, want 40", admitted)
	}
	late := from("192.0.2.1")
	late.Now = noon.Add(time.Second)
	for range 100 {
		if p.Admit(t.Context(), late).Refused() == nil {
			admitted++
		}
	}
	if admitted != 50 {
		t.Errorf("%d after a second, want 50", admitted)
	}
	d := p.Admit(t.Context(), late).Refused()
	if d.Name != "handshakes.per_ip" || d.Refusal.Status != 429 || d.Refusal.RetryAfter <= 0 || d.Refusal.RetryAfter > 100*time.Millisecond {
		t.Errorf("got %+v %+v", d, d.Refusal)
	}
}

// Routes that share a policy share its limits; two policies have limits of their own, and both hold.
func TestLimitsBelongToThePolicy(t *testing.T) {
	all := map[string]Config{"few": {Connections: &ConnectionsConfig{Total: 1}}, "many": {Connections: &ConnectionsConfig{Total: 3}}}
	set := Compile(all, testEnv(t), failOn(t))
	one, both := set.Route([]string{"many"}, failOn(t)), set.Route([]string{"few", "many"}, failOn(t))
	if d := both.Admit(t.Context(), from("192.0.2.1")).Refused(); d != nil {
		t.Fatalf("refused by %+v", d)
	}
	if d := both.Admit(t.Context(), from("192.0.2.1")).Refused(); d == nil || d.Policy != "few" {
		t.Errorf("got %+v, want the policy few", d)
	}
	for i := range 3 {
		if refused := one.Admit(t.Context(), from("192.0.2.1")).Refused() != nil; refused != (i == 2) {
			t.Errorf("%d: refused %t", i, refused)
		}
	}
}

// In shadow mode a limit counts and says so, and lets pass.
func TestLimitInShadow(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {Mode: "shadow", Connections: &ConnectionsConfig{Total: 1}}}, "p")
	p.Admit(t.Context(), from("192.0.2.1"))
	a := p.Admit(t.Context(), from("192.0.2.1"))
	if a.Refused() != nil || !slices.ContainsFunc(a.Decisions, func(d Decision) bool { return d.Outcome() == OutcomeWouldRefuse && d.Name == "connections.total" }) {
		t.Errorf("got %+v", a.Decisions)
	}
}

// What is known early is judged before the Origin, what needs a user after it.
func TestLimitsJudgeWhenTheirKeyIsKnown(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {
		Handshakes:  &HandshakesConfig{PerIP: rate(t, "1/s"), PerUser: rate(t, "1/s"), PerClaim: map[string]ratelimit.Rate{"tenant": *rate(t, "1/s")}},
		Connections: &ConnectionsConfig{PerIP: 1, PerUser: 1, PerClaim: map[string]int{"tenant": 1}},
		Origin:      &OriginConfig{},
	}}, "p")
	var names []string
	for _, rule := range p.Rules() {
		names = append(names, rule.Name)
	}
	want := []string{
		"handshakes.per_ip", "connections.per_ip", "origin",
		"handshakes.per_user", "handshakes.per_claim.tenant", "connections.per_user", "connections.per_claim.tenant",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestConnectionsOfClaimsRefuse(t *testing.T) {
	for _, max := range []int{0, -1} {
		var r reports
		Compile(map[string]Config{"p": {Connections: &ConnectionsConfig{PerClaim: map[string]int{"tenant": max}}}}, testEnv(t), r.add)
		if len(r) == 0 {
			t.Errorf("%d is accepted", max)
		}
	}
}
