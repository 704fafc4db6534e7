package condition

import (
	"errors"
	"net/netip"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/framegate/framegate/internal/strictyaml"
)

// maxAddress is longer than any address in text, and bounds what is parsed of one.
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
			n, err := strictyaml.ParseNetwork(string(network.(types.String)))
			if err != nil {
				return types.WrapErr(err)
			}
			return types.Bool(n.Contains(a))
		})))
}

// parseAddress reads an address of bounded length.
func parseAddress(text string) (netip.Addr, error) {
	if len(text) > maxAddress {
		return netip.Addr{}, errors.New("is too long for an address")
	}
	return netip.ParseAddr(text)
}
