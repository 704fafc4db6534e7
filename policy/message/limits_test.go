package message

import (
	"fmt"
	"math/rand/v2"
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

func TestLimits(t *testing.T) {
	const search, say, login = `{"type":"search"}`, `{"type":"say"}`, `{"type":"login"}`
	const over = "operation rate exceeded"
	i := mustLoad(t, `
operations:
  from: {json: /type}
  limits: {search: 2/s burst 2, "*": 10/s burst 5}
  on_limit: drop
`, nil)
	for name, steps := range map[string][]step{
		"its own limit": {
			{0, search, "pass search"},
			{0, search, "pass search"},
			{0, search, "drop operations.limits.search: " + over + " (search)"},
			{499 * ms, search, "drop operations.limits.search: " + over + " (search)"},
			{500 * ms, search, "pass search"},
			{500 * ms, search, "drop operations.limits.search: " + over + " (search)"},
			{time.Hour, search, "pass search"},
		},
		"the limit of all": {
			{0, search, "pass search"},
			{0, say, "pass other"},
			{0, say, "pass other"},
			{0, login, "pass other"},
			{0, say, "pass other"},
			{0, login, "drop operations.limits.*: " + over + " (*)"},
			{0, search, "drop operations.limits.*: " + over + " (*)"},
			{100 * ms, search, "pass search"},
			{100 * ms, say, "drop operations.limits.*: " + over + " (*)"},
		},
		"a refusal by one takes nothing from the other": {
			{0, search, "pass search"},
			{0, search, "pass search"},
			{0, search, "drop operations.limits.search: " + over + " (search)"},
			{0, search, "drop operations.limits.search: " + over + " (search)"},
			{0, search, "drop operations.limits.search: " + over + " (search)"},
			{0, say, "pass other"},
			{0, say, "pass other"},
			{0, say, "pass other"},
			{0, say, "drop operations.limits.*: " + over + " (*)"},
		},
		"time that runs backwards gives nothing": {
			{time.Second, search, "pass search"},
			{time.Second, search, "pass search"},
			{0, search, "drop operations.limits.search: " + over + " (search)"},
			{time.Second, search, "drop operations.limits.search: " + over + " (search)"},
			{1500 * ms, search, "pass search"},
		},
		"what has no operation is not counted": {
			{0, `{}`, "pass"}, {0, `{}`, "pass"}, {0, `ping`, "pass"}, {0, `{}`, "pass"}, {0, `{}`, "pass"}, {0, `{}`, "pass"}, {0, `{}`, "pass"},
		},
	} {
		t.Run(name, func(t *testing.T) { testSteps(t, i, &Session{}, steps) })
	}
	if got, want := fmt.Sprint(i.Rules()), "[operations operations.limits.* operations.limits.search]"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
}

func TestLimitsOfBatches(t *testing.T) {
	i := mustLoad(t, `operations: {from: jsonrpc, limits: {"eth_*": 1/s burst 3, eth_call: 1/s burst 2}, on_limit: {reply: slow down}}`, nil)
	testSteps(t, i, &Session{}, []step{
		{0, `[{"method":"eth_call"},{"method":"eth_call"},{"method":"eth_call"}]`, `reply operations.limits.eth_call: operation rate exceeded (eth_call) "slow down"`},
		{0, `[{"method":"eth_call"},{"method":"eth_call"},{"method":"eth_x"},{"method":"eth_x"}]`, `reply operations.limits.eth_*: operation rate exceeded (eth_*) "slow down"`},
		{0, `[{"method":"eth_call"},{"method":"eth_x"},{"method":"eth_call"},{"method":"net_x"}]`, `pass eth_call eth_* eth_call other`},
		{0, `{"method":"eth_x"}`, `reply operations.limits.eth_*: operation rate exceeded (eth_*) "slow down"`},
		{time.Second, `{"method":"eth_x"}`, "pass eth_*"},
		{2 * time.Second, `{"method":"eth_call"}`, "pass eth_call"},
	})
}

// Each connection has its own state, and none before it needs it.
func TestLimitsOfConnections(t *testing.T) {
	i := mustLoad(t, `operations: {from: jsonrpc, limits: {a: 1/s burst 1}}`, nil)
	one, other := &Session{}, &Session{}
	testSteps(t, i, one, []step{{0, `{"method":"b"}`, "pass other"}})
	if one.memory.limits.all != nil {
		t.Error("there is state for an operation without limit")
	}
	testSteps(t, i, one, []step{{0, `{"method":"a"}`, "pass a"}, {0, `{"method":"a"}`, "close operations.limits.a: operation rate exceeded (a)"}})
	testSteps(t, i, other, []step{{0, `{"method":"a"}`, "pass a"}})
}

// What needs no memory has none.
func TestNoMemory(t *testing.T) {
	i := mustLoad(t, "{operations: {from: jsonrpc, allow: [a]}, json: strict, conditions: ['true']}", nil)
	s := &Session{}
	testSteps(t, i, s, []step{{0, `{"method":"a"}`, "pass a"}, {0, `{"method":"b"}`, "close operations: operation not allowed (b)"}})
	if s.memory != nil {
		t.Errorf("%+v is remembered", s.memory)
	}
}

// A reload is no new burst, and the new numbers hold at once.
func TestLimitsAfterReload(t *testing.T) {
	const over = "close operations.limits.a: operation rate exceeded (a)"
	before := mustLoad(t, `operations: {from: jsonrpc, limits: {a: 1/s burst 3, gone: 1/s}}`, nil)
	after := mustLoad(t, `operations: {from: jsonrpc, limits: {"*": 100/s, a: 10/s burst 2}}`, nil)
	none := mustLoad(t, `operations: {from: jsonrpc}`, nil)
	s := &Session{}
	a := `{"method":"a"}`
	testSteps(t, before, s, []step{{0, a, "pass a"}, {0, a, "pass a"}, {0, a, "pass a"}, {0, a, over}})
	testSteps(t, after, s, []step{{0, a, over}, {100 * ms, a, "pass a"}, {100 * ms, a, over}, {time.Hour, a, "pass a"}, {time.Hour, a, "pass a"}, {time.Hour, a, over}})
	testSteps(t, none, s, []step{{time.Hour, a, "pass other"}})
	testSteps(t, after, s, []step{{time.Hour, a, "pass a"}})
}

// Over any time B + R*t pass of each limit, within one, whatever else is sent; a limit that is refused by another one loses nothing.
func TestLimitsAreExact(t *testing.T) {
	i := mustLoad(t, `operations: {from: {json: /type}, limits: {search: 7/s burst 4, chat: 20/s burst 10, "*": 25/s burst 12}, on_limit: drop}`, nil)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		s := &Session{}
		passed := map[string]int{}
		var now time.Duration
		for now < 20*time.Second {
			now += time.Duration(random.Int64N(int64(10 * ms)))
			name := []string{"search", "chat", "chat", "x"}[random.IntN(4)]
			if v := i.Inspect(s, text(`{"type":"`+name+`"}`), epoch.Add(now)); v.Pass {
				passed[name]++
				passed["*"]++
			}
		}
		for name, limit := range map[string][2]float64{"search": {7, 4}, "chat": {20, 10}, "*": {25, 12}} {
			if most := limit[1] + limit[0]*now.Seconds(); float64(passed[name]) > most+1e-3 {
				t.Fatalf("%d of %s passed in %v, want at most %v", passed[name], name, now, most)
			}
		}
		// Far more than the sum is asked for, so the limit of all is used up.
		if least := 12 + 25*now.Seconds() - 2; float64(passed["*"]) < least {
			t.Fatalf("%d passed in %v, want at least %v", passed["*"], now, least)
		}
	}
}
