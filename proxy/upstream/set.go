package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/framegate/framegate/proxy/upstream/discovery"
	"github.com/framegate/framegate/proxy/upstream/health"
)

// settings are what all servers of a pool share.
type settings struct {
	tls        *tls.Config // of the wss servers, but for their names
	allowed    []netip.Prefix
	slowStart  time.Duration // 0 for none
	newChooser func(*settings) chooser
	hash       hashed // of consistentHash
	sticky     sticky

	find   *discovery.Rules
	checks *health.Checks // nil where servers are not checked
	rules  *health.Rules
	proxy  byte // version of the PROXY protocol that servers are spoken to in, or 0

	// What asks the network; replaced in tests.
	lookup  func(context.Context, discovery.Name) ([]discovery.Found, error)
	connect func(t target) connect
}

// connect makes a transport connection, resolution of the name included.
type connect func(ctx context.Context, network, address string) (net.Conn, error)

// A set is the servers of a pool at one time. It is immutable but for what its strategy keeps.
type set struct {
	specs   []spec
	servers []*Server
	choose  chooser
}

// newSet makes the set of the given servers. They have no state yet.
func (p *Pool) newSet(specs []spec) *set {
	s := &set{specs: specs, choose: p.settings.newChooser(&p.settings)}
	for i, sp := range specs {
		server := newServer(sp, i, &p.settings)
		s.servers = append(s.servers, server)
		if p.settings.sticky.cookie == "" {
			continue
		}
		keys := p.settings.sticky.keys
		if p.OwnKey() {
			keys = [][]byte{p.registry.key}
		}
		for _, key := range keys {
			server.cookies = append(server.cookies, stickyValue(key, p.name, server.String()))
		}
	}
	return s
}
