package upstream

import (
	"crypto/tls"
	"net/netip"
)

// settings are what all servers of a pool share.
type settings struct {
	tls        *tls.Config // of the wss servers, but for their names
	allowed    []netip.Prefix
	newChooser func() chooser
}

// A set is the servers of a pool at one time. It is immutable but for what its strategy keeps.
type set struct {
	servers []*Server
	choose  chooser
}

// newSet makes the set of the given servers. They have no state yet.
func (p *Pool) newSet(specs []spec) *set {
	s := &set{choose: p.settings.newChooser()}
	for i, sp := range specs {
		s.servers = append(s.servers, newServer(sp, i, &p.settings))
	}
	return s
}
