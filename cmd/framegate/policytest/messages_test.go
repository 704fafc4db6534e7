package policytest

import (
	"strings"
	"testing"
)

const messageGateway = `version: 1
listeners: [{address: ":8443", tls: {certificates: internal}}]
routes: [{name: chat, hosts: [chat.example.com], upstream: chat, policies: [trial, chat]}]
upstreams: {chat: {servers: ["ws://127.0.0.1:9000"]}}
policies:
  trial: {mode: shadow, client: {deny: [{name: shout, pattern: '[A-Z]{5}'}]}}
  chat:
    client:
      messages: {per_connection: 1/s burst 3, on_limit: drop}
      max_message: 1KiB
      types: [text]
      json: strict
      operations: {from: {json: /type}, deny: [admin], on_match: {reply: 'no'}}
    upstream: {messages: 2/s burst 2, on_limit: delay}
`

// played runs one test of messages.
func played(t *testing.T, messages string) *Result {
	t.Helper()
	return playedBy(t, messageGateway, messages)
}

func playedBy(t *testing.T, gateway, messages string) *Result {
	t.Helper()
	s := run(t, gateway, `tests:
  - name: a
    request: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}}
    expect: {decision: admit}
    messages:
`+"      - "+strings.ReplaceAll(messages, "\n", "\n      - ")+"\n")
	return &s.Results[0]
}

// Messages are judged as the gateway would, in a time of their own.
func TestMessagesPlay(t *testing.T) {
	t.Parallel()
	for name, messages := range map[string]string{
		"a rate": `{text: '{"type":"a"}', times: 3, expect: {action: pass}}
{text: '{"type":"a"}', expect: {action: drop, rule: chat/client.messages.per_connection}}
{text: '{"type":"a"}', after: 1s, expect: {action: pass}}`,
		"a pace that the rate allows": `{text: '{"type":"a"}', times: 50, every: 1s, expect: {action: pass}}`,
		"an operation":                `{text: '{"type":"admin"}', expect: {action: reply, rule: chat/client.operations}}`,
		"no JSON":                     `{text: '{', expect: {action: close, rule: chat/client.json, code: 1008}}`,
		"bytes":                       `{hex: "82 1C 00", expect: {action: close, code: 1003}}`,
		"too large":                   `{size: 1025B, expect: {action: close, code: 1009}}`,
		"filled to be too large":      `{text: '{"type":"a"}', size: 1025B, expect: {action: close, code: 1009}}`,
		"filled to be no JSON":        `{text: '{"type":"a"}', size: 13B, expect: {action: close, rule: chat/client.json}}`,
		"a type":                      `{binary: x, expect: {action: close, code: 1003}}`,
		"after the end": `{binary: x, expect: {action: close}}
{text: '{"type":"a"}', expect: {action: close}}`,
		"shadow": `{text: '{"type":"HELLO"}', expect: {action: pass, would_refuse: [trial/client.shout]}}
{text: '{"type":"a"}', expect: {action: pass, would_refuse: []}}`,
		"delay": `{from: upstream, text: x, times: 2, expect: {action: pass}}
{from: upstream, text: x, expect: {action: delay, rule: chat/upstream.messages.per_connection}}
{from: upstream, text: x, after: 10s, expect: {action: pass}}`,
	} {
		if r := played(t, messages); len(r.Failures) > 0 {
			t.Errorf("%s: %+v\n%+v", name, r.Failures, r.Trace)
		}
	}
}

func TestMessagesFail(t *testing.T) {
	t.Parallel()
	for messages, want := range map[string]Failure{
		`{text: '{', expect: {action: pass}}`:                                                {"messages[0].action", "pass", "close message is not valid JSON"},
		`{text: '{"type":"a"}', expect: {action: drop}}`:                                     {"messages[0].action", "drop", "pass"},
		`{text: '{"type":"admin"}', expect: {action: reply, rule: chat/client.json}}`:        {"messages[0].rule", "chat/client.json", "chat/client.operations"},
		`{binary: x, expect: {action: close, code: 1008}}`:                                   {"messages[0].code", "1008", "1003"},
		`{text: '{"type":"a"}', expect: {action: pass, would_refuse: [trial/client.shout]}}`: {"messages[0].would_refuse", `["trial/client.shout"]`, "[]"},
		`{text: '{"type":"a"}', times: 5, expect: {action: pass}}`:                           {"messages[0].action", "pass", "drop"},
	} {
		r := played(t, messages)
		if len(r.Failures) != 1 || r.Failures[0].What != want.What || r.Failures[0].Want != want.Want || !strings.HasPrefix(r.Failures[0].Got, strings.Fields(want.Got)[0]) {
			t.Errorf("%s: got %+v, want %+v", messages, r.Failures, want)
		}
	}
}

func TestMessagesMistakes(t *testing.T) {
	t.Parallel()
	file := write(t, messageGateway, `tests:
  - {name: a, request: {url: "wss://chat.example.com/"}, expect: {decision: refuse}, messages: [{text: x, expect: {action: pass}}]}
  - {name: b, request: {url: "wss://chat.example.com/"}, expect: {decision: admit}, messages: [{expect: {action: pass}}, {text: x, binary: x, expect: {action: vanish}}, {hex: "821", expect: {action: pass}}]}
`)
	_, err := Run(t.Context(), []string{file}, noEnvironment, now)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"tests[0].messages: only a handshake that is admitted", "tests[1].messages[0]: a message has one of", "tests[1].messages[1]: a message has one of", "tests[1].messages[1].expect.action: ", `tests[1].messages[2].hex: "821" is not hexadecimal`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// Rules about messages count as tested once a message was refused by them.
func TestMessageRulesAreTested(t *testing.T) {
	t.Parallel()
	s := run(t, messageGateway, `tests:
  - {name: a, request: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}}, expect: {decision: admit}, messages: [{text: '{', expect: {action: close}}]}
`)
	untested := strings.Join(s.Untested, " ")
	if strings.Contains(untested, "chat/client.json") || !strings.Contains(untested, "chat/client.operations") || !strings.Contains(untested, "chat/upstream.messages.per_connection") {
		t.Errorf("untested: %s", untested)
	}
}

// What an operation may do at its limit, for each connection or for all of a user.
func TestOperationLimits(t *testing.T) {
	t.Parallel()
	for onLimit, after := range map[string]string{
		"close": `{text: '{"type":"say"}', expect: {action: close}}`,
		"drop": `{text: '{"type":"say"}', expect: {action: pass}}
{text: '{"type":"find"}', after: 1s, expect: {action: pass}}`,
		"delay": `{text: '{"type":"say"}', expect: {action: delay}}
{text: '{"type":"say"}', after: 1s, expect: {action: pass}}
{text: '{"type":"find"}', expect: {action: delay}}`,
		"reply": `{text: '{"type":"find"}', expect: {action: reply, rule: chat/client.operations.limits.find.per_ip}}
{text: '{"type":"find"}', after: 1s, expect: {action: pass}}`,
	} {
		action := onLimit
		if action == "reply" {
			action = "{reply: slower}"
		}
		gateway := strings.Replace(messageGateway, "deny: [admin]", "deny: [admin], limits: {find: {per_ip: 1/s burst 2}}, on_limit: "+action, 1)
		gateway = strings.Replace(gateway, "1/s burst 3", "1/s burst 100", 1)
		r := playedBy(t, gateway, `{text: '{"type":"find"}', times: 2, expect: {action: pass}}
{text: '{"type":"say"}', expect: {action: pass}}
{text: '{"type":"find"}', expect: {action: `+onLimit+`, rule: chat/client.operations.limits.find.per_ip}}
`+after)
		if len(r.Failures) > 0 {
			t.Errorf("%s: %+v\n%+v", onLimit, r.Failures, r.Trace)
		}
	}
}

// Limits that several connections reach together.
func TestConnections(t *testing.T) {
	t.Parallel()
	gateway := strings.Replace(messageGateway, "{per_connection: 1/s burst 3, on_limit: drop}", "{per_ip: 1/s burst 3, on_limit: drop}", 1)
	gateway = strings.Replace(gateway, "on_match: {reply: 'no'}}", "on_match: {reply: 'no'}, limits: {find: {per_route: 1/s burst 2, on_limit: delay}}}", 1)
	play := func(messages string) *Suite {
		return run(t, gateway, `tests:
  - name: a
    request: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}}
    expect: {decision: admit}
    connections:
      same: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}}
      other: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}, address: 192.0.2.9}
    messages:
`+"      - "+strings.ReplaceAll(messages, "\n", "\n      - ")+"\n")
	}
	for name, messages := range map[string]string{
		"an address": `{text: '{"type":"a"}', times: 2, expect: {action: pass}}
{connection: same, text: '{"type":"a"}', expect: {action: pass}}
{connection: same, text: '{"type":"a"}', expect: {action: drop, rule: chat/client.messages.per_ip}}
{text: '{"type":"a"}', expect: {action: drop, rule: chat/client.messages.per_ip}}
{connection: other, text: '{"type":"a"}', times: 3, expect: {action: pass}}
{connection: same, text: '{"type":"a"}', after: 1s, expect: {action: pass}}`,
		"a route": `{text: '{"type":"find"}', expect: {action: pass}}
{connection: other, text: '{"type":"find"}', expect: {action: pass}}
{connection: same, text: '{"type":"find"}', expect: {action: delay, rule: chat/client.operations.limits.find.per_route}}
{connection: other, text: '{"type":"find"}', after: 1s, expect: {action: delay}}
{connection: other, text: '{"type":"a"}', after: 2s, expect: {action: pass}}`,
	} {
		if s := play(messages); s.Failed() > 0 {
			t.Errorf("%s: %+v\n%+v", name, s.Results[0].Failures, s.Results[0].Trace)
		}
	}
	refused := run(t, gateway, `tests:
  - name: a
    request: {url: "wss://chat.example.com/", headers: {Origin: "https://chat.example.com"}}
    expect: {decision: admit}
    connections: {evil: {url: "wss://chat.example.com/", headers: {Origin: "https://evil.example"}}}
    messages: [{text: '{}', expect: {action: pass}}]
`)
	if f := refused.Results[0].Failures; len(f) != 1 || f[0].What != "connections.evil" || !strings.HasPrefix(f[0].Got, "refuse origin") {
		t.Errorf("a connection that is refused: %+v", f)
	}
	file := write(t, gateway, `tests:
  - {name: a, request: {url: "wss://chat.example.com/"}, expect: {decision: admit}, connections: {b: {url: "https://chat.example.com/"}}, messages: [{connection: c, text: x, expect: {action: pass}}]}
`)
	_, err := Run(t.Context(), []string{file}, noEnvironment, now)
	for _, want := range []string{"tests[0].connections.b: only a handshake", `tests[0].messages[0].connection: unknown connection "c"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
