package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/framegate/framegate/proxy/handshake"
)

// maxHops bounds how many addresses of X-Forwarded-For are looked at, from the
// right.
const maxHops = 32

// A hop is what is known of how a request came here.
type hop struct {
	client netip.AddrPort // that policies, limits and logs go by; without a port where a proxy told it
	secure bool           // the client's own connection was TLS
	via    []string       // addresses from the client on, as trusted proxies told them; without the peer
}

type hopKey struct{}

// withHop notes on a request what trusted proxies say of its client. Of anybody
// else X-Forwarded-* is worth nothing.
func withHop(st *site, r *http.Request) *http.Request {
	c := peerOf(r)
	d := st.doors[c.listener]
	if d == nil || !trusts(d.trusted, c.client.Addr()) {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), hopKey{}, c.behind(d.trusted, r.Header)))
}

// hopOf returns what is known of a request's way here.
func hopOf(r *http.Request) hop {
	if h, ok := r.Context().Value(hopKey{}).(hop); ok {
		return h
	}
	c := peerOf(r)
	return hop{client: c.client, secure: c.secure || c.offloaded}
}

// behind reads what a trusted peer says, from the right: each trusted proxy
// vouches for the address before its own. Where one says something that is no
// address, it is itself the client.
func (c *peer) behind(trusted []netip.Prefix, h http.Header) hop {
	told := hop{client: c.client, secure: c.secure || c.offloaded}
	list := strings.Split(strings.Join(h["X-Forwarded-For"], ","), ",")
	for n := range min(len(list), maxHops) {
		addr, ok := forwardedAddr(list[len(list)-1-n])
		if !ok {
			break
		}
		told.client = netip.AddrPortFrom(addr, 0)
		told.via = append(told.via, addr.String())
		if !trusts(trusted, addr) {
			break
		}
	}
	slices.Reverse(told.via)
	protos := strings.Split(strings.Join(h["X-Forwarded-Proto"], ","), ",")
	switch strings.ToLower(strings.TrimSpace(protos[len(protos)-1])) {
	case "https", "wss":
		told.secure = true
	case "http", "ws":
		told.secure = false
	}
	return told
}

// forwardedAddr reads an element of X-Forwarded-For. Some proxies add the port.
func forwardedAddr(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(text)
		return ap.Addr().Unmap(), err == nil && ap.Addr().Zone() == ""
	}
	return addr.Unmap(), addr.Zone() == ""
}

func trusts(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// forwarded is what upstreams are told of the client's way here.
func forwarded(r *http.Request) handshake.Forwarded {
	h := hopOf(r)
	proto := "http"
	if h.secure {
		proto = "https"
	}
	host, port, _ := handshake.CanonicalAuthority(r.Host) // it has found a route
	if port != "" {
		host += ":" + port
	}
	return handshake.Forwarded{For: strings.Join(append(h.via, peerOf(r).client.Addr().String()), ", "), Proto: proto, Host: host}
}

// compileNetworks reads networks in CIDR notation, or single addresses.
func compileNetworks(texts []string, path string, report Report) []netip.Prefix {
	var all []netip.Prefix
	for i, text := range texts {
		n, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil && addr.Zone() == "" {
			n, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case err != nil:
			report(at, "%q is not a network, want one such as 10.0.0.0/8 or 2001:db8::/32", text)
		case n != n.Masked():
			report(at, "%q has bits behind its prefix, want %s", text, n.Masked())
		case n.Addr().Is4In6():
			report(at, "%q is IPv4 in IPv6, want the IPv4 network", text)
		case n.Bits() == 0:
			report(at, "%q is every address: anybody could claim to be anybody, want the networks of your own proxies", text)
		default:
			all = append(all, n)
		}
	}
	return all
}
