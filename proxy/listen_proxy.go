package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// ProxyConfig says which connections begin with a header of the PROXY protocol.
type ProxyConfig struct {
	From []string `yaml:"from" required:"true" min:"1" doc:"Networks of load balancers in front of this listener, such as 10.0.0.0/8. Each connection from there must begin with a header of the PROXY protocol, version 1 or 2, and who it names is the client. Connections from elsewhere come without one."`
}

// compileProxies makes the networks from which connections begin with a header.
func compileProxies(c *ListenerConfig, report Report) []netip.Prefix {
	if c.ProxyProtocol == nil {
		return nil
	}
	if slices.Contains(c.Protocols, protocolHTTP3) {
		report("proxy_protocol", "is of TCP, and clients of h3 would be taken for the load balancer, want no h3 on this listener")
	}
	return compileNetworks(c.ProxyProtocol.From, "proxy_protocol.from", report)
}

// The lengths of headers of the PROXY protocol, in bytes.
const (
	minProxyHeader = 15  // PROXY UNKNOWN
	maxProxyV1     = 107 // with the line's end
	proxyV2Prefix  = 16  // up to the length of the rest
)

// Why a connection ended before its TLS handshake, as metrics and logs name it.
const (
	proxyMalformed = "malformed"
	proxySlow      = "slow"
)

// introduce reads the header of the PROXY protocol with which a connection
// begins, and makes whom it names the peer. It reports false where there is none
// before ctx ends.
func (l *listener) introduce(ctx context.Context, c *headConn) bool {
	stop := context.AfterFunc(ctx, c.expire)
	h, err := readProxyHeader(c.raw)
	if !stop() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	if err == nil {
		err = c.introduced(h)
	}
	if err != nil {
		l.server.notIntroduced(c.client, err)
	}
	return err == nil
}

// notIntroduced counts and logs a connection without the header that it must
// have. One on which nothing came at all was a check whether the port is open.
func (s *Server) notIntroduced(proxy netip.AddrPort, err error) {
	reason := proxyMalformed
	switch {
	case err == io.EOF:
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = proxySlow
	}
	s.metrics.proxyErrors.WithLabelValues(reason).Inc()
	s.log.Info("refused", "client", proxy.String(), "route", noRoute, "reason", "no PROXY header", "result", reason, "detail", clean(err.Error()))
}

var errNoProxyHeader = errors.New("the connection does not begin with a PROXY header")

// readProxyHeader reads a header and not one byte behind it: whoever has the
// connection next, TLS or the reactor, reads from the descriptor. Where it ends
// is all that is looked at here.
func readProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	b := make([]byte, minProxyHeader, maxProxyV1)
	n, err := io.ReadFull(r, b)
	switch {
	case n == 0 && err != nil:
		return nil, err
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		for err == nil && b[len(b)-1] != '\n' && len(b) < maxProxyV1 {
			b, err = readMore(r, b, 1)
		}
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		b, err = readMore(r, b, proxyV2Prefix-len(b))
		if err == nil {
			if rest := binary.BigEndian.Uint16(b[proxyV2Prefix-2:]); rest <= proxyproto.MaxV2HeaderSize {
				b, err = readMore(r, b, int(rest))
			}
		}
	default:
		err = errors.Join(errNoProxyHeader, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the PROXY header: %w", err)
	}
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b))
	h, err := proxyproto.Read(in)
	if err == nil && in.Buffered() > 0 {
		err = errNoProxyHeader
	}
	return h, err
}

// readMore appends the next n bytes to b.
func readMore(r io.Reader, b []byte, n int) ([]byte, error) {
	b = slices.Grow(b, n)
	m, err := io.ReadFull(r, b[len(b):len(b)+n])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b[:len(b)+m], err
}

// introduced makes whom a header names the peer. A header without an address,
// such as that of a load balancer's own checks, leaves the connection's.
func (p *peer) introduced(h *proxyproto.Header) error {
	tlvs, err := h.TLVs()
	if err != nil || h.Command.IsLocal() {
		return err
	}
	source, destination, ok := h.TCPAddrs()
	if !ok {
		return nil
	}
	p.client, p.local = addrPort(source), addrPort(destination)
	if ssl, found := tlvparse.FindSSL(tlvs); found {
		p.offloaded = ssl.ClientSSL()
	}
	p.tlvs = slices.DeleteFunc(tlvs, func(t proxyproto.TLV) bool {
		return t.Type == proxyproto.PP2_TYPE_CRC32C || t.Type == proxyproto.PP2_TYPE_NOOP // of that header alone
	})
	return nil
}
