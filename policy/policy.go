// Package policy compiles the section policies of a configuration into immutable checks.
//
// A policy says who may open a connection (checks of the opening handshake) and which shape its messages may have. Each check is one file and
// one row of the table in this file. Compiled policies hold no state and are safe for concurrent use.
package policy

import (
	"maps"
	"net/http"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
)

// Report receives one configuration mistake and the path of the value that holds it.
type Report = func(path, format string, args ...any)

// Config is one entry of the section policies. A part that is not there is left to the route's other policies, and to the defaults where none
// of them has it.
type Config struct {
	Origin   *OriginConfig `yaml:"origin" doc:"Which web pages may connect, by the Origin header that browsers send. Without it in any policy of a route: pages of the request's own scheme, host and port."`
	Client   *ShapeConfig  `yaml:"client" doc:"The shape of messages that clients send."`
	Upstream *ShapeConfig  `yaml:"upstream" doc:"The shape of messages that upstream servers send."`
}

// Request is what the checks see of an opening handshake.
type Request struct {
	Secure    bool   // the client came over TLS
	Host      string // canonical: lower case, no port; IPv6 with or without brackets
	Port      string // as the client named it, empty for the scheme's default
	Origin    string // the only Origin header's value
	HasOrigin bool   // there is an Origin header, even an empty one
	HasCookie bool   // there is a Cookie header
}

// Decision is the outcome of admission. An admitted request has Allow set and nothing else. Every text is constant or from the configuration.
type Decision struct {
	Allow  bool
	Status int    // the HTTP status of the refusal
	Policy string // the name of the policy that refused, or "default"
	Rule   string // the key of the check in that policy, for example "origin"
	Reason string // constant text, fit for the client and the log
}

// verdict judges one request. An empty reason admits it; another one is constant text.
type verdict func(Request) (status int, reason string)

// admitted is what a verdict returns for a request that may pass.
func admitted() (status int, reason string) { return 0, "" }

// forbidden is what a verdict returns for a request that may not.
func forbidden(reason string) (int, string) { return http.StatusForbidden, reason }

// check is one kind of admission rule.
type check struct {
	rule string // its key in a policy

	// compile returns nil if the policy has no such rule. Paths of mistakes are relative to the policy.
	compile func(Config, Report) verdict

	// standard judges the requests of a route none of whose policies has the rule.
	standard verdict
}

// checks lists the admission rules in the order in which they judge. A new check is one file, one field of Config and one row.
var checks = []check{
	{"origin", compileOrigin, sameOrigin},
}

// standardName names the defaults in decisions.
const standardName = "default"

// Policy is what holds for one route: all of its policies together. Every one of them must admit a request, and of each limit the strictest
// holds.
type Policy struct {
	rules            []rule
	client, upstream Shape
}

type rule struct {
	policy, name string
	verdict      verdict
}

// Validate reports every mistake in the section policies, used by a route or not. Paths are relative to that section, for example
// "browsers.origin.allow[2]".
func Validate(all map[string]Config, report Report) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		section := strictyaml.Key("", name)
		compileOne(all[name], func(path, format string, args ...any) { report(strictyaml.Join(section, path), format, args...) })
	}
}

// compileOne compiles the admission rules of one policy, one for each row of checks and nil where the policy does not have it, and validates
// its shapes.
func compileOne(c Config, report Report) []verdict {
	verdicts := make([]verdict, len(checks))
	for i, check := range checks {
		verdicts[i] = check.compile(c, report)
	}
	c.Client.validate("client", report)
	c.Upstream.validate("upstream", report)
	return verdicts
}

// Compile makes the policy of one route from the names in its key policies; without names the defaults hold. It reports names that are unknown
// or given twice, and names that leave no message type, at "policies" and "policies[1]" (paths relative to the route). Mistakes inside a
// policy are reported by Validate, not here, since several routes may share it. Compile returns nil if there is a mistake of either kind.
func Compile(names []string, all map[string]Config, report Report) *Policy {
	p := &Policy{}
	failed := !checkNames(names, all, report)
	ruled := make([]bool, len(checks))
	var client, upstream []*ShapeConfig
	for _, name := range names {
		c := all[name]
		verdicts := compileOne(c, func(string, string, ...any) { failed = true })
		for i, v := range verdicts {
			if v != nil {
				p.rules = append(p.rules, rule{name, checks[i].rule, v})
				ruled[i] = true
			}
		}
		client, upstream = append(client, c.Client), append(upstream, c.Upstream)
	}
	if failed {
		return nil
	}
	for i, check := range checks {
		if !ruled[i] {
			p.rules = append(p.rules, rule{standardName, check.rule, check.standard})
		}
	}
	p.client, p.upstream = combine(client), combine(upstream)
	if !p.client.anyType() || !p.upstream.anyType() {
		report("policies", "these policies together let no message type pass, want one that all of their lists of types have")
		return nil
	}
	return p
}

// checkNames reports the names of a route that name nothing or come twice, and says whether there is none.
func checkNames(names []string, all map[string]Config, report Report) bool {
	ok := true
	for i, name := range names {
		path := indexed("policies", i)
		if _, known := all[name]; !known {
			ok = false
			if near, found := strictyaml.Nearest(name, slices.Sorted(maps.Keys(all))); found {
				report(path, "unknown policy %q, did you mean %q?", name, near)
			} else {
				report(path, "unknown policy %q, want the name of an entry of the section policies", name)
			}
		} else if slices.Index(names, name) < i {
			ok = false
			report(path, "policy %q is listed twice", name)
		}
	}
	return ok
}

// Admit judges the opening handshake of one request. The first rule that refuses it decides.
func (p *Policy) Admit(r Request) Decision {
	for _, rule := range p.rules {
		if status, reason := rule.verdict(r); reason != "" {
			return Decision{Status: status, Policy: rule.policy, Rule: rule.name, Reason: reason}
		}
	}
	return Decision{Allow: true}
}

// Shape returns the limits for messages of clients, or else of upstream servers.
func (p *Policy) Shape(fromClient bool) Shape {
	if fromClient {
		return p.client
	}
	return p.upstream
}
