package upstream

import (
	"context"
	"net"
	"time"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// A Lease is one connection's place at a server, from before it is dialled until Release.
type Lease struct {
	server *Server
	state  *state

	released bool // under the registry's lock, as is trial
	trial    bool // it is to decide whether the server works again
}

// Server returns the server.
func (l *Lease) Server() *Server { return l.server }

// Dial opens the connection for a hop (see [Server.Dial]) with something of the caller's between the transport connection and TLS. A server that cannot
// be reached has failed; one that the caller did not wait for has not.
func (l *Lease) Dial(ctx context.Context, hop Hop, wrap func(net.Conn) net.Conn) (net.Conn, error) {
	conn, err := l.server.DialWrapped(ctx, hop, wrap)
	if err != nil && ctx.Err() == nil {
		l.Failed(err, time.Now())
	}
	return conn, err
}

// Failed tells that the server could not be reached, that what it answered cannot be relayed, or that it says itself that it does not work. Some
// failures in a row eject the server.
func (l *Lease) Failed(why error, now time.Time) {
	l.state.failures.Add(1)
	r := l.server.registry
	r.judge(l.state, now, why, func(h *health.Server, rules *health.Rules) {
		l.trial = false
		h.Failed(rules, now, rules.Room(r.standing(l.state.key.Pool)))
	})
}

// Succeeded tells that the server has answered as one that works.
func (l *Lease) Succeeded(now time.Time) {
	l.server.registry.judge(l.state, now, nil, func(h *health.Server, rules *health.Rules) {
		l.trial = false
		h.Succeeded(rules, now)
	})
}

// Release gives the place back. It may be called more than once, and for no lease.
func (l *Lease) Release() {
	if l != nil {
		l.server.registry.release(l)
	}
}
