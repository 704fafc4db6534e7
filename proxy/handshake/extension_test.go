package handshake

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseExtensions(t *testing.T) {
	flag := func(name string) Param { return Param{Name: name} }
	value := func(name, v string) Param { return Param{name, v, true} }
	for _, tc := range []struct {
		in   []string
		want []Extension
		out  string
	}{
		{[]string{"permessage-deflate"}, []Extension{{Name: "permessage-deflate"}}, "permessage-deflate"},
		{[]string{"a;b;c=d"}, []Extension{{"a", []Param{flag("b"), value("c", "d")}}}, "a; b; c=d"},
		{[]string{" a ; b = c\t, d "}, []Extension{{"a", []Param{value("b", "c")}}, {Name: "d"}}, "a; b=c, d"},
		{[]string{"a", "b"}, []Extension{{Name: "a"}, {Name: "b"}}, "a, b"},
		{[]string{"a", "", "b"}, []Extension{{Name: "a"}, {Name: "b"}}, "a, b"},
		{[]string{",a,,b,"}, []Extension{{Name: "a"}, {Name: "b"}}, "a, b"},
		{[]string{`a;b="10"`}, []Extension{{"a", []Param{value("b", "10")}}}, "a; b=10"},
		{[]string{`a;b="\1\0"`}, []Extension{{"a", []Param{value("b", "10")}}}, "a; b=10"},
		{[]string{`a;b=`}, []Extension{{"a", []Param{value("b", "")}}}, `a; b=""`},
		{[]string{`a;b=;c`}, []Extension{{"a", []Param{value("b", ""), flag("c")}}}, `a; b=""; c`},
		{[]string{`a;b="",c`}, []Extension{{"a", []Param{value("b", "")}}, {Name: "c"}}, `a; b="", c`},
		{[]string{"a;b;b"}, []Extension{{"a", []Param{flag("b"), flag("b")}}}, "a; b; b"},
		{[]string{strings.Repeat("a,", 16)}, make16(), strings.TrimSuffix(strings.Repeat("a, ", 16), ", ")},
	} {
		got, ok := ParseExtensions(tc.in)
		if !ok || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: got %v, %v; want %v", tc.in, got, ok, tc.want)
		}
		if out := string(AppendExtensions(nil, got)); out != tc.out {
			t.Errorf("%q: rendered as %q, want %q", tc.in, out, tc.out)
		}
	}
}

func make16() []Extension {
	out := make([]Extension, 16)
	for i := range out {
		out[i].Name = "a"
	}
	return out
}

func TestParseExtensionsRefuses(t *testing.T) {
	for _, in := range [][]string{
		nil, {""}, {" "}, {","}, {", ,"},
		{"a b"}, {"a;"}, {"a; ,b"}, {"a;;b"}, {";a"}, {"=a"}, {"a=b"}, {"a;=b"}, {"a;b=c d"}, {"a;b c"}, {"a;b=c=d"},
		{"(a)"}, {"a(b)"}, {"a/b"}, {"a;b=c/d"}, {"a\x00"}, {"\xc3\xa9"}, {"a;\xff"}, {"a\r\nb"},
		{`"a"`}, {`a;"b"`}, {`a;b="`}, {`a;b="c`}, {`a;b="\`}, {`a;b="\"`}, {`a;b="c d"`}, {`a;b="c,d"`}, {`a;b="\""`}, {`a;b="\\"`}, {`a;b="c"d`}, {`a;b="c""d"`},
		{`a;b="c`, `d"`},
		{"a", "b c"},
		{strings.Repeat("a,", 17)},
		{strings.Repeat("a,", 10), strings.Repeat("a,", 7)},
		{"a" + strings.Repeat(";b", 17)},
	} {
		if got, ok := ParseExtensions(in); ok {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

// TestExtensionsInLinearTime is row H-14: what fits in a head must cost next to nothing.
func TestExtensionsInLinearTime(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, MaxLine/len(s)) }
	for name, in := range map[string]string{
		"unfinished quotes":     fill(`a;b="\"`),
		"one unfinished quote":  `a;b="` + fill("a"),
		"escapes":               `a;b="` + fill(`\a`),
		"1,000 offers":          strings.Repeat("a, ", 1000),
		"1,000 deflate offers":  strings.Repeat("permessage-deflate,", 1000),
		"commas":                fill(","),
		"spaces":                fill(" "),
		"semicolons":            "a" + fill(";"),
		"parameters":            "a" + fill(";b"),
		"parameters with comma": "a" + fill(";b=,"),
		"backslashes":           fill(`\`),
		"quotes":                fill(`"`),
	} {
		best := time.Hour
		for range 5 {
			start := time.Now()
			if _, ok := ParseExtensions([]string{in}); ok {
				t.Fatalf("%s: accepted", name)
			}
			best = min(best, time.Since(start))
		}
		if best > 5*time.Millisecond {
			t.Errorf("%s: %v for %d bytes", name, best, len(in))
		}
	}
}

func TestSubprotocols(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want []string
		ok   bool
	}{
		{nil, nil, true},
		{[]string{"a"}, []string{"a"}, true},
		{[]string{"b, a"}, []string{"b", "a"}, true},
		{[]string{"b ,\ta,"}, []string{"b", "a"}, true},
		{[]string{"b", "a"}, []string{"b", "a"}, true},
		{[]string{"a, A"}, []string{"a", "A"}, true},
		{[]string{"bearer, eyJ0.e30.x-_~"}, []string{"bearer", "eyJ0.e30.x-_~"}, true},
		{[]string{""}, nil, false},
		{[]string{" , "}, nil, false},
		{[]string{"a b("}, nil, false},
		{[]string{"a b"}, nil, false},
		{[]string{"a, a"}, nil, false},
		{[]string{"a", "a"}, nil, false},
		{[]string{"a/b"}, nil, false},
		{[]string{`"a"`}, nil, false},
		{[]string{"a=b"}, nil, false},
		{[]string{"\xc3\xa9"}, nil, false},
	} {
		got, ok := parseSubprotocols(tc.in)
		if ok != tc.ok || ok && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: got %q, %v; want %q, %v", tc.in, got, ok, tc.want, tc.ok)
		}
	}
	many := make([]string, maxSubprotocols+1)
	for i := range many {
		many[i] = strings.Repeat("a", i+1)
	}
	if _, ok := parseSubprotocols(many[:maxSubprotocols]); !ok {
		t.Errorf("%d subprotocols refused", maxSubprotocols)
	}
	if _, ok := parseSubprotocols(many); ok {
		t.Errorf("%d subprotocols accepted", maxSubprotocols+1)
	}
}
