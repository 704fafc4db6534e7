package upstream

import (
	"context"
	"net"
	"time"
)

// A Lease is one connection's place at a server, from before it is dialled until Release.
type Lease struct {
	server *Server
	state  *state // nil once it is released; under the registry's lock
}

// Server returns the server.
func (l *Lease) Server() *Server { return l.server }

// Dial opens the connection (see [Server.Dial]) with something of the caller's between the transport connection and TLS. A server that cannot
// be reached has failed; one that the caller did not wait for has not.
func (l *Lease) Dial(ctx context.Context, wrap func(net.Conn) net.Conn) (net.Conn, error) {
	conn, err := l.server.DialWrapped(ctx, wrap)
	if err != nil && ctx.Err() == nil {
		l.Failed(err, time.Now())
	}
	return conn, err
}

// Failed tells that the server could not be reached, or that what it answered cannot be relayed.
func (l *Lease) Failed(_ error, _ time.Time) {
	l.server.state.failures.Add(1)
	l.server.state.inRow.Add(1)
}

// Succeeded tells that the server has answered, whatever it said.
func (l *Lease) Succeeded(_ time.Time) { l.server.state.inRow.Store(0) }

// Release gives the place back. It may be called more than once, and for no lease.
func (l *Lease) Release() {
	if l != nil {
		l.server.registry.release(l)
	}
}
