package policy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	"github.com/framegate/framegate/policy/condition"
)

// ConditionConfig is one condition on a request, in CEL (https://cel.dev).
type ConditionConfig struct {
	Name    string `yaml:"name" doc:"The rule's name in decisions, of letters, digits, hyphens, underscores and dots. Default: its place, such as conditions[0]."`
	Require string `yaml:"require" required:"true" doc:"What must hold, as an expression in CEL over request, client, claims, certificate, now and route, such as: 'admin' in claims.groups || in_network(client.address, '10.0.0.0/8'). What cannot be decided, such as a comparison with a claim that is not there, does not hold."`
}

// What the client is told.
const (
	reasonConditionFails     = "condition not met"
	reasonConditionUndecided = "condition cannot be decided"
)

// maxConditionName bounds the name of a condition, in bytes.
const maxConditionName = 64

// compileConditions makes the rules of one policy, one for each condition.
func compileConditions(_ place, c *Config, report Report) (rules []rule) {
	if len(c.Conditions) == 0 {
		return nil
	}
	scope, taken := condition.Handshake(), map[string]bool{}
	for i, config := range c.Conditions {
		path, name := indexed("conditions", i), config.Name
		switch {
		case name == "":
			name = path
		case len(name) > maxConditionName || !isASCIIOf(name, isNameByte):
			report(path+".name", "%q is not a name, want at most %d letters, digits, hyphens, underscores and dots", name, maxConditionName)
		case taken[name]:
			report(path+".name", "another condition of the policy is called %q too", name)
		}
		taken[name] = true
		compiled, err := scope.Compile(config.Require)
		if err != nil {
			report(path+".require", "%v", err)
			continue
		}
		judge, reads := judgeCondition(compiled), readsOf(compiled)
		rules = append(rules, rule{name: name, judge: judge, reads: reads, located: compiled.Reads("client", "address"), again: func(ctx context.Context, a *Admission) *Refusal {
			if !a.live.record.more().reads.covers(reads) {
				return undecided()
			}
			return judge(ctx, a)
		}})
	}
	return rules
}

func judgeCondition(c *condition.Condition) judge {
	return func(_ context.Context, a *Admission) *Refusal {
		switch holds, err := c.Holds(a.conditionVars()); {
		case err != nil:
			return forbidden(reasonConditionUndecided)
		case !holds:
			return forbidden(reasonConditionFails)
		}
		return nil
	}
}

// conditionVars returns what conditions may name. It is made once for all of them, since the rules that find out about the client have judged
// before; what costs most only if a condition gets to it.
func (a *Admission) conditionVars() map[string]any {
	if a.vars == nil {
		claims := map[string]any{}
		if a.Claims != nil {
			claims = a.Claims.All
		}
		a.vars = map[string]any{
			"request":     sync.OnceValue(a.requestVars),
			"client":      map[string]any{"address": a.Address.Unmap().String()},
			"claims":      claims,
			"certificate": sync.OnceValue(func() any { return CertificateVars(a.Certificate) }),
			"now":         a.Now,
			"route":       a.Route,
		}
	}
	return a.vars
}

// requestVars describes the request: without the tokens that other rules have taken from it, and without the fields by which the gateway itself
// tells the upstream who the client is.
func (a *Admission) requestVars() any {
	query := map[string][]string{}
	for name, value := range parameters(a.Query()) {
		query[name] = append(query[name], value)
	}
	headers := make(map[string]string, len(a.Header))
	for name, values := range a.Header {
		if slices.Contains(a.managed, name) {
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		headers[strings.ToLower(name)] = strings.Join(values, separator)
	}
	vars := map[string]any{
		"websocket": !a.Plain, "secure": a.Secure, "method": a.Method, "host": a.Host, "path": a.Path,
		"query": query, "headers": headers, "subprotocols": a.Offered(),
	}
	if a.HasOrigin {
		vars["origin"] = a.Origin
	}
	return vars
}

// CertificateNames are what CertificateVars may hold, sorted.
func CertificateNames() []string {
	return []string{"common_name", "dns", "emails", "fingerprint", "issuer", "serial", "subject", "uris"}
}

// CertificateVars describes the client's certificate, if there is one, by texts and lists of texts. Names are in the form of RFC 2253.
func CertificateVars(c *x509.Certificate) map[string]any {
	if c == nil {
		return map[string]any{}
	}
	uris := make([]string, len(c.URIs))
	for i, uri := range c.URIs {
		uris[i] = uri.String()
	}
	sum := sha256.Sum256(c.Raw)
	return map[string]any{
		"subject": c.Subject.String(), "common_name": c.Subject.CommonName, "serial": hex.EncodeToString(c.SerialNumber.Bytes()), "issuer": c.Issuer.String(), "fingerprint": hex.EncodeToString(sum[:]),
		"dns": c.DNSNames, "emails": c.EmailAddresses, "uris": uris,
	}
}
