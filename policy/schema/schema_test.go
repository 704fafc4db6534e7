package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// mustCompile compiles the first of some files, given as name, content, name, content.
func mustCompile(t testing.TB, files ...string) *Schema {
	t.Helper()
	s, err := compile(files...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compile(files ...string) (*Schema, error) {
	c := NewCompiler()
	for i := 0; i < len(files); i += 2 {
		if err := c.Add(files[i], []byte(files[i+1])); err != nil {
			return nil, fmt.Errorf("adding %s: %w", files[i], err)
		}
	}
	return c.Compile(files[0])
}

// check holds one value of a text of size bytes against a schema.
func check(s *Schema, v any, size int) (Outcome, string) {
	budget := NewBudget(size)
	return s.Check(v, &budget)
}

func parse(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// Each keyword: what it lets pass, and where and why it refuses the rest.
func TestKeywords(t *testing.T) {
	for _, test := range []struct {
		schema string
		valid  []string
		wrong  map[string]string // value to place and keyword
	}{
		{`true`, []string{`null`, `{"a":[1]}`}, nil},
		{`{}`, []string{`null`, `1`}, nil},
		{`false`, nil, map[string]string{`null`: "# false"}},
		{`{"type":"integer"}`, []string{`1`, `-0`, `1.0`, `1e300`}, map[string]string{`1.5`: "# type", `"1"`: "# type", `null`: "# type", `1e-300`: "# type"}},
		{`{"type":["string","null"]}`, []string{`""`, `null`}, map[string]string{`false`: "# type", `[]`: "# type", `{}`: "# type"}},
		{`{"type":"number"}`, []string{`1`, `1.5`}, map[string]string{`true`: "# type"}},
		{`{"type":"boolean"}`, []string{`true`, `false`}, map[string]string{`0`: "# type"}},
		{`{"enum":["a",1,null,[1,{"b":2}]]}`, []string{`"a"`, `1`, `1.0`, `null`, `[1,{"b":2}]`}, map[string]string{`"A"`: "# enum", `[1,{"b":3}]`: "# enum", `[1]`: "# enum", `false`: "# enum"}},
		{`{"const":false}`, []string{`false`}, map[string]string{`0`: "# enum", `null`: "# enum"}},
		{`{"const":1,"enum":[1,2]}`, []string{`1`}, map[string]string{`2`: "# enum"}},
		{`{"const":3,"enum":[1,2]}`, nil, map[string]string{`1`: "# false", `3`: "# false"}},
		{`{"minimum":1,"maximum":2}`, []string{`1`, `1.5`, `2`, `"0"`}, map[string]string{`0.999`: "# minimum", `2.001`: "# maximum", `-1e308`: "# minimum"}},
		{`{"exclusiveMinimum":1,"exclusiveMaximum":2}`, []string{`1.5`}, map[string]string{`1`: "# exclusiveMinimum", `2`: "# exclusiveMaximum"}},
		{`{"multipleOf":3}`, []string{`0`, `-6`, `9007199254740990`, `"x"`}, map[string]string{`7`: "# multipleOf", `1.5`: "# multipleOf"}},
		{`{"multipleOf":0.01}`, []string{`0.07`, `19.99`, `1e300`}, map[string]string{`0.075`: "# multipleOf", `1e-300`: "# multipleOf"}},
		{`{"minLength":2,"maxLength":3}`, []string{`"éé"`, `"abc"`, `"💥💥💥"`, `12345`}, map[string]string{`"é"`: "# minLength", `"abcd"`: "# maxLength"}},
		{`{"maxLength":0}`, []string{`""`}, map[string]string{`"a"`: "# maxLength"}},
		{`{"pattern":"^a+$"}`, []string{`"aa"`, `5`}, map[string]string{`"ab"`: "# pattern", `"aa\n"`: "# pattern"}},
		{`{"pattern":"b"}`, []string{`"abc"`}, map[string]string{`"ac"`: "# pattern"}},
		{`{"format":"uuid"}`, []string{`"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"`, `5`}, map[string]string{`"f81d4fae"`: "# format"}},
		{`{"format":"date-time"}`, []string{`"2026-11-25T10:00:00Z"`}, map[string]string{`"yesterday"`: "# format"}},
		{`{"minItems":1,"maxItems":2}`, []string{`[1]`, `[1,2]`, `{}`}, map[string]string{`[]`: "# minItems", `[1,2,3]`: "# maxItems"}},
		{`{"uniqueItems":true}`, []string{`[]`, `[1,"1",true,null]`, `[[1],[2],{"a":1},{"a":2}]`, `[[1],1]`}, map[string]string{`[1,1.0]`: "# uniqueItems", `[0,-0]`: "# uniqueItems", `[{"a":1,"b":2},{"b":2,"a":1}]`: "# uniqueItems", `[null,null]`: "# uniqueItems"}},
		{`{"prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}`, []string{`[]`, `["a"]`, `["a",1]`}, map[string]string{`[1]`: "#/prefixItems/0 type", `["a","b"]`: "#/prefixItems/1 type", `["a",1,2]`: "#/items false"}},
		{`{"items":{"type":"string"}}`, []string{`["a","b"]`}, map[string]string{`["a",1]`: "#/items type"}},
		{`{"contains":{"type":"string"},"minContains":2,"maxContains":3}`, []string{`["a",1,"b"]`}, map[string]string{`["a"]`: "# contains", `["a","b","c","d"]`: "# maxContains"}},
		{`{"contains":{"const":1}}`, []string{`[0,1]`}, map[string]string{`[]`: "# contains"}},
		{`{"contains":{"const":1},"minContains":0}`, []string{`[]`}, nil},
		{`{"minProperties":1,"maxProperties":2}`, []string{`{"a":1}`, `[]`}, map[string]string{`{}`: "# minProperties", `{"a":1,"b":1,"c":1}`: "# maxProperties"}},
		{`{"required":["a","b"]}`, []string{`{"a":null,"b":1}`}, map[string]string{`{"a":1}`: "# required", `{"A":1,"B":2}`: "# required"}},
		{`{"dependentRequired":{"a":["b"]}}`, []string{`{}`, `{"b":1}`, `{"a":1,"b":1}`}, map[string]string{`{"a":1}`: "# dependentRequired"}},
		{`{"dependentSchemas":{"a":{"minProperties":2}}}`, []string{`{"b":1}`, `{"a":1,"b":1}`}, map[string]string{`{"a":1}`: "#/dependentSchemas/a minProperties"}},
		{`{"properties":{"a":{"type":"string"}},"additionalProperties":false}`, []string{`{}`, `{"a":"x"}`}, map[string]string{`{"a":1}`: "#/properties/a type", `{"b":1}`: "# additionalProperties", `{"A":"x"}`: "# additionalProperties"}},
		{`{"properties":{"a":true},"additionalProperties":{"type":"integer"}}`, []string{`{"a":"x","b":1}`}, map[string]string{`{"b":"x"}`: "#/additionalProperties type"}},
		{`{"patternProperties":{"^x-":{"type":"string"}},"additionalProperties":false}`, []string{`{"x-a":"b"}`}, map[string]string{`{"x-a":1}`: "#/patternProperties/%5Ex- type", `{"y":1}`: "# additionalProperties"}},
		{`{"propertyNames":{"maxLength":2}}`, []string{`{"ab":1}`}, map[string]string{`{"abc":1}`: "# propertyNames"}},
		{`{"allOf":[{"minimum":1},{"maximum":2}]}`, []string{`1`}, map[string]string{`0`: "#/allOf/0 minimum", `3`: "#/allOf/1 maximum"}},
		{`{"anyOf":[{"minimum":5},{"type":"string"}]}`, []string{`5`, `"a"`}, map[string]string{`4`: "# anyOf"}},
		{`{"oneOf":[{"minimum":5},{"maximum":7}]}`, []string{`4`, `8`}, map[string]string{`6`: "# oneOf"}},
		{`{"oneOf":[false,false]}`, nil, map[string]string{`6`: "# oneOf"}},
		{`{"not":{"type":"string"}}`, []string{`1`}, map[string]string{`"a"`: "# not"}},
		{`{"if":{"type":"string"},"then":{"minLength":1},"else":{"minimum":1}}`, []string{`"a"`, `1`}, map[string]string{`""`: "#/then minLength", `0`: "#/else minimum"}},
		{`{"if":{"type":"string"}}`, []string{`"a"`, `1`}, nil},
		{`{"$ref":"#/$defs/a","maximum":2,"$defs":{"a":{"minimum":1}}}`, []string{`1`}, map[string]string{`0`: "#/$defs/a minimum", `3`: "# maximum"}},
		{`{"$ref":"#here","$defs":{"a":{"$anchor":"here","minimum":1}}}`, []string{`1`}, map[string]string{`0`: "#/$defs/a minimum"}},
		{`{"properties":{"next":{"$ref":"#"}},"additionalProperties":false}`, []string{`{"next":{"next":{}}}`}, map[string]string{`{"next":{"other":1}}`: "# additionalProperties"}},
		{`{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, []string{`{"a":1}`}, map[string]string{`{"b":1}`: "# unevaluatedProperties"}},
		{`{"anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":true}}],"unevaluatedProperties":{"type":"string"}}`, []string{`{"a":1,"b":2}`, `{"b":2,"c":"x"}`, `{"a":"x"}`}, map[string]string{`{"a":2}`: "# unevaluatedProperties"}},
		{`{"if":{"properties":{"a":{"const":1}}},"then":{"properties":{"b":true}},"unevaluatedProperties":false}`, []string{`{"a":1,"b":1}`, `{"b":1}`}, map[string]string{`{"a":2}`: "# unevaluatedProperties"}},
		{`{"prefixItems":[true],"contains":{"const":5},"unevaluatedItems":false}`, []string{`[1,5]`, `[5]`}, map[string]string{`[1,5,6]`: "# unevaluatedItems"}},
		{`{"oneOf":[{"prefixItems":[true,true]},false],"unevaluatedItems":{"type":"null"}}`, []string{`[1,2,null]`}, map[string]string{`[1,2,3]`: "# unevaluatedItems"}},
		{`{"title":"x","x-own":1,"example":2,"default":3,"examples":[1],"readOnly":true,"contentEncoding":"base64"}`, []string{`"%"`}, nil},
	} {
		s := mustCompile(t, "s.json", test.schema)
		for _, text := range test.valid {
			if outcome, where := check(s, parse(t, text), len(text)); outcome != Valid || where != "" {
				t.Errorf("%s: %s: outcome %d at %q, want valid", test.schema, text, outcome, where)
			}
		}
		for text, want := range test.wrong {
			if outcome, where := check(s, parse(t, text), len(text)); outcome != Invalid || where != "s.json"+want {
				t.Errorf("%s: %s: outcome %d at %q, want invalid at %q", test.schema, text, outcome, where, "s.json"+want)
			}
		}
	}
}

func TestFilesReferToEachOther(t *testing.T) {
	s := mustCompile(t,
		"schemas/order.json", `{"properties":{"id":{"$ref":"common.json#/$defs/id"},"by":{"$ref":"../users/user.json"}}}`,
		"schemas/common.json", `{"$defs":{"id":{"type":"integer"}}}`,
		"users/user.json", `{"$id":"https://example.com/user.json","type":"string"}`,
	)
	for text, want := range map[string]string{
		`{"id":1,"by":"x"}`: "",
		`{"id":"1"}`:        "schemas/common.json#/$defs/id type",
		`{"by":1}`:          "users/user.json# type",
	} {
		if _, where := check(s, parse(t, text), len(text)); where != want {
			t.Errorf("%s: %q, want %q", text, where, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	const s = "s.json"
	chain := `{"type":"null"}`
	for range maxChain {
		chain = `{"allOf":[` + chain + `]}`
	}
	for _, test := range []struct {
		files []string
		want  string
	}{
		{[]string{s, ``}, "adding s.json: want strict JSON"},
		{[]string{s, "{\n\"type\": \"string\",\n\"type\": \"null\"}"}, "adding s.json: want strict JSON: line 3: duplicate object member name"},
		{[]string{s, "{}{}"}, "adding s.json: want strict JSON: line 1: "},
		{[]string{s, "{\"title\":\"\xff\"}"}, "adding s.json: want strict JSON: line 1: invalid UTF-8"},
		{[]string{s, `{"maximum":1e400}`}, "adding s.json: want strict JSON"},
		{[]string{s, `{"title":"` + strings.Repeat("a", maxFile) + `"}`}, "adding s.json: it has 1048588 bytes, want at most 1048576"},
		{[]string{s, `{}`, s, `{}`}, "adding s.json: "},
		{[]string{s, `5`}, "at #/: "},
		{[]string{s, `{"type":"strnig"}`}, "at #/type: "},
		{[]string{s, `{"properties":{"a":{"minLength":-1}}}`}, "at #/properties/a/minLength: "},
		{[]string{s, `{"$ref":"other.json"}`}, `"other.json" is not among the schema files that the configuration names`},
		{[]string{s, `{"$ref":"file:///etc/passwd"}`}, `"file:///etc/passwd" is not among the schema files that the configuration names`},
		{[]string{s, `{"$ref":"https://example.com/s.json"}`}, `"https://example.com/s.json" is not among the schema files that the configuration names`},
		{[]string{s, `{"$ref":"#/$defs/none"}`}, `json-pointer in "s.json#/$defs/none" not found`},
		{[]string{s, `{"$schema":"https://example.com/meta"}`}, "is not among the schema files"},
		{[]string{s, `{"$schema":"http://json-schema.org/draft-07/schema#"}`}, "at s.json#: its $schema is that of another draft, want https://json-schema.org/draft/2020-12/schema or none"},
		{[]string{s, `{"pattern":"(?=a)"}`}, "invalid or unsupported Perl syntax"},
		{[]string{s, `{"pattern":"a{1,1000}"}`}, "it compiles to 2"},
		{[]string{s, `{"patternProperties":{"(":true}}`}, "missing closing )"},
		{[]string{s, `{"format":"regex"}`}, "at s.json#: format regex is not supported"},
		{[]string{s, `{"format":"uiud"}`}, "at s.json#: unknown format \"uiud\""},
		{[]string{s, `{"properties":{"a/b":{"items":{"anyOf":[true,{"format":"emial"}]}}}}`}, "at s.json#/properties/a~1b/items/anyOf/1: unknown format \"emial\""},
		{[]string{s, `{"properties":{"required":{"maxLenght":5}},"required":["x"]}`}, `at s.json#/properties/required: unknown keyword "maxLenght", did you mean "maxLength"?`},
		{[]string{s, `{"additionalproperties":false}`}, `at s.json#: unknown keyword "additionalproperties", did you mean "additionalProperties"?`},
		{[]string{s, `{"$dynamicRef":"#x","$defs":{"x":{"$dynamicAnchor":"x"}}}`}, "at s.json#: $dynamicRef is not supported"},
		{[]string{s, `{"$ref":"#"}`}, "at s.json#: it applies itself to the same value, by way of s.json#"},
		{[]string{s, `{"properties":{"x":{"anyOf":[true,{"not":{"$ref":"#/properties/x"}}]}}}`}, "applies itself to the same value"},
		{[]string{s, `{"dependentSchemas":{"a":{"$ref":"#"}}}`}, "applies itself to the same value"},
		{[]string{s, chain}, "at s.json#: more than 64 schemas inside each other for the same value"},
		{[]string{s, `{"allOf":[` + strings.Repeat(`{},`, maxNodes) + `{}]}`}, "want at most 3000"},
	} {
		_, err := compile(test.files...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80q: error %v, want %q", test.files, err, test.want)
		} else if strings.Contains(err.Error(), base) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: error %q is not for people", test.files, err)
		}
	}
}
