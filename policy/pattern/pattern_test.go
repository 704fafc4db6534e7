package pattern

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCompile(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{`<script`, ""},
		{`(?i)\b(select|union)\b.*\bfrom\b`, ""},
		{`\d{1,50}`, ""},
		{strings.Repeat("a", MaxSize-2), ""}, // beside them the end, and what comes before the start
		{strings.Repeat("a", MaxSize-1), "it compiles to 1001 instructions, want at most 1000: repeat less, or split it"},
		{`(\d{1,100}){1,100}`, "invalid repeat count"},
		{`a{1,1000}`, "it compiles to 2"},
		{`(`, "missing closing ): `(`"},
		{`(?=x)`, "invalid or unsupported Perl syntax: `(?=`"},
		{`(a)\1`, "invalid escape sequence: `\\1`"},
		{strings.Repeat("(", 1001) + strings.Repeat(")", 1001), "expression nests too deeply"},
	} {
		re, err := Compile(test.text)
		switch {
		case test.err == "" && err != nil:
			t.Errorf("%.40q: %v", test.text, err)
		case test.err == "" && (re.Size() > MaxSize || re.Size() < 2):
			t.Errorf("%.40q: size %d", test.text, re.Size())
		case test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)):
			t.Errorf("%.40q: error %v, want %s", test.text, err, test.err)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		glob      string
		yes, no   []string
		isLiteral bool
	}{
		{"search", []string{"search"}, []string{"", "Search", "search ", "searc", "searches", "search\x00"}, true},
		{"*", []string{"", "a", "a/b", "a\nb", "\xff"}, nil, false},
		{"eth_*", []string{"eth_", "eth_call", "eth_/"}, []string{"", "eth", "Eth_call", "xeth_call"}, false},
		{"*_call", []string{"_call", "eth_call", "_call_call"}, []string{"call", "eth_call2"}, false},
		{"publish:*/temp", []string{"publish:/temp", "publish:a/b/temp"}, []string{"publish:temp", "publish:a/temp/"}, false},
		{"a*b*c", []string{"abc", "a1b2c", "abbcc", "abcbc"}, []string{"ac", "acb", "ab", "abcd"}, false},
		{"a*a", []string{"aa", "aaa"}, []string{"a", ""}, false},
		{"a*ab*b", []string{"aabb", "aabab"}, []string{"aab", "abb"}, false},
		{"*é*", []string{"é", "xéy"}, []string{"e", "\xc3"}, false},
	} {
		g, err := CompileGlob(test.glob)
		if err != nil {
			t.Fatal(err)
		}
		if g.String() != test.glob || g.Literal() != test.isLiteral {
			t.Errorf("%q: String %q, Literal %t", test.glob, g, g.Literal())
		}
		for _, name := range test.yes {
			if !g.Match(name) {
				t.Errorf("%q does not match %q", test.glob, name)
			}
		}
		for _, name := range test.no {
			if g.Match(name) {
				t.Errorf("%q matches %q", test.glob, name)
			}
		}
	}
}

func TestGlobRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "it is empty, want a name, or * for all",
		"get?":                         `"get?" has another wildcard than *, want only that`,
		"[ab]":                         `"[ab]" has another wildcard than *, want only that`,
		`a\*`:                          `"a\\*" has another wildcard than *, want only that`,
		"a**":                          `"a**" has two stars in a row, want one`,
		strings.Repeat("a", MaxGlob+1): "it has 129 bytes, want at most 128",
	} {
		if _, err := CompileGlob(text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// The law: a star is .* of a regular expression over the whole name.
func TestGlobIsAnchoredExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab/*]{1,12}`).Filter(func(s string) bool { return !strings.Contains(s, "**") }).Draw(t, "glob")
		name := rapid.StringMatching(`[ab/]{0,16}`).Draw(t, "name")
		g, err := CompileGlob(text)
		if err != nil {
			t.Fatal(err)
		}
		naive := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `.*`) + `$`)
		if got, want := g.Match(name), naive.MatchString(name); got != want {
			t.Fatalf("%q on %q: %t", text, name, got)
		}
	})
}

// The bound holds for the worst that a name can be.
func BenchmarkGlobWorst(b *testing.B) {
	g, err := CompileGlob("*" + strings.Repeat("a", 40) + "b*" + strings.Repeat("a", 40) + "b*")
	if err != nil {
		b.Fatal(err)
	}
	name := strings.Repeat("a", 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if g.Match(name) {
			b.Fatal("it matches")
		}
	}
}
