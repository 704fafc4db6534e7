package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// field is one key of a struct and what its tags say about the value.
type field struct {
	name     string
	index    []int // of reflect.Value.FieldByIndex: an inlined field lies deeper
	doc      string
	required bool
	fallback *node  // of the default tag
	secret   string // what of the value is one; empty for nothing
	enum     []string
	min, max *int64 // of an integer, Duration or Size; of the length of a list or map
}

// types holds the fields of every struct that can be reached from one type.
type types map[reflect.Type][]field

// form tells how values of a type are written.
type form struct {
	text      bool // a scalar for UnmarshalText
	composite bool // by kind: as the only way, or beside text
}

func formOf(t reflect.Type) form {
	if !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return form{composite: true}
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if name, tagged := t.Field(i).Tag.Lookup("yaml"); tagged && name != "-" {
				return form{text: true, composite: true}
			}
		}
	case reflect.Slice:
		return form{text: true, composite: t.Elem().Kind() != reflect.Uint8}
	}
	return form{text: true}
}

// inspect reads the tags of t and of all types below it. An error is a mistake of the program.
func inspect(t reflect.Type) (types, error) {
	ts := make(types)
	if err := ts.inspect(t); err != nil {
		return nil, err
	}
	for of, fields := range ts {
		for _, f := range fields {
			if err := ts.checkDefault(of.FieldByIndex(f.index).Type, f); err != nil {
				return nil, fmt.Errorf("%v: default of %s: %w", of, f.name, err)
			}
		}
	}
	return ts, nil
}

func (ts types) inspect(t reflect.Type) error {
	if !formOf(t).composite {
		return nil
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return nil
		}
	case reflect.Pointer, reflect.Slice:
		return ts.inspect(t.Elem())
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("%v: the keys of a map must be strings", t)
		}
		return ts.inspect(t.Elem())
	case reflect.Struct:
		return ts.inspectStruct(t)
	}
	return fmt.Errorf("type %v is not supported", t)
}

func (ts types) inspectStruct(t reflect.Type) error {
	if _, done := ts[t]; done {
		return nil
	}
	ts[t] = nil
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() || sf.Tag.Get("yaml") == "-" {
			continue
		}
		more, err := ts.fieldsOf(sf)
		for _, f := range more {
			if slices.ContainsFunc(fields, func(g field) bool { return g.name == f.name }) {
				err = fmt.Errorf("the key %s appears twice", f.name)
			}
			f.index = append([]int{i}, f.index...)
			fields = append(fields, f)
		}
		if err != nil {
			return fmt.Errorf("%v.%s: %w", t, sf.Name, err)
		}
	}
	ts[t] = fields
	return nil
}

// fieldsOf returns the one field that sf is, or all of an inlined struct. Their indices go out from it.
func (ts types) fieldsOf(sf reflect.StructField) ([]field, error) {
	if sf.Tag.Get("yaml") == ",inline" && sf.Type.Kind() == reflect.Struct && !formOf(sf.Type).text {
		err := ts.inspect(sf.Type)
		return ts[sf.Type], err
	}
	f, err := readTags(sf)
	if err == nil {
		err = ts.inspect(sf.Type)
	}
	return []field{f}, err
}

func readTags(sf reflect.StructField) (f field, err error) {
	name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
	if name == "" || strings.Contains(options, "inline") {
		return f, fmt.Errorf(`want a tag such as yaml:"name" (or yaml:",inline" on a struct), not %q`, sf.Tag.Get("yaml"))
	}
	f.name, f.doc = name, sf.Tag.Get("doc")
	switch required := sf.Tag.Get("required"); required {
	case "", "true":
		f.required = required != ""
	default:
		return f, fmt.Errorf(`want required:"true", not %q`, required)
	}
	switch f.secret = sf.Tag.Get("secret"); f.secret {
	case "", secretValue, secretUserinfo:
	default:
		return f, fmt.Errorf(`want secret:"true" or secret:"userinfo", not %q`, f.secret)
	}
	leaf := underlying(sf.Type)
	isList := leaf.Kind() == reflect.Slice && formOf(leaf).composite
	if enum := sf.Tag.Get("enum"); enum != "" {
		f.enum = strings.Split(enum, ",")
		of := leaf
		if isList {
			of = underlying(leaf.Elem())
		}
		if of.Kind() != reflect.String || formOf(of).text {
			return f, fmt.Errorf("enum on %v", sf.Type)
		}
	}
	if f.min, err = bound(sf.Tag.Get("min"), leaf); err != nil {
		return f, err
	}
	if f.max, err = bound(sf.Tag.Get("max"), leaf); err != nil {
		return f, err
	}
	if f.max != nil && *f.max < 0 {
		return f, fmt.Errorf("a negative max of %d", *f.max)
	}
	if text, ok := sf.Tag.Lookup("default"); ok {
		f.fallback = defaultNode(text, isList)
	}
	return f, nil
}

func underlying(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// bound parses a min or max tag in the form of the field's own values; "" yields nil.
func bound(tag string, t reflect.Type) (*int64, error) {
	if tag == "" {
		return nil, nil
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		if tag == "0" {
			return new(int64(0)), nil
		}
		v, err := ParseDuration(tag)
		return new(int64(v)), err
	case t == reflect.TypeFor[Size]():
		v, err := ParseSize(tag)
		return new(int64(v)), err
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64,
		t.Kind() == reflect.Slice && formOf(t).composite, t.Kind() == reflect.Map:
		v, err := strconv.ParseInt(tag, 10, 64)
		return &v, err
	}
	return nil, fmt.Errorf("min or max on %v", t)
}

// defaultNode is the default as if it stood in the file.
func defaultNode(text string, isList bool) *node {
	at := Position{1, 1}
	if !isList {
		return &node{kind: scalar, at: at, text: text}
	}
	n := &node{kind: list, at: at}
	if text != "" {
		for item := range strings.SplitSeq(text, ",") {
			n.items = append(n.items, &node{kind: scalar, at: at, text: item})
		}
	}
	return n
}

// checkDefault decodes the default once, so that a wrong one shows in the first test and not in the first file without
// the key.
func (ts types) checkDefault(t reflect.Type, f field) error {
	if f.fallback == nil {
		return nil
	}
	d := newDecoder("default", ts, nil)
	d.value(f.fallback, reflect.New(t).Elem(), "", f)
	return d.errs.Err()
}
