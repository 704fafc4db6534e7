package message

import (
	"math"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/rates"
	"github.com/framegate/framegate/ratelimit"
)

// Every key, in its long form and its short one.
func TestConfigForms(t *testing.T) {
	f := files{"a.json": "true", "b.json": "true", "c.json": "true", "d.json": "true"}
	for _, section := range []string{
		`
operations:
  from: {json: /body/type}
  allow: [a, "b*"]
  deny: [bad]
  unknown: deny
  limits: {a: 2/s, b: {per_user: 3/s, on_limit: delay}, "*": 10/m burst 5}
  max_batch: 10
  binary: inspect
  on_match: close
  on_limit: drop
json:
  strict: true
  max_depth: 256
  max_size: 64KiB
  schema: {all: a.json, operations: {a: b.json}, subprotocols: {chat.v2: c.json}, files: [d.json]}
  binary: pass
  on_match: {reply: "no"}
deny:
  - {name: one, pattern: a, binary: false, on_match: drop}
  - b
conditions:
  - {name: two, require: message.size < 5, on_match: {reply: "-"}}
  - 'true'
`,
		"json: strict",
		"json: {}",
		"json: {schema: a.json}",
		"operations: {from: graphql-ws}",
		"operations: {from: jsonrpc}",
		"operations: {from: mqtt}",
		"operations: {from: mqtt-topics}",
		"operations: {from: socket.io}",
		"operations: {from: stomp}",
	} {
		if i, errs := load(section, f); len(errs) > 0 || i == nil {
			t.Errorf("%s: %v", section, errs)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	f := files{"ok.json": "true", "broken.json": "{", "other.json": `{"type":"strnig"}`, "refers.json": `{"$ref":"ok.json"}`}
	many := strings.Repeat("x, ", 256) + "x"
	for section, want := range map[string]string{
		"operations: {}":                                                                 "policy.yaml:1:13: operations.from: this required key is missing",
		"operations: {from: wamp}":                                                       `policy.yaml:1:20: operations.from: "wamp" is not a source of operations, want one of graphql-ws, jsonrpc, mqtt, mqtt-topics, socket.io, stomp, or {json: /pointer}`,
		"operations: {from: {json: type}}":                                               `policy.yaml:1:27: operations.from.json: "type" is not a JSON pointer, want one such as /type or /body/action`,
		"operations: {from: {}}":                                                         "policy.yaml:1:20: operations.from.json: this required key is missing",
		"operations: {from: jsonrpc, allow: []}":                                         "policy.yaml:1:36: operations.allow: want 1 or more entries, not 0",
		`operations: {from: jsonrpc, allow: ["a?"]}`:                                     `policy.yaml:1:37: operations.allow[0]: "a?" has another wildcard than *, want only that`,
		`operations: {from: jsonrpc, deny: ["**", ""]}`:                                  `policy.yaml:1:36: operations.deny[0]: "**" has two stars in a row, want one`,
		"operations: {from: jsonrpc, deny: [" + many + "]}":                              "policy.yaml:1:35: operations.deny: 257 entries, want 1 to 256",
		"operations: {from: jsonrpc, unknown: maybe}":                                    `policy.yaml:1:38: operations.unknown: want one of allow, deny, not "maybe"`,
		"operations: {from: jsonrpc, limits: {a: 0/s}}":                                  "policy.yaml:1:41: operations.limits.a: rate \"0/s\": number of events is 0, which would admit nothing",
		`operations: {from: jsonrpc, limits: {"[": 1/s}}`:                                `policy.yaml:1:43: operations.limits["["]: "[" has another wildcard than *, want only that`,
		"operations: {from: jsonrpc, limits: {a: {}}}":                                   "policy.yaml:1:41: operations.limits.a: no rate, want one such as 2/s burst 5, or one of per_connection, per_ip, per_user, per_claim and per_route",
		"operations: {from: jsonrpc, limits: {a: 1/s}, on_limit: wait}":                  "policy.yaml:1:57: operations.on_limit: want close, drop, delay or {reply: TEXT}",
		`operations: {from: jsonrpc, limits: {a: {per_ip: 1/s, on_limit: {reply: ""}}}}`: "policy.yaml:1:73: operations.limits.a.on_limit.reply: the reply has 0 bytes, want 1 to 4096 of valid UTF-8",
		"operations: {from: jsonrpc, max_batch: 0}":                                      "policy.yaml:1:40: operations.max_batch: want a whole number from 1 to 10000, not \"0\"",
		"operations: {from: jsonrpc, on_match: delay}":                                   `policy.yaml:1:39: operations.on_match: "delay" is not what can happen to a message, want close, drop or {reply: TEXT}`,
		"operations: {from: jsonrpc, on_limit: {}}":                                      "policy.yaml:1:39: operations.on_limit.reply: this required key is missing",
		"operations: {from: socket.io, binary: pass}":                                    "policy.yaml:1:39: operations.binary: a source socket.io knows itself what binary messages are",
		"operations: {from: mqtt, on_match: {reply: no}}":                                "policy.yaml:1:20: operations.from: messages of a source mqtt are binary, so the reply of rule operations, a text, would not be understood",
		"operations: {from: mqtt, limits: {a: 1/s}, on_limit: {reply: n}}":               "policy.yaml:1:20: operations.from: messages of a source mqtt are binary, so the reply of rule operations.limits.a, a text, would not be understood",
		"{operations: {from: stomp}, json: strict}":                                      "policy.yaml:1:35: json: messages of a source stomp are not JSON",
		"{operations: {from: mqtt}, conditions: [message.json == null]}":                 "policy.yaml:1:41: conditions[0].require: messages of a source mqtt are not JSON, so there is no message.json",

		"json: lax":                                  `policy.yaml:1:7: json: "lax" is not a way to read JSON, want strict`,
		"json: {strict: false}":                      "policy.yaml:1:16: json.strict: strict is false, want true, or no section json",
		"json: {max_depth: 0}":                       `policy.yaml:1:19: json.max_depth: want a whole number from 1 to 256, not "0"`,
		"json: {max_depth: 257}":                     `policy.yaml:1:19: json.max_depth: want a whole number from 1 to 256, not "257"`,
		"json: {max_size: 0}":                        `policy.yaml:1:18: json.max_size: want a size such as 512B, 64KiB or 1MiB, not "0"`,
		"json: {schema: none.json}":                  `policy.yaml:1:16: json.schema.all: schema file "none.json": no such file`,
		"json: {schema: broken.json}":                `policy.yaml:1:16: json.schema.all: schema file "broken.json": want strict JSON: line 1: unexpected EOF`,
		"json: {schema: other.json}":                 `policy.yaml:1:16: json.schema.all: schema file "other.json": at #/type: `,
		"json: {schema: refers.json}":                `policy.yaml:1:16: json.schema.all: schema file "refers.json": `,
		"json: {schema: {}}":                         "policy.yaml:1:16: json.schema: no schema, want all, operations or subprotocols",
		"json: {schema: {operations: {a: ok.json}}}": "policy.yaml:1:29: json.schema.operations: want at most 64, and a section operations that says where their names stand",
		"{operations: {from: jsonrpc}, json: {schema: {operations: {a: x}}}}": `policy.yaml:1:63: json.schema.operations.a: schema file "x": no such file`,
		"json: {schema: {subprotocols: {a: }}}":                               "policy.yaml:1:35: json.schema.subprotocols.a: want text, not an empty value",
		`json: {schema: {all: ok.json, subprotocols: {a: ""}}}`:               `policy.yaml:1:49: json.schema.subprotocols.a: want the name of a schema file`,
		"json: {schema: {all: ok.json, files: [no.json]}}":                    `policy.yaml:1:39: json.schema.files[0]: schema file "no.json": no such file`,

		"deny: ['(']":                            "policy.yaml:1:8: deny[0].pattern: missing closing ): `(`",
		"deny: [{pattern: 'x{1000}'}]":           "policy.yaml:1:18: deny[0].pattern: it compiles to 1002 instructions, want at most 1000: repeat less, or split it",
		"deny: ['x{600}', 'y{600}']":             "policy.yaml:1:18: deny[1].pattern: with this one the patterns compile to 1204 instructions, want at most 1000 for all of them",
		"deny: ['']":                             "policy.yaml:1:8: deny[0].pattern: it is empty and would match every message",
		"deny: [{name: a}]":                      "policy.yaml:1:8: deny[0].pattern: this required key is missing",
		"deny: [{name: 'a b', pattern: x}]":      `policy.yaml:1:15: deny[0].name: "a b" is not a name, want at most 64 letters, digits, hyphens, underscores and dots`,
		"deny: [{name: json.x, pattern: x}]":     `policy.yaml:1:15: deny[0].name: "json.x" is the name of a rule of the section json`,
		"deny: [{name: operations, pattern: x}]": `policy.yaml:1:15: deny[0].name: "operations" is the name of a rule of the section operations`,
		"{deny: [{name: a, pattern: x}], conditions: [{name: a, require: 'true'}]}": `policy.yaml:1:53: conditions[0].name: "a" is the name of deny[0] already`,
		"conditions: [message.sise > 5]":                                            "policy.yaml:1:14: conditions[0].require: line 1, column 8: undefined field 'sise'",
		"conditions: [message.size]":                                                "policy.yaml:1:14: conditions[0].require: line 1, column 1: the whole is of type int, want bool",
		"conditions: ['']":                                                          "policy.yaml:1:14: conditions[0].require: is empty",
		"conditions: [{require: 'true', on_match: {reply: " + strings.Repeat("x", 4097) + "}}]": "policy.yaml:1:50: conditions[0].on_match.reply: the reply has 4097 bytes, want 1 to 4096 of valid UTF-8",
		"json: {on_match: {reply: ''}}": "policy.yaml:1:26: json.on_match.reply: the reply has 0 bytes, want 1 to 4096 of valid UTF-8",
	} {
		i, errs := load(section, f)
		if i != nil {
			t.Errorf("%.100s: there is an inspector", section)
		}
		if !strings.HasPrefix(errs.Error(), want) {
			t.Errorf("%.100s:\n got %v\nwant %s", section, errs, want)
		}
	}
}

// All mistakes of a section are told at once.
func TestConfigTellsAllMistakes(t *testing.T) {
	_, errs := load("{operations: {from: {json: x}, allow: ['?']}, json: {schema: none.json}, deny: ['('], conditions: [x]}", nil)
	if len(errs) != 5 {
		t.Errorf("%d mistakes, want 5:\n%v", len(errs), errs)
	}
}

// What the decoder would refuse is refused in a Config that the program makes, too.
func TestConfigOfTheProgram(t *testing.T) {
	no := false
	source := SourceConfig{JSON: "/type"}
	for name, c := range map[string]Config{
		"operations.from.json":  {Operations: &OperationsConfig{}},
		"operations.unknown":    {Operations: &OperationsConfig{From: source, Unknown: "x"}},
		"operations.max_batch":  {Operations: &OperationsConfig{From: source, MaxBatch: -1}},
		"operations.allow":      {Operations: &OperationsConfig{From: source, Allow: []string{}}},
		"operations.limits.a":   {Operations: &OperationsConfig{From: source, Limits: map[string]rates.Config{"a": {}}}},
		"operations.limits.b":   {Operations: &OperationsConfig{From: source, Limits: map[string]rates.Config{"b": {PerConnection: &ratelimit.Rate{PerSecond: math.NaN(), Burst: 1}}}}},
		"operations.limits.c":   {Operations: &OperationsConfig{From: source, Limits: map[string]rates.Config{"c": {PerUser: &ratelimit.Rate{PerSecond: 1}}}}},
		"json.max_depth":        {JSON: &JSONConfig{MaxDepth: 1000}},
		"json.max_size":         {JSON: &JSONConfig{MaxSize: -1}},
		"json.strict":           {JSON: &JSONConfig{Strict: &no}},
		"deny[0].pattern":       {Deny: []DenyConfig{{}}},
		"conditions[0].require": {Conditions: []ConditionConfig{{}}},
	} {
		var paths []string
		i := c.Compile(func(path, _ string, _ ...any) { paths = append(paths, path) }, files{}.read)
		if i != nil || len(paths) != 1 || paths[0] != name {
			t.Errorf("%s: reported %q", name, paths)
		}
	}
	if i := (Config{JSON: &JSONConfig{}}).Compile(nil, nil); i == nil || i.bounds[0].Depth != defaultMaxDepth {
		t.Error("the zero JSONConfig has no defaults")
	}
}

// The schema that editors get knows the sections.
func TestConfigSchema(t *testing.T) {
	schema, err := strictyaml.Schema(Config{}, "messages", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"graphql-ws"`, `"strict"`, `"drop"`, `"message.OperationsConfig"`, `"max_batch"`} {
		if !strings.Contains(string(schema), want) {
			t.Errorf("no %s in the schema", want)
		}
	}
}
