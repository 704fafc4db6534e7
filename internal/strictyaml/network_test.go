package strictyaml

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0", "2001:DB8:0::/32": "2001:db8::/32",
		"192.0.2.7": "192.0.2.7", "192.0.2.7/32": "192.0.2.7", "::1": "::1", "2001:db8::7/128": "2001:db8::7",
	} {
		if got, err := ParseNetwork(text); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                         "want a network such as",
		"10.0.0.0/":                "want a network such as",
		"10.0.0/8":                 "want a network such as",
		"10.0.0.0/33":              "want a network such as",
		"10.0.0.0/08":              "want a network such as",
		"010.0.0.0/8":              "want a network such as",
		" 10.0.0.0/8":              "want a network such as",
		"localhost":                "want a network such as",
		"fe80::1%eth0":             "want a network such as",
		"fe80::%eth0/64":           "want a network such as",
		"[::1]":                    "want a network such as",
		"10.0.0.1-10.0.0.9":        "want a network such as",
		strings.Repeat("1", 1<<20): "want a network such as",
		"10.0.0.1/8":               `want 10.0.0.0/8, not "10.0.0.1/8", which has bits set behind its length`,
		"2001:db8::1/32":           "want 2001:db8::/32, not",
		"::ffff:10.0.0.0/104":      "want an IPv4 network in the form 10.0.0.0/8, not",
		"::ffff:10.0.0.1":          "want an IPv4 network in the form 10.0.0.0/8, not",
	} {
		got, err := ParseNetwork(text)
		if err == nil || got.IsValid() || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.40q: %v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestNetworkContains(t *testing.T) {
	tests := []struct {
		network, address string
		want             bool
	}{
		{"10.0.0.0/8", "10.255.0.1", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "::ffff:10.0.0.1", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.6", false},
		{"::/0", "10.0.0.1", false},
		{"::/0", "::ffff:10.0.0.1", false},
		{"0.0.0.0/0", "::1", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"2001:db8::/32", "2001:db8:ffff::", true},
	}
	for _, test := range tests {
		n, err := ParseNetwork(test.network)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Contains(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s contains %s: %v", test.network, test.address, got)
		}
	}
	if (Network{}).Contains(netip.MustParseAddr("::1")) || (Network{netip.MustParsePrefix("::/0")}).Contains(netip.Addr{}) {
		t.Error("no network or no address, and it is contained")
	}
}

// What is accepted prints as text that parses to the same.
func TestNetworkRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		if rapid.Bool().Draw(t, "IPv6") {
			a, _ = netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		}
		p, err := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
		if err != nil || p.Addr().Is4In6() {
			t.Skip("of a network in the IPv6 form of IPv4 there is no text that parses to the same: rapid draws another one")
		}
		text, _ := Network{p}.MarshalText()
		var got Network
		if err := got.UnmarshalText(text); err != nil || got.Prefix != p {
			t.Fatalf("%s parses as %v, %v", text, got, err)
		}
	})
}

func TestNetworkInAFile(t *testing.T) {
	var v struct {
		Deny []Network `yaml:"deny" doc:"x"`
	}
	_, errs := Decode("f.yaml", []byte("deny:\n  - 10.0.0.0/8\n  - ::1\n"), nil, &v)
	if len(errs) > 0 || len(v.Deny) != 2 || v.Deny[1].String() != "::1" {
		t.Errorf("%v, %v", v.Deny, errs)
	}
	_, errs = Decode("f.yaml", []byte("deny: [10.0.0.1/8, {}]\n"), nil, &v)
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), `f.yaml:1:8: deny[0]: want 10.0.0.0/8, not "10.0.0.1/8"`) || !strings.Contains(errs[1].Error(), wantedNetwork) {
		t.Errorf("%v", errs)
	}
	before := v.Deny[0]
	if v.Deny[0].UnmarshalText([]byte("x")) == nil || v.Deny[0] != before {
		t.Errorf("%v after an error", v.Deny[0])
	}
}
