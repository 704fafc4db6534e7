package operation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestSocketIO(t *testing.T) {
	const malformed, notStrict = "problem: message is malformed", "problem: message is not strict JSON"
	testRows(t, "socket.io", []row{
		// The protocol's documentation, section "Packet encoding", and what socket.io 4 sends.
		{text(`42["foo"]`), `"foo"`},
		{text(`42/admin,["bar"]`), `"/admin:bar"`},
		{text(`4212["foo"]`), `"foo"`},
		{text(`42/admin,13["bar"]`), `"/admin:bar"`},
		{text(`42["chat message",{"text":"hi","nested":[1,[2]]}]`), `"chat message"`},
		{text(`42["\u0063hat",1]`), `"chat"`},
		{text(`42[5,"x"]`), `"5"`},
		{text(`451-["baz",{"_placeholder":true,"num":0}]`), `"baz"`},
		{text(`451-/admin,["baz",{"_placeholder":true,"num":0}]`), `"/admin:baz"`},
		{text(`4512-/admin,456["project:delete",{"_placeholder":true,"num":0}]`), `"/admin:project:delete"`},
		{text(`42/,["x"]`), `"x"`},
		{blob("\x00\x01"), "~"},
		{blob(`42["foo"]`), "~"}, // an attachment, whatever it looks like
		{text("bAAEC"), "~"},
		{text(`0{"sid":"x"}`), "~"},
		{text("1"), "~"},
		{text("2"), "~"},
		{text("2probe"), "~"},
		{text("3probe"), "~"},
		{text("5"), "~"},
		{text("6"), "~"},
		{text("40"), "~"},
		{text("40/admin,"), "~"},
		{text("40/admin"), "~"},
		{text(`40{"token":"x"}`), "~"},
		{text(`40/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}`), "~"},
		{text("41"), "~"},
		{text("41/admin,"), "~"},
		{text(`44{"message":"Not authorized"}`), "~"},
		{text(`4312["bar"]`), "~"},
		{text(`43/admin,13["bar"]`), "~"},
		{text(`461-15["bar",{"_placeholder":true,"num":0}]`), "~"},

		{text(""), malformed},
		{text("4"), malformed},
		{text("7"), malformed},
		{text(" 42[\"foo\"]"), malformed},
		{text("47"), malformed},
		{text("4 "), malformed}, // to the reference a space is the digit 0
		{text(`42`), malformed},
		{text(`42{}`), malformed},
		{text(`42[]`), malformed},
		{text(`42[null]`), malformed},
		{text(`42[["foo"]]`), malformed},
		{text(`42[true]`), malformed},
		{text(`42"foo"`), malformed},
		{text(`45["foo"]`), malformed},
		{text(`45-["foo"]`), malformed},
		{text(`451["foo"]`), malformed},
		{text(`451`), malformed},
		{text(`42 ["foo"]`), malformed}, // the space would be an ack id
		{text("40 0.0"), malformed},
		{text(`42["foo"] x`), notStrict},
		{text(`42["foo"]42["bar"]`), notStrict},
		{text(`42["foo",{"a":1,"a":2}]`), notStrict},
		{text(`42/admin["foo"]`), malformed}, // all of it is the namespace
		{text(`42-1["foo"]`), notStrict},
		{text("42[\"foo\"]\x1e42[\"bar\"]"), notStrict}, // several packets stand together over HTTP only
		{text(`40{"a":1,"a":2}`), notStrict},
		{text(`43x`), notStrict},
	})
}

// referenceParse is decodeString of socket.io-parser 4.2.4, transcribed, with what engine.io-parser 5 does before: it returns the packet's
// namespace and event, "" where the packet is no event, and an error where the reference throws.
func referenceParse(message string) (namespace, event string, err error) {
	charAt := func(s string, i int) string {
		if i < 0 || i >= len(s) {
			return ""
		}
		return s[i : i+1]
	}
	isNumber := func(s string) bool { // Number(s) == s of one character
		return s != "" && strings.Contains("0123456789 \t\n\r\v\f", s)
	}
	fail := func(why string) (string, string, error) { return "", "", fmt.Errorf("%s", why) }
	switch kind := charAt(message, 0); kind {
	case "0", "1", "2", "3", "5", "6", "b":
		return "", "", nil
	case "4":
	default:
		return fail("unknown engine packet")
	}
	s, i := message[1:], 0
	kind := charAt(s, 0)
	if kind == "" || !strings.Contains("0123456", kind) {
		return fail("unknown packet type")
	}
	if kind == "5" || kind == "6" {
		start := i + 1
		for i++; charAt(s, i) != "-" && i != len(s); i++ {
		}
		if _, err := strconv.ParseUint(s[start:i], 10, 31); err != nil || charAt(s, i) != "-" {
			return fail("illegal attachments")
		}
	}
	namespace = "/"
	if charAt(s, i+1) == "/" {
		start := i + 1
		for i++; charAt(s, i) != "," && i != len(s); i++ {
		}
		namespace = s[start:i]
	}
	if isNumber(charAt(s, i+1)) {
		for i++; isNumber(charAt(s, i)) && i != len(s); i++ {
		}
		i--
	}
	i++
	if charAt(s, i) == "" {
		return namespace, "", nil
	}
	var payload any
	if err := json.Unmarshal([]byte(s[i:]), &payload); err != nil {
		return fail("invalid payload")
	}
	if kind != "2" && kind != "5" {
		return namespace, "", nil
	}
	items, _ := payload.([]any)
	if len(items) == 0 {
		return fail("invalid payload")
	}
	switch name := items[0].(type) {
	case string:
		return namespace, name, nil
	case float64:
		return namespace, strconv.FormatFloat(name, 'g', -1, 64), nil
	}
	return fail("invalid payload")
}

// The law: where the reference finds an event, there is the same event here, or a problem.
func FuzzSocketIO(f *testing.F) {
	for _, seed := range []string{
		`42["foo"]`, `42/admin,13["bar"]`, `451-/a,["baz",{}]`, `40`, `2probe`, `42 ["x"]`, `42/,1["x"]`, `45 1-["x"]`, `42/a,/b["x"]`, "42\u2028[\"x\"]",
		`4500-["x"]`, `42["\u0078"]`, `42[1e0]`, `42[true]`, `43["x"]`, `42//,["x"]`,
	} {
		f.Add(seed)
	}
	r := NewReader(sourceOf(f, "socket.io"), Bounds{Calls: 5, Depth: 64})
	f.Fuzz(func(t *testing.T, message string) {
		namespace, event, err := referenceParse(message)
		r.Read(text(message), new(Stream))
		defer r.Release()
		if r.Problem != Sound {
			return
		}
		if err != nil {
			t.Fatalf("%q: %s, and the reference says %v", message, describe(r), err)
		}
		if len(r.Calls) != 1 {
			t.Fatalf("%q: %s", message, describe(r))
		}
		if namespace != "/" && namespace != "" {
			event = namespace + ":" + event
		}
		switch c := r.Calls[0]; {
		case c.State == Internal && !strings.HasSuffix(":"+event, ":"):
			t.Fatalf("%q: no event, and the reference says %q", message, event)
		case c.State == Named && string(c.Name) != event && !strings.ContainsAny(event, "0123456789"):
			t.Fatalf("%q: %q, and the reference says %q", message, c.Name, event)
		}
	})
}
