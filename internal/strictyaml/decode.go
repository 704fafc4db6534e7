package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// decoder fills one struct from one file.
type decoder struct {
	*collector
	types  types
	lookup func(string) (string, bool)
	doc    *Document
}

func newDecoder(file string, ts types, lookup func(string) (string, bool)) *decoder {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	return &decoder{&collector{file: file}, ts, lookup, &Document{file: file}}
}

// Decode parses the one YAML document in data into dst, a pointer to a struct. It returns all mistakes at once, sorted by
// position; when there are any, dst holds what could be understood. Fields whose keys are absent get their default, or
// stay as they are. The file is only the name that errors carry.
//
// On scalar values Decode expands ${VAR}, ${VAR:-default}, ${VAR:?message} and ${file:/path}, with lookup for the
// variables; $${ stands for a literal ${. What was put in is never parsed as YAML nor expanded again, but an unquoted
// number or boolean gets its type after the expansion. So does a quoted one that holds an expansion, because
// {port: ${PORT}} is no YAML and {port: "${PORT}"} is what one can write.
//
// A null is a mistake wherever a value is wanted, except for a struct: a section whose keys are all commented out is as good
// as {}, and lacks its required keys at most. Integers are decimal, booleans are true and false, and strings take the
// literal text of any scalar, such as off or 1.2.
//
// The Document is never nil. Decode panics when dst is not a pointer to a struct of the supported kinds.
func Decode(file string, data []byte, lookup func(string) (string, bool), dst any) (*Document, Errors) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("strictyaml: decode into %T, want a pointer to a struct", dst))
	}
	ts, err := inspect(v.Type().Elem())
	if err != nil {
		panic("strictyaml: " + err.Error())
	}
	d := newDecoder(file, ts, lookup)
	src := newSource(data)
	if at, problem := src.check(); problem != "" {
		d.add(at, "", problem)
	} else if root := parse(src, d.collector); root != nil {
		d.doc.root = newBuilder(d.collector).build(root, "", 1)
		d.value(d.doc.root, v.Elem(), "", field{})
	}
	d.errs.Sort()
	return d.doc, d.errs
}

// value decodes n into v. Only the rules of f about a value apply: its enum and its bounds.
func (d *decoder) value(n *node, v reflect.Value, path string, f field) {
	form := formOf(v.Type())
	switch {
	case n.kind == broken:
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, f)
	case form.text && (n.kind == scalar || !form.composite):
		d.text(n, v, path, f)
	default:
		d.byKind(n, v, path, f)
	}
}

func (d *decoder) byKind(n *node, v reflect.Value, path string, f field) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, f)
	case reflect.Map:
		d.mapping(n, v, path, f)
	case reflect.String:
		d.string(n, v, path, f)
	case reflect.Bool:
		d.bool(n, v, path)
	case reflect.Interface:
		d.anything(n, v, path)
	default:
		d.integer(n, v, path, f)
	}
}

// structure decodes a section. One without any keys is a null in YAML, and as good as {}.
func (d *decoder) structure(n *node, v reflect.Value, path string) {
	if n.kind != mapping && n.kind != null {
		want := "a mapping"
		if formOf(v.Type()).text {
			want = wanted(v.Type()) + " or a mapping"
		}
		d.wrong(n, path, want)
		return
	}
	fields := d.types[v.Type()]
	seen := make(map[string]bool, len(n.fields))
	for _, m := range n.fields {
		inner := Key(path, m.key)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.key })
		if i < 0 {
			if meant := d.unknown(m, inner, fields); meant != "" {
				seen[meant] = true
			}
			continue
		}
		seen[m.key] = true
		d.value(m.value, v.FieldByIndex(fields[i].index), inner, fields[i])
		if kind := fields[i].secret; kind != "" {
			d.guard(m.value, inner, kind)
		}
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			d.add(n.at, Key(path, f.name), "this required key is missing")
		}
	}
	d.defaults(v, func(name string) bool { return seen[name] })
}

// unknown reports a key that the struct does not have, and returns the key that was most likely meant, or "". A missing
// key is not reported beside its own misspelling.
func (d *decoder) unknown(m member, path string, fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	meant, ok := Nearest(m.key, names)
	switch {
	case ok:
		d.add(m.at, path, fmt.Sprintf("unknown key, did you mean %q?", meant))
	case len(names) == 0:
		d.add(m.at, path, "unknown key, this section has none")
	default:
		d.add(m.at, path, "unknown key, want one of "+strings.Join(names, ", "))
	}
	return meant
}

// defaults fills the fields of the struct v whose keys are absent. An absent section gets the defaults of its own fields,
// unless it has required ones: it could not have been left empty either, and stays zero as a whole.
func (d *decoder) defaults(v reflect.Value, present func(name string) bool) {
	for _, f := range d.types[v.Type()] {
		inner := v.FieldByIndex(f.index)
		switch {
		case present(f.name):
		case f.fallback != nil:
			d.value(f.fallback, inner, "", f)
		case inner.Kind() == reflect.Struct && !slices.ContainsFunc(d.types[inner.Type()], isRequired):
			d.defaults(inner, func(string) bool { return false })
		}
	}
}

func isRequired(f field) bool { return f.required }

func (d *decoder) list(n *node, v reflect.Value, path string, f field) {
	if n.kind != list {
		want := "a list"
		if formOf(v.Type()).text {
			want = wanted(v.Type()) + " or a list"
		}
		d.wrong(n, path, want)
		return
	}
	d.length(n, len(n.items), path, f)
	items := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.value(item, items.Index(i), index(path, i), field{enum: f.enum})
	}
	v.Set(items)
}

func (d *decoder) mapping(n *node, v reflect.Value, path string, f field) {
	if n.kind != mapping {
		d.wrong(n, path, "a mapping")
		return
	}
	d.length(n, len(n.fields), path, f)
	m := reflect.MakeMapWithSize(v.Type(), len(n.fields))
	for _, entry := range n.fields {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(entry.value, value, Key(path, entry.key), field{})
		m.SetMapIndex(reflect.ValueOf(entry.key).Convert(v.Type().Key()), value)
	}
	v.Set(m)
}

// length checks the number of entries of a list or map.
func (d *decoder) length(n *node, entries int, path string, f field) {
	if f.min != nil && int64(entries) < *f.min || f.max != nil && int64(entries) > *f.max {
		d.add(n.at, path, fmt.Sprintf("want %s, not %d", f.entries(), entries))
	}
}

// entries says how long a list or map may be.
func (f field) entries() string {
	switch {
	case f.max == nil:
		return fmt.Sprintf("%d or more entries", *f.min)
	case f.min == nil:
		return fmt.Sprintf("at most %d entries", *f.max)
	}
	return fmt.Sprintf("%d to %d entries", *f.min, *f.max)
}
