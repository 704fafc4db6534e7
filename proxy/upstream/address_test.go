package upstream

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/framegate/framegate/proxy/upstream/discovery"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		text, network, address, log string
		secure                      bool
	}{
		{"ws://10.0.0.11:9000", "tcp", "10.0.0.11:9000", "10.0.0.11:9000", false},
		{"ws://10.0.0.11", "tcp", "10.0.0.11:80", "10.0.0.11:80", false},
		{"wss://App.Internal", "tcp", "app.internal:443", "app.internal:443", true},
		{"wss://app.internal:8443", "tcp", "app.internal:8443", "app.internal:8443", true},
		{"ws://localhost:65535", "tcp", "localhost:65535", "localhost:65535", false},
		{"ws://my_app-1:1", "tcp", "my_app-1:1", "my_app-1:1", false},
		{"ws://app.ns.svc.cluster.local.:80", "tcp", "app.ns.svc.cluster.local.:80", "app.ns.svc.cluster.local.:80", false},
		{"ws://[::1]:9000", "tcp", "[::1]:9000", "[::1]:9000", false},
		{"ws://[FD00:0:0:0:0:0:0:1]", "tcp", "[fd00::1]:80", "[fd00::1]:80", false},
		{"ws://xn--bcher-kva.example", "tcp", "xn--bcher-kva.example:80", "xn--bcher-kva.example:80", false},
		{"ws://0xg.example", "tcp", "0xg.example:80", "0xg.example:80", false},
		{"ws://1.example", "tcp", "1.example:80", "1.example:80", false},
		{"unix:///run/app.sock", "unix", "/run/app.sock", "unix:/run/app.sock", false},
		{"unix:/run/app.sock", "unix", "/run/app.sock", "unix:/run/app.sock", false},
	}
	for _, tt := range tests {
		got, err := parseTarget(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got.network != tt.network || got.address != tt.address || got.secure != tt.secure || got.String() != tt.log {
			t.Errorf("%s: got %+v (%s), want %s %s secure=%v (%s)", tt.text, got, got, tt.network, tt.address, tt.secure, tt.log)
		}
	}
}

func TestParseTargetThatIsFound(t *testing.T) {
	tests := []struct {
		text, log, host string
		secure          bool
		want            discovery.Name
	}{
		{"dns+ws://App.internal:9000", "app.internal:9000", "app.internal", false, discovery.Name{Host: "app.internal", Port: 9000}},
		{"dns+wss://app.internal.", "app.internal.:443", "app.internal.", true, discovery.Name{Host: "app.internal.", Port: 443}},
		{"srv+ws://_ws._tcp.app.internal", "_ws._tcp.app.internal", "app.internal", false, discovery.Name{Host: "_ws._tcp.app.internal", Service: true}},
		{"srv+wss://_WS._tcp.app", "_ws._tcp.app", "app", true, discovery.Name{Host: "_ws._tcp.app", Service: true}},
	}
	for _, tt := range tests {
		got, bad := parseTarget(tt.text)
		if bad != nil {
			t.Errorf("%s: %v", tt.text, bad)
			continue
		}
		if got.String() != tt.log || got.host != tt.host || got.secure != tt.secure || got.find != tt.want {
			t.Errorf("%s: got %+v (%s)", tt.text, got, got)
		}
		at := got.at(netip.MustParseAddrPort("[fd00::1]:9000"))
		if at.String() != "[fd00::1]:9000" || at.find != (discovery.Name{}) || at.host != tt.host || at.secure != tt.secure {
			t.Errorf("%s: a server of it is %+v", tt.text, at)
		}
		if at.guard(nil).check(netip.MustParseAddr("127.0.0.1")) == nil || at.guard(nil).check(netip.MustParseAddr("169.254.169.254")) == nil {
			t.Errorf("%s may be found on this host or at a metadata service", tt.text)
		}
	}
}

func TestAuthority(t *testing.T) {
	for text, want := range map[string]string{
		"ws://app.internal": "app.internal", "ws://app.internal.:9000": "app.internal:9000", "wss://app.internal": "app.internal",
		"wss://app.internal:80": "app.internal:80", "ws://10.0.0.1:443": "10.0.0.1:443", "ws://[fd00::1]": "[fd00::1]", "ws://[fd00::1]:9000": "[fd00::1]:9000",
		"unix:///run/app.sock": "localhost",
	} {
		target, bad := parseTarget(text)
		if bad != nil || target.authority() != want {
			t.Errorf("%s: %q, %v; want %q", text, target.authority(), bad, want)
		}
	}
	found, _ := parseTarget("dns+ws://app.internal:9000")
	if got := found.at(netip.MustParseAddrPort("10.0.0.1:9000")).authority(); got != "app.internal:9000" {
		t.Errorf("of a found address: %q", got)
	}
}

func TestParseTargetRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "is empty"},
		{"10.0.0.11:9000", "has no scheme"},
		{"localhost", "has no scheme"},
		{"localhost:9000", "has no scheme"},
		{"ws:localhost:9000", "has no scheme"},
		{"ws:/localhost", "has no scheme"},
		{"//localhost", "has no scheme"},
		{"http://app:80", `has the scheme "http", want "ws"`},
		{"https://app", `has the scheme "https", want "wss"`},
		{"WS://app", `has the scheme "WS"`},
		{"tcp://app:80", `has the scheme "tcp", want ws, wss, unix, dns+ws, dns+wss, srv+ws or srv+wss`},
		{"://app", `has the scheme ""`},
		{"dns+ws://10.0.0.1:80", "has an address that nothing needs to find"},
		{"dns+ws://[fd00::1]:80", "has an address that nothing needs to find"},
		{"dns+ws://app/ws", "has a path"},
		{"dns+http://app", `has the scheme "dns+http"`},
		{"dns+unix:///run/app.sock", `has the scheme "dns+unix"`},
		{"srv+ws://app.internal", `has the host "app.internal", want the name of a service`},
		{"srv+ws://_ws._tcp", `has the host "_ws._tcp", want the name of a service`},
		{"srv+ws://_ws._tcp.", `has the host "_ws._tcp.", want the name of a service`},
		{"srv+ws://_._tcp.app", "want the name of a service"},
		{"srv+ws://_ws._tcp.app:9000", "has a port, want none"},
		{" ws://app", "byte 0x20 at offset 0"},
		{"ws://app\n", "byte 0x0a at offset 8"},
		{"ws://b\u00fccher.example", "byte 0xc3 at offset 6"},
		{"ws://", "has no host"},
		{"ws://:9000", "has no host"},
		{"ws://user@app", "user name or password"},
		{"ws://user:pass@app:80/x", "user name or password"},
		{"ws://app/", "has a path"},
		{"ws://app:80/ws", "has a path"},
		{"ws://app?x=1", "has a query"},
		{"ws://app#x", "has a fragment"},
		{`ws://app\x`, "has a backslash"},
		{"ws://app:", `has the port ""`},
		{"ws://app:0", `has the port "0"`},
		{"ws://app:080", `has the port "080"`},
		{"ws://app:65536", `has the port "65536"`},
		{"ws://app:-1", `has the port "-1"`},
		{"ws://app:+1", `has the port "+1"`},
		{"ws://app:http", `has the port "http"`},
		{"ws://app:80:80", "more than one colon"},
		{"ws://::1", "more than one colon"},
		{"ws://::1:9000", "more than one colon"},
		{"ws://[::1", `"[" without "]"`},
		{"ws://[::1]9000", `has "9000" after "]"`},
		{"ws://[::1]]:80", `has "]:80" after "]"`},
		{"ws://[[::1]:80", `has "[::1" in brackets`},
		{"ws://[]:80", `has "" in brackets`},
		{"ws://[127.0.0.1]:80", `has "127.0.0.1" in brackets`},
		{"ws://[fe80::1%25lo]:80", `has the zone "25lo"`},
		{"ws://[::ffff:127.0.0.1]:80", `has an IPv4 address written as IPv6, want "127.0.0.1"`},
		{"ws://2130706433", `has the host "2130706433", which resolvers may read as a number`},
		{"ws://0x7f.1:80", `has the host "0x7f.1"`},
		{"ws://0X7F000001", "may read as a number"},
		{"ws://127.0.0.0x1", "may read as a number"},
		{"ws://0x", "may read as a number"},
		{"ws://127.1", "may read as a number"},
		{"ws://127.0.0.01", "may read as a number"},
		{"ws://127.0.0.1.", "may read as a number"},
		{"ws://256.0.0.1", "may read as a number"},
		{"ws://app..internal", "labels of 1 to 63 bytes"},
		{"ws://.app", "labels of 1 to 63 bytes"},
		{"ws://app..", "labels of 1 to 63 bytes"},
		{"ws://.", "labels of 1 to 63 bytes"},
		{"ws://" + strings.Repeat("a", 64), "labels of 1 to 63 bytes"},
		{"ws://" + strings.Repeat("abcdefg.", 32) + "x", "has a host of 257 bytes"},
		{"ws://-app", "hyphen"},
		{"ws://app-.internal", "hyphen"},
		{"ws://*.internal", "letters, digits, hyphens and dots"},
		{"ws://a%2e", "letters, digits, hyphens and dots"},
		{"ws://a,b", "letters, digits, hyphens and dots"},
		{"unix:", "has no absolute path"},
		{"unix://", "has no absolute path"},
		{"unix://run/app.sock", "has no absolute path"},
		{"unix:app.sock", "has no absolute path"},
		{"unix:@abstract", "has no absolute path"},
		{"unix:///", "shortest path"},
		{"unix:////run/app.sock", "shortest path"},
		{"unix:///run/../app.sock", "shortest path"},
		{"unix:///run/", "shortest path"},
		{"unix:///run/app.sock?x", "has a query"},
		{"unix:///run/app%20.sock", "has a query"},
		{"unix:///" + strings.Repeat("a", 107), "has a path of 108 bytes"},
	}
	for _, tt := range tests {
		got, err := parseTarget(tt.text)
		if err == nil {
			t.Errorf("%q: accepted as %+v, want an error with %q", tt.text, got, tt.want)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %q, want one with %q", tt.text, err, tt.want)
		}
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ text, want string }{
		{"ws://app:80", "ws://app:80"},
		{"ws://user:S3CRET@app:80", "ws://***@app:80"},
		{"ws://user:S3/CR?E#T@app", "ws://***@app"},
		{"ws://user:S3CRET@S3CRET@app/x", "ws://***@app/x"},
		{"user:S3CRET@app", "***@app"},
		{"ws://app/?token=S3CRET", "ws://app/?***"},
		{"ws://app/#S3CRET", "ws://app/#***"},
		{"ws://app/?token=S3CRET@x?S3CRET", "ws://***@x?***"},
	}
	for _, tt := range tests {
		if got := redact(tt.text); got != tt.want {
			t.Errorf("redact(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzTarget states two laws: what we accept, rendered again, is read as the same target; and net/url sees the same host and port in it.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"ws://10.0.0.11:9000", "wss://App.internal", "ws://[FD00::1]:1", "unix:///run/a", "ws://u:p@h/?q#f", "ws://0x7f.1", "ws://a.:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, bad := parseTarget(text)
		if bad != nil {
			return
		}
		if got.network == "unix" {
			if again, err := parseTarget(got.String()); err != nil || again != got {
				t.Fatalf("%q: rendered as %q and read again: %+v, %v", text, got, again, err)
			}
			return
		}
		scheme := "ws"
		if got.secure {
			scheme = "wss"
		}
		if again, err := parseTarget(scheme + "://" + got.address); err != nil || again != got {
			t.Fatalf("%q: rendered as %q and read again: %+v, %v", text, got.address, again, err)
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("%q: accepted, but not by net/url: %v", text, err)
		}
		host, port := strings.ToLower(u.Hostname()), u.Port()
		if a := net.ParseIP(host); a != nil {
			host = a.String()
		}
		if port == "" {
			port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
		}
		if net.JoinHostPort(host, port) != got.address || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q: we read %+v, net/url %#v", text, got, u)
		}
	})
}
