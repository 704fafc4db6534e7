package upstream

import (
	"fmt"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyVersions lists the values of the key proxy_protocol.
var proxyVersions = map[string]byte{"": 0, "v1": 1, "v2": 2}

// Hop is a client's connection as servers are told of it by the PROXY protocol. The zero value is a connection of the gateway's own.
type Hop struct {
	Client netip.AddrPort   // port 0 where a proxy told the address alone
	Local  netip.AddrPort   // where the client came to
	TLVs   []proxyproto.TLV // that a load balancer in front has told of it; version 1 has no place for them
}

// header returns the header of the PROXY protocol that begins a connection on behalf of h. For a connection of the gateway's own it says so (LOCAL,
// or UNKNOWN in version 1), and the server goes by the connection's address.
func (h Hop) header(version byte) ([]byte, error) {
	var source, destination net.Addr
	if h.Client.IsValid() && h.Local.IsValid() {
		source, destination = net.TCPAddrFromAddrPort(withoutZone(h.Client)), net.TCPAddrFromAddrPort(withoutZone(h.Local))
	}
	told := proxyproto.HeaderProxyFromAddrs(version, source, destination)
	err := told.SetTLVs(h.TLVs)
	var b []byte
	if err == nil {
		b, err = told.Format()
	}
	if err != nil {
		return nil, fmt.Errorf("making the PROXY header: %w", err)
	}
	return b, nil
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// introduce begins a connection with the header. It closes the connection where that fails. A connection's first bytes always find room, so this
// does not wait for the server.
func introduce(conn net.Conn, h Hop, version byte) error {
	b, err := h.header(version)
	if err == nil {
		_, err = conn.Write(b)
	}
	if err != nil {
		conn.Close()
	}
	return err
}
