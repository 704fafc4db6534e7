package strictyaml

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// FuzzDecode states the laws of Decode for any file: it does not panic, every position lies within the file, the
// mistakes are sorted, and a file without mistakes and expansions is valid under the schema and survives a round trip.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		agreeText, documentText, "", "version: 1", "version: ${PORT}\nlabels: {a: \"$${x}\", b: \"${UNSET:-y}\"}\n",
		"version: &v 1\nnumbers: {low: *v}\ntree: &t {sub: [*t]}\n", "version: 1\nlog:\n  <<: {level: info}\n", "a: 1\n---\nb: 2\n",
		"version: !!int 1\n? [a]\n: b\n", "version: 1\nlabels:\n  a: |\n    x\n     y\n  b: >-\n    x\n\n    y\n  c: \"\\x01\\u2028\\ufeff\\r\\n\"\n",
		"\ufeffversion: 1\r\nroutes:\r\n\t- name: é\r\n", "version: 1\nroutes: [{name: off, hosts: yes, on_idle: }]\n", "version: 1\nversion: 1\n",
	} {
		f.Add([]byte(seed))
	}
	schema := compileSchema(f, sample{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		doc, errs := Decode("f", data, vars, &s)
		lines := strings.Split(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\n")
		for i, err := range errs {
			if err.Line < 1 || err.Line > len(lines) || err.Column < 1 || err.Column > utf8.RuneCountInString(lines[err.Line-1])+1 {
				t.Errorf("outside of the file: %v", err)
			}
			if i > 0 && (err.Line < errs[i-1].Line || err.Line == errs[i-1].Line && err.Column < errs[i-1].Column) {
				t.Errorf("not sorted: %v", errs)
			}
			if err.Message == "" || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("not fit for a terminal: %q", err.Error())
			}
			if strings.Contains(err.Message, "hunter2") {
				t.Errorf("shows a secret: %v", err)
			}
			doc.At(err.Path)
		}
		if len(errs) > 0 || expands(doc.root) {
			return
		}
		if err := validate(t, schema, string(data)); err != nil {
			t.Errorf("the schema refuses it: %v", err)
		}
		roundTrip(t, &s)
	})
}

// expands tells whether n holds a ${ anywhere, escaped or not.
func expands(n *node) bool {
	if strings.Contains(n.text, "${") {
		return true
	}
	for _, m := range n.fields {
		if expands(m.value) {
			return true
		}
	}
	for _, item := range n.items {
		if expands(item) {
			return true
		}
	}
	return false
}

// roundTrip encodes s and demands that it decodes to an equal struct. The encoder of yaml.v3 is no witness for texts that
// begin with a line feed: it loses one (seed f7444e4d53647fe6), or writes what it cannot read itself (7f329aab8c44b373). So
// what is compared has been through the same encoder, and what that cannot read is let go.
func roundTrip(t *testing.T, s *sample) {
	text, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var want, got sample
	if yaml.Unmarshal(text, &want) != nil {
		return
	}
	if _, errs := Decode("again", text, nil, &got); len(errs) > 0 {
		t.Fatalf("encoded again\n%s\nit has mistakes:\n%v", text, errs)
	}
	if !reflect.DeepEqual(normal(reflect.ValueOf(got)), normal(reflect.ValueOf(want))) {
		t.Fatalf("encoded again\n%s\nit is %s instead of %s", text, show(got), show(want))
	}
}

// normal turns a value into maps and lists without the difference between an empty list and none, which omitempty and so
// the encoded form cannot express.
func normal(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return []any{normal(v.Elem())}
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m[v.Type().Field(i).Name] = normal(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		items := []any{}
		for i := range v.Len() {
			items = append(items, normal(v.Index(i)))
		}
		return items
	case reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = normal(it.Value())
		}
		return m
	}
	return v.Interface()
}
