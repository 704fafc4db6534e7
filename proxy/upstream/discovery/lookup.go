package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// Name is what is looked up.
type Name struct {
	Host    string
	Port    uint16 // of addresses that are found by the host alone
	Service bool   // Host is that of SRV records, such as _ws._tcp.example.com; they tell the ports
}

// Found is one address of a server.
type Found struct {
	Address  netip.AddrPort
	Priority uint16 // of its SRV record; servers of a higher number are used when none of a lower one can be
	Weight   uint16 // of its SRV record, 0 where there is none or it says so
}

// Lookup asks for the addresses of a name, A and AAAA, or for its SRV records (RFC 2782) and then the addresses of their targets. That a name
// does not exist, or a service is decidedly not there, is an empty answer. The error says what went wrong; there is no partial answer then.
func (r *Rules) Lookup(ctx context.Context, name Name) ([]Found, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if !name.Service {
		addrs, err := r.addresses(ctx, name.Host)
		return foundAt(addrs, name.Port, 0, 0), err
	}
	_, records, err := r.Resolver.LookupSRV(ctx, "", "", name.Host)
	if err != nil && len(records) == 0 { // else some of them were malformed
		return nil, unlessMissing(err)
	}
	var all []Found
	for _, record := range records[:min(len(records), r.MaxAddresses)] {
		if record.Target == "." || record.Port == 0 {
			continue
		}
		addrs, err := r.addresses(ctx, record.Target)
		if err != nil {
			return nil, err
		}
		all = append(all, foundAt(addrs, record.Port, record.Priority, record.Weight)...)
	}
	return all, nil
}

func (r *Rules) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := r.Resolver.LookupNetIP(ctx, "ip", host)
	return addrs, unlessMissing(err)
}

// unlessMissing passes over the answer that there is nothing.
func unlessMissing(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return nil
	}
	return err
}

func foundAt(addrs []netip.Addr, port, priority, weight uint16) []Found {
	var all []Found
	for _, a := range addrs {
		all = append(all, Found{netip.AddrPortFrom(a.Unmap().WithZone(""), port), priority, weight})
	}
	return all
}
