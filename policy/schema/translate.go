package schema

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/framegate/framegate/policy/pattern"
)

// translation makes nodes of the library's schemas. Its first error makes the rest of it void.
type translation struct {
	docs  documents
	nodes map[*jsonschema.Schema]*node
	err   error
}

func (t *translation) fail(s *jsonschema.Schema, format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("at %s: %s", place(s), fmt.Sprintf(format, args...))
	}
}

// place is where a schema stands, without the made-up part of its URL.
func place(s *jsonschema.Schema) string { return strings.TrimPrefix(s.Location, base) }

// node translates one schema and all below it; nil stays nil. Schemas may be recursive, so the node exists before it is complete.
func (t *translation) node(s *jsonschema.Schema) *node {
	if s == nil || t.err != nil {
		return nil
	}
	if n, ok := t.nodes[s]; ok {
		return n
	}
	n := &node{at: place(s)}
	t.nodes[s] = n
	if len(t.nodes) > maxNodes {
		t.fail(s, "this is schema %d of those that belong together, want at most %d", len(t.nodes), maxNodes)
		return nil
	}
	if s.Bool != nil {
		n.never = !*s.Bool
		return n
	}
	t.refuse(s)
	t.value(n, s)
	n.numbers = t.numbers(s)
	n.texts = t.texts(s)
	n.arrays = t.arrays(s)
	n.objects = t.objects(s)
	n.logic = t.logic(s)
	if s.UnevaluatedItems != nil || s.UnevaluatedProperties != nil {
		n.rest = &rest{t.node(s.UnevaluatedItems), t.node(s.UnevaluatedProperties)}
	}
	return n
}

func (t *translation) all(schemas []*jsonschema.Schema) []*node {
	var nodes []*node
	for _, s := range schemas {
		nodes = append(nodes, t.node(s))
	}
	return nodes
}

// refuse reports what this package does not do, since a keyword that is ignored is a protection that is not there.
func (t *translation) refuse(s *jsonschema.Schema) {
	switch {
	case s.DraftVersion != 2020:
		t.fail(s, "its $schema is that of another draft, want %s or none", jsonschema.Draft2020)
	case s.DynamicRef != nil:
		t.fail(s, "$dynamicRef is not supported, want a $ref")
	case s.Format != nil && s.Format.Name == "regex":
		t.fail(s, "format regex is not supported: it would compile what clients send")
	}
	if problem := misspelt(t.docs.object(s.Location), s.Format != nil); problem != "" {
		t.fail(s, "%s", problem)
	}
}

// value translates the keywords for values of every type.
func (t *translation) value(n *node, s *jsonschema.Schema) {
	if s.Types != nil {
		for _, name := range s.Types.ToStrings() {
			n.kinds |= map[string]kinds{
				"null": null, "boolean": boolean, "integer": integer, "number": number, "string": text, "array": array, "object": object,
			}[name]
		}
	}
	if s.Enum != nil {
		n.values = newValues(s.Enum.Values)
	}
	if s.Const != nil {
		unbounded := evaluation{steps: math.MaxInt}
		n.never = n.values != nil && !unbounded.among(n.values, *s.Const)
		n.values = newValues([]any{*s.Const})
	}
	if s.Format != nil {
		n.format = &format{s.Format.Name, s.Format.Validate}
	}
}

func newValues(all []any) *values {
	k := &values{simple: map[any]struct{}{}}
	for _, v := range all {
		if kindOf(v)&(array|object) != 0 {
			k.nested = append(k.nested, v)
		} else {
			k.simple[v] = struct{}{}
		}
	}
	return k
}

func (t *translation) numbers(s *jsonschema.Schema) *numbers {
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil {
		return nil
	}
	limit := func(r *big.Rat, absent float64) float64 {
		if r == nil {
			return absent
		}
		f, _ := r.Float64() // exact: the file's numbers were read as float64
		return f
	}
	return &numbers{
		minimum: limit(s.Minimum, math.Inf(-1)), maximum: limit(s.Maximum, math.Inf(1)),
		above: limit(s.ExclusiveMinimum, math.Inf(-1)), below: limit(s.ExclusiveMaximum, math.Inf(1)),
		multipleOf: limit(s.MultipleOf, 0),
	}
}

func (t *translation) texts(s *jsonschema.Schema) *texts {
	if s.MinLength == nil && s.MaxLength == nil && s.Pattern == nil {
		return nil
	}
	x := &texts{least: least(s.MinLength), most: most(s.MaxLength)}
	if s.Pattern != nil {
		x.pattern = t.pattern(s, s.Pattern)
	}
	return x
}

func (t *translation) arrays(s *jsonschema.Schema) *arrays {
	if s.MinItems == nil && s.MaxItems == nil && !s.UniqueItems && s.PrefixItems == nil && s.Items2020 == nil && s.Contains == nil {
		return nil
	}
	a := &arrays{
		least: least(s.MinItems), most: most(s.MaxItems), unique: s.UniqueItems,
		prefix: t.all(s.PrefixItems), items: t.node(s.Items2020),
		contains: t.node(s.Contains), containsLeast: 1, containsMost: most(s.MaxContains),
	}
	if s.MinContains != nil {
		a.containsLeast = *s.MinContains
	}
	return a
}

func (t *translation) objects(s *jsonschema.Schema) *objects {
	o := &objects{
		least: least(s.MinProperties), most: most(s.MaxProperties), required: s.Required,
		properties: map[string]*node{}, names: t.node(s.PropertyNames),
	}
	o.sorted = t.named(s.Properties)
	for _, p := range o.sorted {
		o.properties[p.name] = p.node
	}
	o.schemas = t.named(s.DependentSchemas)
	for _, name := range slices.Sorted(maps.Keys(s.DependentRequired)) {
		o.dependent = append(o.dependent, required{name, s.DependentRequired[name]})
	}
	for re, sub := range s.PatternProperties {
		o.patterns = append(o.patterns, patterned{t.pattern(s, re), t.node(sub)})
	}
	slices.SortFunc(o.patterns, func(a, b patterned) int { return cmp.Compare(a.pattern.String(), b.pattern.String()) })
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		o.additional = &node{at: place(s) + "/additionalProperties", never: !additional}
	case *jsonschema.Schema:
		o.additional = t.node(additional)
	}
	if s.MinProperties == nil && s.MaxProperties == nil && len(o.required)+len(o.dependent)+len(o.sorted)+len(o.patterns)+len(o.schemas) == 0 &&
		o.additional == nil && o.names == nil {
		return nil
	}
	return o
}

// named translates schemas that have names, sorted by them.
func (t *translation) named(schemas map[string]*jsonschema.Schema) []property {
	var all []property
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		all = append(all, property{name, t.node(schemas[name])})
	}
	return all
}

func (t *translation) logic(s *jsonschema.Schema) *logic {
	if s.Ref == nil && s.AllOf == nil && s.AnyOf == nil && s.OneOf == nil && s.Not == nil && s.If == nil {
		return nil
	}
	return &logic{
		ref: t.node(s.Ref), all: t.all(s.AllOf), any: t.all(s.AnyOf), one: t.all(s.OneOf),
		not: t.node(s.Not), test: t.node(s.If), then: t.node(s.Then), other: t.node(s.Else),
	}
}

// pattern takes back what compilePattern gave to the library.
func (t *translation) pattern(s *jsonschema.Schema, re jsonschema.Regexp) *pattern.RE2 {
	compiled, ok := re.(*pattern.RE2)
	if !ok {
		t.fail(s, "pattern %q was not compiled with a bound", re)
		return &pattern.RE2{}
	}
	return compiled
}

func least(limit *int) int {
	if limit == nil {
		return 0
	}
	return *limit
}

func most(limit *int) int {
	if limit == nil {
		return math.MaxInt
	}
	return *limit
}

// checkChains refuses schemas that apply themselves to the same value, and long chains of schemas that are applied to one value: the depth of
// the evaluation's stack depends on it.
func checkChains(nodes map[*jsonschema.Schema]*node) error {
	const walking = -1
	depth := map[*node]int{}
	var walk func(*node) error
	walk = func(n *node) error {
		depth[n] = walking
		longest := 0
		for _, next := range n.inPlace() {
			if depth[next] == walking {
				return fmt.Errorf("at %s: it applies itself to the same value, by way of %s", n.at, next.at)
			}
			if depth[next] == 0 {
				if err := walk(next); err != nil {
					return err
				}
			}
			longest = max(longest, depth[next])
		}
		depth[n] = longest + 1
		if depth[n] > maxChain {
			return fmt.Errorf("at %s: more than %d schemas inside each other for the same value", n.at, maxChain)
		}
		return nil
	}
	for _, n := range slices.SortedFunc(maps.Values(nodes), func(a, b *node) int { return cmp.Compare(a.at, b.at) }) {
		if depth[n] == 0 {
			if err := walk(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// inPlace returns the schemas that n applies to the same value as itself.
func (n *node) inPlace() []*node {
	var all []*node
	if l := n.logic; l != nil {
		all = slices.Concat([]*node{l.ref, l.not, l.test, l.then, l.other}, l.all, l.any, l.one)
	}
	if n.objects != nil {
		for _, p := range n.objects.schemas {
			all = append(all, p.node)
		}
	}
	return slices.DeleteFunc(all, func(n *node) bool { return n == nil })
}
