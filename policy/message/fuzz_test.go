package message

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// everything has a rule of each kind, for each source.
func everything(t testing.TB, source string) *Inspector {
	section := `operations: {from: ` + source + `, deny: [bad, "publish:bad*"], limits: {"*": 1000000/s}, max_batch: 50}
deny: [{name: words, pattern: 'forbidden|<script', on_match: drop}]
conditions: ['message.size < 5000', 'message.operation != "root"']
`
	if source == "mqtt" || source == "mqtt-topics" || source == "stomp" {
		return mustLoad(t, section, nil)
	}
	section += `json: {max_depth: 16, schema: {all: all.json, operations: {"a*": a.json}}}
`
	return Join(
		Part{Policy: "p", Inspector: mustLoad(t, section, files{
			"all.json": `{"anyOf":[{"type":"object","properties":{"n":{"type":"integer"}}},{"type":["array","string","null"]}]}`,
			"a.json":   `{"maxProperties":5}`,
		})},
		Part{Policy: "q", Shadow: true, Inspector: mustLoad(t, `conditions: ['message.json != null && message.json.type == "x"']`, nil)},
	)
}

// The law: nothing panics, the payload stays, a verdict is one that the inspector announces, what is refused by nobody holds all rules, and the
// same message gets the same verdict again.
func FuzzInspect(f *testing.F) {
	var inspectors []*Inspector
	sources := []string{"{json: /type}", "jsonrpc", "graphql-ws", "socket.io", "stomp", "mqtt", "mqtt-topics"}
	for _, source := range sources {
		inspectors = append(inspectors, everything(f, source))
	}
	for k, seed := range []string{
		`{"type":"chat","n":5}`, `[{"method":"abc"},{"method":"bad"}]`, `{"type":"subscribe","payload":{"operationName":"x"}}`, `42/a,1["abc",{"n":1.5}]`,
		"SEND\ncontent-length:3\n\na\x00b\x00", "\x30\x05\x00\x03bad", "\x82\x06\x00\x01\x00\x01a\x00", `{"type":"root"}`, `{"type":"a","type":"b"}`, "forbidden",
	} {
		f.Add([]byte(seed), byte(k), k%2 == 0)
	}
	words := regexp.MustCompile(`forbidden|<script`)
	f.Fuzz(func(t *testing.T, payload []byte, source byte, isText bool) {
		if isText && !utf8.Valid(payload) {
			return // the session ends with 1007 before
		}
		i := inspectors[int(source)%len(inspectors)]
		before := bytes.Clone(payload)
		m := Message{Text: isText, Payload: payload}
		v := i.Inspect(&Session{}, m, epoch)
		if !bytes.Equal(payload, before) {
			t.Fatalf("%q was changed to %q", before, payload)
		}
		if again := i.Inspect(&Session{}, m, epoch.Add(time.Hour)); describe(again) != describe(v) {
			t.Fatalf("%q: %s, and then %s", payload, describe(v), describe(again))
		}
		if v.Pass && len(v.Operations) != len(i.Limits()) {
			t.Fatalf("%q: %v operations, want one number for each of %d limits", payload, v.Operations, len(i.Limits()))
		}
		for _, rule := range v.Shadow {
			if !slices.Contains(i.Rules(), rule) {
				t.Fatalf("%q: rule %q is not announced", payload, rule)
			}
		}
		if len(v.Operation) > 128 || strings.ContainsFunc(v.Operation, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(v.Operation) {
			t.Fatalf("%q: operation %q is not for a log", payload, v.Operation)
		}
		if !v.Pass {
			if v.Reason == "" || len(v.Reason) > 123 || !slices.Contains(i.Rules(), v.Rule) {
				t.Fatalf("%q: %+v", payload, v)
			}
			return
		}
		if v.Rule != "" || v.Reason != "" || v.Action != Close || len(payload) >= 5000 || words.Match(payload) {
			t.Fatalf("%q passes: %+v", payload, v)
		}
		if name := sources[int(source)%len(sources)]; (name == "jsonrpc" || name == "{json: /type}") && !json.Valid(payload) {
			t.Fatalf("%q passes and is not JSON", payload)
		}
	})
}

// One inspector serves all connections at the same time.
func TestInspectorIsShared(t *testing.T) {
	i := everything(t, "jsonrpc")
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			s := &Session{Claims: map[string]any{"n": int64(worker)}}
			for range 200 {
				for _, row := range []row{
					{text(`[{"method":"abc"},{"method":"x"}]`), "pass [2] shadow q/conditions[0]"},
					{text(`{"method":"bad"}`), "close p/operations: operation not allowed (bad)"},
					{text(`{"method":"abc","n":1.5}`), "close p/json.schema: message does not match its schema (abc) at all.json# anyOf"},
					{text(`{"type":"x"}`), "pass [0]"},
				} {
					if got := describe(i.Inspect(s, row.message, epoch)); got != row.want {
						t.Errorf("%s: %s, want %s", row.message.Payload, got, row.want)
						return
					}
				}
			}
		})
	}
	wait.Wait()
}

// What a pooled inspection has seen of one connection, the next one does not see.
func TestNothingStays(t *testing.T) {
	i := everything(t, "jsonrpc")
	for range 10 {
		in := i.scratch.Get().(*inspection)
		in.begin(&Session{Claims: map[string]any{"secret": "x"}}, text(`{"method":"abc"}`), epoch)
		in.judge()
		in.end()
		if in.session != nil || in.message.Payload != nil || len(in.vars) > 0 || len(in.fields) > 0 || slices.Contains(in.done, true) {
			t.Fatalf("left behind: %+v", in)
		}
		for _, r := range in.readers {
			if r.Value(in.whole[0]) != nil || len(r.Calls) > 0 && r.Calls[0].Name != nil {
				t.Fatal("a reader keeps its message")
			}
		}
		i.scratch.Put(in)
	}
}
