package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/strictyaml"
)

// written reads policies as a file has them, one section of each named p.
func written(t *testing.T, text string) (map[string]Config, strictyaml.Errors) {
	t.Helper()
	var file struct {
		Policies map[string]Config `yaml:"policies"`
	}
	_, errs := strictyaml.Decode("f.yaml", []byte("policies: {p: {"+text+"}}\n"), nil, &file)
	return file.Policies, errs
}

// mustWrite compiles the policy that a file has, and makes that of a route with it.
func mustWrite(t *testing.T, text string) *Policy {
	t.Helper()
	all, errs := written(t, text)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return mustCompile(t, all, "p")
}

// mistake is a policy and the one error that it has, in the file or when it is compiled.
type mistake struct{ text, path, want string }

func checkMistakes(t *testing.T, mistakes []mistake) {
	t.Helper()
	for _, m := range mistakes {
		all, errs := written(t, m.text)
		var r reports
		for _, err := range errs {
			r.add(strings.TrimPrefix(err.Path, "policies."), "%s", err.Message)
		}
		if len(errs) == 0 && Compile(all, testEnv(t), r.add).Route([]string{"p"}, failOn(t)) != nil {
			t.Errorf("%s: the policy can be used", m.text)
		}
		r.expect(t, m.text, m.path, m.want)
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct{ rule, address string }{ // an address that is refused has a ! before it
		{"allow: [10.0.0.0/8, 192.0.2.7]", "10.1.2.3"},
		{"allow: [10.0.0.0/8, 192.0.2.7]", "192.0.2.7"},
		{"allow: [10.0.0.0/8, 192.0.2.7]", "!192.0.2.8"},
		{"allow: [10.0.0.0/8]", "::ffff:10.1.2.3"},
		{"allow: [10.0.0.0/8]", "!::a01:203"},
		{"allow: [10.0.0.0/8]", "!2001:db8::1"},
		{"allow: [0.0.0.0/0]", "!2001:db8::1"},
		{"allow: ['::/0']", "!10.1.2.3"},
		{"allow: ['::/0']", "!::ffff:10.1.2.3"},
		{"allow: ['::/0']", "fe80::1%eth0"},
		{"deny: [10.0.0.0/8]", "!10.1.2.3"},
		{"deny: [10.0.0.0/8]", "!::ffff:10.1.2.3"},
		{"deny: [10.0.0.0/8]", "11.1.2.3"},
		{"deny: [10.0.0.0/8]", "2001:db8::1"},
		{"deny: ['fe80::/10']", "!fe80::1%eth0"},
		{"allow: [10.0.0.0/8], deny: [10.9.0.0/16]", "10.8.0.1"},
		{"allow: [10.0.0.0/8], deny: [10.9.0.0/16]", "!10.9.0.1"},
		{"allow: [10.9.0.1], deny: [10.0.0.0/8]", "!10.9.0.1"},
	}
	for _, test := range tests {
		address, refused := strings.CutPrefix(test.address, "!")
		p := mustWrite(t, "addresses: {"+test.rule+"}")
		for _, plain := range []bool{false, true} {
			want := answer{Allow: true}
			if refused {
				want = answer{Status: 403, Policy: "p", Rule: "addresses", Reason: reasonAddressRefused}
			}
			if got := ask(p, Request{Address: netip.MustParseAddr(address), Plain: plain}); got != want {
				t.Errorf("%s: %s, plain %t: got %+v, want %+v", test.rule, address, plain, got, want)
			}
		}
	}
}

// A deny list too says nothing good of an address that is not known.
func TestUnknownAddress(t *testing.T) {
	for _, rule := range []string{"allow: [0.0.0.0/0, '::/0']", "deny: [10.0.0.0/8]"} {
		if got := ask(mustWrite(t, "addresses: {"+rule+"}"), Request{}); got.Reason != reasonAddressRefused {
			t.Errorf("%s: got %+v", rule, got)
		}
	}
}

func TestAddressesMistakes(t *testing.T) {
	checkMistakes(t, []mistake{
		{"addresses: {}", "p.addresses", "is empty, want allow, deny or both"},
		{"addresses: {allow: []}", "p.addresses.allow", "want 1 or more entries"},
		{"addresses: {allow: [10.0.0.0/8, 10.0.0.1/8]}", "p.addresses.allow[1]", `want 10.0.0.0/8, not "10.0.0.1/8"`},
		{"addresses: {deny: ['::ffff:10.0.0.0/104']}", "p.addresses.deny[0]", "want an IPv4 network"},
		{"addresses: {deny: [localhost]}", "p.addresses.deny[0]", "want a network such as 10.0.0.0/8"},
		{"addresses: {block: [10.0.0.0/8]}", "p.addresses.block", "unknown key"},
	})
}
