package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// naive is the library's own validator.
func naive(t interface{ Fatal(...any) }, text string) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Few names, few numbers and few letters, so that schemas and values meet.
func names() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "ab", "c"}) }

func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.SampledFrom([]any{0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 0.1, 0.3, 1e300, 1e-300}),
		rapid.Map(rapid.StringMatching(`[abé]{0,4}`), func(s string) any { return s }),
		rapid.SampledFrom([]any{"2026-11-25", "10:00:00Z", "::1", "a@b.c"}),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	below := anyValue(depth - 1)
	return rapid.OneOf(append(scalars,
		rapid.Map(rapid.SliceOfN(below, 0, 4), func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(names(), below, 0, 4), func(v map[string]any) any { return v }),
	)...)
}

// schemas draws one schema. Its references go to $defs of the root, whose own schemas refer to later ones only.
func schemas(t *rapid.T, depth int, refs []string) any {
	if depth == 0 || rapid.IntRange(0, 9).Draw(t, "leaf") == 0 {
		return rapid.SampledFrom([]any{true, false, map[string]any{}, map[string]any{"type": "string"}, map[string]any{"type": []string{"integer", "null"}}}).Draw(t, "simple")
	}
	below := func() any { return schemas(t, depth-1, refs) }
	several := func() []any {
		var all []any
		for range rapid.IntRange(1, 3).Draw(t, "several") {
			all = append(all, below())
		}
		return all
	}
	named := func(name *rapid.Generator[string]) map[string]any {
		all := map[string]any{}
		for range rapid.IntRange(1, 3).Draw(t, "named") {
			all[name.Draw(t, "name")] = below()
		}
		return all
	}
	small := func() any { return rapid.IntRange(0, 3).Draw(t, "small") }
	number := func() any { return rapid.SampledFrom([]any{0, 1, 2, 0.5, -1, 1e300}).Draw(t, "number") }
	list := func() any { return rapid.SliceOfNDistinct(names(), 1, 2, rapid.ID).Draw(t, "list") }
	words := map[string]func() any{
		"type": func() any {
			return rapid.SampledFrom([]string{"null", "boolean", "integer", "number", "string", "array", "object"}).Draw(t, "type")
		},
		"enum":    func() any { return rapid.SliceOfN(anyValue(1), 1, 3).Draw(t, "enum") },
		"const":   func() any { return anyValue(2).Draw(t, "const") },
		"format":  func() any { return rapid.SampledFrom([]string{"date", "time", "ipv6", "email"}).Draw(t, "format") },
		"minimum": number, "maximum": number, "exclusiveMinimum": number, "exclusiveMaximum": number,
		"multipleOf": func() any { return rapid.SampledFrom([]any{1, 2, 0.5, 0.1, 1e-300, 3}).Draw(t, "multipleOf") },
		"minLength":  small, "maxLength": small, "pattern": func() any { return rapid.SampledFrom([]string{"^a", "b$", "a+b", "é"}).Draw(t, "pattern") },
		"minItems": small, "maxItems": small, "uniqueItems": func() any { return rapid.Bool().Draw(t, "unique") },
		"prefixItems": func() any { return several() }, "items": below, "contains": below, "minContains": small, "maxContains": small,
		"minProperties": small, "maxProperties": small, "required": list,
		"dependentRequired":    func() any { return map[string]any{names().Draw(t, "if"): list()} },
		"dependentSchemas":     func() any { return named(names()) },
		"properties":           func() any { return named(names()) },
		"patternProperties":    func() any { return named(rapid.SampledFrom([]string{"^a", "b"})) },
		"additionalProperties": below, "propertyNames": below,
		"allOf": func() any { return several() }, "anyOf": func() any { return several() }, "oneOf": func() any { return several() },
		"not": below, "if": below, "then": below, "else": below,
		"unevaluatedProperties": below, "unevaluatedItems": below,
	}
	if len(refs) > 0 {
		words["$ref"] = func() any { return "#/$defs/" + rapid.SampledFrom(refs).Draw(t, "ref") }
	}
	schema := map[string]any{}
	for _, word := range rapid.SliceOfNDistinct(rapid.SampledFrom(sortedKeys(words)), 1, 4, rapid.ID).Draw(t, "words") {
		schema[word] = words[word]()
	}
	return schema
}

// The law: on any schema and value, evaluation within bounds says what the library says.
func TestAgreesWithTheLibrary(t *testing.T) {
	valid, invalid := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		root, ok := schemas(t, 3, []string{"p", "q"}).(map[string]any)
		if !ok {
			root = map[string]any{}
		}
		root["$defs"] = map[string]any{"p": schemas(t, 2, []string{"q"}), "q": schemas(t, 2, nil)}
		text, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		want := naive(t, string(text))
		s, err := compile("s.json", string(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for range 8 {
			v := anyValue(3).Draw(t, "value")
			outcome, where := check(s, v, 1<<10)
			problem := want.Validate(v)
			if outcome == Costly || (problem == nil) != (outcome == Valid) {
				t.Fatalf("%s\n%#v: outcome %d at %q, the library says %v", text, v, outcome, where, problem)
			}
			if problem == nil {
				valid++
			} else {
				invalid++
			}
		}
	})
	if valid < 100 || invalid < 100 {
		t.Errorf("%d valid and %d invalid values show nothing", valid, invalid)
	}
}
