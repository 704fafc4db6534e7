package condition

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBombsAtLoad lists what is refused before anybody sends anything.
func TestBombsAtLoad(t *testing.T) {
	const cost = "steps, want at most 100000"
	tests := []struct{ source, want string }{
		{`claims.a.all(a, claims.b.all(b, a == b))`, cost},
		{`claims.a.all(a, claims.a.all(b, claims.a.all(c, claims.a.all(d, a == d))))`, cost},
		{`claims.a.map(a, claims.a.map(b, [a, b])).size() > 1`, cost},
		{`request.headers.all(a, request.headers.all(b, request.headers.all(c, a == c)))`, cost},
		{`request.headers.exists(h, request.headers[h].matches("^` + strings.Repeat("abcdefgh", 12) + `$"))`, cost},
		{`request.query.all(k, request.query[k].all(v, v.contains("` + strings.Repeat("x", 500) + `")))`, cost},
		{`claims.a.all(a, now.getHours("Europe/Berlin") > 5)`, cost},
		{`[` + strings.Repeat("1,", 300) + `1].all(a, [` + strings.Repeat("1,", 300) + `1].all(b, a == b))`, cost},
		{strings.Repeat(`request.path.contains(request.host) || `, 100) + `true`, cost},
		{`route == "` + strings.Repeat("x", maxSource) + `"`, "exceeds limit"},
		{strings.Repeat("(", 2*maxDepth) + "true" + strings.Repeat(")", 2*maxDepth), "recursion"},
		{strings.Repeat("!", 5*maxDepth) + "true ? " + strings.Repeat("[", 2*maxDepth), "recursion"},
		{strings.Repeat("[1].all(x, ", 2*maxDepth) + "true" + strings.Repeat(")", 2*maxDepth), "recursion"},
	}
	scope := Handshake()
	for _, test := range tests {
		if _, err := scope.Compile(test.source); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s: error %v, want one with %q", test.source, err, test.want)
		}
	}
}

// TestHonestLoad lists what a policy may well want, and what is therefore not refused.
func TestHonestLoad(t *testing.T) {
	names := `"` + strings.Join(slices.Repeat([]string{"someone@example.com"}, 500), `", "`) + `"`
	for scope, sources := range map[*Scope][]string{
		Handshake(): {
			`claims.groups.exists(g, g.matches("^team-[a-z0-9]{1,20}$"))`,
			`claims.email in [` + names + `]`,
			`request.headers.all(h, !request.headers[h].contains("${jndi:"))`,
			`request.path.matches("^/tenants/[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}/ws$")`,
			`now.getHours("Europe/Berlin") >= 8 && now.getHours("Europe/Berlin") < 18 && now.getDayOfWeek("Europe/Berlin") in [1, 2, 3, 4, 5]`,
			`certificate.uris.exists(u, u.startsWith("spiffe://example.com/ns/")) && certificate.dns.all(d, d.endsWith(".example.com"))`,
			`request.query.all(k, k in ["room", "since", "limit"])`,
		},
		Message(): {
			`message.json.items.all(i, i.price < 5 && i.name.matches("^[A-Za-z ]+$"))`,
			`!message.text.matches("(?i)<script|javascript:|onerror=")`,
			`message.json.type != "admin" || "admin" in claims.roles`,
		},
	} {
		for _, source := range sources {
			if _, err := scope.Compile(source); err != nil {
				t.Errorf("%.80s: %v", source, err)
			}
		}
	}
}

// unchecked makes a condition ready whatever it may cost, to see what happens at run time.
func unchecked(t testing.TB, scope *Scope, source string) *Condition {
	t.Helper()
	checked, issues := scope.env.Compile(source)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	c, err := scope.ready(checked)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const hugeText = 1 << 20 // characters of the text of huge

// huge is a message far beyond what the estimate assumes.
func huge() map[string]any {
	vars := chat()
	nested := any("x")
	for range 1000 {
		nested = []any{nested}
	}
	vars["message"] = map[string]any{
		"type": "text", "size": hugeText, "operation": "", "text": strings.Repeat("a ", hugeText/2),
		"json": map[string]any{"items": slices.Repeat([]any{map[string]any{"x": 1.0}}, 1<<17), "nested": nested},
	}
	return vars
}

// TestBombsAtRunTime evaluates what the load lets through, or would not, with huge values: each ends within its bound, as an error.
func TestBombsAtRunTime(t *testing.T) {
	tests := []struct {
		source string
		want   error
		last   uint64 // steps of one call on the whole text or list: the bound is looked at after each
	}{
		{`message.json.items.all(i, i.x < 5)`, errCost, 1},
		{`message.json.items.all(i, message.json.items.all(j, i == j))`, errCost, 1},
		{`message.json.items.map(i, [i, i]).size() == 1`, errCost, 10},
		{`message.json.items.filter(i, i.x == 1).filter(i, i.x == 1).size() == 1`, errCost, 10},
		{`message.json.items.all(i, now.getHours("Europe/Berlin") < 30)`, errCost, zoneCost},
		{`[1, 2, 3, 4, 5].exists(x, message.text.contains("bbbbb"))`, errCost, hugeText / 20},
		{`[1, 2, 3].exists(x, message.text + message.text == "")`, errCost, hugeText / 5},
		{`message.text.contains("` + strings.Repeat("x", 100) + `")`, errCost, hugeText},
		{`message.text.matches("^(a |b)*$")`, errCost, hugeText},
		{`matches(message.text, "^[a ]*$")`, errCost, hugeText},
		{`message.json.nested != message.json.nested`, nil, 1},
		{`message.text.startsWith("a a")`, nil, 1},
	}
	vars := huge()
	for _, test := range tests {
		c := unchecked(t, Message(), test.source)
		// Without a deadline, which a busy machine could miss.
		value, details, err := c.program.Eval(vars)
		if holds, err := c.result(value, details, err); !errors.Is(err, test.want) || holds && err != nil {
			t.Errorf("%s: %v, %v, want error %v", test.source, holds, err, test.want)
		}
		if steps := *details.ActualCost(); steps > maxCost+test.last {
			t.Errorf("%s: %d steps, want at most %d and %d", test.source, steps, maxCost, test.last)
		}
	}
}

func TestAllocations(t *testing.T) {
	vars := huge()
	for source, limit := range map[string]float64{
		`message.operation == "" && message.size > 5`:   10,
		`message.json.items.map(i, [i, i]).size() == 1`: maxCost / 2,
	} {
		c := unchecked(t, Message(), source)
		if n := testing.AllocsPerRun(1, func() { _, _ = c.Holds(vars) }); n > limit {
			t.Errorf("%s: %v allocations, want at most %v", source, n, limit)
		}
	}
}

// TestEstimate is the law of the estimate: it is at least what the evaluation costs, if no value is larger than assumed.
func TestEstimate(t *testing.T) {
	for scope, all := range map[*Scope]map[string]any{Handshake(): handshakes, Message(): messages} {
		vars := ada()
		if all[`message.json.n < 4`] != nil {
			vars = chat()
		}
		for source := range all {
			checked, issues := scope.env.Compile(source)
			if issues.Err() != nil {
				t.Fatal(issues.Err())
			}
			estimate, err := scope.env.EstimateCost(checked, sizes{scope.vars})
			if err != nil {
				t.Fatal(err)
			}
			_, details, _ := unchecked(t, scope, source).program.Eval(vars)
			if steps := *details.ActualCost(); steps > estimate.Max {
				t.Errorf("%s: %d steps, estimated at %d", source, steps, estimate.Max)
			}
		}
	}
}

// TestSizes covers what the estimate is told of paths.
func TestSizes(t *testing.T) {
	tests := []struct {
		path string
		want uint64 // 0 for nothing
	}{
		{"request", 9}, {"request.path", 8192}, {"request.secure", 0}, {"request.nothing", 0}, {"request.path.@items", 0},
		{"request.headers", 100}, {"request.headers.@keys", keySize}, {"request.headers.@values", 1024}, {"request.headers.cookie", 1024},
		{"request.query.@values", 8}, {"request.query.room.@items", 1024}, {"request.query.room.@items.@items", 0},
		{"claims", 64}, {"claims.groups", 512}, {"claims.realm.roles", 512}, {"claims.groups.@items", elementSize},
		{"claims.@values.@items.name", elementSize}, {"claims.a.@items.@items.@items", elementSize}, {"claims.a.@keys", keySize},
		{"now", 0}, {"nothing", 0},
	}
	vars := Handshake().vars
	for _, test := range tests {
		path := strings.Split(test.path, ".")
		var got uint64
		if v, ok := vars[path[0]]; ok {
			if v, ok = v.at(path[1:]); ok {
				got = v.size
			}
		}
		if got != test.want {
			t.Errorf("%s: %d, want %d", test.path, got, test.want)
		}
	}
}

// FuzzCompile states that no source makes the compiler panic, that what it lets through ends, and the law of TestNegation.
func FuzzCompile(f *testing.F) {
	for source := range handshakes {
		f.Add(source, true)
	}
	for source := range messages {
		f.Add(source, false)
	}
	for _, source := range []string{
		"", "((", `"`, "1u == 2u", "'\\ud800' == ''", "b'\\xff' == b''", "-9223372036854775808 / -1 == 0", "0x7fffffffffffffff + 1 > 0", "{}.a == 1", "[[]][0][0] == 1",
		"{1: 2, 1: 3} == {}", "request.all(k, true)", "dyn([1]).map(x, x).all(y, y == 1)", "timestamp(253402300800) < now", "has(claims.a.b.c)", "`a` == 1", ".route == ''",
	} {
		f.Add(source, true)
	}
	handshake, message := Handshake(), Message()
	onAda, onChat := ada(), chat()
	f.Fuzz(func(t *testing.T, source string, first bool) {
		if first {
			neither(t, handshake, source, onAda)
		} else {
			neither(t, message, source, onChat)
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	vars := ada()
	for i, source := range []string{
		`claims.sub == "ada"`, `"team-red" in claims.groups`, `claims.groups.exists(g, g == "team-red")`,
		`in_network(client.address, "10.0.0.0/8")`, `request.path.matches("^/ws/room/[0-9]+$")`,
	} {
		c, err := Handshake().Compile(source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d_%s", i, strings.Fields(source)[0]), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := c.Holds(vars); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkBomb is the longest that loops and patterns can take.
func BenchmarkBomb(b *testing.B) {
	vars := huge()
	vars["message"].(map[string]any)["text"] = strings.Repeat("ab", maxMatch/2/64)
	for _, bomb := range []struct {
		name, source string
		want         error
	}{
		{"loop", `message.json.items.all(i, i.x < 5)`, errCost},
		{"pattern", `message.text.matches("(a?b?){10}x$")`, nil},
	} {
		c := unchecked(b, Message(), bomb.source)
		b.Run(bomb.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.result(c.program.Eval(vars)); !errors.Is(err, bomb.want) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	scope := Handshake()
	for b.Loop() {
		if _, err := scope.Compile(`claims.groups.exists(g, g == "team-red") && request.path.matches("^/ws/room/[0-9]+$")`); err != nil {
			b.Fatal(err)
		}
	}
}
