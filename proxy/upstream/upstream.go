// Package upstream knows the servers behind the gateway: which there are, in which order a connection tries them, and how to reach one.
//
// # Three lifetimes
//
//   - A [Registry] lives as long as the gateway. It holds what is known of each server, by pool and address: live connections, availability,
//     since when it is being eased in, counters. Reloads and changes of the list leave that alone. What is known of a server that nothing lists
//     any more goes with its last connection.
//   - A [Pool] is one entry of a configuration. [Compile] makes it and changes nothing, so that a configuration can be checked and thrown away;
//     [Pool.Attach] puts it into service on a registry, and [Pool.Detach] takes it out once the next configuration is attached.
//   - A set is an immutable list of servers with the strategy that chooses among them. A pool has one at a time: that of the configuration, until
//     discovery replaces it whole by setServers.
//
// # A connection
//
// [Pool.Pick] begins a pick: whoever opens a connection calls [Pick.Next] until a server answers. Each call takes a place at a server that is
// available, not full and not tried before, as a [Lease]; by which server comes next decide stickiness, then the strategy. The lease is told
// how it went ([Lease.Failed], [Lease.Succeeded]) and is released at the end of the connection. Where no server is left, [Pick.Err] tells
// whether all are down or full.
//
// # What takes servers out
//
// Package health has the rules. While a pool is attached it checks its servers (checker.go) and looks its names up (finder.go) in goroutines of
// its own, which Detach ends. What they find is kept in the registry, so that a reload begins with it.
//
// Each WebSocket gets a connection of its own from [Lease.Dial], and so does each plain HTTP request by [Pool.Transport].
package upstream

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy/upstream/discovery"
	"github.com/framegate/framegate/proxy/upstream/health"
)

// Report receives one configuration mistake. The path is relative to the pool's own section, for example "servers[1]".
type Report = func(path, format string, args ...any)

// Config is one entry of the section upstreams.
type Config struct {
	Servers                   []ServerConfig      `yaml:"servers" required:"true" doc:"The servers of this pool."`
	Balance                   string              `yaml:"balance" enum:"round_robin,random_two,least_connections,consistent_hash" default:"round_robin" doc:"How connections are spread over the servers, by their weights: round_robin takes turns; random_two draws two and takes the one with fewer connections; least_connections takes the one with the fewest; consistent_hash takes the same one for the same value of hash, unless that has more than 1.25 times its share."`
	Hash                      *HashConfig         `yaml:"hash" doc:"What consistent_hash hashes: address, {header: NAME}, {query: NAME}, {cookie: NAME} or {claim: NAME}. Requests without it are balanced as by random_two. Default: address."`
	Sticky                    *StickyConfig       `yaml:"sticky" doc:"Keeps each client at one server, its plain requests too, while that is there and not full."`
	SlowStart                 strictyaml.Duration `yaml:"slow_start" doc:"How long a server that is new, or is back, takes to come to its full share. Hashes do not heed it. Without it, no time."`
	Health                    *health.Config      `yaml:"health" doc:"Checks of the servers. A server whose checks fail gets no new connections until they succeed again; live ones stay. When all servers are down, requests are refused with 503 and Retry-After, at once. Without this section servers are not checked."`
	Ejection                  health.Ejection     `yaml:"ejection" doc:"Servers to which connections fail are left out for a while."`
	Discovery                 discovery.Config    `yaml:"discovery" doc:"How the names in dns+ws, dns+wss, srv+ws and srv+wss URLs are looked up."`
	ProxyProtocol             string              `yaml:"proxy_protocol" enum:"v1,v2" doc:"Begin each connection with a header of the PROXY protocol, which tells the client's address (as trusted_proxies of the listener gives it). Servers must expect it. Default: none."`
	TLS                       *TLSConfig          `yaml:"tls" doc:"How the certificates of wss servers are verified. Without it: by the system's certificate authorities, for the host that stands in the server's URL."`
	DangerouslyAllowAddresses []string            `yaml:"dangerously_allow_addresses" doc:"Addresses or networks (CIDR) that may be reached although they are refused otherwise: link-local and cloud metadata addresses, unspecified and multicast ones, and loopback addresses behind a DNS name."`
}

// ServerConfig is one server: its URL alone, or a mapping.
type ServerConfig struct {
	URL            string `yaml:"url" required:"true" doc:"ws://HOST[:PORT], wss://HOST[:PORT] or unix:///PATH (WebSocket without TLS over a Unix socket). A port that is not given is 80 for ws and 443 for wss. dns+ws://NAME[:PORT] and dns+wss:// stand for a server at each address of a name; srv+ws://_SERVICE._tcp.NAME and srv+wss:// for those in its SRV records. Both are looked up again and again."`
	Weight         int    `yaml:"weight" default:"1" min:"1" max:"1000" doc:"Share of the connections, relative to the other servers."`
	MaxConnections int    `yaml:"max_connections" min:"1" doc:"Connections at once from this gateway, those of plain requests too; further ones go to other servers. Without it there is no cap."`
	short          bool   // written as the URL alone
}

// UnmarshalText reads the form that is a URL.
func (c *ServerConfig) UnmarshalText(text []byte) error {
	*c = ServerConfig{URL: string(text), Weight: 1, short: true}
	return nil
}

// Wanted names the form in error messages.
func (ServerConfig) Wanted() string { return `a URL such as "ws://10.0.0.11:9000"` }

// JSONSchema describes the form that is a URL.
func (ServerConfig) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// TLSConfig says how the certificates of wss servers are verified. Verification cannot be switched off.
type TLSConfig struct {
	CA         string `yaml:"ca" doc:"A PEM file with the certificate authorities that sign the servers' certificates; the system's are not used then."`
	ServerName string `yaml:"server_name" doc:"The name (or IP address) that the servers' certificates must carry, sent as SNI. Default: the host in the server's URL; of srv+wss the part behind _SERVICE._tcp."`
	Cert       string `yaml:"cert" doc:"A PEM file with the certificate, and its chain, that the gateway shows to servers. It is read again when it changes."`
	Key        string `yaml:"key" doc:"The PEM file with its private key."`
}

// A spec is one server, as the configuration or discovery gives it.
type spec struct {
	target target
	weight int // at least 1
	most   int // connections at once; 0 for no cap
	rank   int // servers of a higher one are used when no other is left
}

// Pool is the compiled form of a Config. It is safe for concurrent use.
type Pool struct {
	name      string
	listed    []spec // of the configuration
	settings  settings
	transport *http.Transport

	registry *Registry // nil until it is attached
	current  atomic.Pointer[set]
	watch    watch
}

// Compile checks the section of the pool called name and returns its compiled form, or nil when it has reported a mistake. It reads the CA
// file, opens no connection and touches nothing that is shared.
func Compile(name string, c Config, report Report) *Pool {
	failed := false
	fail := func(path, format string, args ...any) {
		failed = true
		report(path, format, args...)
	}
	p := &Pool{name: name, transport: newTransport()}
	p.settings.allowed = compileAllowed(c.DangerouslyAllowAddresses, fail)
	p.listed = compileServers(c.Servers, p.settings.allowed, fail)
	p.settings.tls = compileTLS(c.TLS, c.Servers, fail)
	p.settings.newChooser = strategyNamed(c.Balance, fail)
	p.settings.slowStart = time.Duration(c.SlowStart)
	p.settings.hash = compileHash(c, fail)
	p.settings.sticky = c.Sticky.compile(fail)
	p.settings.find = c.Discovery.Compile(within("discovery", fail))
	p.settings.lookup = p.settings.find.Lookup
	p.settings.connect = func(t target) connect { return p.settings.newDialer(t).DialContext }
	if c.Health != nil {
		p.settings.checks = c.Health.Compile(within("health", fail))
	}
	p.settings.rules = c.Ejection.Rules(c.Health, within("ejection", fail))
	var known bool
	if p.settings.proxy, known = proxyVersions[c.ProxyProtocol]; !known {
		fail("proxy_protocol", "unknown version %q, want v1 or v2", c.ProxyProtocol)
	}
	if failed {
		return nil
	}
	return p
}

// within makes a Report for a section of the pool's.
func within(section string, report Report) Report {
	return func(path, format string, args ...any) {
		report(strings.TrimSuffix(section+"."+path, "."), format, args...)
	}
}

// compileHash makes what consistent_hash needs.
func compileHash(c Config, report Report) hashed {
	switch {
	case c.Hash == nil:
		return addressValue
	case c.Balance != "consistent_hash":
		report("hash", "is only for balance: consistent_hash")
	}
	return c.Hash.compile("hash", report)
}

// compileServers parses the list of servers. Two servers may not share an address: the second would double the first one's share, and be
// tried again after the first has failed.
func compileServers(servers []ServerConfig, allowed []netip.Prefix, report Report) []spec {
	if len(servers) == 0 {
		report("servers", `no server, want at least one such as "ws://10.0.0.11:9000"`)
	}
	var specs []spec
	seen := make(map[string]int)
	for i, c := range servers {
		path := indexed("servers", i)
		if !c.short {
			path += ".url"
		}
		t, bad := parseTarget(c.URL)
		if bad == nil {
			bad = t.guard(allowed).checkLiteral(t.host)
		}
		if bad != nil {
			bad.report(report, path, "server", redact(c.URL))
			continue
		}
		if first, ok := seen[t.address]; ok {
			report(path, "server %q has the address of servers[%d], want each server once", c.URL, first)
			continue
		}
		seen[t.address] = i
		specs = append(specs, spec{target: t, weight: max(c.Weight, 1), most: c.MaxConnections})
	}
	return specs
}

// Name returns the pool's name in the configuration.
func (p *Pool) Name() string { return p.name }

// Attach puts the pool into service: what the registry knows of its servers holds for them from now on. It is called once.
func (p *Pool) Attach(r *Registry, now time.Time) {
	if p.registry != nil {
		panic(fmt.Sprintf("upstream: pool %q is attached twice", p.name))
	}
	if p.OwnKey() && !r.HasKey() {
		panic(fmt.Sprintf("upstream: pool %q is attached to a registry without a key", p.name))
	}
	p.registry = r
	r.hold(p.name, p.listed, 1)
	p.begin(now)
}

// Detach takes the pool out of service. Connections under way keep their leases, and those who still pick, by a request that began before, may.
func (p *Pool) Detach() {
	if p.registry == nil {
		return
	}
	p.watch.end()
	p.registry.drop(p.current.Load().servers)
	p.registry.hold(p.name, p.listed, -1)
}

// setServers replaces the servers of an attached pool, whole and at once. Picks that have begun go on with the set that they began with. The
// caller sees to it that there is one caller at a time, and none after Detach.
func (p *Pool) setServers(specs []spec, now time.Time) {
	old := p.current.Load()
	next := p.newSet(specs)
	p.registry.adopt(p.name, next.servers, now)
	p.current.Store(next)
	if old != nil {
		p.registry.drop(old.servers)
	}
}

// Servers returns the servers of the pool as they are now. The slice is shared and must not be changed.
func (p *Pool) Servers() []*Server { return p.current.Load().servers }

// Transport returns the transport for plain HTTP requests: each goes over the connection that [OnConn] has put into its context. Its answers
// are as the server gave them. The caller must not send it requests that ask for an upgrade.
func (p *Pool) Transport() *http.Transport { return p.transport }
