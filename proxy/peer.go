package proxy

import (
	"crypto/x509"
	"net/http"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// A peer is who is at the other end of a client's connection, alike on every version of HTTP.
type peer struct {
	client   netip.AddrPort
	local    netip.AddrPort // that it connected to
	listener *listener
	tls      string // server name that the client asked for; empty without TLS
	secure   bool

	auth        *clientAuth       // what its handshake had to pass, nil for nothing
	certificate *x509.Certificate // that the client has proved to have, nil for none

	// What a load balancer has told in a PROXY header, from which client and local are then.
	offloaded bool             // the client came to it over TLS
	tlvs      []proxyproto.TLV // for the servers of upstreams
}

// who is what each kind of connection has in common.
func (p *peer) who() *peer { return p }

type connKey struct{}

// peerOf returns who sent a request.
func peerOf(r *http.Request) *peer {
	return r.Context().Value(connKey{}).(interface{ who() *peer }).who()
}

// headConnOf returns the connection that a request of HTTP/1.1 came on, and nil for others.
func headConnOf(r *http.Request) *headConn {
	c, _ := r.Context().Value(connKey{}).(*headConn)
	return c
}
