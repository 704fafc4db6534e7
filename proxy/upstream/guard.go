package upstream

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// guard decides which addresses a server may have. A configuration or a DNS answer that leads to a cloud metadata service, or back into the
// gateway's own host, is how a proxy becomes an attacker's way in; so such addresses are refused unless the operator lists them.
type guard struct {
	name    string // the host in the server's URL when it is a DNS name, else empty
	allowed []netip.Prefix
}

// refused lists the networks that no server lives in, first match first.
var refused = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds keep their metadata service"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud metadata service"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud metadata service"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a cloud metadata service"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("::/96"), "an IPv4 address written as IPv6"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "a cloud metadata service"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a cloud metadata service"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
}

// translators lists the networks whose addresses hold an IPv4 address at the given offset; that address is then judged.
var translators = []struct {
	network netip.Prefix
	offset  int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},   // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12}, // NAT64 of one's own, RFC 8215
	{netip.MustParsePrefix("2002::/16"), 2},       // 6to4, RFC 3056
}

func (t target) guard(allowed []netip.Prefix) guard {
	if _, err := netip.ParseAddr(t.host); err != nil {
		return guard{name: t.host, allowed: allowed}
	}
	return guard{allowed: allowed}
}

// checkLiteral judges a host of the configuration if it is an address; a name is judged when its address is known.
func (g guard) checkLiteral(host string) *flaw {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return g.check(a)
}

// check judges one address.
func (g guard) check(a netip.Addr) *flaw {
	a = a.WithZone("").Unmap()
	for _, p := range g.allowed {
		if p.Contains(a) {
			return nil
		}
	}
	judged := a
	for _, t := range translators {
		if t.network.Contains(a) {
			b := a.As16()
			judged = netip.AddrFrom4([4]byte(b[t.offset:]))
		}
	}
	if judged.IsLoopback() {
		return g.checkLoopback(a, judged)
	}
	for _, r := range refused {
		if r.network.Contains(judged) {
			return refusal(a, r.what)
		}
	}
	return nil
}

// checkLoopback lets the gateway's own host be reached by those who say so: by a literal address or as localhost. Another name that leads there
// has been pointed there by whoever owns the name, and a translated address never comes back here.
func (g guard) checkLoopback(a, judged netip.Addr) *flaw {
	if a != judged {
		return refusal(a, "a loopback address behind a translator")
	}
	name := strings.TrimSuffix(g.name, ".")
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return nil
	}
	return refusal(a, "a loopback address")
}

func refusal(a netip.Addr, what string) *flaw {
	return flawf("has the address %s, "+what+" (dangerously_allow_addresses would allow it)", a)
}

// control is a net.Dialer.ControlContext: it runs for each address that a name has led to, before the connection begins.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("judging the server's address: %w", err)
	}
	if bad := g.check(ap.Addr()); bad != nil {
		return fmt.Errorf("the server %w", bad)
	}
	return nil
}

// compileAllowed reads dangerously_allow_addresses.
func compileAllowed(list []string, report Report) []netip.Prefix {
	var allowed []netip.Prefix
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		switch path := indexed("dangerously_allow_addresses", i); {
		case err != nil || p.Addr().Is4In6():
			report(path, `%q is no address or network, want one such as "169.254.10.1" or "169.254.10.0/24"`, text)
		case p != p.Masked():
			report(path, "%q has bits beyond its prefix length, want %q", text, p.Masked())
		case p.Bits() == 0:
			report(path, "%q allows every address, want the servers' own network", text)
		default:
			allowed = append(allowed, p)
		}
	}
	return allowed
}
