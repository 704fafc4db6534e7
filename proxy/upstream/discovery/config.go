package discovery

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// Report receives one configuration mistake. The path is relative to the section.
type Report = func(path, format string, args ...any)

// Config is the section discovery of an upstream. Zero numbers stand for the defaults.
type Config struct {
	Resolver     string              `yaml:"resolver" doc:"IP address, with a port if it is not 53, of the DNS server that is asked for all names of this upstream. Default: the system's. The system's hosts file and search list count either way."`
	MinInterval  strictyaml.Duration `yaml:"min_interval" default:"10s" doc:"Least time between two lookups of a name. Each comes at a random moment between this and max_interval."`
	MaxInterval  strictyaml.Duration `yaml:"max_interval" default:"30s" doc:"Most time between two lookups of a name."`
	Timeout      strictyaml.Duration `yaml:"timeout" default:"5s" doc:"For one lookup."`
	MaxAddresses int                 `yaml:"max_addresses" default:"64" min:"1" max:"1000" doc:"Addresses of a name that are used; of more, those in use already go before the others."`
}

// Rules are the immutable form of a Config.
type Rules struct {
	MinInterval, MaxInterval, Timeout time.Duration
	MaxAddresses                      int
	Resolver                          *net.Resolver // never nil
}

// Compile checks the section. Where it reports a mistake its result must not be used.
func (c *Config) Compile(report Report) *Rules {
	r := &Rules{
		MinInterval:  cmp.Or(time.Duration(c.MinInterval), 10*time.Second),
		MaxInterval:  cmp.Or(time.Duration(c.MaxInterval), 30*time.Second),
		Timeout:      cmp.Or(time.Duration(c.Timeout), 5*time.Second),
		MaxAddresses: cmp.Or(c.MaxAddresses, 64),
		Resolver:     net.DefaultResolver,
	}
	if r.MaxInterval < r.MinInterval {
		report("max_interval", "%s is shorter than min_interval, %s", r.MaxInterval, r.MinInterval)
	}
	if c.Resolver != "" {
		r.Resolver = resolverAt(c.Resolver, report)
	}
	return r
}

// resolverAt makes a resolver that asks one server.
func resolverAt(text string, report Report) *net.Resolver {
	ap, err := netip.ParseAddrPort(text)
	if addr, single := netip.ParseAddr(text); single == nil {
		ap, err = netip.AddrPortFrom(addr, 53), nil
	}
	if err != nil || ap.Port() == 0 {
		report("resolver", "%q is no IP address with or without a port, want one such as 10.0.0.2 or 10.0.0.2:5353", text)
		return nil
	}
	server := ap.String()
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		},
	}
}
