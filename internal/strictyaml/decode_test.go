package strictyaml

import (
	"strings"
	"testing"
)

func TestDecodeFillsEverything(t *testing.T) {
	s, _ := decode(t, `
version: 1
listeners:
  - address: ":8443"
    tls: {certificates: off, versions: [1.2, "1.3"]}
    protocols: [h1, h2]
  - address: 8080        # the literal text of a number
    tls:                 # a section without keys
routes:
  - name: yes
    hosts: localhost
    pass: false
    max_message: 64KiB
    idle_timeout: 1m30s
    rate: 50/s
    on_idle: 4000
  - name: 2026-11-22
    hosts: [a.example.com, null-host]
    on_idle: {client: 4001}
upstreams:
  chat:
    servers:
      - ws://127.0.0.1:9000
    retry: [100ms, 1s]
    weights: [1, -2]
  "odd key": {servers: [ws://a]}
labels: {true: no, 5: "6"}
log: {level: debug}
drain: {delay: 0s}
numbers: {i8: -128, i64: -9223372036854775808, u16: 65535, u64: 18446744073709551615, low: -5}
tree: {leaf: a, sub: [{leaf: b, sub: [{}]}]}
`)
	same(t, "decoded", *s, sample{
		Version: 1,
		Listeners: []sampleListener{
			{":8443", &sampleTLS{"off", []sampleV{"1.2", "1.3"}}, []string{"h1", "h2"}},
			{"8080", &sampleTLS{Certificates: "internal"}, []string{"h1"}},
		},
		Routes: []sampleRoute{
			{
				Name: "yes", Hosts: sampleHosts{"localhost"}, MaxMessage: 64 << 10, Idle: Duration(90e9),
				Rate: &sampleRate{50}, OnIdle: sampleCode{4000, 4000},
			},
			{
				Name: "2026-11-22", Hosts: sampleHosts{"a.example.com", "null-host"}, Pass: true,
				MaxMessage: 1 << 20, Idle: Duration(300e9), OnIdle: sampleCode{4001, 1001},
			},
		},
		Upstreams: map[string]*sampleUpstream{
			"chat":    {[]string{"ws://127.0.0.1:9000"}, []Duration{100e6, 1e9}, []int{1, -2}},
			"odd key": {Servers: []string{"ws://a"}},
		},
		Labels:  map[string]string{"true": "no", "5": "6"},
		Log:     sampleLog{"debug", "json"},
		Drain:   &sampleDrain{0, Duration(30e9)},
		Numbers: sampleNumbers{-128, -1 << 63, 65535, 1<<64 - 1, -5},
		Tree:    &sampleTree{"a", []*sampleTree{{"b", []*sampleTree{{}}}}},
	})
}

func TestAbsentSections(t *testing.T) {
	s, _ := decode(t, "version: 1\n")
	same(t, "defaults apply in absent struct sections, absent pointers stay nil", *s,
		sample{Version: 1, Log: sampleLog{"info", "json"}, Numbers: sampleNumbers{}})
	s, _ = decode(t, "version: 1\nlisteners: []\nlabels: {}\n")
	if s.Listeners == nil || s.Labels == nil {
		t.Error("an empty list or map must differ from an absent one")
	}
}

// Each case is a document and the whole list of its mistakes.
func TestMistakes(t *testing.T) {
	cases := map[string][2]string{
		"unknown key, near": {"version: 1\nlog: {levle: info}\n",
			`f:2:7: log.levle: unknown key, did you mean "level"?`},
		"unknown key, far": {"version: 1\nlog:\n  colour: red\n",
			`f:3:3: log.colour: unknown key, want one of level, format`},
		"unknown key in a list": {"version: 1\nlisteners:\n  - address: a\n    addres: b\n",
			`f:4:5: listeners[0].addres: unknown key, did you mean "address"?`},
		"misspelt required key is one mistake": {"version: 1\nroutes:\n  - nmae: a\n    hosts: b\n",
			`f:3:5: routes[0].nmae: unknown key, did you mean "name"?`},
		"unknown key that needs quotes": {"version: 1\n\"a\\e[31m.b\": 1\n",
			`f:2:1: ["a\x1b[31m.b"]: unknown key, want one of version, listeners, routes, upstreams, labels, log, drain, numbers, tree`},
		"below an unknown key nothing is decoded": {"version: 1\nlogg: {level: [\"${UNSET}\"]}\n",
			`f:2:1: logg: unknown key, did you mean "log"?`},
		"missing": {"log: {}\nroutes:\n  - upstream: x\n  -\n",
			"f:1:1: version: this required key is missing\n" +
				"f:3:5: routes[0].name: this required key is missing\nf:3:5: routes[0].hosts: this required key is missing\n" +
				"f:4:4: routes[1].name: this required key is missing\nf:4:4: routes[1].hosts: this required key is missing"},
		"missing in an empty pointer section": {"version: 1\nupstreams:\n  chat:\n",
			`f:3:8: upstreams.chat.servers: this required key is missing`},
		"duplicate": {"version: 1\nlog: {level: info}\nversion: 2\n\"log\": {}\n",
			"f:3:1: version: duplicate key, the first one is in line 1\nf:4:1: log: duplicate key, the first one is in line 2"},
		"duplicate below an unknown key": {"version: 1\nzzzzzz: {a: 1, a: 2}\n",
			"f:2:1: zzzzzz: unknown key, want one of version, listeners, routes, upstreams, labels, log, drain, numbers, tree\n" +
				"f:2:16: zzzzzz.a: duplicate key, the first one is in line 2"},
		"enum": {"version: 1\nlog: {level: inof, format: xml}\n",
			"f:2:14: log.level: want one of debug, info, not \"inof\"; did you mean \"info\"?\n" +
				`f:2:28: log.format: want one of json, text, not "xml"`},
		"enum in a list": {"version: 1\nlisteners: [{address: a, protocols: [h1, h3, xyz]}]\n",
			"f:2:37: listeners[0].protocols: want 1 to 2 entries, not 3\n" +
				"f:2:42: listeners[0].protocols[1]: want one of h1, h2, not \"h3\"; did you mean \"h1\"?\n" +
				`f:2:46: listeners[0].protocols[2]: want one of h1, h2, not "xyz"`},
		"enum is exact": {"version: 1\nlog: {level: INFO}\n",
			`f:2:14: log.level: want one of debug, info, not "INFO"; did you mean "info"?`},
		"wrong kinds": {"version: [1]\nlisteners: 5\nroutes: {a: b}\nupstreams: [a]\nlog: text\n",
			"f:1:10: version: want a whole number, not a list\nf:2:12: listeners: want a list, not \"5\"\n" +
				"f:3:9: routes: want a list, not a mapping\nf:4:12: upstreams: want a mapping, not a list\n" +
				`f:5:6: log: want a mapping, not "text"`},
		"kinds of types with two forms": {
			"version: 1\nroutes: [{name: [a], hosts: {a: b}, rate: {a: b}, on_idle: [1]}]\n",
			"f:2:17: routes[0].name: want text, not a list\nf:2:29: routes[0].hosts: want text or a list, not a mapping\n" +
				"f:2:43: routes[0].rate: want a rate such as 50/s, not a mapping\n" +
				"f:2:60: routes[0].on_idle: want a close code or a mapping, not a list"},
		"null": {"version:\nlisteners: ~\nupstreams: null\nlabels: {a: }\nroutes:\n  - {name: , hosts: , rate: , idle_timeout: Null}\n",
			"f:1:9: version: want a whole number, not an empty value\nf:2:12: listeners: want a list, not ~\n" +
				"f:3:12: upstreams: want a mapping, not null\nf:4:13: labels.a: want text, not an empty value\n" +
				"f:6:12: routes[0].name: want text, not an empty value\nf:6:21: routes[0].hosts: want text or a list, not an empty value\n" +
				"f:6:29: routes[0].rate: want a rate such as 50/s, not an empty value\n" +
				"f:6:45: routes[0].idle_timeout: want a duration such as 5s, 1m30s or 250ms, not Null"},
		"bool": {"version: 1\nroutes:\n  - {name: a, hosts: b, pass: yes}\n  - {name: a, hosts: b, pass: \"true\"}\n  - {name: a, hosts: b, pass: 1}\n",
			"f:3:31: routes[0].pass: want true or false, not \"yes\"\n" +
				"f:4:31: routes[1].pass: want true or false without quotes, not \"true\"\n" +
				`f:5:31: routes[2].pass: want true or false, not "1"`},
		"unmarshal text": {"version: 1\nroutes: [{name: a, hosts: b, rate: 5/m, on_idle: 999}]\n",
			"f:2:36: routes[0].rate: want a rate such as 50/s, not \"5/m\"\n" +
				"f:2:50: routes[0].on_idle: want a close code from 1000 to 4999"},
		"lengths": {"version: 1\nlisteners: [{address: a, protocols: []}]\nupstreams: {a: {servers: []}}\nlabels: {a: a, b: b, c: c, d: d}\n",
			"f:2:37: listeners[0].protocols: want 1 to 2 entries, not 0\nf:3:26: upstreams.a.servers: want 1 or more entries, not 0\n" +
				"f:4:9: labels: want at most 3 entries, not 4"},
		"merge key": {"version: 1\nlog: &l {level: info}\nlabels:\n  <<: *l\n",
			"f:4:3: labels: merge keys (<<) are not supported, write the keys out or use an alias for the whole value"},
		"quoted << is a key like others": {"version: 1\nlog: {\"<<\": 1}\n",
			`f:2:7: log["<<"]: unknown key, want one of level, format`},
		"key kinds": {"version: 1\nlabels:\n  ? [a]\n  : b\n  ${X}: c\n  \"\": d\n  !!str e: f\n",
			"f:3:5: labels: a key must be text\nf:5:3: labels: a key cannot be expanded, ${...} works in values only\n" +
				"f:6:3: labels: the key is empty\nf:7:3: labels: explicit types such as \"!!str\" are not supported"},
		"tags": {"version: !!int 1\nlog: !x {level: info}\nlisteners: !!set [a]\n",
			"f:1:10: version: explicit types such as \"!!int\" are not supported\nf:2:6: log: explicit types such as \"!x\" are not supported\n" +
				"f:3:12: listeners: explicit types such as \"!!set\" are not supported"},
		"the root":    {"- a\n- b\n", "f:1:1: want a mapping, not a list"},
		"scalar root": {"version\n", `f:1:1: want a mapping, not "version"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := mistakes(c[0]); got != c[1] {
				t.Errorf("in\n%s\n got %s\nwant %s", c[0], got, c[1])
			}
		})
	}
}

func TestIntegers(t *testing.T) {
	for text, want := range map[string]string{
		"low: 0x10": `"0x10"`, "low: 010": `"010"`, "low: 0o7": `"0o7"`, "low: 1_0": `"1_0"`, "low: +1": `"+1"`,
		"low: 1.0": `"1.0"`, "low: 1e3": `"1e3"`, "low: -": `"-"`, "low: .inf": `".inf"`, "low: -0x1": `"-0x1"`, "low: '1 '": "",
		"low: ١": `"١"`, "low: 1:30": `"1:30"`, "low: true": `"true"`,
	} {
		if want == "" {
			continue
		}
		same(t, text, mistakes("version: 1\nnumbers: {"+text+"}\n"), "f:2:16: numbers.low: want a whole number, not "+want)
	}
	for text, want := range map[string]string{
		"low: '1'":                  "want a whole number without quotes, not \"1\"",
		"low: 6":                    "want a whole number from -5 to 5, not \"6\"",
		"low: -6":                   "want a whole number from -5 to 5, not \"-6\"",
		"low: 99999999999999999999": "want a whole number from -5 to 5, not \"99999999999999999999\"",
		"i8: 128":                   "want a whole number from -128 to 127, not \"128\"",
		"i8: -129":                  "want a whole number from -128 to 127, not \"-129\"",
		"u16: 65536":                "want a whole number from 0 to 65535, not \"65536\"",
		"u16: -1":                   "want a whole number from 0 to 65535, not \"-1\"",
		"u64: 18446744073709551616": "want a whole number from 0 to 18446744073709551615, not \"18446744073709551616\"",
		"i64: 9223372036854775808":  "want a whole number from -9223372036854775808 to 9223372036854775807, not \"9223372036854775808\"",
		"i64: -9223372036854775809": "want a whole number from -9223372036854775808 to 9223372036854775807, not \"-9223372036854775809\"",
		"low: \"" + strings.Repeat("x", 70) + "\"": "want a whole number without quotes, not \"" + strings.Repeat("x", 60) + "\"...",
	} {
		got := mistakes("version: 1\nnumbers: {" + text + "}\n")
		if !strings.HasSuffix(got, ": "+want) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	same(t, "minus zero", mistakes("version: 1\nnumbers: {low: -0, i64: 9223372036854775807}\n"), "")
}

func TestQuantities(t *testing.T) {
	route := func(keys string) string { return mistakes("version: 1\nroutes: [{name: a, hosts: b, " + keys + "}]\n") }
	const duration = "want a duration such as 5s, 1m30s or 250ms, not "
	const size = "want a size such as 512B, 64KiB or 1MiB, not "
	for text, want := range map[string]string{
		"idle_timeout: 5": duration + `"5"`, "idle_timeout: -5s": duration + `"-5s"`, "idle_timeout: 1.5h": duration + `"1.5h"`,
		"idle_timeout: 0": duration + `"0"`, "idle_timeout: 5 s": duration + `"5 s"`, "idle_timeout: 5d": duration + `"5d"`,
		"idle_timeout: 500ms":        `want a duration of at least 1s, not "500ms"`,
		"idle_timeout: 0s":           `want a duration of at least 1s, not "0s"`,
		"idle_timeout: 25h":          `want a duration of at most 24h, not "25h"`,
		"idle_timeout: 99999999h":    duration + `"99999999h", which is too long`,
		"max_message: 10":            size + `"10"`,
		"max_message: 0":             size + `"0"`,
		"max_message: 0B":            size + `"0B"`,
		"max_message: -1MiB":         size + `"-1MiB"`,
		"max_message: 1 MiB":         size + `"1 MiB"`,
		"max_message: 64kib":         size + `"64kib"`,
		"max_message: unlimited":     size + `"unlimited"`,
		"max_message: 99999999GiB":   `want a size of at most 64MiB, not "99999999GiB"`,
		"max_message: 9999999999GiB": size + `"9999999999GiB", which is too large`,
		"max_message: 65MiB":         `want a size of at most 64MiB, not "65MiB"`,
		"max_message: {a: b}":        size + "a mapping",
	} {
		if got := route(text); !strings.HasSuffix(got, ": "+want) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	same(t, "zero where the tag says nothing", mistakes("version: 1\ndrain: {delay: 0s, window: 0s}\n"),
		`f:2:28: drain.window: want a duration above zero, not "0s"`)
	same(t, "zero in a list", mistakes("version: 1\nupstreams: {a: {servers: [b], retry: [1s, 0ms]}}\n"),
		`f:2:43: upstreams.a.retry[1]: want a duration above zero, not "0ms"`)
}

// A file full of different mistakes gives one line for each, at its place.
func TestAllAtOnce(t *testing.T) {
	want := `f:1:10: version: want 1, not "2"
f:3:5: listeners[0].adress: unknown key, did you mean "address"?
f:4:25: listeners[0].tls.certificates: want one of internal, files, off, not "auto"
f:6:5: routes[0].hosts: this required key is missing
f:6:11: routes[0].name: want text, not a list
f:7:19: routes[0].idle_timeout: want a duration such as 5s, 1m30s or 250ms, not "30"
f:8:18: routes[0].max_message: environment variable UNSET is not set
f:9:5: routes[0].name: duplicate key, the first one is in line 6
f:12:15: upstreams.chat.weights: want a list, not "5"
f:14:3: log: merge keys (<<) are not supported, write the keys out or use an alias for the whole value
f:15:3: log.formt: unknown key, did you mean "format"?`
	got := mistakes(`version: 2
listeners:
  - adress: ":8443"
    tls: {certificates: auto}
routes:
  - name: [chat]
    idle_timeout: 30
    max_message: ${UNSET}
    name: chat
upstreams:
  chat: {servers: [ws://127.0.0.1:9000],
    weights:  5}
log:
  <<: {level: info}
  formt: text
`)
	same(t, "mistakes", got, want)
}

func TestTooManyMistakes(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\n")
	for range 5000 {
		b.WriteString("version: 1\n")
	}
	var s sample
	_, errs := Decode("f", []byte(b.String()), nil, &s)
	if len(errs) != maxErrors+1 {
		t.Fatalf("%d mistakes", len(errs))
	}
	same(t, "the last one", errs[maxErrors].Error(), "f:102:1: more than 100 mistakes, the rest is not shown")
}

func TestWhatCouldBeUnderstoodIsKept(t *testing.T) {
	var s sample
	_, errs := Decode("f", []byte("version: 1\nlog: {level: debug, format: 5}\nupstreams: {a: {servers: [b], x: y}}\n"), nil, &s)
	if len(errs) != 2 || s.Log.Level != "debug" || s.Upstreams["a"].Servers[0] != "b" {
		t.Errorf("%v, %s", errs, show(s))
	}
}

// The keys of an inlined struct are those of the outer one: with their defaults, their rules and their places.
func TestInline(t *testing.T) {
	type deeper struct {
		Log  sampleLog `yaml:",inline"`
		Port uint16    `yaml:"port" required:"true"`
	}
	type outer struct {
		Name   string   `yaml:"name"`
		Deeper deeper   `yaml:",inline"`
		List   []deeper `yaml:"list"`
	}
	var o outer
	if _, errs := Decode("f", []byte("name: a\nport: 1\nlevel: debug\nlist: [{port: 2, format: text}]\n"), nil, &o); len(errs) > 0 {
		t.Fatal(errs)
	}
	same(t, "decoded", o, outer{"a", deeper{Log: sampleLog{"debug", "json"}, Port: 1}, []deeper{{Log: sampleLog{"info", "text"}, Port: 2}}})
	_, errs := Decode("f", []byte("lvel: debug\nformat: xml\nlist: [{level: info, nam: b}]\n"), nil, &outer{})
	same(t, "mistakes", errs.Error(), `f:1:1: lvel: unknown key, did you mean "level"?
f:1:1: port: this required key is missing
f:2:9: format: want one of json, text, not "xml"
f:3:8: list[0].port: this required key is missing
f:3:22: list[0].nam: unknown key, want one of level, format, port`)
	schema, err := Schema(outer{}, "t", "")
	if err != nil || !strings.Contains(string(schema), `"level"`) || strings.Contains(string(schema), `"Log"`) {
		t.Errorf("schema %s, %v", schema, err)
	}
}

func TestErrors(t *testing.T) {
	errs := Errors{
		{File: "b", Line: 1, Column: 1, Message: "4"}, {File: "a", Line: 2, Column: 1, Message: "2"},
		{File: "a", Line: 2, Column: 1, Message: "3"}, {File: "a", Line: 1, Column: 9, Path: "p", Message: "1"},
	}
	errs.Sort()
	same(t, "sorted", errs.Error(), "a:1:9: p: 1\na:2:1: 2\na:2:1: 3\nb:1:1: 4")
	if errs.Err() == nil || Errors(nil).Err() != nil {
		t.Error("Err must be nil exactly for no mistakes")
	}
}

func TestMistakesOfTheProgramPanic(t *testing.T) {
	type inner struct{ A string }
	for name, dst := range map[string]any{
		"no pointer":  sample{},
		"nil pointer": (*sample)(nil),
		"no struct":   new(int),
		"no tag": &struct {
			A inner `yaml:"a"`
		}{},
		"inline, without tags": &struct {
			A inner `yaml:",inline"`
		}{},
		"inline, no struct": &struct {
			A []string `yaml:",inline"`
		}{},
		"inline, a pointer": &struct {
			A *sampleLog `yaml:",inline"`
		}{},
		"inline, with a form that is text": &struct {
			A sampleCode `yaml:",inline"`
		}{},
		"inline, same key": &struct {
			Level string    `yaml:"level"`
			A     sampleLog `yaml:",inline"`
		}{},
		"same key": &struct {
			A, B string `yaml:"a"`
		}{},
		"float": &struct {
			A float64 `yaml:"a"`
		}{},
		"interface": &struct {
			A error `yaml:"a"`
		}{},
		"map keys": &struct {
			A map[int]string `yaml:"a"`
		}{},
		"below a list": &struct {
			A []map[string]chan int `yaml:"a"`
		}{},
		"required": &struct {
			A string `yaml:"a" required:"yes"`
		}{},
		"enum of ints": &struct {
			A []int `yaml:"a" enum:"1,2"`
		}{},
		"min of a string": &struct {
			A string `yaml:"a" min:"1"`
		}{},
		"min of a Duration": &struct {
			A Duration `yaml:"a" min:"1"`
		}{},
		"max of a Size": &struct {
			A Size `yaml:"a" max:"0"`
		}{},
		"negative max": &struct {
			A int `yaml:"a" max:"-1"`
		}{},
		"default, no int": &struct {
			A int `yaml:"a" default:"x"`
		}{},
		"default, no member": &struct {
			A []string `yaml:"a" enum:"b,c" default:"b,d"`
		}{},
		"default of struct": &struct {
			A *sampleLog `yaml:"a" default:"x"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil || !strings.HasPrefix(p.(string), "strictyaml: ") {
					t.Errorf("recovered %v", p)
				}
			}()
			Decode("f", nil, nil, dst)
		})
	}
}
