package strictyaml

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
)

// expansionPattern matches a text that holds a ${...} which is not escaped as $${...}. Such a text is valid wherever a
// scalar is, since an editor cannot know what it expands to. It keeps to what ECMA 262 and RE2 have in common.
const expansionPattern = `(?:^|[^$])\$\{[^}]+\}`

// Schema describes the documents that Decode accepts for the struct v (or a pointer to one) as a JSON Schema of draft
// 2020-12, indented and the same on each run. The id may be empty.
//
// An editor sees the values of a YAML 1.2 document, not its text, and has no arithmetic. So the schema cannot express:
// duplicate keys, anchors and other matters of syntax; how a number is written (0x10); the bounds of a Duration or Size
// other than zero; what a TextUnmarshaler refuses beyond its JSONSchema. In all else the two agree, and a test says so.
func Schema(v any, title, id string) ([]byte, error) {
	t := underlying(reflect.TypeOf(v))
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("schema of %v, want a struct", t)
	}
	ts, err := inspect(t)
	if err != nil {
		return nil, fmt.Errorf("schema of %v: %w", t, err)
	}
	b := schemaBuilder{types: ts, defs: map[string]any{}, names: map[reflect.Type]string{}}
	root := b.structure(t)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = title
	if id != "" {
		root["$id"] = id
	}
	if len(b.defs) > 0 {
		root["$defs"] = b.defs
	}
	// The file as a whole cannot be empty, unlike a section.
	root["type"] = "object"
	return json.MarshalIndent(root, "", "  ")
}

// schemaBuilder puts each struct type once into $defs, which also allows recursive types.
type schemaBuilder struct {
	types types
	defs  map[string]any
	names map[reflect.Type]string
}

// value describes the values of type t under the rules of f.
func (b *schemaBuilder) value(t reflect.Type, f field) map[string]any {
	form := formOf(t)
	switch {
	case t.Kind() == reflect.Pointer:
		return b.value(t.Elem(), f)
	case form.text && form.composite:
		return map[string]any{"oneOf": []any{textSchema(t, f), b.byKind(t, f)}}
	case form.text:
		return textSchema(t, f)
	}
	return b.byKind(t, f)
}

func (b *schemaBuilder) byKind(t reflect.Type, f field) map[string]any {
	switch t.Kind() {
	case reflect.Struct:
		return b.reference(t)
	case reflect.Slice:
		s := map[string]any{"type": "array", "items": b.value(t.Elem(), field{enum: f.enum})}
		f.bound(s, "minItems", "maxItems")
		return s
	case reflect.Map:
		s := map[string]any{
			"type":                 "object",
			"additionalProperties": b.value(t.Elem(), field{}),
			"propertyNames":        map[string]any{"minLength": 1, "not": map[string]any{"pattern": `\$\{`}},
		}
		f.bound(s, "minProperties", "maxProperties")
		return s
	case reflect.String:
		return stringSchema(f)
	case reflect.Interface:
		return map[string]any{}
	case reflect.Bool:
		return map[string]any{"type": []string{"boolean", "string"}, "pattern": expansionPattern}
	}
	s := map[string]any{"type": []string{"integer", "string"}, "pattern": expansionPattern}
	s["minimum"], s["maximum"] = f.limits(t)
	return s
}

// bound adds the tags' bounds of a length.
func (f field) bound(s map[string]any, least, most string) {
	if f.min != nil {
		s[least] = *f.min
	}
	if f.max != nil {
		s[most] = *f.max
	}
}

// reference describes a struct in $defs and refers to it there.
func (b *schemaBuilder) reference(t reflect.Type) map[string]any {
	name, ok := b.names[t]
	if !ok {
		name = path.Base(t.PkgPath()) + "." + t.Name()
		if t.Name() == "" {
			name = "section"
		}
		for plain, i := name, 2; b.defs[name] != nil; i++ {
			name = fmt.Sprintf("%s-%d", plain, i)
		}
		b.names[t] = name
		b.defs[name] = true // keeps the name while the fields are visited
		b.defs[name] = b.structure(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (b *schemaBuilder) structure(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range b.types[t] {
		of := t.FieldByIndex(f.index).Type
		s := b.value(of, f)
		if f.doc != "" {
			s["description"] = f.doc
		}
		if f.fallback != nil {
			s["default"] = defaultValue(f.fallback, underlying(of))
		}
		properties[f.name] = s
		if f.required {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["type"], s["required"] = "object", required
	} else {
		s["type"] = []string{"object", "null"} // a section without keys
	}
	return s
}

// defaultValue is the default as the editor would have to insert it.
func defaultValue(n *node, t reflect.Type) any {
	if n.kind == list {
		items := []any{}
		for _, item := range n.items {
			items = append(items, defaultValue(item, underlying(t.Elem())))
		}
		return items
	}
	if t.Kind() == reflect.String || formOf(t).text {
		return n.text
	}
	return json.RawMessage(n.text)
}

// stringSchema describes a text. Without an enum it may also be written as a number or boolean, whose text is taken.
func stringSchema(f field) map[string]any {
	if f.enum == nil {
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	values := []any{}
	for _, v := range f.enum {
		values = append(values, v)
		if v != "null" && json.Valid([]byte(v)) { // 1.2 without quotes is a number
			values = append(values, json.RawMessage(v))
		}
	}
	return map[string]any{"anyOf": []any{map[string]any{"enum": values}, expansionSchema()}}
}

func expansionSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": expansionPattern}
}

// textSchema describes the scalar form of a type that implements encoding.TextUnmarshaler.
func textSchema(t reflect.Type, f field) map[string]any {
	j, ok := reflect.New(t).Interface().(interface{ JSONSchema() map[string]any })
	if !ok {
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	s := maps.Clone(j.JSONSchema())
	if t == reflect.TypeFor[Duration]() && (f.min == nil || *f.min > 0) {
		s["not"] = map[string]any{"pattern": "^[0hms]+$"}
	}
	pattern, ok := s["pattern"].(string)
	if !ok || s["type"] != "string" {
		return map[string]any{"anyOf": []any{s, expansionSchema()}}
	}
	s["pattern"] = "(?:" + pattern + ")|" + expansionPattern
	return s
}
