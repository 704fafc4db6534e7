package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestJoin(t *testing.T) {
	f := files{"s.json": `{"required":["id"]}`}
	i := Join(
		Part{Policy: "none"},
		Part{Policy: "strict", Inspector: mustLoad(t, "json: {max_depth: 3}", nil)},
		Part{Policy: "trial", Shadow: true, Inspector: mustLoad(t, "{deny: [{name: bad, pattern: bad}], json: {schema: s.json}}", f)},
		Part{Policy: "rpc", Inspector: mustLoad(t, "operations: {from: jsonrpc, allow: [a, b], limits: {a: 1/s burst 2}}", nil)},
		Part{Policy: "rpc-trial", Shadow: true, Inspector: mustLoad(t, "operations: {from: jsonrpc, limits: {a: 1/s burst 1}}", nil)},
		Part{Policy: "late", Inspector: mustLoad(t, "conditions: ['!has(message.json.x) || message.json.x < 5']", nil)},
	)
	wantRules := "strict/json trial/json trial/bad trial/json.schema rpc/operations " +
		"rpc-trial/operations late/conditions[0]"
	if got := strings.Join(i.Rules(), " "); got != wantRules {
		t.Errorf("rules %s, want %s", got, wantRules)
	}
	if got, want := fmt.Sprint(len(i.Limits()), " ", i.Limits()[0].Rule, " ", i.Limits()[1].Rule), "2 operations.limits.a operations.limits.a"; got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
	if len(i.sources) != 1 || !i.bounds[0].Build {
		t.Errorf("sources %v with %+v, want one that makes values: a message is read once", i.sources, i.bounds)
	}
	testSteps(t, i, &Session{}, []step{
		{0, `{"id":1,"method":"a"}`, "pass [1 1]"},
		{0, `{"method":"b"}`, "pass [0 0] shadow trial/json.schema"},
		{0, `{"method":"b","bad":1}`, "pass [0 0] shadow trial/bad"},
		{0, `{"method":"c"}`, "close rpc/operations: operation not allowed (c) shadow trial/json.schema"},
		{0, `{"id":1,"method":"b","x":4}`, "pass [0 0]"},
		{0, `{"id":1,"method":"b","x":5}`, "close late/conditions[0]: condition not met"},
		{0, `{"id":[[[1]]],"method":"b"}`, "close strict/json: JSON nested too deep"},
		{0, `[{"id":1,"method":"b"}]`, "close late/conditions[0]: condition cannot be decided"},
	})
}

// Joined policies keep their own rules: joining changes nothing in what was joined.
func TestJoinLeavesPartsAlone(t *testing.T) {
	section := `{operations: {from: jsonrpc, limits: {a: 1/s}}, json: {schema: s.json}, deny: [x], conditions: ["true"]}`
	i := mustLoad(t, section, files{"s.json": "true"})
	before := i.Rules()
	joined := Join(Part{Policy: "p", Inspector: i}, Part{Policy: "q", Shadow: true, Inspector: i})
	if !slices.Equal(i.Rules(), before) || len(joined.Rules()) != 2*len(before) {
		t.Errorf("rules %q, before joining %q, joined %q", i.Rules(), before, joined.Rules())
	}
	testSteps(t, i, &Session{}, []step{{0, `{"method":"x"}`, "close deny[0]: message matches a deny pattern"}})
	testSteps(t, joined, &Session{}, []step{{0, `{"method":"x"}`, "close p/deny[0]: message matches a deny pattern"}})
}

// Policies with different sources each have their own view of a message.
func TestJoinOfDifferentSources(t *testing.T) {
	i := Join(
		Part{Policy: "type", Inspector: mustLoad(t, "operations: {from: {json: /type}, allow: [chat]}", nil)},
		Part{Policy: "rpc", Inspector: mustLoad(t, "operations: {from: jsonrpc, allow: [a], unknown: allow}", nil)},
	)
	testRows(t, i, Session{}, []row{
		{text(`{"type":"chat","method":"a"}`), "pass"},
		{text(`{"type":"chat"}`), "pass"},
		{text(`{"type":"chat","method":"b"}`), "close rpc/operations: operation not allowed (b)"},
		{text(`{"type":"x","method":"a"}`), "close type/operations: operation not allowed (x)"},
	})
	mqtt := Join(
		Part{Policy: "kinds", Inspector: mustLoad(t, "operations: {from: mqtt, allow: [publish]}", nil)},
		Part{Policy: "topics", Inspector: mustLoad(t, `operations: {from: mqtt-topics, allow: ["publish:a"]}`, nil)},
	)
	s := &Session{}
	for _, row := range []row{
		{blob("\x30\x03\x00"), "pass"},
		{blob("\x01a\x30\x03\x00\x01b"), "close topics/operations: operation not allowed (publish:b)"},
	} {
		if got := describe(mqtt.Inspect(s, row.message, epoch)); !strings.HasPrefix(got, row.want) {
			t.Errorf("%q: %s, want %s", row.message.Payload, got, row.want)
		}
	}
}
