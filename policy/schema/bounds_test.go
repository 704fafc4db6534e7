package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// What would cost a validator without bounds more than the message is worth ends as Costly, and what is only large does not.
func TestBounds(t *testing.T) {
	// 2^n ways to cut the same bytes: in the library's hash they are all alike.
	var ways []string
	for i := range 1 << 12 {
		item := `["`
		for bit := range 12 {
			item += string(rune('a' + bit))
			if i>>bit&1 == 1 {
				item += `\u0004`
			} else {
				item += `","`
			}
		}
		ways = append(ways, item+`"]`)
	}
	tree := `{"oneOf":[{"allOf":[{"properties":{"c":{"$ref":"#"}}},{"required":["x"]}]},{"properties":{"c":{"$ref":"#"}},"required":["c"]},{"type":"integer"}]}`
	fork := `{"anyOf":[{"properties":{"c":{"$ref":"#"},"k":{"const":1}},"required":["c","k"]},{"properties":{"c":{"$ref":"#"},"k":{"const":2}},"required":["c","k"]},{"required":["end"]}]}`
	for _, test := range []struct {
		name, schema, value string
		want                Outcome
	}{
		{"work that doubles with depth", tree, strings.Repeat(`{"c":`, 32) + `1` + strings.Repeat(`}`, 32), Costly},
		{"depth without doubling", fork, strings.Repeat(`{"k":2,"c":`, 32) + `{"end":1}` + strings.Repeat(`}`, 32), Costly},
		{"little depth", fork, strings.Repeat(`{"k":2,"c":`, 6) + `{"end":1}` + strings.Repeat(`}`, 6), Valid},
		{"unique arrays that look alike", `{"uniqueItems":true}`, `[` + strings.Join(ways, ",") + `]`, Valid},
		{"many unique texts", `{"uniqueItems":true}`, `[` + numbered(20_000, `"%d"`) + `]`, Valid},
		{"many unique objects", `{"uniqueItems":true}`, `[` + numbered(500, `{"id":%d,"name":"n"}`) + `]`, Valid},
		{"many wrong items", `{"items":{"type":"string"}}`, `[` + numbered(100_000, `%d`) + `]`, Invalid},
		{"many right items", `{"items":{"type":"integer","minimum":0,"maximum":1000000}}`, `[` + numbered(100_000, `%d`) + `]`, Valid},
		{"many fractions", `{"items":{"multipleOf":0.01}}`, `[` + strings.Repeat(`1e-300,`, 100_000) + `0]`, Invalid},
		{"many right fractions", `{"items":{"multipleOf":1e-300}}`, `[` + strings.Repeat(`1e-300,`, 100_000) + `0]`, Valid},
		{"a long text and a large pattern", `{"pattern":"(x{1,100}y){1,3}z"}`, `"` + strings.Repeat("x", 1<<20) + `"`, Costly},
		{"a long text and a small pattern", `{"pattern":"^[a-z]+$"}`, `"` + strings.Repeat("x", 1<<20) + `"`, Valid},
		{"a short text and a large pattern", `{"pattern":"(x{1,100}y){1,3}z"}`, `"` + strings.Repeat("x", 100) + `"`, Invalid},
		{"many patterns over many names", patterns(200), wideObject(20_000), Costly},
		{"a few patterns over many names", patterns(3), wideObject(20_000), Valid},
		{"a long enum", `{"items":{"enum":[` + numbered(3000, `"v%d"`) + `]}}`, `[` + strings.Repeat(`"v9",`, 1000) + `"v2999"]`, Valid},
		{"a long enum of long misses", `{"items":{"enum":[` + numbered(3000, `"v%d"`) + `]}}`, `[` + strings.Repeat(`"w",`, 100) + `"w"]`, Invalid},
		{"an enum of objects for each of many", `{"items":{"enum":[` + numbered(3000, `[%d]`) + `]}}`, `[` + strings.Repeat(`[2999],`, 1000) + `[0]]`, Costly},
		{"an enum for each of many", `{"items":{"enum":[` + numbered(3000, `"v%d"`) + `]}}`, `[` + strings.Repeat(`"v2999",`, 100_000) + `"v0"]`, Valid},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mustCompile(t, "s.json", test.schema)
			v := parse(t, test.value)
			if got, where := check(s, v, len(test.value)); got != test.want {
				t.Errorf("outcome %d at %q, want %d", got, where, test.want)
			}
		})
	}
}

func numbered(n int, format string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ",")
}

func wideObject(n int) string { return `{` + numbered(n, `"name%d":0`) + `}` }

func patterns(n int) string {
	all := map[string]any{}
	for i := range n {
		all[fmt.Sprintf("x%d.*y", i)] = true
	}
	text, _ := json.Marshal(map[string]any{"patternProperties": all})
	return string(text)
}

// Where everything is spent nothing counts as a match, whatever the logic around it makes of a failure.
func TestCostlyIsNeverValid(t *testing.T) {
	v := make([]any, 1<<10)
	for i := range v {
		v[i] = 1.0
	}
	for _, schema := range []string{
		`{"not":{"items":{"enum":[1,2]}}}`,
		`{"not":{"not":{"items":{"type":"number"}}}}`,
		`{"if":{"items":{"type":"number"}},"then":false,"else":true}`,
		`{"anyOf":[{"items":{"const":1}},true]}`,
		`{"oneOf":[{"items":{"const":1}},{"items":{"const":1}},true]}`,
		`{"contains":{"const":2},"minContains":0}`,
		`{"items":true}`,
	} {
		s := mustCompile(t, "s.json", schema)
		if got, _ := s.Check(v, &Budget{100 - stepsBase}); got != Costly {
			t.Errorf("%s: outcome %d", schema, got)
		}
	}
}

const orderSchema = `{
	"type": "object", "required": ["type", "order"], "additionalProperties": false,
	"properties": {
		"type": {"enum": ["place", "cancel"]},
		"order": {
			"type": "object", "required": ["id", "amount", "side"], "additionalProperties": false,
			"properties": {
				"id": {"type": "string", "pattern": "^[0-9a-f-]{36}$"},
				"amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000000},
				"side": {"enum": ["buy", "sell"]},
				"tags": {"type": "array", "maxItems": 8, "items": {"type": "string", "maxLength": 16}}
			}
		}
	}
}`

const order = `{"type":"place","order":{"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","amount":12.5,"side":"buy","tags":["desk-a","urgent","client-77","algo","eu-west-1","retail"]},"type2":0}`

func TestNoAllocations(t *testing.T) {
	text := strings.Replace(order, `,"type2":0`, "", 1)
	s, v := mustCompile(t, "s.json", orderSchema), parse(t, text)
	if n := testing.AllocsPerRun(100, func() {
		if got, where := check(s, v, len(text)); got != Valid {
			t.Fatal(where)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a value that matches", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	text := strings.Replace(order, `,"type2":0`, "", 1)
	s, v := mustCompile(b, "s.json", orderSchema), parse(b, text)
	b.Run("bounded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			check(s, v, len(text))
		}
	})
	library := naive(b, orderSchema)
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = library.Validate(v)
		}
	})
}
