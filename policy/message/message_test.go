package message

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

var epoch = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// files are what a configuration may name, by name.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	content, ok := f[name]
	if !ok {
		return nil, errors.New("no such file")
	}
	return []byte(content), nil
}

// load reads a section as it stands in a file and compiles it.
func load(section string, f files) (*Inspector, strictyaml.Errors) {
	var c Config
	doc, errs := strictyaml.Decode("policy.yaml", []byte(section), nil, &c)
	if len(errs) > 0 {
		return nil, errs
	}
	i := c.Compile(doc.Report("", &errs), f.read)
	errs.Sort()
	return i, errs
}

func mustLoad(t testing.TB, section string, f files) *Inspector {
	t.Helper()
	i, errs := load(section, f)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return i
}

func text(s string) Message { return Message{Text: true, Payload: []byte(s)} }
func blob(s string) Message { return Message{Payload: []byte(s)} }

// describe writes a verdict in one line: "pass" and how often it has what is limited, or the action, the rule, the reason and what was refused.
func describe(v Verdict) string {
	var s strings.Builder
	if v.Pass {
		s.WriteString("pass")
	} else {
		fmt.Fprintf(&s, "%s %s: %s", v.Action, v.Rule, v.Reason)
		if v.Operation != "" {
			fmt.Fprintf(&s, " (%s)", v.Operation)
		}
		if v.Detail != "" {
			fmt.Fprintf(&s, " at %s", v.Detail)
		}
		if v.Reply != nil {
			fmt.Fprintf(&s, " %q", v.Reply)
		}
	}
	if v.Pass && len(v.Operations) > 0 {
		fmt.Fprintf(&s, " %v", v.Operations)
	}
	if v.Pass && !v.Whole {
		s.WriteString(" in pieces")
	}
	if len(v.Shadow) > 0 {
		fmt.Fprintf(&s, " shadow %s", strings.Join(v.Shadow, " "))
	}
	return s.String()
}

// row is one message and what becomes of it.
type row struct {
	message Message
	want    string
}

// testRows shows the messages to an inspector, each on a connection of its own.
func testRows(t *testing.T, i *Inspector, s Session, rows []row) {
	t.Helper()
	for _, row := range rows {
		own := Session{Claims: s.Claims, Address: s.Address, Route: s.Route, Subprotocol: s.Subprotocol}
		before := string(row.message.Payload)
		if got := describe(i.Inspect(&own, row.message, epoch)); got != row.want {
			t.Errorf("%.200q: %s, want %s", before, got, row.want)
		}
		if string(row.message.Payload) != before {
			t.Errorf("%.200q was changed", before)
		}
	}
}

func TestNothingToInspect(t *testing.T) {
	i := mustLoad(t, "{}", nil)
	if i != nil {
		t.Errorf("an inspector without rules: %v", i)
	}
	if v := i.Inspect(&Session{}, text("x"), epoch); !v.Pass || i.Reads(true) || i.Reads(false) || i.Rules() != nil {
		t.Errorf("no inspector: %+v", v)
	}
	if Join() != nil || Join(Part{Policy: "a"}, Part{Policy: "b"}) != nil {
		t.Error("nothing joined is something")
	}
}

func TestOperations(t *testing.T) {
	i := mustLoad(t, `
operations:
  from: {json: /type}
  allow: [chat, search, "admin.*", "admin.users.*"]
  deny: ["admin.delete*"]
  on_match: {reply: '{"error":"not allowed"}'}
`, nil)
	const refused = `reply operations: `
	const reply = ` "{\"error\":\"not allowed\"}"`
	testRows(t, i, Session{}, []row{
		{text(`{"type":"chat"}`), "pass"},
		{blob(`{"type":"search"}`), "pass"},
		{text(`{"type":"admin.list"}`), "pass"},
		{text(`{"type":"admin.users.list"}`), "pass"},
		{text(`{"type":"\u0063hat"}`), "pass"},
		{text(`{"type":"Chat"}`), refused + "operation not allowed (Chat)" + reply},
		{text(`{"type":"admin.delete.all"}`), refused + "operation not allowed (admin.delete.all)" + reply},
		{text(`{"type":"chat\u0000"}`), refused + "operation not allowed (chat.)" + reply},
		{text(`{"type":"\u001b[2J\n"}`), refused + "operation not allowed (.[2J.)" + reply},
		{text(`{"type":"` + strings.Repeat("é", 100) + `"}`), refused + "operation not allowed (" + strings.Repeat("é", 64) + ")" + reply},
		{text(`{"kind":"chat"}`), refused + "message has no operation" + reply},
		{text(`ping`), refused + "message has no operation" + reply},
		{text(`{"type":"chat","type":"admin.delete"}`), refused + "message is not strict JSON" + reply},
		{text(`{"type":"chat","Type":"admin.delete"}`), refused + "name of operation is ambiguous" + reply},
		{text(`{"type":"` + strings.Repeat("x", 1025) + `"}`), refused + "name of operation too long" + reply},
	})
	if got, want := fmt.Sprint(i.Rules()), "[operations]"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
}

func TestUnknownOperations(t *testing.T) {
	testRows(t, mustLoad(t, "operations: {from: jsonrpc, deny: [admin_*]}", nil), Session{}, []row{
		{text(`{"method":"eth_call"}`), "pass"},
		{text(`{"method":"admin_peers"}`), "close operations: operation not allowed (admin_peers)"},
		{text(`{"result":1}`), "pass"},
		{text(`ping`), "pass"},
		{text(`{"method":"eth_call","method":"admin_peers"}`), "close operations: message is not strict JSON"},
	})
	testRows(t, mustLoad(t, "operations: {from: jsonrpc, unknown: deny, on_match: drop}", nil), Session{}, []row{
		{text(`{"method":"eth_call"}`), "pass"},
		{text(`[{"method":"eth_call"},{"result":1}]`), "drop operations: message has no operation"},
	})
	testRows(t, mustLoad(t, "operations: {from: jsonrpc, allow: [eth_call], unknown: allow}", nil), Session{}, []row{
		{text(`{"method":"eth_call"}`), "pass"},
		{text(`{"result":1}`), "pass"},
		{text(`{"method":"eth_sign"}`), "close operations: operation not allowed (eth_sign)"},
	})
}

func TestBatches(t *testing.T) {
	i := mustLoad(t, `operations: {from: jsonrpc, allow: ["eth_*"], deny: [eth_sign], unknown: allow, max_batch: 3}`, nil)
	testRows(t, i, Session{}, []row{
		{text(`[{"method":"eth_call"},{"method":"eth_chainId"},5]`), "pass"},
		{text(`[{"method":"eth_call"},{"method":"eth_sign"}]`), "close operations: operation not allowed (eth_sign)"},
		{text(`[{"method":"eth_call"},{"method":"eth_call"},{"method":"eth_call"},{"method":"eth_call"}]`), "close operations: too many operations in one message"},
		{text(`[]`), "pass"},
	})
}

// Which types of messages a source in JSON looks at.
func TestBinaryWithoutOperations(t *testing.T) {
	i := mustLoad(t, `operations: {from: {json: /type}, allow: [chat], binary: pass}`, nil)
	testRows(t, i, Session{}, []row{
		{text(`{"type":"x"}`), "close operations: operation not allowed (x)"},
		{blob(`{"type":"x"}`), "pass"},
		{blob("\x00{"), "pass"},
	})
	if !i.Reads(true) || i.Reads(false) {
		t.Errorf("reads text %t, binary %t", i.Reads(true), i.Reads(false))
	}
	for section, want := range map[string]bool{
		"operations: {from: mqtt}":                         true,
		"operations: {from: socket.io}":                    true,
		"operations: {from: jsonrpc}":                      true,
		"json: strict":                                     true,
		"json: {binary: pass}":                             false,
		"deny: [x]":                                        true,
		"deny: [{pattern: x, binary: false}]":              false,
		"deny: [{pattern: x, binary: false}, y]":           true,
		"conditions: [message.size < 5]":                   true,
		"json: {binary: pass}\nconditions: ['true']":       true,
		"{json: {binary: pass}, operations: {from: mqtt}}": true,
	} {
		if i, _ := load(section, nil); i != nil && (i.Reads(false) != want || !i.Reads(true)) {
			t.Errorf("%s: reads binary %t, want %t", section, i.Reads(false), want)
		}
	}
}

func TestJSON(t *testing.T) {
	const notStrict = "close json: message is not strict JSON"
	testRows(t, mustLoad(t, "json: strict", nil), Session{}, []row{
		{text(`{"a":[1,"x",null]}`), "pass"},
		{blob(`{"a":1}`), "pass"},
		{text(`5`), "pass"},
		{text(`ping`), notStrict},
		{text(``), notStrict},
		{text(`{"a":1,"a":2}`), notStrict},
		{blob("\x00\x01"), notStrict},
		{text(`1e400`), notStrict},
		{text(strings.Repeat("[", 32) + strings.Repeat("]", 32)), "pass"},
		{text(strings.Repeat("[", 33) + strings.Repeat("]", 33)), "close json: JSON nested too deep"},
		{text(strings.Repeat("[", 1<<20)), "close json: JSON nested too deep"},
	})
	testRows(t, mustLoad(t, "json: {strict: true, max_depth: 2, max_size: 10B, binary: pass, on_match: drop}", nil), Session{}, []row{
		{text(`[[1]]`), "pass"},
		{text(`[[[1]]]`), "drop json: JSON nested too deep"},
		{text(`[1,2,3,45]`), "pass"},
		{text(`[1,2,3,456]`), "drop json: message too large for JSON"},
		{blob("\x00 more than ten bytes"), "pass"},
	})
}

func TestSchemas(t *testing.T) {
	f := files{
		"call.json":   `{"required":["jsonrpc"],"properties":{"jsonrpc":{"const":"2.0"}}}`,
		"eth.json":    `{"properties":{"params":{"type":"array","items":{"$ref":"common.json#/$defs/word"},"maxItems":2}}}`,
		"get.json":    `{"properties":{"params":{"maxItems":1}}}`,
		"v2.json":     `{"required":["v"]}`,
		"common.json": `{"$defs":{"word":{"type":"string","maxLength":4}}}`,
	}
	i := mustLoad(t, `
operations: {from: jsonrpc}
json:
  schema:
    all: call.json
    operations: {"eth_*": eth.json, eth_get: get.json}
    subprotocols: {v2: v2.json}
    files: [common.json]
  on_match: {reply: no}
`, f)
	const no = ` "no"`
	rows := []row{
		{text(`{"jsonrpc":"2.0","method":"eth_call","params":["a","b"]}`), "pass"},
		{text(`{"jsonrpc":"2.0","method":"net_version","params":[1,2,3]}`), "pass"},
		{text(`{"jsonrpc":"2.0","result":5}`), "pass"},
		{text(`{"method":"eth_call"}`), "reply json.schema: message does not match its schema (eth_call) at call.json# required" + no},
		{text(`{"jsonrpc":"2.0","method":"eth_call","params":["abcde"]}`), "reply json.schema: message does not match its schema (eth_call) at common.json#/$defs/word maxLength" + no},
		{text(`{"jsonrpc":"2.0","method":"eth_call","params":["a","b","c"]}`), "reply json.schema: message does not match its schema (eth_call) at eth.json#/properties/params maxItems" + no},
		{text(`{"jsonrpc":"2.0","method":"eth_get","params":["a","b"]}`), "reply json.schema: message does not match its schema (eth_get) at get.json#/properties/params maxItems" + no},
		// Each element of a batch by itself.
		{text(`[{"jsonrpc":"2.0","method":"eth_call","params":["a"]},{"jsonrpc":"2.0","method":"x","params":[1]},{"jsonrpc":"2.0","result":[7]}]`), "pass"},
		{text(`[{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","method":"eth_call","params":[5]}]`), "reply json.schema: message does not match its schema (eth_call) at common.json#/$defs/word type" + no},
		{text(`[{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"1.0"}]`), "reply json.schema: message does not match its schema at call.json#/properties/jsonrpc enum" + no},
		{text(`ping`), "reply json: message is not strict JSON" + no},
	}
	testRows(t, i, Session{}, rows)
	testRows(t, i, Session{Subprotocol: "v1"}, rows)
	testRows(t, i, Session{Subprotocol: "v2"}, []row{
		{text(`{"jsonrpc":"2.0","method":"x","v":1}`), "pass"},
		{text(`{"jsonrpc":"2.0","method":"x"}`), "reply json.schema: message does not match its schema (x) at v2.json# required" + no},
	})
	testRows(t, mustLoad(t, "json: {schema: call.json}", f), Session{}, []row{
		{text(`{"jsonrpc":"2.0"}`), "pass"},
		{text(`[{"jsonrpc":"1.0"}]`), "pass"}, // no source of operations says that it is a batch
		{blob(`{"jsonrpc":"1.0"}`), "close json.schema: message does not match its schema at call.json#/properties/jsonrpc enum"},
	})
	if got, want := fmt.Sprint(i.Rules()), "[json operations json.schema]"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
}

func TestSchemaTooCostly(t *testing.T) {
	f := files{"s.json": `{"oneOf":[{"allOf":[{"properties":{"c":{"$ref":"#"}}},{"required":["x"]}]},{"properties":{"c":{"$ref":"#"}},"required":["c"]},{"type":"integer"}]}`}
	deep := strings.Repeat(`{"c":`, 30) + `{"x":1}` + strings.Repeat(`}`, 30)
	testRows(t, mustLoad(t, "json: {schema: s.json}", f), Session{}, []row{
		{text(deep), "close json.schema: message too costly to check at s.json#"},
	})
	// All elements of a batch share what the message may cost.
	i := mustLoad(t, "{operations: {from: jsonrpc}, json: {schema: s.json}}", f)
	batch := text("[" + strings.Repeat(`{"c":{"c":{"c":{"c":{"c":{"x":1}}}}}},`, 99) + `{"x":1}]`)
	testRows(t, i, Session{}, []row{{batch, "pass"}})
}

func TestDeny(t *testing.T) {
	i := mustLoad(t, `
deny:
  - {name: scripts, pattern: '(?i)<script\b', on_match: drop}
  - {pattern: '\x00', binary: false}
  - '^secret$'
`, nil)
	testRows(t, i, Session{}, []row{
		{text("hello <b>"), "pass"},
		{text("x <SCRIPT src=a>"), "drop scripts: message matches a deny pattern"},
		{blob("\xff<script>"), "drop scripts: message matches a deny pattern"},
		{text("<scripted"), "pass"},
		{text("a\x00b"), "close deny[1]: message matches a deny pattern"},
		{blob("a\x00b"), "pass"},
		{text("secret"), "close deny[2]: message matches a deny pattern"},
		{text("secret\n"), "pass"},
		{text(""), "pass"},
	})
	if got, want := fmt.Sprint(i.Rules()), "[scripts deny[1] deny[2]]"; got != want {
		t.Errorf("rules %s, want %s", got, want)
	}
}

func TestConditions(t *testing.T) {
	i := mustLoad(t, `
operations: {from: {json: /type}}
conditions:
  - {name: small, require: message.type == "text" && message.size < 100}
  - {name: admins, require: 'message.operation != "ban" || "admin" in claims.groups', on_match: {reply: no}}
  - message.json.type != "move" || message.json.x < 10 && message.text.contains("type")
  - client.address == "192.0.2.1" && route == "chat" && now < timestamp("2027-01-01T00:00:00Z")
`, nil)
	user := Session{Claims: map[string]any{"groups": []any{"user"}}, Address: "192.0.2.1", Route: "chat"}
	admin := Session{Claims: map[string]any{"groups": []any{"user", "admin"}}, Address: "192.0.2.1", Route: "chat"}
	testRows(t, i, user, []row{
		{text(`{"type":"say"}`), "pass"},
		{text(`{"type":"ban"}`), `reply admins: condition not met (ban) "no"`},
		{text(`{"type":"\u0062an"}`), `reply admins: condition not met (ban) "no"`},
		{text(`{"type":"move","x":9}`), "pass"},
		{text(`{"type":"move","x":10}`), "close conditions[2]: condition not met (move)"},
		{text(`{"type":"move"}`), "close conditions[2]: condition cannot be decided (move)"},
		{text(`{"type":"move","x":"1"}`), "close conditions[2]: condition cannot be decided (move)"},
		{text(`{"type":"say","text":"` + strings.Repeat("a", 100) + `"}`), "close small: condition not met (say)"},
		{blob(`{"type":"say"}`), "close small: condition not met (say)"},
		{text(`hello`), "close conditions[2]: condition cannot be decided"}, // message.json is null
	})
	testRows(t, i, admin, []row{{text(`{"type":"ban"}`), "pass"}})
	testRows(t, i, Session{Address: "192.0.2.1", Route: "chat"}, []row{
		{text(`{"type":"say"}`), "pass"},
		{text(`{"type":"ban"}`), `reply admins: condition cannot be decided (ban) "no"`}, // no claims
	})
	testRows(t, i, Session{Address: "192.0.2.2", Route: "chat"}, []row{{text(`{"type":"say"}`), "close conditions[3]: condition not met (say)"}})
}

// What a condition cannot see in a message, an application might.
func TestConditionsOnWhatIsNotStrictJSON(t *testing.T) {
	i := mustLoad(t, `conditions: ['message.json == null || message.json.type != "admin"']`, nil)
	testRows(t, i, Session{}, []row{
		{text(`{"type":"user"}`), "pass"},
		{text(`{"type":"admin"}`), "close conditions[0]: condition not met"},
		{text(`hello`), "pass"},
		{blob("\x00\x01"), "pass"},
		{text(`{"type":"user","type":"admin"}`), "close conditions[0]: condition cannot be decided"},
		{text(`{"type":"admin",}`), "close conditions[0]: condition cannot be decided"},
		{text("\xef\xbb\xbf" + `{"type":"admin"}`), "close conditions[0]: condition cannot be decided"},
		{blob(`{"type":"admin"`), "close conditions[0]: condition cannot be decided"},
	})
	// One that does not look at JSON does not mind.
	testRows(t, mustLoad(t, `conditions: ['message.size < 100']`, nil), Session{}, []row{{text(`{"a":1,"a":2}`), "pass"}})
}

// Conditions see each element of a batch by itself.
func TestConditionsOnBatches(t *testing.T) {
	i := mustLoad(t, `
operations: {from: jsonrpc}
conditions: ['message.operation != "eth_getLogs" || int(message.json.params[0].blocks) <= 100']
`, nil)
	testRows(t, i, Session{}, []row{
		{text(`{"method":"eth_getLogs","params":[{"blocks":100}]}`), "pass"},
		{text(`[{"method":"eth_call"},{"method":"eth_getLogs","params":[{"blocks":100}]}]`), "pass"},
		{text(`[{"method":"eth_getLogs","params":[{"blocks":5}]},{"method":"eth_getLogs","params":[{"blocks":101}]}]`), "close conditions[0]: condition not met (eth_getLogs)"},
		{text(`[]`), "pass"},
	})
}

func TestSocketIO(t *testing.T) {
	i := mustLoad(t, `
operations: {from: socket.io, allow: ["chat message", "/game:move"]}
json: {schema: {operations: {"/game:move": move.json}}}
`, files{"move.json": `{"prefixItems":[true,{"type":"object","required":["x"]}],"minItems":2,"maxItems":2}`})
	testRows(t, i, Session{}, []row{
		{text(`0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`), "pass"},
		{text(`40{"token":"x"}`), "pass"},
		{text(`2`), "pass"},
		{text(`3`), "pass"},
		{text(`42["chat message","hi"]`), "pass"},
		{text(`42/game,7["move",{"x":1}]`), "pass"},
		{text(`42/game,7["move",{"y":1}]`), "close json.schema: message does not match its schema (/game:move) at move.json#/prefixItems/1 required"},
		{text(`451-["chat message",{"_placeholder":true,"num":0}]`), "pass"},
		{blob("\x01\x02"), "pass"},
		{text(`42["move",{"x":1}]`), "close operations: operation not allowed (move)"},
		{text(`42["kick",1]`), "close operations: operation not allowed (kick)"},
		{text(`42["chat message",{"a":1,"a":2}]`), "close json: message is not strict JSON"},
		{text(`{"type":"chat message"}`), "close operations: message is malformed"},
	})
}

func TestSTOMPAndGraphQL(t *testing.T) {
	testRows(t, mustLoad(t, "operations: {from: stomp, allow: [CONNECT, SEND, SUBSCRIBE]}", nil), Session{}, []row{
		{text("SEND\ndestination:/queue/a\n\nhi\x00"), "pass"},
		{text("\n"), "pass"},
		{text("SEND\n\na\x00\nBEGIN\n\n\x00"), "close operations: operation not allowed (BEGIN)"},
		{text("SEND"), "close operations: message is malformed"},
	})
	testRows(t, mustLoad(t, `operations: {from: graphql-ws, allow: [connection_init, ping, complete, "subscribe:On*"]}`, nil), Session{}, []row{
		{text(`{"type":"connection_init"}`), "pass"},
		{text(`{"id":"1","type":"subscribe","payload":{"operationName":"OnMessage","query":"subscription OnMessage { m }"}}`), "pass"},
		{text(`{"id":"1","type":"subscribe","payload":{"query":"{ m }"}}`), "close operations: operation not allowed (subscribe)"},
		{text(`{"id":"1","type":"subscribe","payload":{"operationName":"Dump","query":"{ m }"}}`), "close operations: operation not allowed (subscribe:Dump)"},
	})
}

// On one connection, in order: packets of MQTT are cut anywhere, and a stream that would lose a piece ends.
func TestMQTT(t *testing.T) {
	i := mustLoad(t, `operations: {from: mqtt-topics, allow: [connect, disconnect, "publish:chat/*", "subscribe:chat/*"], on_match: drop}`, nil)
	const (
		connect = "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"
		good    = "\x30\x08\x00\x06chat/a"
		bad     = "\x30\x07\x00\x05admin"
	)
	for name, rows := range map[string][]row{
		"whole": {
			{blob(connect), "pass"},
			{blob(good + "\xc0\x00" + good), "pass"},
			{blob(bad), "drop operations: operation not allowed (publish:admin)"},
			{blob(good + bad), "drop operations: operation not allowed (publish:admin)"},
			{blob(good), "pass"},
			{text(good), "drop operations: message is malformed"},
		},
		"in pieces": {
			{blob(connect[:1]), "pass in pieces"},
			{blob(connect[1:8]), "pass in pieces"},
			{blob(connect[8:] + good[:6]), "pass in pieces"},
			{blob(good[6:]), "pass in pieces"},
			{blob(bad[:1]), "pass in pieces"},
			{blob(bad[1:]), "close operations: operation not allowed (publish:admin)"}, // its start has passed already
		},
		"begins with one and ends in another": {
			{blob(good + bad + good[:3]), "close operations: operation not allowed (publish:admin)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Session{}
			for _, row := range rows {
				if got := describe(i.Inspect(s, row.message, epoch)); got != row.want {
					t.Fatalf("%q: %s, want %s", row.message.Payload, got, row.want)
				}
			}
		})
	}
}
