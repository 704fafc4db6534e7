package condition

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// ada is what conditions see of one handshake.
func ada() map[string]any {
	return map[string]any{
		"request": map[string]any{
			"method": "GET", "host": "chat.example", "path": "/ws/room/7", "secure": true, "websocket": true, "origin": "https://chat.example",
			"query":        map[string][]string{"room": {"7", "8"}, "empty": {""}},
			"headers":      map[string]string{"user-agent": "curl/8", "x-version": "12"},
			"subprotocols": []string{"chat.v2", "chat.v1"},
		},
		"client": map[string]any{"address": "10.1.2.3"},
		"claims": map[string]any{
			"sub": "ada", "admin": true, "level": 5.0, "tier": int64(7), "groups": []any{"dev", "team-red"}, "nothing": nil,
			"realm": map[string]any{"roles": []any{"editor"}}, "network": "10.0.0.0/8",
		},
		"certificate": map[string]any{},
		"now":         time.Date(2026, 11, 2, 22, 30, 0, 0, time.UTC),
		"route":       "chat",
	}
}

// chat is what conditions see of one text message.
func chat() map[string]any {
	return map[string]any{
		"message": map[string]any{
			"type": "text", "size": 48, "text": `{"type":"post","user":"ada","tags":["a","b"],"n":3}`, "operation": "post",
			"json": map[string]any{"type": "post", "user": "ada", "tags": []any{"a", "b"}, "n": 3.0},
		},
		"client": map[string]any{"address": "2001:db8::7"},
		"claims": map[string]any{"sub": "ada"},
		"now":    time.Date(2026, 11, 2, 22, 30, 0, 0, time.UTC),
		"route":  "chat",
	}
}

// handshakes are conditions and what they say of ada: true, false, or that they cannot be decided.
var handshakes = map[string]any{
	`request.method == "GET" && request.secure`:                       true,
	`request.websocket`:                                               true,
	`request.host.endsWith(".example")`:                               true,
	`request.path.matches("^/ws/room/[0-9]+$")`:                       true,
	`matches(request.path, "^/ws/[a-z]+$")`:                           false,
	`request.query.room[1] == "8" && request.query["empty"] == [""]`:  true,
	`"room" in request.query && !("token" in request.query)`:          true,
	`request.query.token[0] == "x"`:                                   errValue,
	`request.headers["user-agent"].startsWith("curl/")`:               true,
	`int(request.headers["x-version"]) >= 12`:                         true,
	`int(request.headers["user-agent"]) >= 12`:                        errValue,
	`has(request.headers.cookie)`:                                     false,
	`request.subprotocols.exists(p, p == "chat.v1")`:                  true,
	`request.subprotocols.all(p, p.startsWith("chat."))`:              true,
	`request.subprotocols.exists_one(p, p.startsWith("chat."))`:       false,
	`request.subprotocols.filter(p, p != "chat.v1") == ["chat.v2"]`:   true,
	`has(request.origin) && request.origin == "https://chat.example"`: true,

	`claims.sub == "ada"`:                          true,
	`claims.admin == true`:                         true,
	`claims.sub == 1`:                              false,
	`claims.level == 5 && claims.level < 6`:        true,
	`claims.tier > 6.5 && claims.tier != 8`:        true,
	`claims.nothing == null`:                       true,
	`"dev" in claims.groups`:                       true,
	`"ops" in claims.groups`:                       false,
	`claims.groups.exists(g, g.matches("^team-"))`: true,
	`claims.groups.exists(g, g in ["ops", "dev"])`: true,
	`"editor" in claims.realm.roles`:               true,
	`claims.roles == "x"`:                          errValue,
	`!(claims.roles == "x")`:                       errValue,
	`claims.roles == "x" || claims.sub == "ada"`:   true,
	`claims.roles == "x" && claims.sub == "ada"`:   errValue,
	`claims.roles == "x" && claims.sub == "eve"`:   false,
	`has(claims.roles) && claims.roles == "x"`:     false,
	`claims.sub.startsWith("a")`:                   true,
	`claims.admin.startsWith("a")`:                 errValue,
	`claims.sub < 5`:                               errValue,
	`claims.admin ? true : false`:                  true,
	`claims.sub ? true : false`:                    errValue,
	`[1, 2][int(claims.level)] == 1`:               errValue,

	`in_network(client.address, "10.0.0.0/8")`:                                  true,
	`in_network(client.address, "10.1.2.3")`:                                    true,
	`in_network(client.address, "192.168.0.0/16")`:                              false,
	`in_network(client.address, "::/0")`:                                        false,
	`in_network(client.address, claims.network)`:                                true,
	`in_network(client.address, claims.sub)`:                                    errValue,
	`in_network(claims.sub, "10.0.0.0/8")`:                                      errValue,
	`in_network("::ffff:10.1.2.3", "10.0.0.0/8")`:                               true,
	`in_network("fe80::1%eth0", "fe80::/10")`:                                   true,
	`["10.0.0.0/8", "192.168.0.0/16"].exists(n, in_network(client.address, n))`: true,

	`has(certificate.subject)`:                                 false,
	`certificate.subject == "CN=ada"`:                          errValue,
	`has(certificate.dns) || route == "chat"`:                  true,
	`now < timestamp("2027-01-01T00:00:00Z")`:                  true,
	`now.getHours() == 22 && now.getDayOfWeek() == 1`:          true,
	`now.getHours("+02:00") == 0`:                              true,
	`now - duration("1h") > timestamp("2026-11-02T21:00:00Z")`: true,
	`route == "chat" // the only one`:                          true,
	"route ==\n\"chat\"":                                       true,
}

// messages are conditions and what they say of chat.
var messages = map[string]any{
	`message.type == "text" && message.size < 64`:                    true,
	`message.text.contains("post")`:                                  true,
	`message.json.type == "post" && message.json.user == claims.sub`: true,
	`message.json.n < 4`:                                             true,
	`message.json.tags.all(t, size(t) == 1)`:                         true,
	`message.json.tags.exists(t, t == "c")`:                          false,
	`message.json != null && has(message.json.missing)`:              false,
	`message.json.missing == 1`:                                      errValue,
	`message.operation in ["post", "edit"]`:                          true,
	`in_network(client.address, "2001:db8::/32") && route == "chat"`: true,
}

func TestHolds(t *testing.T) {
	for _, scope := range []struct {
		name       string
		scope      *Scope
		conditions map[string]any
		vars       map[string]any
	}{
		{"handshake", Handshake(), handshakes, ada()},
		{"message", Message(), messages, chat()},
	} {
		for source, want := range scope.conditions {
			t.Run(scope.name+"/"+source, func(t *testing.T) {
				c, err := scope.scope.Compile(source)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Holds(scope.vars)
				if wantErr, ok := want.(error); ok {
					if got || !errors.Is(err, wantErr) {
						t.Errorf("got %v, %v, want false, %v", got, err, wantErr)
					}
				} else if got != want || err != nil {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			})
		}
	}
}

// TestNegation is the law that makes a denial safe: a condition and its negation never both hold, and one of them does unless there is an error.
func TestNegation(t *testing.T) {
	scope := Handshake()
	for source := range handshakes {
		if !neither(t, scope, source, ada()) {
			t.Errorf("%q or its negation is refused", source)
		}
	}
}

// neither checks the law for one source. It reports false if the source or its negation is refused: it may be longer, deeper or dearer than is
// allowed.
func neither(t *testing.T, scope *Scope, source string, vars map[string]any) bool {
	t.Helper()
	c, err := scope.Compile(source)
	if err != nil {
		return false
	}
	negation, err := scope.Compile("!(" + source + "\n)")
	if err != nil {
		return false
	}
	is, err := c.Holds(vars)
	isNot, errNot := negation.Holds(vars)
	if is && isNot {
		t.Errorf("%q: it holds, and so does its negation", source)
	}
	ended := errors.Join(err, errNot)
	if (err == nil) != (errNot == nil) && !errors.Is(ended, errCost) && !errors.Is(ended, errTime) {
		t.Errorf("%q: error %v, and of its negation %v", source, err, errNot)
	}
	if err == nil && errNot == nil && is == isNot {
		t.Errorf("%q: it does not hold, and neither does its negation", source)
	}
	return true
}

func TestCompileErrors(t *testing.T) {
	names := "certificate, claims, client, now, request, route"
	tests := map[string][]string{ // what the error has
		"":                                 {"is empty", "want an expression of type bool over " + names},
		" \n":                              {"is empty"},
		"// nothing":                       {"line 1, column 11", "Syntax error"},
		`1 +`:                              {"line 1, column 4", "Syntax error", "want an expression of type bool over " + names},
		"route == \"a\" &&\n  &&":          {"line 2, column 3"},
		`route = "a"`:                      {"line 1, column 7"},
		`claims.sub`:                       {"the whole is of type dyn, want bool", "claims.admin == true"},
		`request.method`:                   {"the whole is of type string, want bool"},
		`1`:                                {"the whole is of type int, want bool"},
		`reqest.method == "GET"`:           {"line 1, column 1", "undeclared reference to 'reqest'", "did you mean 'request'", "over " + names},
		`request.metod == "GET"`:           {"line 1, column 8", "undefined field 'metod'"},
		`message.size == 1`:                {"undeclared reference to 'message'"},
		`request.method == 5`:              {"line 1, column 16", "'(string, int)'"},
		`request == 5`:                     {"'(map of request, int)'"},
		`request["method"] == "x"`:         {"line 1, column 8", "no matching overload"},
		`request{method: "x"} == 1`:        {"undeclared reference to 'request'"},
		`request.headers.all(h)`:           {"line 1, column 20"},
		`route.all(c, c == "x")`:           {"cannot be range of a comprehension"},
		`sleep(5)`:                         {"undeclared reference to 'sleep'"},
		`route.matches("(")`:               {"line 1, column 15", `"(" of matches is no pattern`, "want the syntax of RE2"},
		`matches(route, "(a{9}){99}")`:     {"is a pattern of", "instructions, want at most 256"},
		`route.matches(request.path)`:      {"line 1, column 22", "the last argument of matches is computed, want a string"},
		`route.matches("a" + "b")`:         {"is computed, want a string"},
		`now.getHours("Europe/Berln") < 1`: {"line 1, column 14", `"Europe/Berln" of getHours is no time zone`, "want a form such as Europe/Berlin"},
		`now.getDate("+25:00") < 1`:        {"is no time zone"},
		`now.getDate(route) < 1`:           {"is computed, want a string"},
		`now < timestamp("noon")`:          {"line 1, column 17", "invalid timestamp argument, want"},
		`now - now < duration("1 day")`:    {"invalid duration argument, want"},

		`in_network(client.address, "10.0.0.1/8")`:                      {"line 1, column 28", `"10.0.0.1/8" of in_network is no network: want 10.0.0.0/8, not`},
		`in_network(client.address, "10.0.0")`:                          {"is no network: want a network such as 10.0.0.0/8"},
		`in_network(client.address, "::ffff:10.0.0.0/104")`:             {"is no network: want an IPv4 network"},
		`in_network(client.address, 8)`:                                 {"no matching overload"},
		`in_network(client.address, "` + strings.Repeat("1", 65) + `")`: {"is no network: want a network such as"},
	}
	scope := Handshake()
	for source, want := range tests {
		_, err := scope.Compile(source)
		if err == nil {
			t.Errorf("%q: no error, want one with %q", source, want)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: error %q, want one with %q", source, err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %q, want one line", source, err)
		}
	}
}

// TestErrorsTellNoValue looks for the request's values in the errors of evaluations: they are logged.
func TestErrorsTellNoValue(t *testing.T) {
	const secret = "S3CRET"
	vars := ada()
	vars["claims"] = map[string]any{"a": secret, "list": []any{}, "map": map[string]any{}}
	for _, source := range []string{
		`int(claims.a) == 1`, `claims.a == 1 && timestamp(claims.a) > now`, `claims.map[claims.a] == 1`, `request.headers[string(claims.a)] == "x"`,
		`claims.list[claims.a] == 1`, `in_network(claims.a, "::/0")`, `in_network("::1", claims.a)`, `claims.a + 1 == 2`, `duration(claims.a) == duration("1s")`,
		`claims.map.all(k, claims.a)`, `claims.a.all(k, k == 1)`,
	} {
		c, err := Handshake().Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Holds(vars); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %q holds a value of the request", source, err)
		}
	}
}

// TestVariables covers what callers may leave out or hand over late.
func TestVariables(t *testing.T) {
	c, err := Handshake().Compile(`route == "chat" || claims.sub == "ada" || claims.sub == "bob"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Holds(map[string]any{}); !errors.Is(err, errValue) {
		t.Errorf("without variables: %v, want %v", err, errValue)
	}
	if _, err := c.Holds(nil); !errors.Is(err, errValue) {
		t.Errorf("without a map: %v, want %v", err, errValue)
	}
	if _, err := c.Holds(map[string]any{"route": "x", "claims": struct{}{}}); !errors.Is(err, errValue) {
		t.Errorf("with a value of another type: %v, want %v", err, errValue)
	}
	calls := 0
	vars := map[string]any{"route": "chat", "claims": func() any { calls++; return map[string]any{"sub": "bob"} }}
	if ok, err := c.Holds(vars); !ok || err != nil || calls != 0 {
		t.Errorf("decided without claims: %v, %v after %d calls, want true after 0", ok, err, calls)
	}
	vars["route"] = "feed"
	if ok, err := c.Holds(vars); !ok || err != nil || calls != 1 {
		t.Errorf("decided by claims: %v, %v after %d calls, want true after 1", ok, err, calls)
	}
}

func TestReads(t *testing.T) {
	tests := map[string]bool{
		`message.json.a == 1`:                            true,
		`message.text == "x" || has(message.json)`:       true,
		`["a"].exists(m, m == message.json)`:             true,
		`dyn(message) == 1`:                              true, // who takes the whole takes the field
		`message.text == "json"`:                         false,
		`claims.json == "x"`:                             false,
		`claims.message.json == "x"`:                     false,
		`message.type == "text" && claims["json"] == ""`: false,
	}
	for source, want := range tests {
		c, err := Message().Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Reads("message", "json"); got != want {
			t.Errorf("%s: reads message.json: %v, want %v", source, got, want)
		}
	}
}

// TestConcurrent shares a scope and conditions among goroutines, also while they fail.
func TestConcurrent(t *testing.T) {
	scope := Handshake()
	good, err := scope.Compile(`claims.groups.exists(g, g == "team-red") && request.path.matches("^/ws/")`)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := scope.Compile(`claims.groups.all(g, claims.sub < 5) || claims.roles == 1`)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			vars := ada()
			for range 50 {
				if ok, err := good.Holds(vars); !ok || err != nil {
					t.Errorf("%v, %v, want true", ok, err)
				}
				if ok, err := bad.Holds(vars); ok || err == nil {
					t.Errorf("%v, %v, want an error", ok, err)
				}
			}
			if _, err := scope.Compile(`claims.sub == "ada"`); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestNoGoroutine(t *testing.T) {
	c, err := Handshake().Compile(`claims.groups.exists(g, g == "team-red")`)
	if err != nil {
		t.Fatal(err)
	}
	vars, before := ada(), runtime.NumGoroutine()
	for range 100 {
		if _, err := c.Holds(vars); err != nil {
			t.Fatal(err)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, want %d", after, before)
	}
}

// TestInterrupt hands a loop a context whose time is over.
func TestInterrupt(t *testing.T) {
	c, err := Handshake().Compile(`claims.groups.all(g, g != "x")`)
	if err != nil {
		t.Fatal(err)
	}
	vars := ada()
	vars["claims"] = map[string]any{"groups": make([]any, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	if ok, err := c.result(c.program.ContextEval(ctx, vars)); !ok || err != nil {
		t.Errorf("in time: %v, %v, want true", ok, err)
	}
	cancel()
	if ok, err := c.result(c.program.ContextEval(ctx, vars)); ok || !errors.Is(err, errTime) {
		t.Errorf("too late: %v, %v, want false, %v", ok, err, errTime)
	}
}
