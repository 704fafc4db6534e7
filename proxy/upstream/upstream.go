// Package upstream knows the servers behind the gateway: which there are, in which order a connection tries them, and how to reach one.
//
// A pool is compiled once from its configuration and never changes: no goroutine, no health state, no shared connection. Each WebSocket gets
// a connection of its own from [Server.Dial], and so does each plain HTTP request by [Pool.Transport].
package upstream

import (
	"net/http"
	"net/netip"
)

// Report receives one configuration mistake. The path is relative to the pool's own section, for example "servers[1]".
type Report = func(path, format string, args ...any)

// Config is one entry of the section upstreams.
type Config struct {
	Servers                   []string   `yaml:"servers" required:"true" doc:"The servers of this pool: ws://HOST[:PORT], wss://HOST[:PORT] or unix:///PATH (WebSocket without TLS over a Unix socket). A port that is not given is 80 for ws and 443 for wss."`
	Balance                   string     `yaml:"balance" enum:"round_robin" default:"round_robin" doc:"How connections are spread over the servers: round_robin starts each one at the next server."`
	TLS                       *TLSConfig `yaml:"tls" doc:"How the certificates of wss servers are verified. Without it: by the system's certificate authorities, for the host that stands in the server's URL."`
	DangerouslyAllowAddresses []string   `yaml:"dangerously_allow_addresses" doc:"Addresses or networks (CIDR) that may be reached although they are refused otherwise: link-local and cloud metadata addresses, unspecified and multicast ones, and loopback addresses behind a DNS name."`
}

// TLSConfig says how the certificates of wss servers are verified. Verification cannot be switched off.
type TLSConfig struct {
	CA         string `yaml:"ca" doc:"A PEM file with the certificate authorities that sign the servers' certificates; the system's are not used then."`
	ServerName string `yaml:"server_name" doc:"The name (or IP address) that the servers' certificates must carry, sent as SNI. Default: the host in the server's URL."`
}

// Pool is the immutable form of a Config. It is safe for concurrent use.
type Pool struct {
	name      string
	servers   []*Server
	order     order
	transport *http.Transport
}

// Compile checks the section of the pool called name and returns its immutable form, or nil when it has reported a mistake. It reads the CA
// file, and opens no connection.
func Compile(name string, c Config, report Report) *Pool {
	failed := false
	fail := func(path, format string, args ...any) {
		failed = true
		report(path, format, args...)
	}
	allowed := compileAllowed(c.DangerouslyAllowAddresses, fail)
	targets := compileTargets(c.Servers, allowed, fail)
	conf := compileTLS(c.TLS, c.Servers, fail)
	newOrder := strategyNamed(c.Balance, fail)
	if failed {
		return nil
	}
	p := &Pool{name: name, order: newOrder()}
	for _, t := range targets {
		p.servers = append(p.servers, newServer(t, conf, allowed))
	}
	p.transport = newTransport(p.servers)
	return p
}

// compileTargets parses the list of servers. Two servers may not share an address: the second would double the first one's share, and be
// tried again after the first has failed.
func compileTargets(servers []string, allowed []netip.Prefix, report Report) []target {
	if len(servers) == 0 {
		report("servers", `no server, want at least one such as "ws://10.0.0.11:9000"`)
	}
	var targets []target
	seen := make(map[string]int)
	for i, text := range servers {
		path := indexed("servers", i)
		t, bad := parseTarget(text)
		if bad == nil {
			bad = t.guard(allowed).checkLiteral(t.host)
		}
		if bad != nil {
			bad.report(report, path, "server", redact(text))
			continue
		}
		if first, ok := seen[t.address]; ok {
			report(path, "server %q has the address of servers[%d], want each server once", text, first)
			continue
		}
		seen[t.address] = i
		targets = append(targets, t)
	}
	return targets
}

// Name returns the pool's name in the configuration.
func (p *Pool) Name() string { return p.name }

// Order returns the servers to try for one connection, first choice first, each exactly once. The slice is the caller's own.
func (p *Pool) Order() []*Server { return p.order(p.servers) }

// Transport returns the transport for plain HTTP requests to the servers of this pool: the same one at each call. The URL's host, taken from
// [Server.URLHost], selects the server; whether TLS is spoken to it was settled by the configuration, whatever the URL's scheme says. A host
// that is not of this pool is an error. The caller must not send it requests that ask for an upgrade.
func (p *Pool) Transport() *http.Transport { return p.transport }
