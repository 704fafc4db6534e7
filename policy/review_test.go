package policy

import (
	"maps"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/forward"
	"github.com/framegate/framegate/policy/jwt"
)

// A reviewed connection was admitted by one policy, called p, and meets another one.
func TestReview(t *testing.T) {
	page := func(c Config) Config {
		c.Origin = &OriginConfig{Absent: "allow"}
		return c
	}
	token := func(change func(*jwt.IssuerConfig)) Config {
		issuer := tokenIssuer("id")
		change(&issuer)
		return page(Config{JWT: &JWTConfig{Only: issuer}})
	}
	same := token(func(*jwt.IssuerConfig) {})
	ask := page(Config{ForwardAuth: &forward.Config{URL: "https://auth.example.com/"}})
	for name, row := range map[string]struct {
		before, after Config
		reason        string // empty where the connection is admitted
		user          string
	}{
		"the same token":         {same, same, "", "alice"},
		"and a limit more":       {same, with(same, func(c *Config) { c.Connections = &ConnectionsConfig{PerUser: 1} }), "", "alice"},
		"another audience":       {same, token(func(c *jwt.IssuerConfig) { c.Audience = jwt.Texts{"another"} }), "token audience not allowed", ""},
		"another key":            {same, token(func(c *jwt.IssuerConfig) { c.Secret = tokenSecret("another") }), "token key unknown", ""},
		"a claim that it has":    {same, token(func(c *jwt.IssuerConfig) { c.Require = map[string]jwt.Texts{"sub": {"alice"}} }), "", "alice"},
		"a claim that it lacks":  {same, token(func(c *jwt.IssuerConfig) { c.Require = map[string]jwt.Texts{"role": {"admin"}} }), "token claim refused", ""},
		"a condition on claims":  {same, with(same, func(c *Config) { c.Conditions = []ConditionConfig{{Require: "claims.sub == 'bob'"}} }), "condition not met", ""},
		"no token any more":      {same, page(Config{}), "", ""},
		"a service that asked":   {ask, with(ask, func(c *Config) { c.Connections = &ConnectionsConfig{Total: 5} }), "", ""},
		"a service that did not": {page(Config{}), ask, reasonUndecided, ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(t)
			env.Service = roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
			})
			first := Compile(map[string]Config{"p": row.before}, env, failOn(t))
			r := &Request{
				Now: tokenNow, Host: "app.example.com", Path: "/", Address: netip.MustParseAddr("192.0.2.1"),
				Header: http.Header{"Authorization": {"Bearer " + tokenOf(t, "id", map[string]any{"sub": "alice"})}},
			}
			was := first.Route([]string{"p"}, failOn(t))
			a := was.Admit(t.Context(), r)
			if a.Refused() != nil {
				t.Fatalf("not admitted: %+v", a.Refused().Refusal)
			}
			record := a.Record("")
			next := Compile(map[string]Config{"p": row.after}, env, failOn(t))
			next.Reuse(first)
			b := next.Route([]string{"p"}, failOn(t)).Review(&record, r.Address, "r", was, a.Keep(), tokenNow.Add(time.Second))
			switch d := b.Refused(); {
			case d == nil && row.reason != "":
				t.Errorf("admitted, want %q", row.reason)
			case d != nil && d.Refusal.Reason != row.reason:
				t.Errorf("refused for %q, want %q", d.Refusal.Reason, row.reason)
			case d == nil && b.User != row.user:
				t.Errorf("the user is %q, want %q", b.User, row.user)
			}
		})
	}
}

// with is a changed copy.
func with(c Config, change func(*Config)) Config {
	change(&c)
	return c
}

// A client that has moved is asked again what addresses decide, and nothing else: of a request that is long gone no rule is asked.
func TestMove(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	network := func(text string) strictyaml.Network {
		n, err := strictyaml.ParseNetwork(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	page := Config{Origin: &OriginConfig{Absent: "allow"}}
	for name, row := range map[string]struct {
		change func(*Config)
		others []netip.Addr // that have connected before it moves
		reason string       // empty where it is admitted
	}{
		"an address that is allowed": {func(c *Config) { c.Addresses = &AddressesConfig{Allow: []strictyaml.Network{network("0.0.0.0/0")}} }, nil, ""},
		"one that is not": {func(c *Config) {
			c.Addresses = &AddressesConfig{Deny: []strictyaml.Network{network("198.51.100.0/24")}}
		}, nil, reasonAddressRefused},
		"a place that is free":       {func(c *Config) { c.Connections = &ConnectionsConfig{PerIP: 1} }, nil, ""},
		"a place that is taken":      {func(c *Config) { c.Connections = &ConnectionsConfig{PerIP: 1} }, []netip.Addr{there}, "too many connections"},
		"a place in all":             {func(c *Config) { c.Connections = &ConnectionsConfig{Total: 1} }, nil, ""},
		"a user without a name":      {func(c *Config) { c.Connections = &ConnectionsConfig{PerUser: 1} }, []netip.Addr{there}, "too many connections"},
		"a condition on the address": {func(c *Config) { c.Conditions = []ConditionConfig{{Require: "client.address == '192.0.2.1'"}} }, nil, reasonConditionFails},
		"a condition on a secret":    {func(c *Config) { c.Conditions = []ConditionConfig{{Require: "request.headers['cookie'] == 'a=b'"}} }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := Compile(map[string]Config{"p": with(page, row.change)}, testEnv(t), failOn(t)).Route([]string{"p"}, failOn(t))
			request := func(from netip.Addr) *Request {
				return &Request{Now: tokenNow, Host: "app.example.com", Path: "/", Address: from, Header: http.Header{"Cookie": {"a=b"}}}
			}
			a := p.Admit(t.Context(), request(here))
			for _, from := range row.others {
				if b := p.Admit(t.Context(), request(from)); b.Refused() != nil {
					t.Fatalf("not admitted: %+v", b.Refused().Refusal)
				}
			}
			if a.Refused() != nil {
				t.Fatalf("not admitted: %+v", a.Refused().Refusal)
			}
			record := a.Record("")
			b := p.Move(&record, there, "r", a.Keep(), tokenNow.Add(time.Second))
			if d := b.Refused(); d != nil {
				if d.Refusal.Reason != row.reason {
					t.Errorf("refused for %q, want %q", d.Refusal.Reason, row.reason)
				}
				return
			}
			if row.reason != "" {
				t.Fatalf("admitted, want %q", row.reason)
			}
			for _, h := range b.Dropped() {
				h.Release()
			}
			held := b.Keep()
			if name == "a place that is free" { // its place is at the address that it has now, and only there
				if p.Admit(t.Context(), request(there)).Refused() == nil || p.Admit(t.Context(), request(here)).Refused() != nil {
					t.Error("it has its place where it was, or nowhere")
				}
			}
			for _, h := range held {
				h.Release()
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What a policy keeps goes on in the next Set that says the same, also in its files, and ends with the last one.
func TestReuse(t *testing.T) {
	content := map[string]string{"keys.pem": "one"}
	env := testEnv(t)
	env.File = func(_, path string) ([]byte, error) { return []byte(content[path]), nil }
	ends := 0
	set := func(c Config) *Set {
		s := Compile(map[string]Config{"p": c}, env, func(string, string, ...any) {})
		p := s.policies["p"]
		p.failed = false
		p.rules = append(p.rules, rule{name: "kept", end: func() { ends++ }})
		return s
	}
	c := Config{JWT: &JWTConfig{Only: jwt.IssuerConfig{Issuer: "i", Audience: jwt.Texts{"a"}, PEM: "keys.pem"}}}
	first := set(c)
	second := set(c)
	second.Reuse(first)
	if second.policies["p"] != first.policies["p"] || ends != 1 {
		t.Fatalf("not taken over, or %d ended, want the new one", ends)
	}
	first.Close()
	if ends != 1 {
		t.Error("ended while the second one has it")
	}
	content["keys.pem"] = "two"
	third := set(c)
	third.Reuse(second)
	if third.policies["p"] == second.policies["p"] {
		t.Error("a changed file was not noticed")
	}
	content["keys.pem"] = "one"
	fourth := set(with(c, func(c *Config) { c.Mode = shadow }))
	fourth.Reuse(second)
	if fourth.policies["p"] == second.policies["p"] {
		t.Error("a changed key was not noticed")
	}
	second.Close()
	if ends != 2 {
		t.Errorf("%d ended, want 2", ends)
	}
	if sums := first.policies["p"].files; len(sums) != len(checks)+1 || !maps.Equal(sums[6], first.policies["p"].files[6]) || len(sums[6]) != 1 {
		t.Errorf("the files by check are %v", sums)
	}
}
