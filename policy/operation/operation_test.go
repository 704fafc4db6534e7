package operation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var testBounds = Bounds{Calls: 5, Depth: 8, Build: true}

func sourceOf(t testing.TB, name string) Source {
	t.Helper()
	if pointer, ok := strings.CutPrefix(name, "json "); ok {
		s, err := Pointer(pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, ok := Protocol(name)
	if !ok {
		t.Fatalf("no protocol %q", name)
	}
	return s
}

// describe says what a message was found to be: the names of its operations, - for what has none, ~ for the protocol's own, or the problem.
func describe(r *Reader) string {
	if r.Problem != Sound {
		return "problem: " + string(r.Problem)
	}
	var words []string
	for _, c := range r.Calls {
		word := map[State]string{Unnamed: "-", Internal: "~"}[c.State]
		if c.State == Named {
			word = fmt.Sprintf("%q", c.Name)
		}
		if c.Element >= 0 {
			word = fmt.Sprintf("%d:%s", c.Element, word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func text(s string) Message { return Message{Text: true, Payload: []byte(s)} }
func blob(s string) Message { return Message{Payload: []byte(s)} }

// row is one message and what it is.
type row struct {
	message Message
	want    string
}

// testRows reads each message alone, and then all with one reader: what was read before must not show.
func testRows(t *testing.T, name string, rows []row) {
	t.Helper()
	s := sourceOf(t, name)
	reused := NewReader(s, testBounds)
	for _, row := range rows {
		before := string(row.message.Payload)
		fresh := NewReader(s, testBounds)
		fresh.Read(row.message, new(Stream))
		if got := describe(fresh); got != row.want {
			t.Errorf("%q: %s, want %s", before, got, row.want)
		}
		reused.Read(row.message, new(Stream))
		if got := describe(reused); got != row.want {
			t.Errorf("%q with a reader that was used: %s, want %s", before, got, row.want)
		}
		reused.Release()
		if string(row.message.Payload) != before {
			t.Errorf("%q was changed", before)
		}
	}
}

func TestPointer(t *testing.T) {
	const notStrict, ambiguous = "problem: message is not strict JSON", "problem: name of operation is ambiguous"
	testRows(t, "json /type", []row{
		{text(`{"type":"chat"}`), `"chat"`},
		{text(" {\n\"x\": [1, {\"type\": \"inner\"}], \"type\" : \"chat\" }\n"), `"chat"`},
		{blob(`{"type":"chat"}`), `"chat"`}, // many applications parse both alike
		{text(`{"\u0074ype":"\u0063hat"}`), `"chat"`},
		{text(`{"type":""}`), `""`},
		{text(`{"type":"a\u0000b\"\\"}`), `"a\x00b\"\\"`},
		{text(`{"type":"` + strings.Repeat("a", maxName) + `"}`), `"` + strings.Repeat("a", maxName) + `"`},
		{text(`{"type":"` + strings.Repeat("a", maxName+1) + `"}`), "problem: name of operation too long"},

		{text(`{"type":2}`), `"2"`},
		{text(`{"type":2.0}`), `"2"`},
		{text(`{"type":0.2e1}`), `"2"`},
		{text(`{"type":-0}`), `"0"`},
		{text(`{"type":1e21}`), `"1e+21"`},
		{text(`{"type":1e400}`), notStrict},
		{text(`{"type":true}`), `"true"`},
		{text(`{"type":null}`), "-"},
		{text(`{"type":{"type":"x"}}`), "-"},
		{text(`{"type":["x"]}`), "-"},

		{text(`{}`), "-"},
		{text(`[]`), "-"},
		{text(`["type"]`), "-"},
		{text(`{"kind":"chat"}`), "-"},
		{text(`{"x":{"type":"inner"}}`), "-"},
		{text(`"type"`), "-"},
		{text(`5`), "-"},
		{text(`ping`), "-"}, // no parser finds an object in it
		{text(``), "-"},
		{text("\xef\xbb\xbf"), "-"},

		{text(`{"type":"chat","type":"admin"}`), notStrict},
		{text(`{"type":"chat","\u0074ype":"admin"}`), notStrict},
		{text(`{"x":{"a":1,"a":2},"type":"chat"}`), notStrict},
		{text(`{"type":"chat"}{"type":"admin"}`), notStrict},
		{text(`{"type":"chat"} x`), notStrict},
		{text("\xef\xbb\xbf" + `{"type":"chat"}`), notStrict},
		{text(`{"type":"chat",}`), notStrict},
		{text(`{'type':'chat'}`), notStrict},
		{text(`{type:"chat"}`), notStrict},
		{text(`/**/{"type":"chat"}`), notStrict},
		{text(`{"type":"chat"`), notStrict},
		{text("{\"type\":\"a\x00b\"}"), notStrict},
		{text("\x00{\"type\":\"chat\"}"), notStrict},
		{text("{\"type\":\"chat\"}\x00"), notStrict},
		{blob("{\"type\":\"\xff\"}"), notStrict},
		{text(`{"type":"\ud800"}`), notStrict},
		{text(`{"type":NaN}`), notStrict},
		{text(`{"type":01}`), notStrict},
		{text(strings.Repeat("[", 8) + strings.Repeat("]", 8)), "-"},
		{text(strings.Repeat("[", 9) + strings.Repeat("]", 9)), notStrict},
		{text(strings.Repeat(`{"type":`, 100_000)), notStrict},

		{text(`{"Type":"admin"}`), ambiguous},
		{text(`{"type":"chat","TYPE":"admin"}`), ambiguous},
		{text(`{"x":{"Type":"admin"},"type":"chat"}`), `"chat"`}, // not a place where a name stands
	})
	testRows(t, "json /a~1b/0/~0k", []row{
		{text(`{"a/b":[{"~k":"x"},{"~k":"y"}]}`), `"x"`},
		{text(`{"a/b":{"0":{"~k":"x"}}}`), `"x"`}, // RFC 6901 does not tell them apart
		{text(`{"a/b":[[],{"~k":"y"}]}`), "-"},
		{text(`{"a":{"b":[{"~k":"x"}]}}`), "-"},
		{text(`{"a/b":[{"~K":"x"}]}`), ambiguous},
		{text(`{"A/B":[{"~k":"x"}]}`), ambiguous},
	})
	testRows(t, "json /ſ", []row{ // a long s is an s to who folds case
		{text(`{"ſ":"x"}`), `"x"`},
		{text(`{"s":"x"}`), ambiguous},
		{text(`{"S":"x"}`), ambiguous},
	})
	testRows(t, "json /", []row{{text(`{"":"x"}`), `"x"`}})
	testRows(t, "json /1", []row{{text(`["a","b"]`), `"b"`}, {text(`["a"]`), "-"}})
	testRows(t, "json /01", []row{{text(`["a","b"]`), "-"}, {text(`{"01":"b"}`), `"b"`}})
}

func TestPointerRefuses(t *testing.T) {
	for pointer, want := range map[string]string{
		"":       `"" is not a JSON pointer, want one such as /type or /body/action`,
		"type":   `"type" is not a JSON pointer, want one such as /type or /body/action`,
		"#/type": `"#/type" is not a JSON pointer, want one such as /type or /body/action`,
		"/a~":    `"/a~" is not a JSON pointer: ~ stands only in ~0 (for ~) and ~1 (for /)`,
		"/a~2b":  `"/a~2b" is not a JSON pointer: ~ stands only in ~0 (for ~) and ~1 (for /)`,
		"/~~0":   `"/~~0" is not a JSON pointer: ~ stands only in ~0 (for ~) and ~1 (for /)`,
	} {
		if _, err := Pointer(pointer); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", pointer, err, want)
		}
	}
}

func TestJSONRPC(t *testing.T) {
	const call = `{"jsonrpc":"2.0","method":"eth_call","params":[{"to":"0x1"},"latest"],"id":1}`
	testRows(t, "jsonrpc", []row{
		{text(call), `"eth_call"`},
		{text(`{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x9","result":{"method":"inner"}}}`), `"eth_subscription"`},
		{text(`{"jsonrpc":"2.0","result":"0x5","id":1}`), "-"},
		{text(`{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}`), "-"},
		{text(`[` + call + `,` + call + `]`), `0:"eth_call" 1:"eth_call"`},
		{text(`[{"method":"a"},{"result":1},{"method":"b"},5,[{"method":"c"}]]`), `0:"a" 1:- 2:"b" 3:- 4:-`},
		{text(`[{"method":"a"},{"method":"b"},{"method":"c"},{"method":"d"},{"method":"e"}]`), `0:"a" 1:"b" 2:"c" 3:"d" 4:"e"`},
		{text(`[1,2,3,4,5,6]`), "problem: too many operations in one message"},
		{text(`[{"method":"a"},{"method":"b"},{"method":"c"},{"method":"d"},{"method":"e"},{"method":"f"}]`), "problem: too many operations in one message"},
		{text(`[` + strings.Repeat(`{"method":"a"},`, 1000) + `{"method":"a","method":"b"}]`), "problem: message is not strict JSON"},
		{text(`[]`), "-"},
		{text(`[{"method":"a"},{"method":"b","Method":"c"}]`), "problem: name of operation is ambiguous"},
		{text(`{"params":{"method":"a","METHOD":"b"},"method":"c"}`), `"c"`},
		{text(`{"method":["a"]}`), "-"},
	})
}

func TestGraphQL(t *testing.T) {
	testRows(t, "graphql-ws", []row{
		{text(`{"type":"connection_init","payload":{"authToken":"x"}}`), `"connection_init"`},
		{text(`{"type":"ping"}`), `"ping"`},
		{text(`{"id":"1","type":"subscribe","payload":{"operationName":"OnMessage","query":"subscription OnMessage { messageAdded { id } }"}}`), `"subscribe:OnMessage"`},
		{text(`{"payload":{"operationName":"OnMessage","query":"..."},"type":"subscribe","id":"1"}`), `"subscribe:OnMessage"`},
		{text(`{"id":"1","type":"subscribe","payload":{"query":"{ x }"}}`), `"subscribe"`},
		{text(`{"id":"1","type":"subscribe","payload":{"operationName":null,"query":"{ x }"}}`), `"subscribe"`},
		{text(`{"id":"1","type":"subscribe","payload":{"operationName":"","query":"{ x }"}}`), `"subscribe"`},
		{text(`{"id":"1","type":"start","payload":{"operationName":"Old","query":"{ x }"}}`), `"start:Old"`},
		{text(`{"id":"1","type":"next","payload":{"operationName":"x"}}`), `"next"`},
		{text(`{"id":"1","type":"complete"}`), `"complete"`},
		{text(`{"id":"1"}`), "-"},
		{text(`[{"type":"subscribe"}]`), "-"},
		{text(`{"type":"subscribe","payload":{"operationname":"a","operationName":"b"}}`), "problem: name of operation is ambiguous"},
		{text(`{"type":"subscribe","Payload":{"operationName":"b"}}`), "problem: name of operation is ambiguous"},
		{text(`{"type":"subscribe","payload":{"operationName":"` + strings.Repeat("a", maxName) + `"}}`), "problem: name of operation too long"},
	})
}

// What a call is about: its element of a batch, or the message.
func TestValue(t *testing.T) {
	r := NewReader(sourceOf(t, "jsonrpc"), testBounds)
	for _, test := range []struct{ message, want string }{
		{`{"method":"a","n":[]}`, `[map[method:a n:[]]]`},
		{`[{"method":"a"},2.5,null]`, `[map[method:a] 2.5 <nil>]`},
		{`[]`, `[[]]`},
		{`ping`, `[<nil>]`},
	} {
		r.Read(text(test.message), new(Stream))
		var values []any
		for _, c := range r.Calls {
			values = append(values, r.Value(c))
		}
		if got := fmt.Sprint(values); got != test.want {
			t.Errorf("%s: %s, want %s", test.message, got, test.want)
		}
		r.Release()
		if v := r.Value(Call{Element: -1}); v != nil {
			t.Errorf("%s: after Release there is still %v", test.message, v)
		}
	}
	if r := NewReader(sourceOf(t, "jsonrpc"), Bounds{Calls: 1, Depth: 8}); r.Value(Call{Element: -1}) != nil {
		t.Error("a value that nobody needs")
	}
}

func TestSources(t *testing.T) {
	if got, want := Protocols(), []string{"graphql-ws", "jsonrpc", "mqtt", "mqtt-topics", "socket.io", "stomp"}; !slices.Equal(got, want) {
		t.Errorf("protocols %q, want %q", got, want)
	}
	if _, ok := Protocol("wamp"); ok {
		t.Error("there is a protocol wamp")
	}
	for name, want := range map[string][3]bool{ // JSON, the whole message, binary
		"graphql-ws": {true, true, false}, "jsonrpc": {true, true, false}, "socket.io": {true, false, false},
		"mqtt": {false, false, true}, "mqtt-topics": {false, false, true}, "stomp": {false, false, false}, "json /a": {true, true, false},
	} {
		s := sourceOf(t, name)
		json, whole := s.JSON()
		if got := [3]bool{json, whole, s.Binary()}; got != want || s.String() != name {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
	r := NewReader(None(), testBounds)
	if r.Read(text(`{"method":"a"}`), new(Stream)); describe(r) != "-" {
		t.Errorf("None finds %s", describe(r))
	}
}
