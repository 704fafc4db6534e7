package policytest

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const gateway = `version: 1
listeners: [{address: ":8443", tls: {certificates: internal}}]
routes:
  - {name: chat, hosts: [chat.example.com], paths: [/ws/*], upstream: chat, policies: [trial, browsers], http: deny}
  - {name: pages, hosts: [chat.example.com], upstream: chat}
upstreams: {chat: {servers: ["ws://127.0.0.1:9000"]}}
policies:
  trial: {mode: shadow, origin: {allow: ["https://beta.example.com"]}}
  browsers: {origin: {allow: ["https://chat.example.com"], absent: deny}}
`

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func noEnvironment(string) (string, bool) { return "", false }

// write puts a configuration and a file of tests into a directory of their own.
func write(t *testing.T, config, tests string) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "gateway_test.yaml")
	for name, text := range map[string]string{filepath.Join(dir, "gateway.yaml"): config, file: "version: 1\n" + tests} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// run runs tests of a configuration.
func run(t *testing.T, config, tests string) *Suite {
	t.Helper()
	s, err := Run(t.Context(), []string{write(t, config, tests)}, noEnvironment, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one runs a single test of the configuration above.
func one(t *testing.T, test string) *Result {
	t.Helper()
	s := run(t, gateway, "tests:\n  - "+strings.ReplaceAll(test, "\n", "\n    ")+"\n")
	return &s.Results[0]
}

func TestWhatIsAsExpectedPasses(t *testing.T) {
	t.Parallel()
	for _, test := range []string{
		`{name: a, request: {url: "wss://chat.example.com/ws/x", headers: {origin: https://chat.example.com}}, expect: {decision: admit, status: 101, route: chat, would_refuse: [trial/origin]}}`,
		`{name: a, request: {url: "wss://chat.example.com/ws", headers: {Origin: https://evil.example}}, expect: {decision: refuse, status: 403, policy: browsers, rule: origin}}`,
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: refuse, rule: origin}}`,
		`{name: a, policies: [browsers], request: {url: "wss://any.example/x", headers: {Origin: https://chat.example.com}}, expect: {decision: admit, would_refuse: []}}`,
		`{name: a, policies: [], request: {url: "wss://any.example/x", headers: {Origin: https://any.example}}, expect: {decision: admit}}`,
		`{name: a, request: {url: "https://chat.example.com/ws/x"}, expect: {decision: refuse, status: 426, route: chat}}`,
		`{name: a, request: {url: "https://chat.example.com/", method: POST}, expect: {decision: admit, status: 200, route: pages}}`,
		`{name: a, request: {url: "wss://other.example.com/"}, expect: {decision: refuse, status: 404}}`,
		`{name: a, request: {url: "wss://chat.example.com/", headers: {Sec-WebSocket-Version: "8"}}, expect: {decision: refuse, status: 426}}`,
		`{name: a, request: {url: "wss://chat.example.com/", headers: {Origin: [https://a.example, https://b.example]}}, expect: {decision: refuse, status: 400}}`,
		`{name: a, request: {url: "wss://chat.example.com/?a=1", headers: {X-A: b}, subprotocols: [one, two]}, expect: {decision: admit, headers: {x-a: b, X-B: ""}, query: a=1, subprotocols: [one, two]}}`,
	} {
		if r := one(t, test); len(r.Failures) > 0 {
			t.Errorf("%s: %+v", test, r.Failures)
		}
	}
}

// What is not as expected is told with what was wanted and what came.
func TestWhatIsNotAsExpectedFails(t *testing.T) {
	t.Parallel()
	for test, want := range map[string]Failure{
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: admit}}`:                                                                                 {"decision", "admit", "refuse origin required"},
		`{name: a, request: {url: "wss://chat.example.com/"}, expect: {decision: refuse}}`:                                                                                  {"decision", "refuse", "admit"},
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: refuse, status: 401}}`:                                                                   {"status", "401", "403"},
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: refuse, policy: members}}`:                                                               {"policy", "members", "browsers"},
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: refuse, rule: jwt}}`:                                                                     {"rule", "jwt", "origin"},
		`{name: a, request: {url: "wss://chat.example.com/ws"}, expect: {decision: refuse, route: pages}}`:                                                                  {"route", "pages", "chat"},
		`{name: a, request: {url: "wss://chat.example.com/ws", headers: {Origin: https://beta.example.com}}, expect: {decision: refuse, would_refuse: [trial/origin]}}`:     {"would_refuse", `["trial/origin"]`, "[]"},
		`{name: a, request: {url: "wss://chat.example.com/", headers: {X-A: b}}, expect: {decision: admit, headers: {X-A: c}}}`:                                             {"headers.X-A", "c", "b"},
		`{name: a, request: {url: "wss://chat.example.com/?a=1"}, expect: {decision: admit, query: ""}}`:                                                                    {"query", "", "a=1"},
		`{name: a, request: {url: "wss://chat.example.com/", subprotocols: [one]}, expect: {decision: admit, subprotocols: [two]}}`:                                         {"subprotocols", `["two"]`, `["one"]`},
		`{name: a, request: {url: "wss://chat.example.com/"}, expect: {decision: admit, user: alice}}`:                                                                      {"user", "alice", ""},
		`{name: a, policies: [trial], request: {url: "wss://chat.example.com/", headers: {Origin: https://chat.example.com}}, expect: {decision: admit, would_refuse: []}}`: {"would_refuse", "[]", `["trial/origin"]`},
	} {
		if r := one(t, test); len(r.Failures) != 1 || r.Failures[0] != want {
			t.Errorf("%s: got %+v, want %+v", test, r.Failures, want)
		}
	}
}

// Mistakes of a file are told with their place, all at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	file := write(t, gateway, `tests:
  - {name: a, request: {url: "chat.example.com"}, expect: {decision: admit}}
  - {name: a, request: {url: "wss://x.example", address: here, time: today}, expect: {decision: maybe}}
  - {name: b, request: {url: "wss://x.example"}, expect: {decision: admit, rule: origin}, polices: []}
`)
	_, err := Run(t.Context(), []string{file}, noEnvironment, now)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`:3:30: tests[0].request.url: "chat.example.com" is not an address, want one such as wss://`,
		`:4:12: tests[1].name: "a" is the name of tests[0] already`,
		`tests[1].request.address: "here" is not an IP address`,
		`tests[1].request.time: "today" is not a time, want one such as 2026-`,
		`tests[1].expect.decision: `,
		`tests[2].expect: a request that is admitted has no rule`,
		`did you mean "policies"?`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	for _, other := range []string{
		"config: nowhere.yaml\ntests: [{name: a, request: {url: \"wss://x\"}, expect: {decision: admit}}]\n",
		"tests: [{name: a, policies: [nobody], request: {url: \"wss://x\"}, expect: {decision: admit}}]\n",
	} {
		if _, err := Run(t.Context(), []string{write(t, gateway, other)}, noEnvironment, now); err == nil {
			t.Errorf("%q: no error", other)
		}
	}
	if _, err := Run(t.Context(), []string{"/nowhere/x_test.yaml"}, noEnvironment, now); err == nil {
		t.Error("a file that is not there: no error")
	}
}

const twoTests = `tests:
  - {name: good & right, request: {url: "wss://chat.example.com/ws", headers: {Origin: https://chat.example.com}}, expect: {decision: admit}}
  - {name: bad, request: {url: "wss://chat.example.com/ws"}, expect: {decision: admit}}
`

func TestReports(t *testing.T) {
	t.Parallel()
	s := run(t, gateway, twoTests)
	if s.Failed() != 1 || !slices.Equal(s.Untested, []string{"default/origin"}) {
		t.Errorf("%d failed, untested %q", s.Failed(), s.Untested)
	}
	var text, brief, js, junit strings.Builder
	s.Text(&text, true)
	s.Text(&brief, false)
	if err := s.JSON(&js); err != nil {
		t.Error(err)
	}
	if err := s.JUnit(&junit); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"ok   ", ":3: good & right", "FAIL ", ":4: bad", "- want admit\n       + got  refuse origin required", "refused      browsers/origin: 403 origin required", "no test is refused by: default/origin", "1 passed, 1 failed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got %s\nwant %s", &text, want)
		}
	}
	if strings.Contains(brief.String(), "ok  ") {
		t.Errorf("got %s, want no test that passes", &brief)
	}
	var parsed struct {
		Passed, Failed int
		Results        []Result
		Untested       []string
	}
	if err := json.Unmarshal([]byte(js.String()), &parsed); err != nil || parsed.Passed != 1 || parsed.Failed != 1 || len(parsed.Results) != 2 || len(parsed.Untested) != 1 {
		t.Errorf("got %s, %v", &js, err)
	}
	var suites junitSuites
	if err := xml.Unmarshal([]byte(junit.String()), &suites); err != nil || len(suites.Suites) != 1 || suites.Suites[0].Tests != 2 || suites.Suites[0].Failures != 1 || suites.Suites[0].Cases[1].Failure == nil {
		t.Errorf("got %s, %v", &junit, err)
	}
}

func TestExplanation(t *testing.T) {
	t.Parallel()
	file := write(t, gateway, twoTests)
	_, _, loaded, err := Read(file, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	explain := func(r *Request, policies ...string) string {
		t.Helper()
		r.Address = "192.0.2.1"
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		e, err := NewExplanation(t.Context(), loaded.Config, policies, r, now)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		Explain(&b, e)
		return b.String()
	}
	got := explain(&Request{URL: "wss://chat.example.com/ws", Headers: map[string]Values{"Origin": {"https://beta.example.com"}}})
	want := "route        chat\nadmitted     trial/origin\nrefused      browsers/origin: 403 origin not allowed\n=> refuse: 403 origin not allowed\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	got = explain(&Request{URL: "wss://a.example/ws?x=1", Headers: map[string]Values{"X-Forwarded-For": {"10.0.0.1"}, "accept": {"a", "b"}}}, "trial")
	want = "would_refuse trial/origin: 403 origin not allowed\n"
	if strings.HasPrefix(got, want) {
		t.Errorf("got\n%s", got)
	}
	if !strings.Contains(got, "=> admit\n   upstream gets no X-Forwarded-For\n") {
		t.Errorf("got\n%s", got)
	}
	if err := (&Request{URL: "x", Address: "y"}).Check(); err == nil || !strings.Contains(err.Error(), "url: ") || !strings.Contains(err.Error(), "address: ") {
		t.Errorf("got %v", err)
	}
}

// What the services of forward_auth answer stands in the test; nobody asks them.
func TestForwardAuthAnswersAsTheTestSays(t *testing.T) {
	t.Parallel()
	config := strings.Replace(gateway, "  browsers:", "  sessions: {forward_auth: {url: \"http://127.0.0.1:1\", response_headers: [X-User, X-Role], user_header: X-User}}\n  browsers:", 1)
	for _, test := range []string{
		`request: {URL, forward_auth: {headers: {x-user: alice, X-Role: [a, b], X-Other: "1"}}}, expect: {decision: admit, user: alice, headers: {X-User: alice, X-Role: "a, b", X-Other: ""}}`,
		`request: {URL, forward_auth: {status: 204}}, expect: {decision: admit, headers: {X-User: ""}}`,
		`request: {URL, forward_auth: {status: 401}}, expect: {decision: refuse, status: 401, policy: sessions, rule: forward_auth}`,
		`request: {URL, forward_auth: {status: 302}}, expect: {decision: refuse, status: 503, rule: forward_auth}`,
		`request: {URL}, expect: {decision: refuse, status: 503, rule: forward_auth}`,
	} {
		s := run(t, config, "tests: [{name: a, policies: [sessions], "+strings.Replace(test, "URL", "url: wss://any.example/, headers: {Origin: https://any.example}", 1)+"}]\n")
		if s.Failed() > 0 {
			t.Errorf("%s: %+v", test, s.Results[0].Failures)
		}
	}
}
