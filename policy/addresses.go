package policy

import (
	"context"
	"net/netip"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
)

// AddressesConfig says from which addresses clients may come.
type AddressesConfig struct {
	Allow []strictyaml.Network `yaml:"allow" min:"1" doc:"The networks, such as 10.0.0.0/8, and addresses that may connect. With this list no other one may."`
	Deny  []strictyaml.Network `yaml:"deny" min:"1" doc:"The networks and addresses that may not connect, also where they are in a network of allow."`
}

const reasonAddressRefused = "address not allowed"

// compileAddresses makes the check of one policy. An address that is not known, which no listener of the gateway brings about, is refused.
func compileAddresses(_ place, c *Config, report Report) []rule {
	if c.Addresses == nil {
		return nil
	}
	allow, deny := c.Addresses.Allow, c.Addresses.Deny
	if len(allow) == 0 && len(deny) == 0 {
		report("addresses", "addresses is empty, want allow, deny or both")
		return nil
	}
	return []rule{{located: true, judge: func(_ context.Context, a *Admission) *Refusal {
		if !a.Address.IsValid() || inAny(deny, a.Address) || len(allow) > 0 && !inAny(allow, a.Address) {
			return forbidden(reasonAddressRefused)
		}
		return nil
	}}}
}

func inAny(networks []strictyaml.Network, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n strictyaml.Network) bool { return n.Contains(a) })
}
