package strictyaml

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

func TestPointersAndNamedTypes(t *testing.T) {
	type name string
	type section struct {
		Int      *int                  `yaml:"int" max:"9"`
		Bool     *bool                 `yaml:"bool" default:"true"`
		Text     **string              `yaml:"text" enum:"a,b"`
		Wait     *Duration             `yaml:"wait" min:"0"`
		Names    map[name]*[]name      `yaml:"names"`
		Prefix   netip.Prefix          `yaml:"prefix"`
		Prefixes []*netip.Prefix       `yaml:"prefixes"`
		Nested   map[string]*[]section `yaml:"nested"`
	}
	var got section
	_, errs := Decode("f", []byte(`
int: 5
text: b
wait: 0s
names: {a: [b]}
prefix: 10.0.0.0/8
prefixes: ["::1/128"]
nested: {x: [{int: 1}]}
`), nil, &got)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	text := "b"
	ptext := &text
	local := netip.MustParsePrefix("::1/128")
	same(t, "decoded", got, section{
		Int: new(5), Bool: new(true), Text: &ptext, Wait: new(Duration(0)), Names: map[name]*[]name{"a": {"b"}},
		Prefix: netip.MustParsePrefix("10.0.0.0/8"), Prefixes: []*netip.Prefix{&local},
		Nested: map[string]*[]section{"x": {{Int: new(1), Bool: new(true)}}},
	})
	_, errs = Decode("f", []byte("int: 10\ntext: c\nprefix: 10.0.0.0\nwait: ''\n"), nil, &got)
	same(t, "mistakes", errs.Error(), `f:1:6: int: want a whole number from -9223372036854775808 to 9, not "10"
f:2:7: text: want one of a, b, not "c"
f:3:9: prefix: netip.ParsePrefix("10.0.0.0"): no '/'
f:4:7: wait: want a duration such as 5s, 1m30s or 250ms, not ""`)
}

func TestDefaultsOfAbsentSections(t *testing.T) {
	type inner struct {
		A int `yaml:"a" default:"1"`
	}
	type needs struct {
		A int    `yaml:"a" default:"1"`
		B string `yaml:"b" required:"true"`
	}
	type outer struct {
		Inner   inner    `yaml:"inner"`
		Needs   needs    `yaml:"needs"`
		Pointer *inner   `yaml:"pointer"`
		List    []inner  `yaml:"list"`
		Names   []string `yaml:"names" default:"x,y"`
		None    []string `yaml:"none" default:""`
		Kept    string   `yaml:"kept"`
	}
	got := outer{Kept: "before"}
	if _, errs := Decode("f", []byte("list: [{}, {a: 2}, ]\n"), nil, &got); len(errs) > 0 {
		t.Fatal(errs)
	}
	want := outer{Inner: inner{1}, List: []inner{{1}, {2}}, Names: []string{"x", "y"}, None: []string{}, Kept: "before"}
	same(t, "decoded", got, want)
	got = outer{}
	if _, errs := Decode("f", []byte("inner:\npointer:\nnames: []\n"), nil, &got); len(errs) > 0 {
		t.Fatal(errs)
	}
	same(t, "sections without keys", got, outer{Inner: inner{1}, Pointer: &inner{1}, Names: []string{}, None: []string{}})
	_, errs := Decode("f", []byte("inner: {b: 1}\nneeds:\n"), nil, &outer{})
	same(t, "mistakes", errs.Error(), "f:1:9: inner.b: unknown key, want one of a\nf:2:7: needs.b: this required key is missing")
}

func TestSectionWithoutKeys(t *testing.T) {
	var s struct {
		Empty struct{} `yaml:"empty"`
	}
	_, errs := Decode("f", []byte("empty: {a: 1}\n"), nil, &s)
	same(t, "mistakes", errs.Error(), "f:1:9: empty.a: unknown key, this section has none")
}

func TestLineEndsAndTabs(t *testing.T) {
	s, _ := decode(t, strings.ReplaceAll("version:\t1\t# one\nlabels:\n  a: |\n    x\n      y\n  b: >-\n    x\n    y\n  \"c\" :\t'z'\n", "\n", "\r\n"))
	same(t, "labels", s.Labels, map[string]string{"a": "x\n  y\n", "b": "x y", "c": "z"})
}

func TestDocumentsSideBySide(t *testing.T) {
	s1, doc1 := decode(t, "version: 1\nlabels: {a: \"${PASSWORD}\"}\n")
	s2, doc2 := decode(t, "\n\nversion: 1\nlog: {}\n")
	same(t, "first", doc1.At("version"), Position{1, 10})
	same(t, "second", doc2.At("version"), Position{3, 10})
	if s1.Labels["a"] != "hunter2secret" || s2.Labels != nil {
		t.Error(s1.Labels, s2.Labels)
	}
}

// Whatever a struct holds within the bounds of its tags, its encoded form decodes to the same.
func TestEncodedFormDecodes(t *testing.T) {
	text := rapid.StringMatching(`[ -~é]{0,12}`).Filter(func(s string) bool { return !strings.Contains(s, "${") })
	key := rapid.StringMatching(`[ -~]{1,9}`).Filter(func(s string) bool { return !strings.Contains(s, "${") })
	route := rapid.Custom(func(t *rapid.T) sampleRoute {
		return sampleRoute{
			Name: text.Draw(t, "name"), Hosts: rapid.SliceOfN(text, 1, 3).Draw(t, "hosts"), Upstream: text.Draw(t, "upstream"),
			Pass:       rapid.Bool().Draw(t, "pass"),
			MaxMessage: Size(rapid.Int64Range(1, 64<<20).Draw(t, "size")),
			Idle:       Duration(rapid.Int64Range(1000, 86400_000).Draw(t, "ms") * 1e6),
			Rate:       rapid.Ptr(rapid.Map(rapid.IntRange(0, 1e9), func(i int) sampleRate { return sampleRate{i} }), true).Draw(t, "rate"),
			OnIdle:     sampleCode{rapid.IntRange(1000, 4999).Draw(t, "client"), rapid.IntRange(1000, 4999).Draw(t, "upstream")},
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := sample{
			Version: 1, Routes: rapid.SliceOfN(route, 1, 3).Draw(t, "routes"),
			Labels: rapid.MapOfN(key, text, 1, 3).Draw(t, "labels"), Log: sampleLog{"debug", "text"},
			Numbers: sampleNumbers{
				rapid.Int8().Draw(t, "i8"), rapid.Int64().Draw(t, "i64"), rapid.Uint16().Draw(t, "u16"), rapid.Uint64().Draw(t, "u64"),
				rapid.IntRange(-5, 5).Draw(t, "low"),
			},
		}
		encoded, err := yaml.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		var got sample
		if _, errs := Decode("f", encoded, nil, &got); len(errs) > 0 || !reflect.DeepEqual(got, s) {
			t.Fatalf("%s\n%v\ngot  %s\nwant %s", encoded, errs, show(got), show(s))
		}
	})
}
