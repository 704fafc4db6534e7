package handshake

import (
	"strings"
	"testing"
)

func TestCanonicalAuthority(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, tc := range []struct{ in, host, port string }{
		{"example.com", "example.com", ""},
		{"EXAMPLE.Com:8443", "example.com", "8443"},
		{"a", "a", ""},
		{"my_service:1", "my_service", "1"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"r3---sn.example:65535", "r3---sn.example", "65535"},
		{"127.0.0.1:80", "127.0.0.1", "80"},
		{"0.0.0.0", "0.0.0.0", ""},
		{"1.2.3.4.com", "1.2.3.4.com", ""},
		{"0x7f.example", "0x7f.example", ""},
		{"[::1]", "[::1]", ""},
		{"[0:0:0:0:0:0:0:1]:443", "[::1]", "443"},
		{"[2001:DB8::A]:443", "[2001:db8::a]", "443"},
		{"[::FFFF:127.0.0.1]", "[::ffff:127.0.0.1]", ""},
		{label + "." + label + "." + label + "." + label[:61], label + "." + label + "." + label + "." + label[:61], ""},
	} {
		host, port, ok := CanonicalAuthority(tc.in)
		if !ok || host != tc.host || port != tc.port {
			t.Errorf("%q: got %q %q %v, want %q %q", tc.in, host, port, ok, tc.host, tc.port)
		}
		if host, ok := CanonicalHost(tc.in); !ok || host != tc.host {
			t.Errorf("CanonicalHost(%q) = %q, %v", tc.in, host, ok)
		}
		if !validAuthority([]byte(tc.in)) {
			t.Errorf("%q is not valid as bytes", tc.in)
		}
	}
}

func TestCanonicalAuthorityRefuses(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, in := range []string{
		"", ":", ":80", "a:", "a:0", "a:080", "a:65536", "a:999999", "a:b", "a:-1", "a:+1", "a:80:80", "a: 80",
		"a@b", "user:pass@b", "a b", " a", "a ", "a\t", "a\x00", "a\r\nb", "a/b", "a?b", "a#b", "a\\b", "a,b", "a;b", "a%2eb", "a*", "*.a",
		".", ".a", "a.", "a..b", "b\xc3\xbccher.example", "a\xff", label + "a", "a." + label + "a.b",
		strings.Repeat("a.", 127) + "a",
		"127.1", "127.0.0.1.", "127.0.0.01", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "1.2.3.4.5", "1.2.3.256", "1.2.3", "0x", "a.0x", "a.1",
		"::1", "[", "[]", "[:]", "[::1", "::1]", "[::1]x", "[::1]80", "[::1]:", "[::1]:x", "[::1%lo]", "[::1%25lo]", "[127.0.0.1]", "[::1]:80]", "[[::1]]",
		"[v1.x]", "[0:0:0:0:0:0:0:0:1]", "x[::1]",
	} {
		if host, port, ok := CanonicalAuthority(in); ok || host != "" || port != "" {
			t.Errorf("%q is taken for %q, %q", in, host, port)
		}
		if validAuthority([]byte(in)) {
			t.Errorf("%q is valid as bytes", in)
		}
	}
}
