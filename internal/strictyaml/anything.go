package strictyaml

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// anything decodes a value whose form is up to the file into what encoding/json would make of it: nil, bool, string, []any, map[string]any, and
// numbers as float64, or as int64 where they are whole. What stands in quotes, or came from an expansion, is a string.
func (d *decoder) anything(n *node, v reflect.Value, path string) {
	if value := d.any(n, path); value != nil {
		v.Set(reflect.ValueOf(value))
	}
}

func (d *decoder) any(n *node, path string) any {
	switch n.kind {
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = d.any(item, index(path, i))
		}
		return items
	case mapping:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key] = d.any(f.value, Key(path, f.key))
		}
		return m
	case scalar:
		return d.plain(n, path)
	}
	return nil
}

// plain gives a scalar the type of JSON that its text has.
func (d *decoder) plain(n *node, path string) any {
	text, ok := d.scalar(n, path, "a value")
	if !ok || n.quoted || n.expansion.expanded {
		return text
	}
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return text
	}
	switch number := value.(type) {
	case bool:
		return number
	case float64:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		return number
	}
	return text
}
