package condition

import (
	"errors"
	"fmt"
	"net/netip"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxAddress is longer than any address or network in text, and bounds what is parsed of one.
const maxAddress = 64

// inNetwork declares in_network(address, network): whether an IP address is in a network. A text that is no address or no network makes the
// condition undecided.
func inNetwork() cel.EnvOption {
	return cel.Function("in_network", cel.Overload("in_network_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
		cel.BinaryBinding(func(address, network ref.Val) ref.Val {
			a, err := parseAddress(string(address.(types.String)))
			if err != nil {
				return types.WrapErr(err)
			}
			p, err := parseNetwork(string(network.(types.String)))
			if err != nil {
				return types.WrapErr(err)
			}
			return types.Bool(p.Contains(a))
		})))
}

// parseAddress reads an address, an IPv4 address also in its IPv6 form, and drops a zone, which networks do not have.
func parseAddress(text string) (netip.Addr, error) {
	if len(text) > maxAddress {
		return netip.Addr{}, errors.New("is too long for an address")
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err
}

// parseNetwork reads a network in its canonical form. The error continues `"..." `.
func parseNetwork(text string) (netip.Prefix, error) {
	if len(text) > maxAddress {
		return netip.Prefix{}, errors.New("is too long for a network")
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("is no network, want a form such as 10.0.0.0/8 or 2001:db8::/32")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("is an IPv4 network in IPv6 form, want a form such as 10.0.0.0/8")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits set behind its length, want %s", p.Masked())
	}
	return p, nil
}
