package strictyaml

import (
	"reflect"
	"strings"
	"testing"
)

type holdsAny struct {
	Value  any            `yaml:"value" doc:"Whatever it is."`
	Claims map[string]any `yaml:"claims" doc:"Claims."`
}

func TestAnything(t *testing.T) {
	for text, want := range map[string]any{
		"text": "text", `"12"`: "12", "12": int64(12), "-3": int64(-3), "0": int64(0), "1.5": 1.5, "-1e3": -1000.0, "true": true, "false": false,
		`"true"`: "true", "yes": "yes", "010": "010", "1.": "1.", "0x10": "0x10", "1_000": "1_000", ".5": ".5", "+1": "+1", "Infinity": "Infinity", "1e999": "1e999",
		"null": nil, "'[1]'": "[1]", "~": nil, "[a, 1, [true]]": []any{"a", int64(1), []any{true}}, "{a: {b: [1]}}": map[string]any{"a": map[string]any{"b": []any{int64(1)}}},
		"${NUMBER}": "5", "9223372036854775808": 9223372036854775808.0, "2026-11-25": "2026-11-25", "[]": []any{}, "{}": map[string]any{}, "a ${NUMBER}": "a 5",
	} {
		var got holdsAny
		_, errs := Decode("f", []byte("value: "+text+"\n"), func(string) (string, bool) { return "5", true }, &got)
		if len(errs) > 0 || !reflect.DeepEqual(got.Value, want) {
			t.Errorf("%s: got %#v, %v, want %#v", text, got.Value, errs, want)
		}
	}
	var got holdsAny
	if _, errs := Decode("f", []byte("claims: {sub: alice, roles: [a, b], level: 3}\n"), nil, &got); len(errs) > 0 ||
		!reflect.DeepEqual(got.Claims, map[string]any{"sub": "alice", "roles": []any{"a", "b"}, "level": int64(3)}) {
		t.Errorf("got %#v, %v", got.Claims, errs)
	}
}

// What no file may hold is refused in it too.
func TestAnythingIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		"{a: 1, a: 2}":       "value.a: duplicate key",
		"${ABSENT:?say why}": "say why",
		"!!binary aGk=":      "explicit types",
		`["${file:/none}"]`:  "value[0]: ",
	} {
		var got holdsAny
		_, errs := Decode("f", []byte("value: "+text+"\n"), nil, &got)
		if len(errs) == 0 || !strings.Contains(errs.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, errs, want)
		}
	}
}

func TestSchemaOfAnything(t *testing.T) {
	schema, err := Schema(holdsAny{}, "test", "")
	if err != nil || !strings.Contains(string(schema), `"value": {
      "description": "Whatever it is."
    }`) {
		t.Errorf("got %s, %v", schema, err)
	}
}
