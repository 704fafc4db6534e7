package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/message"
	"github.com/framegate/framegate/proxy"
	"github.com/framegate/framegate/ratelimit"
)

// played is a message of a client, so often, and what becomes of the last of them.
type played struct {
	at     time.Duration
	binary bool
	text   string
	times  int    // 1 where it is 0
	want   string // "pass", or the action and the rule
}

// playedExamples are messages of clients for each example, on one connection, in order.
func playedExamples() map[string][]played {
	const (
		say   = `{"type":"say","room":"lobby","text":"hi","id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}`
		rpc   = `{"jsonrpc":"2.0","id":1,"method":"%s","params":[]}`
		logs  = `{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"address":"0x00000000219ab540356cbb839cbd05303d7705fa","fromBlock":"0x1"}]}`
		query = `{"id":"1","type":"subscribe","payload":{"operationName":"OnMessage","query":"subscription OnMessage { message { %s } }"}}`
	)
	return map[string][]played{
		"chat": {
			{text: `{"type":"join","room":"lobby"}`, want: "pass"},
			{text: say, times: 10, want: "pass"},
			{at: time.Second, text: say, times: 5, want: "pass"},
			{at: time.Minute, text: `{"type":"search","text":"abc"}`, times: 2, want: "pass"},
			{at: time.Hour, text: `{"type":"search","text":"ab"}`, want: "close messages/json.schema"},
			{at: time.Hour, text: `{"type":"join","room":"Lobby!"}`, want: "close messages/json.schema"},
			{at: time.Hour, text: `{"type":"join","as":"admin"}`, want: "close messages/json.schema"},
			{at: time.Hour, text: `{"type":"kick","room":"lobby"}`, want: "close messages/operations"},
			{at: time.Hour, text: `{"type":"say","type":"kick"}`, want: "close messages/json"},
			{at: time.Hour, text: strings.Replace(say, "hi", `\u003cscript>`, 1), want: "drop messages/scripts"},
		},
		"jsonrpc": {
			{text: fmt.Sprintf(rpc, "eth_blockNumber"), want: "pass"},
			{text: "[" + fmt.Sprintf(rpc, "eth_chainId") + "," + logs + "]", want: "pass"},
			{text: logs, times: 3, want: "pass"},
			{at: time.Hour, text: strings.Replace(logs, `"address"`, `"adress"`, 1), want: "reply reading/json.schema"},
			{at: time.Hour, text: fmt.Sprintf(rpc, "eth_sendRawTransaction"), want: "reply reading/operations"},
			{at: time.Hour, text: "[" + fmt.Sprintf(rpc, "eth_chainId") + "," + fmt.Sprintf(rpc, "debug_traceCall") + "]", want: "reply reading/operations"},
			{at: time.Hour, text: "[" + strings.Repeat(fmt.Sprintf(rpc, "eth_chainId")+",", 20) + fmt.Sprintf(rpc, "eth_chainId") + "]", want: "reply reading/operations"},
			{at: time.Hour, text: `{"id":1,"method":"eth_chainId"}`, want: "reply reading/json.schema"},
			{at: time.Hour, text: `{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x` + strings.Repeat("00", 10_000) + `"}]}`, want: "reply reading/call-size"},
			{at: time.Hour, text: `hello`, want: "reply reading/json"},
		},
		"graphql-ws": {
			{text: `{"type":"connection_init"}`, want: "pass"},
			{text: fmt.Sprintf(query, "id"), times: 20, want: "pass"},
			{at: time.Hour, text: fmt.Sprintf(query, "__typename"), want: "pass"},
			{at: time.Hour, text: fmt.Sprintf(query, "__schema"), want: "close subscriptions/introspection"},
			{at: time.Hour, text: `{"id":"1","type":"subscribe","payload":{"query":"subscription { id }"}}`, want: "close subscriptions/operations"},
			{at: time.Hour, text: fmt.Sprintf(query, strings.Repeat("id ", 3000)), want: "close subscriptions/json.schema"},
			{at: time.Hour, text: `{"id":"1","type":"complete"}`, want: "pass"},
		},
		"socketio-game": {
			{text: `40/arena,{"token":"x"}`, want: "pass"},
			{text: `42/arena,["join"]`, want: "pass"},
			{text: `42/arena,["move",{"x":0.5,"y":-1,"tick":7}]`, times: 90, want: "pass"},
			{text: `3`, want: "pass"},
			{at: time.Hour, text: `42/arena,["move",{"x":5,"y":0}]`, want: "close players/json.schema"},
			{at: time.Hour, text: `42/arena,["teleport",{"x":5,"y":0}]`, want: "close players/operations"},
			{at: time.Hour, text: `42["move",{"x":0,"y":0}]`, want: "close players/operations"},
			{at: time.Hour, text: `42/arena,9["say","hello"]`, want: "pass"},
		},
		"mqtt": {
			{binary: true, text: "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id", want: "pass"},
			{binary: true, text: "\x82\x1c\x00\x01\x00\x17devices/pump-7/commands\x00", want: "pass"},
			{binary: true, text: "\x30\x15\x00\x13devices/pump-7/temp", want: "pass"},
			{binary: true, text: "\xc0\x00", want: "pass"},
			{binary: true, text: "\x30\x15\x00\x13devices/pump-8/temp", want: "close devices/own-topics"},
			{binary: true, text: "\x30\x07\x00\x05admin", want: "close devices/operations"},
			{binary: true, text: "\x82\x06\x00\x01\x00\x01#\x00", want: "close devices/operations"},
			{binary: true, text: "\x82\x0e\x00\x01\x00\x09devices/#\x00", want: "close devices/own-topics"},
		},
		"telemetry": {
			{binary: true, text: "\x01\x00\x00\x00" + strings.Repeat("\xff", 24), want: "pass"},
			{binary: true, text: "\x02\x00\x00\x00" + strings.Repeat("\xff", 24), want: "close sensors/version"},
			{binary: true, text: "\xff\x00\x00\x00" + strings.Repeat("\xff", 24), want: "close sensors/version"},
			{binary: true, text: "\x01\x00\x00\x0a" + strings.Repeat("\xff", 24), want: "close sensors/version"},
			{binary: true, text: "\x01\x00\x00\x00" + strings.Repeat("\xff", 23), want: "drop sensors/records"},
			{binary: true, text: "\x01\x00\x00\x00", want: "drop sensors/records"},
		},
	}
}

// Each example of policies for messages lets pass what its application sends, and refuses the rest as it says. Its rates are not played here.
func TestExampleMessages(t *testing.T) {
	t.Parallel()
	examples := playedExamples()
	for _, entry := range must(os.ReadDir("../../examples/messages")) {
		if examples[entry.Name()] == nil {
			t.Errorf("nothing is played against %s", entry.Name())
		}
	}
	for name, messages := range examples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := contentOfExample(t, filepath.Join("../../examples/messages", name))
			s := &message.Session{Address: "127.0.0.1", Route: name, Claims: map[string]any{"sub": "pump-7"}}
			start := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
			for i, m := range messages {
				var v message.Verdict
				for range max(m.times, 1) {
					v = content.Inspect(s, message.Message{Text: !m.binary, Payload: []byte(m.text)}, start.Add(m.at))
				}
				got := "pass"
				if !v.Pass {
					got = v.Action.String() + " " + v.Rule
				}
				if got != m.want {
					t.Errorf("message %d, %.80q: %s (%s %s), want %s", i, m.text, got, v.Reason, v.Detail, m.want)
				}
			}
		})
	}
}

// contentOfExample compiles the rules about what clients send.
func contentOfExample(t *testing.T, dir string) *message.Inspector {
	t.Helper()
	cfg := must(proxy.Load(filepath.Join(dir, "gateway.yaml"), noEnvironment)).Config
	report := func(path, format string, args ...any) { t.Errorf("%s: %s", path, fmt.Sprintf(format, args...)) }
	file := func(_, path string) string { return filepath.Join(dir, path) }
	policies := policy.Compile(cfg.Policies, &policy.Env{
		File:   func(name, path string) ([]byte, error) { return os.ReadFile(file(name, path)) },
		Path:   file,
		Limits: ratelimit.NewLocal(100),
	}, report)
	p := policies.Route(cfg.Routes[0].Policies, report)
	if p == nil {
		t.Fatal("the policies of the route cannot be used")
	}
	return p.Content(true)
}
