package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy/upstream/discovery"
)

func TestGuardLiterals(t *testing.T) {
	tests := []struct{ address, want string }{
		{"10.0.0.11", ""},
		{"192.168.1.1", ""},
		{"127.0.0.1", ""},
		{"127.8.8.8", ""},
		{"203.0.113.9", ""},
		{"::1", ""},
		{"fd00::1", ""},
		{"2001:db8::1", ""},
		{"64:ff9b::808:808", ""},
		{"100.100.100.201", ""},
		{"0.0.0.0", "unspecified"},
		{"0.1.2.3", "unspecified"},
		{"169.254.169.254", "link-local address, where clouds keep their metadata"},
		{"169.254.0.1", "link-local"},
		{"100.100.100.200", "metadata"},
		{"168.63.129.16", "metadata"},
		{"192.0.0.192", "metadata"},
		{"224.0.0.1", "multicast"},
		{"255.255.255.255", "reserved"},
		{"240.0.0.1", "reserved"},
		{"::", "unspecified"},
		{"::127.0.0.1", "IPv4 address written as IPv6"},
		{"::a9fe:a9fe", "IPv4 address written as IPv6"},
		{"fe80::1", "link-local"},
		{"ff02::1", "multicast"},
		{"fd00:ec2::254", "metadata"},
		{"fd20:ce::254", "metadata"},
		{"64:ff9b::7f00:1", "loopback address behind a translator"},
		{"64:ff9b::a9fe:a9fe", "link-local"},
		{"64:ff9b:1::a9fe:a9fe", "link-local"},
		{"2002:7f00:1::1", "loopback address behind a translator"},
		{"2002:a9fe:a9fe::1", "link-local"},
	}
	for _, tt := range tests {
		err := guard{}.checkLiteral(tt.address)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", tt.address, err, tt.want)
		}
	}
}

// An address that a name has led to arrives at the dialer in this form, and loopback is only for names that say so.
func TestGuardNames(t *testing.T) {
	tests := []struct {
		name, address string
		ok            bool
	}{
		{"app.internal", "10.0.0.11:9000", true},
		{"app.internal", "[fd00::1]:9000", true},
		{"app.internal", "127.0.0.1:9000", false},
		{"app.internal", "[::1]:9000", false},
		{"app.internal", "[::ffff:127.0.0.1]:9000", false},
		{"app.internal", "169.254.169.254:80", false},
		{"app.internal", "[::ffff:169.254.169.254]:80", false},
		{"app.internal", "[fe80::1%lo]:80", false},
		{"app.internal", "0.0.0.0:80", false},
		{"app.internal", "nonsense", false},
		{"localhost", "127.0.0.1:9000", true},
		{"localhost", "[::1]:9000", true},
		{"app.localhost.", "127.0.0.1:9000", true},
		{"localhost", "169.254.169.254:80", false},
		{"notlocalhost", "127.0.0.1:9000", false},
		{"localhost.evil.example", "127.0.0.1:9000", false},
	}
	for _, tt := range tests {
		g := target{host: tt.name}.guard(nil)
		if err := g.control(t.Context(), "tcp", tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("%s at %s: got error %v, want allowed=%v", tt.name, tt.address, err, tt.ok)
		}
	}
}

func TestGuardAllowed(t *testing.T) {
	allowed := compileAllowed([]string{"169.254.10.0/24", "127.0.0.1", "fe80::/64", "::ffff:169.254.77.77"}, failOn(t))
	tests := []struct {
		address string
		ok      bool
	}{
		{"169.254.10.7", true},
		{"169.254.77.77", true},
		{"169.254.11.7", false},
		{"127.0.0.1", true},
		{"127.0.0.2", false},
		{"::1", false},
		{"fe80::5", true},
		{"fe80:1::5", false},
	}
	for _, tt := range tests {
		g := guard{name: "app.internal", allowed: allowed}
		if err := g.check(netip.MustParseAddr(tt.address)); (err == nil) != tt.ok {
			t.Errorf("%s: got error %v, want allowed=%v", tt.address, err, tt.ok)
		}
	}
}

func TestCompileAllowedRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "is no address or network"},
		{"localhost", "is no address or network"},
		{"10.0.0.0/33", "is no address or network"},
		{"fe80::1%lo", "is no address or network"},
		{"::ffff:10.0.0.1/128", "is no address or network"},
		{"10.0.0.1/8", `has bits beyond its prefix length, want "10.0.0.0/8"`},
		{"0.0.0.0/0", "allows every address"},
		{"::/0", "allows every address"},
	}
	for _, tt := range tests {
		var r reports
		compileAllowed([]string{"10.0.0.0/8", tt.text}, r.add)
		r.expect(t, tt.text, "dangerously_allow_addresses[1]: ", tt.want)
	}
}

// A name whose owner points it at this host is refused before a connection begins, and reached once the operator lists the address.
func TestDialJudgesResolvedAddresses(t *testing.T) {
	listener := listen(t, "tcp")
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dns := wstest.NewDNS(t)
	dns.Set("flipped.framegate-test.example", "127.0.0.1")
	c := Config{Servers: urls("ws://flipped.framegate-test.example:" + port), Discovery: discovery.Config{Resolver: dns.Addr()}}
	var bad *flaw
	err = dialOnce(t, c)
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "the server has the address 127.0.0.1, a loopback address (dangerously_allow_addresses") {
		t.Fatalf("got error %v, want the loopback address refused", err)
	}
	c.DangerouslyAllowAddresses = []string{"127.0.0.1"}
	if err := dialOnce(t, c); err != nil {
		t.Fatalf("with the address allowed: %v", err)
	}
}
