package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// The limits of one dial (shared with the rules of the handshake: the whole upgrade may take 15 s).
const (
	connectLimit = 3 * time.Second
	tlsLimit     = 5 * time.Second
)

// Server is one server of a set. Beside its state, which it shares with the same server in other configurations, it is immutable and safe for
// concurrent use.
type Server struct {
	target  target
	tls     *tls.Config // nil for a plain connection
	index   int         // in its set
	weight  int
	most    int // connections at once; 0 for no cap
	rank    int // servers of a higher one are used when no other is left
	rules   *health.Rules
	proxy   byte     // version of the PROXY protocol, or 0
	seed    uint64   // of its place in the order in which hashed values like servers
	cookies []string // that lead to it; the first one is given out

	registry *Registry
	state    *state

	connect connect
}

// newServer makes the server of one spec, without a state.
func newServer(sp spec, index int, common *settings) *Server {
	s := &Server{
		target: sp.target, index: index, weight: sp.weight, most: sp.most, rank: sp.rank, rules: common.rules, proxy: common.proxy,
		connect: common.connect(sp.target), seed: digest(sp.target.String()),
	}
	if s.target.secure {
		s.tls = common.tls.Clone()
		if s.tls.ServerName == "" {
			s.tls.ServerName = s.target.serverName()
		}
	}
	return s
}

// newDialer makes a dialer whose defaults are what a WebSocket wants: TCP_NODELAY, and keep-alive probes after 15 s of silence, which find a
// dead peer even where the route sends no pings. It judges each address that the target's name leads to.
func (common *settings) newDialer(t target) *net.Dialer {
	dialer := &net.Dialer{Resolver: common.find.Resolver}
	if t.network == "tcp" {
		dialer.ControlContext = t.guard(common.allowed).control
	}
	return dialer
}

// String returns host:port, or unix:/path, for logs.
func (s *Server) String() string { return s.target.String() }

// Dial opens a fresh connection to the server: TCP or Unix, then TLS if the server speaks it. Connecting may take 3 s, the TLS handshake 5 s,
// and both end with ctx. Every error is a [*DialError].
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	return s.DialWrapped(ctx, Hop{}, func(c net.Conn) net.Conn { return c })
}

// DialWrapped is Dial on behalf of a client's connection, with something of the caller's between the transport connection and TLS.
func (s *Server) DialWrapped(ctx context.Context, hop Hop, wrap func(net.Conn) net.Conn) (net.Conn, error) {
	conn, err := s.dialTransport(ctx)
	if err == nil && s.proxy != 0 {
		err = introduce(conn, hop, s.proxy)
	}
	if err != nil {
		return nil, &DialError{Server: s.String(), Phase: PhaseConnect, Err: err}
	}
	conn = wrap(conn)
	if s.tls == nil {
		return conn, nil
	}
	secured, err := s.handshake(ctx, conn)
	if err != nil {
		_ = conn.Close() // the handshake's error is the one that tells something
		return nil, &DialError{Server: s.String(), Phase: PhaseTLS, Err: err}
	}
	return secured, nil
}

func (s *Server) dialTransport(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := s.connect(limited, s.target.network, s.target.address)
	if err != nil && expired(ctx, limited) {
		return nil, fmt.Errorf("no connection within %v: %w", connectLimit, err)
	}
	return conn, err
}

func (s *Server) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, tlsLimit)
	defer cancel()
	secured := tls.Client(conn, s.tls)
	if err := secured.HandshakeContext(limited); err != nil {
		if expired(ctx, limited) {
			err = fmt.Errorf("no TLS handshake within %v: %w", tlsLimit, err)
		}
		return nil, err
	}
	return secured, nil
}

// expired says whether our own limit has passed, rather than the caller's.
func expired(caller, limited context.Context) bool {
	return caller.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded)
}

// The phases of a dial.
const (
	PhaseConnect = "connect" // resolution of the name, the TCP or Unix connection, and the PROXY header
	PhaseTLS     = "tls"     // the TLS handshake, verification of the certificate included
)

// DialError says which server could not be reached, and in which phase of the dial. It is for the log: it names addresses, and never holds a
// secret, since no server URL may hold one.
type DialError struct {
	Server string
	Phase  string // PhaseConnect or PhaseTLS
	Err    error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("upstream server %s: %s: %v", e.Server, e.Phase, e.Err)
}

// Unwrap returns the cause. errors.Is finds context.DeadlineExceeded in it when a limit has passed.
func (e *DialError) Unwrap() error { return e.Err }
