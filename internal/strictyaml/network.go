package strictyaml

import (
	"fmt"
	"net/netip"
)

// Network is a network of IP addresses in a configuration file, such as 10.0.0.0/8 or 2001:db8::/32, or one address. Only its canonical form is
// accepted: bits behind the length, an IPv4 network written as IPv6 and a zone are errors, since one of their readings is not what was meant.
type Network struct{ netip.Prefix }

const (
	wantedNetwork = "a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"
	maxNetwork    = 64 // bytes, more than any has
)

// ParseNetwork parses the text of a Network.
func ParseNetwork(s string) (Network, error) {
	if len(s) > maxNetwork {
		return Network{}, fmt.Errorf("want %s, not %s", wantedNetwork, quote(s))
	}
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return Network{}, fmt.Errorf("want %s, not %s", wantedNetwork, quote(s))
	case p.Addr().Is4In6():
		return Network{}, fmt.Errorf("want an IPv4 network in the form 10.0.0.0/8, not %s", quote(s))
	case p != p.Masked():
		return Network{}, fmt.Errorf("want %s, not %s, which has bits set behind its length", p.Masked(), quote(s))
	}
	return Network{p}, nil
}

// Contains says whether an address is in the network. An IPv4 address may be written as IPv6, and a zone does not matter.
func (n Network) Contains(a netip.Addr) bool { return n.Prefix.Contains(a.Unmap().WithZone("")) }

// String prints what ParseNetwork parses.
func (n Network) String() string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.Prefix.String()
}

// UnmarshalText implements encoding.TextUnmarshaler by ParseNetwork.
func (n *Network) UnmarshalText(text []byte) error {
	v, err := ParseNetwork(string(text))
	if err == nil {
		*n = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler by String.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// Wanted names the form for error messages.
func (Network) Wanted() string { return wantedNetwork }

// JSONSchema describes the text, roughly.
func (Network) JSONSchema() map[string]any {
	return map[string]any{
		"type":     "string",
		"pattern":  "^[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?$",
		"examples": []any{"10.0.0.0/8", "2001:db8::/32", "192.0.2.7"},
	}
}
