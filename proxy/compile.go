package proxy

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/upstream"
)

// Report receives one mistake and the path of the value that holds it.
type Report = func(path, format string, args ...any)

// compile validates cfg whole and returns its compiled form. It starts nothing.
// Where it reports a mistake its result must not be used. warn receives what is
// suspicious but works.
func compile(cfg *Config, common *shared, report, warn Report) *site {
	s := &site{cfg: cfg, pools: map[string]*upstream.Pool{}}
	compileListeners(cfg.Listeners, report)
	compileCertificates(cfg, report, warn)
	compileAdmin(cfg.Admin, report)
	s.adminToken = compileToken(cfg.Admin, report)
	compileDrain(cfg.Drain, prefixed("drain", report))
	if cfg.Redis != nil {
		cfg.Redis.Validate(prefixed("redis", report))
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		path := strictyaml.Key("upstreams", name)
		s.pools[name] = upstream.Compile(name, cfg.Upstreams[name], prefixed(path, report))
		s.reusePool(name, common.before)
	}
	s.compileCookies(report)
	s.policies = policy.Compile(cfg.Policies, common.policies, prefixed("policies", report))
	if common.before != nil {
		s.policies.Reuse(common.before.policies)
	}

	routes := map[string]int{}
	usedPools, usedPolicies := map[string]bool{}, map[string]bool{}
	for i := range cfg.Routes {
		c := &cfg.Routes[i]
		at := prefixed(fmt.Sprintf("routes[%d]", i), report)
		if first, ok := routes[c.Name]; ok && c.Name != "" {
			at("name", "route %q is defined twice, first as routes[%d]", c.Name, first)
		}
		routes[c.Name] = i
		rt := s.compileRoute(c, cfg, common, at)
		warnOfRates(rt.policy, cfg.Redis, warn)
		s.routes = append(s.routes, rt)
		usedPools[c.Upstream] = true
		for _, name := range c.Policies {
			usedPolicies[name] = true
		}
	}
	for name := range maps.Keys(cfg.Upstreams) {
		if !usedPools[name] {
			warn(strictyaml.Key("upstreams", name), "no route uses this upstream")
		}
	}
	for name := range maps.Keys(cfg.Policies) {
		if !usedPolicies[name] {
			warn(strictyaml.Key("policies", name), "no route uses this policy")
		}
	}
	return s
}

// compileCookies keeps sticky pools apart: their cookies hold for all paths of a
// host, so that two of one name would take each other's place.
func (s *site) compileCookies(report Report) {
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.pools)) {
		p := s.pools[name]
		if p == nil || p.CookieName() == "" {
			continue
		}
		if first, ok := taken[p.CookieName()]; ok {
			report(strictyaml.Join(strictyaml.Key("upstreams", name), "sticky.cookie.name"), "%q is the cookie of upstream %q, want a name of its own", p.CookieName(), first)
			continue
		}
		taken[p.CookieName()] = name
	}
}

// attach puts those pools into service that the site before did not have.
func (s *site) attach(r *upstream.Registry, before *site, now time.Time) {
	for name, p := range s.pools {
		if !before.has(name, p) {
			p.Attach(r, now)
		}
	}
}

// detach takes those pools out of service that the next site does not have,
// once that is attached.
func (s *site) detach(next *site) {
	for name, p := range s.pools {
		if !next.has(name, p) {
			p.Detach()
		}
	}
}

// has reports whether a pool is the site's. A nil site has none.
func (s *site) has(name string, p *upstream.Pool) bool { return s != nil && s.pools[name] == p }

func prefixed(section string, report Report) Report {
	return func(path, format string, args ...any) { report(strictyaml.Join(section, path), format, args...) }
}

func compileListeners(all []ListenerConfig, report Report) {
	seen := map[string]int{}
	for i, c := range all {
		at := prefixed(fmt.Sprintf("listeners[%d]", i), report)
		if c.Address == "" { // reported as missing
			continue
		}
		host, port, err := net.SplitHostPort(c.Address)
		if err != nil || !validPort(port) {
			at("address", "%q is not an address, want host:port such as :8443 or 127.0.0.1:8443", c.Address)
		} else if host != "" && host != "localhost" {
			if _, err := netip.ParseAddr(host); err != nil {
				at("address", "%q is not an IP address or localhost", host)
			}
		}
		if first, ok := seen[c.Address]; ok && port != "0" {
			at("address", "%q is taken by listeners[%d]", c.Address, first)
		}
		seen[c.Address] = i
		compileNetworks(c.TrustedProxies, "trusted_proxies", at)
		compileProxies(&c, at)
		if compileClientAuth(c.ClientAuth, at) != nil && c.TLS.Off() {
			at("client_auth", "is for listeners with TLS")
		}
		compileProtocols(c, at)
		c.TLS.Validate(prefixed("tls", at))
		compileEntrance(&c, at)
	}
}

// compileProtocols wants HTTP/1.1 without TLS, where nothing tells a client of other versions.
func compileProtocols(c ListenerConfig, report Report) {
	if c.TLS.Certificates == "off" && !slices.Equal(c.Protocols, []string{"h1"}) && len(c.Protocols) > 0 {
		report("protocols", "a listener without TLS speaks h1 alone")
	} else if slices.Equal(c.Protocols, []string{protocolHTTP3}) {
		report("protocols", "h3 alone is found by no client, want h1 or h2 beside it")
	}
}

// ignore is the Report of what was validated before.
func ignore(string, string, ...any) {}

func validPort(port string) bool {
	n, err := net.LookupPort("tcp", port)
	return err == nil && n >= 0 && port != "" && port[0] >= '0' && port[0] <= '9'
}

// compileAdmin keeps the admin listener on loopback: it has no authentication.
func compileAdmin(c AdminConfig, report Report) {
	if c.Address == "" || c.Address == adminOff {
		return
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || !validPort(port) {
		report("admin.address", "%q is not an address, want host:port such as 127.0.0.1:9901, or off", c.Address)
		return
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		report("admin.address", "%q is not a loopback address: the admin listener answers whoever reaches it", c.Address)
	}
}

func (s *site) compileRoute(c *RouteConfig, cfg *Config, common *shared, report Report) *route {
	rt := &route{name: c.Name, cfg: *c, denyHTTP: c.HTTP == "deny", auth: compileClientAuth(c.ClientAuth, report)}
	if c.Name == noRoute {
		report("name", "%q stands for no route in the metrics, want another name", c.Name)
	}
	if _, ok := cfg.Upstreams[c.Upstream]; !ok && c.Upstream != "" {
		unknown(report, "upstream", "upstream", c.Upstream, slices.Sorted(maps.Keys(cfg.Upstreams)))
	}
	rt.pool = s.pools[c.Upstream]
	rt.policy = s.policies.Route(c.Policies, report)
	rt.limits = compileLimits(c, rt.policy, report)
	rt.limits.Memory = common.memory
	if rt.policy != nil {
		rt.rules = compileRules(rt.policy, rt.limits, common.before.named(c.Name))
	}
	rt.compression = compileCompression(c, rt.policy)
	rt.limits.Inflate = rt.compression == handshake.Inspect
	if rt.pool != nil {
		rt.plain = newPlainProxy(rt.pool)
	}
	if old := common.before.named(c.Name); old.same(rt) {
		rt = old
	}
	patterns, hosts := compilePaths(c.Paths, report), map[string]bool{}
	compileRenewal(rt.policy, patterns, report)
	for i, name := range c.Hosts {
		host, ok := canonicalHost(name)
		switch {
		case !ok:
			report(fmt.Sprintf("hosts[%d]", i), "%q is not a host name, want one such as app.example.com or *.example.com, without port", name)
			continue
		case hosts[host]:
			report(fmt.Sprintf("hosts[%d]", i), "%q is listed twice", name)
			continue
		}
		hosts[host] = true
		s.hosts = append(s.hosts, host)
		for j, pattern := range patterns {
			if pattern == "" {
				continue
			}
			if taken := s.router.add(host, pattern, rt); taken != "" {
				report(fmt.Sprintf("paths[%d]", j), "%q of host %q belongs to route %q already", c.Paths[j], name, taken)
			}
		}
		if first := s.router.firstOf(host); first != nil && !reflect.DeepEqual(first.cfg.ClientAuth, c.ClientAuth) {
			report(fmt.Sprintf("hosts[%d]", i), "route %q of host %q has another client_auth, want the same: the TLS handshake knows the host alone", first.name, name)
		}
	}
	return rt
}

// compileCompression keeps contexts away from rules that must read messages: who does not see all of a stream cannot inflate it.
func compileCompression(c *RouteConfig, p *policy.Policy) handshake.Compression {
	reads := p != nil && (p.Content(true) != nil || p.Content(false) != nil || p.Renewal() != nil)
	switch {
	case c.Compression == "off":
		return handshake.Off
	case c.Compression == "inspect", reads:
		return handshake.Inspect
	}
	return handshake.Pass
}

// unknown reports a name that nothing has.
func unknown(report Report, path, what, name string, known []string) {
	if near, ok := strictyaml.Nearest(name, known); ok {
		report(path, "unknown %s %q, did you mean %q?", what, name, near)
		return
	}
	report(path, "unknown %s %q, want one of %s", what, name, strings.Join(known, ", "))
}

// canonicalHost accepts names and addresses, and one whole left label as
// wildcard.
func canonicalHost(name string) (host string, ok bool) {
	rest, wild := strings.CutPrefix(name, "*.")
	host, port, ok := handshake.CanonicalAuthority(rest)
	if !ok || port != "" || wild && !strings.Contains(rest, ".") {
		return "", false
	}
	if wild {
		host = "*." + host
	}
	return host, true
}

// compilePaths returns the paths in the spelling in which those of requests are
// matched, and "" in the place of a mistake.
func compilePaths(paths []string, report Report) []string {
	patterns := make([]string, len(paths))
	for i, path := range paths {
		var ok bool
		if patterns[i], ok = canonicalPattern(path); !ok {
			report(fmt.Sprintf("paths[%d]", i), "%q is not a path, want one such as /ws, or /ws/* for /ws and all below it", path)
		}
	}
	return patterns
}

func canonicalPattern(path string) (pattern string, ok bool) {
	base, wild := strings.CutSuffix(path, "/*")
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(base, "*?#% ") || wild && strings.HasSuffix(base, "/") {
		return "", false
	}
	if base == "" {
		return path, true
	}
	pattern, refusal := handshake.CanonicalPath(&url.URL{Path: base})
	if refusal != nil {
		return "", false
	}
	if wild {
		pattern += "/*"
	}
	return pattern, true
}

// compileLimits makes what the sessions of a route share.
func compileLimits(c *RouteConfig, p *policy.Policy, report Report) *relay.Limits {
	l := relay.Defaults()
	l.PingInterval = time.Duration(c.PingInterval)
	l.PongTimeout = time.Duration(c.PongTimeout)
	l.IdleTimeout = time.Duration(c.IdleTimeout)
	l.CloseTimeout = time.Duration(c.CloseTimeout)
	if c.MaxLifetime != nil {
		l.MaxLifetime = time.Duration(*c.MaxLifetime)
	}
	l.AnswerPings = c.Pings == "answer"
	l.Random = random
	if p != nil {
		l.From[relay.Client], l.From[relay.Upstream] = shape(p.Shape(true)), shape(p.Shape(false))
	}
	known := causes()
	for _, name := range slices.Sorted(maps.Keys(c.CloseCodes)) {
		path := strictyaml.Key("close_codes", name)
		cause, ok := known[name]
		if !ok {
			unknown(report, path, "cause", name, slices.Sorted(maps.Keys(known)))
			continue
		}
		for side, key := range [...]string{relay.Client: "client", relay.Upstream: "upstream"} {
			code, at := c.CloseCodes[name].of(relay.Side(side)), strictyaml.Key(path, key)
			if c.CloseCodes[name].short {
				at = path
			}
			if code != 0 && !frame.ValidCode(code) {
				report(at, "%d may not be sent as a close code (RFC 6455 section 7.4), want 1000 to 1003, 1007 to 1014 or 3000 to 4999", code)
			}
			l.Codes[cause][side] = code
		}
	}
	return &l
}

func shape(p policy.Shape) relay.Shape {
	return relay.Shape{
		MaxFrame: uint64(p.MaxFrame), MaxMessage: uint64(p.MaxMessage), MaxFragments: p.MaxFragments,
		MaxRatio: p.MaxRatio, RatioFrom: uint64(p.RatioFrom), NoText: !p.Text, NoBinary: !p.Binary,
	}
}

// random returns an unpredictable masking key (RFC 6455 §5.3).
func random() (key [4]byte) {
	rand.Read(key[:]) // never fails: crypto/rand ends the process instead
	return key
}
