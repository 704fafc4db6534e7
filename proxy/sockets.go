package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
)

// Sockets are listening sockets that another process has opened for this one:
// systemd, or the gateway whose place it takes. A nil *Sockets has none.
type Sockets struct{ free []socket }

type socket struct {
	name string
	ln   net.Listener
}

// NewSockets takes the files of listening stream sockets over, whose names are
// those that SocketName gives or, of systemd, FileDescriptorName=. It closes the
// files in any case.
func NewSockets(files []*os.File) (*Sockets, error) {
	s := &Sockets{}
	for _, f := range files {
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("inherited socket %q is no listening stream socket: %w", f.Name(), err)
		}
		s.free = append(s.free, socket{f.Name(), ln})
	}
	return s, nil
}

// SocketName is the name of the socket of an address in the configuration. It
// has no colon: those stand between names in the environment.
func SocketName(address string) string { return url.QueryEscape(address) }

// listen returns the socket for an address of the configuration: that of the
// address's own name, or of name, where that is not empty, or one that is bound
// to the address. Where there is none it opens one.
func (s *Sockets) listen(address, name string) (net.Listener, error) {
	if s != nil {
		for _, fits := range []func(socket) bool{
			func(o socket) bool { return o.name == SocketName(address) },
			func(o socket) bool { return name != "" && o.name == name },
			func(o socket) bool { return boundTo(o.ln.Addr(), address) },
		} {
			if i := slices.IndexFunc(s.free, fits); i >= 0 {
				ln := s.free[i].ln
				s.free = slices.Delete(s.free, i, i+1)
				return ln, nil
			}
		}
	}
	return net.Listen("tcp", address)
}

// boundTo reports whether a listening socket is what an address in the
// configuration means.
func boundTo(addr net.Addr, address string) bool {
	bound := addrPort(addr)
	host, port, err := net.SplitHostPort(address)
	if err != nil || !bound.IsValid() {
		return false
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n != int(bound.Port()) {
		return false
	}
	if host == "localhost" {
		return bound.Addr().IsLoopback()
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && err != nil {
		return false
	}
	// The one socket for all addresses has two spellings.
	if host == "" || ip.IsUnspecified() {
		return bound.Addr().IsUnspecified()
	}
	return ip.Unmap() == bound.Addr()
}

// Unused are the names of the sockets that no listener has taken.
func (s *Sockets) Unused() (names []string) {
	if s != nil {
		for _, o := range s.free {
			names = append(names, o.name)
		}
	}
	return names
}

// Close closes what no listener has taken.
func (s *Sockets) Close() {
	if s != nil {
		for _, o := range s.free {
			o.ln.Close()
		}
		s.free = nil
	}
}
