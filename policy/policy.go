// Package policy compiles the section policies of a configuration into immutable checks.
//
// A policy says who may open a connection (checks of the opening handshake) and which shape its messages may have. Each check is one file and
// one row of the table in this file. Compiled policies hold no state of their own: what has to be remembered from one request to the next
// (counts, rates, fetched keys) is in the Env that they are compiled with. All of this is safe for concurrent use.
package policy

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/forward"
	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/message"
	"github.com/framegate/framegate/policy/revocation"
	"github.com/framegate/framegate/ratelimit"
)

// Report receives one configuration mistake and the path of the value that holds it.
type Report = func(path, format string, args ...any)

// Config is one entry of the section policies. A part that is not there is left to the route's other policies, and to the defaults where none
// of them has it.
type Config struct {
	Mode         string              `yaml:"mode" enum:"enforce,shadow" default:"enforce" doc:"Whether the policy decides (enforce), or only counts and logs what it would have decided (shadow)."`
	Addresses    *AddressesConfig    `yaml:"addresses" doc:"From which addresses clients may connect. Others are refused with 403."`
	Request      *RequestConfig      `yaml:"request" doc:"Which methods and paths may be used, by plain requests too."`
	Origin       *OriginConfig       `yaml:"origin" doc:"Which web pages may connect, by the Origin header that browsers send. Without it in any policy of a route: pages of the request's own scheme, host and port."`
	CSRF         *CSRFConfig         `yaml:"csrf" doc:"A token that the page sends twice, in a cookie and in its request, for applications with cookie sessions. One that is missing or different is refused with 403."`
	JWT          *JWTConfig          `yaml:"jwt" doc:"A JSON Web Token that clients must send, with plain requests too. Without a good one they are refused with 401."`
	Subprotocols *SubprotocolsConfig `yaml:"subprotocols" doc:"Which subprotocols clients may use."`
	Conditions   []ConditionConfig   `yaml:"conditions" min:"1" doc:"What else must hold for a request, each in one expression; for plain requests too. One that does not hold is refused with 403."`
	ForwardAuth  *forward.Config     `yaml:"forward_auth" doc:"A service of your own that decides about each request, for applications whose sessions only they can read; for plain requests too."`
	Connections  *ConnectionsConfig  `yaml:"connections" doc:"How many connections there may be at once, by address, user and so on. One too many is refused with 429 or 503."`
	Handshakes   *HandshakesConfig   `yaml:"handshakes" doc:"How many handshakes there may be in a time. One too many is refused with 429 or 503."`
	Client       *ShapeConfig        `yaml:"client" doc:"The shape of messages that clients send."`
	Upstream     *ShapeConfig        `yaml:"upstream" doc:"The shape of messages that upstream servers send."`
}

// shadow is the value of mode under which a policy lets everything pass.
const shadow = "shadow"

// Env is what checks use beside the request: what is shared by policies, routes and generations of the configuration. Compiling makes use of
// it, but starts nothing.
type Env struct {
	// File reads a file that a policy names, by a path relative to the file that the policy stands in.
	File func(policy, path string) ([]byte, error)
	// Keys, where not nil, gives issuers other keys than those that their configuration names: a test's own.
	Keys func(c jwt.IssuerConfig) (jwt.Keys, error)
	// Path tells where a file is that a policy names, for those who read it again later.
	Path func(policy, path string) string
	// Service, where not nil, answers instead of the services of forward_auth: in a test.
	Service http.RoundTripper
	// Fetched returns the keys that an issuer publishes at a URL. Nil where nothing is to be fetched, to check a configuration.
	Fetched func(c jwks.Config) (jwt.Keys, error)
	// Revoked is what may not connect any more; nil where that is nothing.
	Revoked *revocation.Set
	// Limits keeps what limits count.
	Limits ratelimit.Store
}

// check is one kind of admission rule.
type check struct {
	rule  string // its key in a policy
	plain bool   // it judges plain requests too, and not only handshakes
	// compile returns the rules of one policy, none if it does not have the key. Paths of mistakes are relative to the policy.
	compile func(p place, c *Config, report Report) []rule
	// standard judges the requests of a route none of whose policies has the rule; nil where such requests may pass.
	standard judge
	// section is what the check is compiled from.
	section func(c *Config) any
	// live is what becomes of the rule where a connection is reviewed.
	live liveness
	// claims says that the rule depends on a token's claims.
	claims bool
}

// checks lists the admission rules in the order in which they judge, whatever the order of policies in a route: what costs little and what
// stops floods comes first. A new check is one file, one field of Config and one row.
var checks = []check{
	{rule: "addresses", plain: true, compile: compileAddresses, section: func(c *Config) any { return c.Addresses }, live: askedAgain},
	{rule: "request", plain: true, compile: compileRequest, section: func(c *Config) any { return c.Request }, live: askedAgain},
	{rule: "handshakes", compile: compileHandshakes(false), section: func(c *Config) any { return c.Handshakes }, live: ofHandshakes},
	{rule: "connections", compile: compileConnections(false), section: func(c *Config) any { return c.Connections }},
	{rule: "origin", compile: compileOrigin, standard: sameOrigin, section: func(c *Config) any { return c.Origin }, live: askedAgain},
	{rule: "csrf", compile: compileCSRF, section: func(c *Config) any { return c.CSRF }},
	{rule: "jwt", plain: true, compile: compileJWT, section: func(c *Config) any { return c.JWT }, claims: true},
	{rule: "forward_auth", plain: true, compile: compileForward, section: func(c *Config) any { return c.ForwardAuth }},
	{rule: "handshakes", compile: compileHandshakes(true), section: func(c *Config) any { return c.Handshakes }, live: ofHandshakes},
	// behind those that take tokens out of them
	{rule: "subprotocols", compile: compileSubprotocols, section: func(c *Config) any { return c.Subprotocols }},
	{rule: "conditions", plain: true, compile: compileConditions, section: func(c *Config) any { return c.Conditions }, claims: true},
	{rule: "connections", compile: compileConnections(true), section: func(c *Config) any { return c.Connections }},
}

// place is where a check is compiled.
type place struct {
	policy string
	env    *Env
	files  fileSums // of the check that is compiled
}

// file reads a file that the policy names.
func (p place) file(path string) ([]byte, error) {
	content, err := p.env.File(p.policy, path)
	p.files.add(path, content)
	return content, err
}

// path tells where a file is that the policy names, for those who read it themselves.
func (p place) path(path string) string {
	if p.env.File != nil {
		_, _ = p.file(path) // whoever reads it reports what is wrong
	}
	return p.env.Path(p.policy, path)
}

// rule is one compiled check of one policy.
type rule struct {
	name    string // in decisions; the check's key where it is empty
	judge   judge
	manages []string // header fields that only the gateway may set, in canonical spelling
	end     func()   // gives back what the rule holds when its Set is not used any more; nil for nothing
	again   judge    // of a live connection; nil where that cannot be decided
	recall  judge    // of a live connection, before again: notes what the rule has found out about the client
	located bool     // it depends on the client's address
	renew   *Renewal // how a client brings a new token; nil where it cannot
	reads   *reads   // what it needs of a request beside what a Record always has; nil for nothing
	policy  string
	shadow  bool
	check   int       // row of checks
	of      *compiled // nil for a default
}

// standardName names the defaults in decisions.
const standardName = "default"

// Set is the compiled section policies.
type Set struct {
	names    []string
	policies map[string]*compiled
}

// compiled is one policy.
type compiled struct {
	config           Config
	files            []fileSums // by check, and behind these that of all else
	sets             atomic.Int32
	failed           bool
	rules            []rule
	client, upstream *ShapeConfig
	rates            [2][]MessageRate // of the client, of the upstream
	content          [2]message.Part
}

// Compile makes the section policies, and reports every mistake in it, used by a route or not. Paths are relative to that section, for example
// "browsers.origin.allow[2]".
func Compile(all map[string]Config, env *Env, report Report) *Set {
	s := &Set{names: slices.Sorted(maps.Keys(all)), policies: map[string]*compiled{}}
	for _, name := range s.names {
		section, c := strictyaml.Key("", name), all[name]
		p := &compiled{config: c, client: c.Client, upstream: c.Upstream}
		p.sets.Store(1)
		p.compile(place{policy: name, env: env}, &c, func(path, format string, args ...any) {
			p.failed = true
			report(strictyaml.Join(section, path), format, args...)
		})
		s.policies[name] = p
	}
	return s
}

// Close gives back what the rules hold: connections that they keep. Requests that still use the Set are judged as before. It is called once.
func (s *Set) Close() {
	for _, p := range s.policies {
		p.close()
	}
}

func (p *compiled) close() {
	if p.sets.Add(-1) > 0 {
		return // another Set has the policy too
	}
	for _, r := range p.rules {
		if r.end != nil {
			r.end()
		}
	}
}

func (p *compiled) compile(at place, c *Config, report Report) {
	for i, check := range checks {
		at.files = fileSums{}
		p.files = append(p.files, at.files)
		for _, r := range check.compile(at, c, report) {
			r.policy, r.check, r.shadow, r.of = at.policy, i, c.Mode == shadow, p
			if check.live == askedAgain {
				r.again = r.judge
			}
			r.name = cmp.Or(r.name, check.rule)
			p.rules = append(p.rules, r)
		}
	}
	at.files = fileSums{}
	p.files = append(p.files, at.files)
	c.Client.validate("client", report)
	c.Upstream.validate("upstream", report)
	for side, section := range []*ShapeConfig{c.Client, c.Upstream} {
		o := ratesOf{at.policy, [...]string{"client", "upstream"}[side], c.Mode == shadow}
		content := section.compileContent(at, o.side, report)
		p.content[side] = message.Part{Policy: at.policy, Shadow: o.shadow, Inspector: content}
		p.rates[side] = append(section.compileRates(o, report), o.compileOperations(content)...)
	}
}

// Policy is what holds for one route: all of its policies together. Every one of them must admit a request, and of each limit the strictest
// holds.
type Policy struct {
	rules            []rule
	parts            []*compiled
	reads            *reads // what conditions read of requests
	managed          []string
	client, upstream Shape
	rates            [2][]MessageRate
	content          [2]*message.Inspector
	contentRules     [2][]Rule
}

// Route makes the policy of one route from the names in its key policies; without names the defaults hold. It reports names that are unknown or
// given twice, and names that leave no message type, at "policies" and "policies[1]" (paths relative to the route). It returns nil if there is a
// mistake of this kind, or one inside a policy, which Compile has reported: several routes may share it.
func (s *Set) Route(names []string, report Report) *Policy {
	if !s.known(names, report) {
		return nil
	}
	p := &Policy{}
	ruled := make([]bool, len(checks))
	var client, upstream []*ShapeConfig
	for _, name := range names {
		c := s.policies[name]
		p.parts = append(p.parts, c)
		for _, r := range c.rules {
			p.reads = p.reads.and(r.reads)
			if r.shadow {
				continue // it decides nothing: the default still does
			}
			ruled[r.check] = true
			p.managed = append(p.managed, r.manages...)
		}
		p.rules = append(p.rules, c.rules...)
		client, upstream = append(client, c.client), append(upstream, c.upstream)
	}
	for i, check := range checks {
		if !ruled[i] && check.standard != nil {
			p.rules = append(p.rules, rule{name: check.rule, judge: check.standard, again: check.standard, policy: standardName, check: i})
		}
	}
	slices.SortStableFunc(p.rules, func(a, b rule) int { return cmp.Compare(a.check, b.check) })
	for side := range p.content {
		var parts []message.Part
		operations := 0 // of the parts before
		for _, name := range names {
			part := s.policies[name].content[side]
			for _, r := range s.policies[name].rates[side] {
				if r.Operation > 0 {
					r.Operation += operations
				}
				p.rates[side] = append(p.rates[side], r)
			}
			operations += len(part.Inspector.Limits())
			parts = append(parts, part)
			for _, rule := range part.Inspector.Rules() {
				p.contentRules[side] = append(p.contentRules[side], Rule{name, rule, part.Shadow})
			}
		}
		p.content[side] = message.Join(parts...)
	}
	p.client, p.upstream = combine(client), combine(upstream)
	if !p.client.anyType() || !p.upstream.anyType() {
		report("policies", "these policies together let no message type pass, want one that all of their lists of types have")
		return nil
	}
	return p
}

// known reports the names of a route that name nothing or come twice. It says whether all of them can be used.
func (s *Set) known(names []string, report Report) bool {
	ok := true
	for i, name := range names {
		path := indexed("policies", i)
		switch p := s.policies[name]; {
		case p == nil:
			ok = false
			if near, found := strictyaml.Nearest(name, s.names); found {
				report(path, "unknown policy %q, did you mean %q?", name, near)
			} else {
				report(path, "unknown policy %q, want the name of an entry of the section policies", name)
			}
		case slices.Index(names, name) < i:
			ok = false
			report(path, "policy %q is listed twice", name)
		default:
			ok = ok && !p.failed
		}
	}
	return ok
}

// Rates returns the limits on how much clients, or else upstream servers, send in a time: all of them hold.
func (p *Policy) Rates(fromClient bool) []MessageRate {
	if fromClient {
		return p.rates[0]
	}
	return p.rates[1]
}

// Content returns what looks into the messages of clients, or else of upstream servers; nil where nothing does.
func (p *Policy) Content(fromClient bool) *message.Inspector {
	if fromClient {
		return p.content[0]
	}
	return p.content[1]
}

// ContentRules lists the rules of Content, which names them POLICY/NAME.
func (p *Policy) ContentRules(fromClient bool) []Rule {
	if fromClient {
		return p.contentRules[0]
	}
	return p.contentRules[1]
}

// Shape returns the limits for messages of clients, or else of upstream servers.
func (p *Policy) Shape(fromClient bool) Shape {
	if fromClient {
		return p.client
	}
	return p.upstream
}
