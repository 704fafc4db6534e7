package operation

import (
	"encoding/json"
	"strconv"
	"testing"
)

// goName is the name that an application in Go finds, whose encoding/json folds case and takes the last of two members.
func goName(v any) (name string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		return text, true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// The law: whatever has operations here has the same ones for an application in JavaScript (exact names, the last of two) and one in Go (folded
// names), or is a problem.
func FuzzJSONRPC(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","method":"eth_call","params":[],"id":1}`, `[{"method":"a"},{"method":"b"},{}]`, `[]`, `{"method":"a","Method":"b"}`,
		`{"\u006dethod":"a"}`, `[[{"method":"a"}]]`, `{"method":{"method":"x"}}`, `[5,null,"x"]`, `{"method":"a","method":"b"}`, `{"method":true}`,
		`{"params":{"method":"b"},"method":"a"}`, `{"METHOD":"b"}`, `{"method":12}`,
	} {
		f.Add(seed)
	}
	r := NewReader(sourceOf(f, "jsonrpc"), Bounds{Calls: 100, Depth: 64})
	f.Fuzz(func(t *testing.T, message string) {
		r.Read(text(message), new(Stream))
		defer r.Release()
		if r.Problem != Sound {
			return
		}
		type folded struct {
			Method any `json:"method"`
		}
		var elements []json.RawMessage
		if json.Unmarshal([]byte(message), &elements) != nil || len(elements) == 0 {
			elements = []json.RawMessage{json.RawMessage(message)}
		}
		if len(elements) != len(r.Calls) {
			t.Fatalf("%q: %s, want %d", message, describe(r), len(elements))
		}
		for i, element := range elements {
			var exact map[string]any
			var loose folded
			_ = json.Unmarshal(element, &exact) // what is no object has no operation
			_ = json.Unmarshal(element, &loose)
			script, ok := goName(exact["method"])
			golang, ok2 := goName(loose.Method)
			c := r.Calls[i]
			if ok != ok2 || script != golang || ok != (c.State == Named) {
				t.Fatalf("%q: %s, but %q and %q for others", message, describe(r), script, golang)
			}
			if _, isNumber := exact["method"].(float64); !isNumber && script != string(c.Name) {
				t.Fatalf("%q: %s, want %q", message, describe(r), script)
			}
		}
	})
}
