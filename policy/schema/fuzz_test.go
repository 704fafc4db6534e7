package schema

import (
	"encoding/json"
	"strings"
	"testing"
)

// The laws: no file makes the compiler panic, what it refuses it explains in one line without made-up URLs, and what it accepts judges any value
// within its bound, the same each time.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"minimum":1}}}`, `{"$id":"http://a/b","$ref":"b"}`, `{"$anchor":"x","$ref":"#x"}`,
		`{"oneOf":[{"allOf":[{"properties":{"c":{"$ref":"#"}}}]},true]}`, `{"unevaluatedProperties":false,"anyOf":[{"patternProperties":{"a":true}}]}`,
		`{"format":"time"}`, `{"items":{"multipleOf":0.1},"uniqueItems":true}`, `[]`, `{"$defs":5}`, `{"$schema":"x"}`, `{"$ref":"%"}`, `{"$id":"#"}`, `{"enum":[]}`,
		`{"properties":{"a/b~":{"$ref":"#/properties/a~1b~0"}}}`, `{"minLength":1e30}`, `{"not":{"$ref":"#/not"}}`,
	} {
		f.Add(seed, `{"a":[1,2,{"c":0.3}],"b":"10:00:00Z"}`)
	}
	f.Fuzz(func(t *testing.T, file, value string) {
		s, err := compile("s.json", file)
		if err != nil {
			if text := err.Error(); strings.Contains(text, base) || strings.Contains(text, "\n") {
				t.Fatalf("%q: %q is not for people", file, text)
			}
			return
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			return
		}
		outcome, where := check(s, v, len(value))
		if (outcome == Valid) != (where == "") {
			t.Fatalf("%q: %q: outcome %d at %q", file, value, outcome, where)
		}
		if again, _ := check(s, v, len(value)); again != outcome && outcome != Costly && again != Costly {
			t.Fatalf("%q: %q: outcome %d, and then %d", file, value, outcome, again)
		}
	})
}
