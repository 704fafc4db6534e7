package message

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

// step is one message at a time after epoch.
type step struct {
	at      time.Duration
	message string
	want    string
}

func testSteps(t *testing.T, i *Inspector, s *Session, steps []step) {
	t.Helper()
	for k, step := range steps {
		if got := describe(i.Inspect(s, text(step.message), epoch.Add(step.at))); got != step.want {
			t.Fatalf("step %d, %s at %v: %s, want %s", k, step.message, step.at, got, step.want)
		}
	}
}

// What is limited is counted, under each name and pattern that matches; what is refused is not.
func TestLimits(t *testing.T) {
	i := mustLoad(t, `
operations:
  from: {json: /type}
  deny: [bad]
  limits: {search: 2/s burst 2, "*": {per_user: 10/s, per_claim: {tenant: 90/s}, on_limit: delay}, "s*": 5/s}
  on_limit: drop
`, nil)
	testSteps(t, i, &Session{}, []step{
		{0, `{"type":"search"}`, "pass [1 1 1]"},
		{0, `{"type":"say"}`, "pass [1 1 0]"},
		{0, `{"type":"login"}`, "pass [1 0 0]"},
		{0, `{"type":"bad"}`, "close operations: operation not allowed (bad)"},
		{0, `{}`, "pass [0 0 0]"},
		{0, `ping`, "pass [0 0 0]"},
	})
	var got []string
	for _, l := range i.Limits() {
		got = append(got, fmt.Sprint(l.Rule, " ", len(l.Rates.Limits()), " ", l.Action.Name()))
	}
	if got, want := fmt.Sprint(got), "[operations.limits.* 2 delay operations.limits.s* 1 drop operations.limits.search 1 drop]"; got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(i.Rules()), "[operations]"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
	if (*Inspector)(nil).Limits() != nil {
		t.Error("no inspector has limits")
	}
}

// Every operation of a batch counts, and nothing of the message before.
func TestLimitsOfBatches(t *testing.T) {
	i := mustLoad(t, `operations: {from: jsonrpc, limits: {"eth_*": 1/s burst 3, eth_call: 1/s burst 2}}`, nil)
	testSteps(t, i, &Session{}, []step{
		{0, `[{"method":"eth_call"},{"method":"eth_call"},{"method":"eth_x"},{"method":"net_x"},{"result":1}]`, "pass [3 2]"},
		{0, `{"method":"eth_x"}`, "pass [1 0]"},
		{0, `{"result":1}`, "pass [0 0]"},
	})
}

// What needs no memory has none.
func TestNoMemory(t *testing.T) {
	i := mustLoad(t, "{operations: {from: jsonrpc, allow: [a]}, json: strict, conditions: ['true']}", nil)
	s := &Session{}
	testSteps(t, i, s, []step{{0, `{"method":"a"}`, "pass"}, {0, `{"method":"b"}`, "close operations: operation not allowed (b)"}})
	if s.memory != nil {
		t.Errorf("%+v is remembered", s.memory)
	}
}

// A connection that gets other rules counts for those.
func TestLimitsAfterReload(t *testing.T) {
	before := mustLoad(t, `operations: {from: jsonrpc, limits: {a: 1/s burst 3, gone: 1/s}}`, nil)
	after := mustLoad(t, `operations: {from: jsonrpc, limits: {"*": 100/s, a: 10/s burst 2, b: 1/s}}`, nil)
	none := mustLoad(t, `operations: {from: jsonrpc}`, nil)
	s := &Session{}
	a := `{"method":"a"}`
	testSteps(t, before, s, []step{{0, a, "pass [1 0]"}})
	testSteps(t, after, s, []step{{0, a, "pass [1 1 0]"}})
	testSteps(t, none, s, []step{{0, a, "pass"}})
	testSteps(t, after, s, []step{{0, a, "pass [1 1 0]"}})
}
