package tlsmgr

import (
	"slices"
	"strings"
	"testing"
)

func TestCanonicalName(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, strings.Repeat("a", 61)}, ".")
	for in, want := range map[string]string{
		"localhost":                 "localhost",
		"LocalHost.":                "localhost",
		"Chat.EXAMPLE.com":          "chat.example.com",
		"xn--bcher-kva.example":     "xn--bcher-kva.example",
		"a_b.example":               "a_b.example",
		"1.example":                 "1.example",
		"4chan":                     "4chan",
		label63 + ".example":        label63 + ".example",
		name253:                     name253,
		name253 + ".":               name253,
		name253 + "a":               "",
		label63 + "a.example":       "",
		"":                          "",
		".":                         "",
		"..":                        "",
		"example.com..":             "",
		".example.com":              "",
		"a..example.com":            "",
		"-a.example":                "",
		"a-.example":                "",
		"*.example.com":             "",
		"a b":                       "",
		"a:443":                     "",
		"bücher.example":            "",
		"a\x00.example":             "",
		"127.0.0.1":                 "",
		"127.0.0.1.":                "",
		"2130706433":                "",
		"1.2.3":                     "",
		"::1":                       "",
		"[::1]":                     "",
		strings.Repeat("x", 300):    "",
		strings.Repeat("a.", 40000): "",
	} {
		got, ok := canonicalName(in)
		if got != want || ok != (want != "") {
			t.Errorf("canonicalName(%.80q) = %q, %t, want %q", in, got, ok, want)
		}
	}
}

func TestCanonicalNameAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { canonicalName("chat.example.com") }); n != 0 {
		t.Errorf("%v allocations per name, want 0", n)
	}
}

func FuzzCanonicalName(f *testing.F) {
	for _, seed := range []string{"localhost", "A.b.", "127.0.0.1", "*.a", "a..b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, ok := canonicalName(in)
		if !ok {
			if name != "" {
				t.Errorf("%q refused, but gave %q", in, name)
			}
			return
		}
		if again, ok := canonicalName(name); !ok || again != name {
			t.Errorf("%q is canonical %q, which is canonical %q, %t", in, name, again, ok)
		}
		if !strings.EqualFold(name, strings.TrimSuffix(in, ".")) {
			t.Errorf("%q became %q", in, name)
		}
		if isIP(name) {
			t.Errorf("%q gave the IP address %q", in, name)
		}
	})
}

func TestHostSet(t *testing.T) {
	set, skipped, err := newHostSet([]string{"Chat.example.com.", "*.w.Example", "127.0.0.1", "[::1]", "::1", "one"})
	check(t, err)
	if want := []string{"127.0.0.1", "[::1]", "::1"}; !slices.Equal(skipped, want) {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
	for name, want := range map[string]bool{
		"chat.example.com":       true,
		"one":                    true,
		"a.w.example":            true,
		"a.b.w.example":          true,
		"w.example":              false,
		"aw.example":             false,
		"example":                false,
		"x.chat.example.com":     false,
		"chat.example.com.evil":  false,
		"evilchat.example.com":   false,
		"a.w.example.evil":       false,
		"two":                    false,
		"localhost":              false,
		"a.w.example.example":    false,
		"deep.er.a.b.w.example":  true,
		"w.example.w.example":    true,
		"chat.example.com.local": false,
	} {
		if got := set.has(name); got != want {
			t.Errorf("has(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestHostSetRefuses(t *testing.T) {
	for _, host := range []string{"", "*", "*.", "**.example.com", "a.*.example.com", "a*.example.com", "*example.com", "a b", "bücher.example", "host:443", "*.127.0.0.1", "1.2.3"} {
		_, _, err := newHostSet([]string{"localhost", host})
		wantError(t, err, `host "`+host+`"`, "chat.example.com or *.example.com")
	}
}
