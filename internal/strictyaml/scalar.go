package strictyaml

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// wrong reports a value that is not of the wanted form.
func (d *decoder) wrong(n *node, path, want string) {
	d.add(n.at, path, "want "+want+", not "+n.describe())
}

// describe says in a message what stands in the file, without ever showing what came from an expansion.
func (n *node) describe() string {
	switch {
	case n.kind == list:
		return "a list"
	case n.kind == mapping:
		return "a mapping"
	case n.kind == null && n.text == "":
		return "an empty value"
	case n.kind == null:
		return n.text
	case n.expansion == nil && strings.Contains(n.text, "${"), n.expansion != nil && n.expansion.expanded:
		return expandedValue
	}
	return quote(n.text)
}

// scalar returns the text of n after its expansion, and false when it has none, which is reported.
func (d *decoder) scalar(n *node, path, want string) (string, bool) {
	if n.kind != scalar {
		d.wrong(n, path, want)
		return "", false
	}
	e := d.expand(n, path)
	return e.text, !e.failed
}

// typed is like scalar, for values that must stand without quotes.
func (d *decoder) typed(n *node, path, want string) (string, bool) {
	text, ok := d.scalar(n, path, want)
	if ok && n.quoted && !n.expansion.expanded {
		d.wrong(n, path, want+" without quotes")
		return "", false
	}
	return text, ok
}

// string takes the literal text, so that off, yes and 1.2 need no quotes where a string is wanted.
func (d *decoder) string(n *node, v reflect.Value, path string, f field) {
	want := "text"
	if f.enum != nil {
		want = "one of " + strings.Join(f.enum, ", ")
	}
	text, ok := d.scalar(n, path, want)
	if !ok {
		return
	}
	if f.enum != nil && !slices.Contains(f.enum, text) {
		message := "want " + want + ", not " + n.describe()
		if meant, ok := Nearest(text, f.enum); ok && !n.expansion.expanded {
			message += fmt.Sprintf("; did you mean %q?", meant)
		}
		d.add(n.at, path, message)
		return
	}
	v.SetString(text)
}

func (d *decoder) bool(n *node, v reflect.Value, path string) {
	const want = "true or false"
	text, ok := d.typed(n, path, want)
	switch {
	case !ok:
	case text == "true" || text == "false":
		v.SetBool(text == "true")
	default:
		d.wrong(n, path, want)
	}
}

// integer takes decimal numbers in their plain form only: 010, 0x10 and 1_000 mean different things in YAML 1.1 and 1.2.
func (d *decoder) integer(n *node, v reflect.Value, path string, f field) {
	want := "a whole number"
	text, ok := d.typed(n, path, want)
	if !ok {
		return
	}
	if !decimal(strings.TrimPrefix(text, "-")) {
		d.wrong(n, path, want)
		return
	}
	low, high := f.limits(v.Type())
	i, err := strconv.ParseInt(text, 10, 64)
	u, uerr := strconv.ParseUint(text, 10, 64)
	switch {
	case v.CanInt() && err == nil && i >= low && uint64(max(i, 0)) <= high:
		v.SetInt(i)
	case v.CanUint() && uerr == nil && u >= uint64(low) && u <= high:
		v.SetUint(u)
	case f.min != nil && f.max != nil && *f.min == *f.max:
		d.wrong(n, path, strconv.FormatInt(*f.min, 10))
	default:
		d.wrong(n, path, fmt.Sprintf("%s from %d to %d", want, low, high))
	}
}

// limits returns the least and the greatest value of an integer of type t: those of the type, narrowed by the tags.
func (f field) limits(t reflect.Type) (low int64, high uint64) {
	if t.Kind() >= reflect.Uint {
		high = math.MaxUint64 >> (64 - t.Bits())
	} else {
		low, high = math.MinInt64>>(64-t.Bits()), math.MaxInt64>>(64-t.Bits())
	}
	if f.min != nil {
		low = max(low, *f.min)
	}
	if f.max != nil {
		high = min(high, uint64(max(*f.max, 0)))
	}
	return low, high
}

// text decodes a scalar by UnmarshalText. What that says about an expanded value is not shown, since it may quote it.
func (d *decoder) text(n *node, v reflect.Value, path string, f field) {
	want := wanted(v.Type())
	text, ok := d.scalar(n, path, want)
	if !ok {
		return
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	switch {
	case err != nil && n.expansion.expanded:
		d.wrong(n, path, want)
	case err != nil:
		d.add(n.at, path, err.Error())
	default:
		d.quantity(n, v, path, f)
	}
}

// quantity checks the bounds of a Duration or Size.
func (d *decoder) quantity(n *node, v reflect.Value, path string, f field) {
	var noun string
	var show func(int64) string
	switch v.Type() {
	case reflect.TypeFor[Duration]():
		noun, show = "a duration", func(i int64) string { return Duration(i).String() }
	case reflect.TypeFor[Size]():
		noun, show = "a size", func(i int64) string { return Size(i).String() }
	default:
		return
	}
	switch i := v.Int(); {
	case f.min == nil && i <= 0:
		d.wrong(n, path, noun+" above zero")
	case f.min != nil && i < *f.min:
		d.wrong(n, path, noun+" of at least "+show(*f.min))
	case f.max != nil && i > *f.max:
		d.wrong(n, path, noun+" of at most "+show(*f.max))
	}
}

// wanted names the form of a type that implements encoding.TextUnmarshaler.
func wanted(t reflect.Type) string {
	if w, ok := reflect.New(t).Interface().(interface{ Wanted() string }); ok {
		return w.Wanted()
	}
	return "text"
}
