package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

// section is a policy's section client, read as a file would have it.
func section(t *testing.T, text string) (*ShapeConfig, strictyaml.Errors) {
	t.Helper()
	var c struct {
		Client ShapeConfig `yaml:"client" doc:"The section."`
	}
	_, errs := strictyaml.Decode("p.yaml", []byte("client: "+text+"\n"), nil, &c)
	return &c.Client, errs
}

// Each spelling of a rate makes its rules, with the action that is nearest.
func TestMessageRates(t *testing.T) {
	for text, want := range map[string][]string{
		"{messages: 50/s burst 100}": {"client.messages.per_connection 0 50/s burst 100 close "},
		"{messages: {per_connection: 5/s, per_ip: 6/s, per_user: 7/s, per_route: 8/s, per_claim: {tenant: 9/s, org: 10/s}}, on_limit: delay}": {
			"client.messages.per_connection 0 5/s burst 5 delay ", "client.messages.per_ip 0 6/s burst 6 delay ", "client.messages.per_user 0 7/s burst 7 delay ",
			"client.messages.per_claim.org 0 10/s burst 10 delay ", "client.messages.per_claim.tenant 0 9/s burst 9 delay ", "client.messages.per_route 0 8/s burst 8 delay ",
		},
		"{bytes: 256KiB/s burst 1MiB, on_limit: drop}":                           {"client.bytes.per_connection 1 262144/s burst 1048576 drop "},
		"{bytes: {per_user: 1MiB/s, on_limit: {reply: slow down}}, frames: 9/s}": {"client.bytes.per_user 1 1048576/s burst 1048576 reply slow down", "client.frames.per_connection 2 9/s burst 9 close "},
		"{frames: {per_connection: 9/s, on_limit: delay}, on_limit: drop}":       {"client.frames.per_connection 2 9/s burst 9 delay "},
		"{max_message: 1KiB}": nil,
		`{operations: {from: jsonrpc, limits: {b: 2/s, "a*": {per_user: 1/m, per_ip: 3/s, on_limit: delay}}, on_limit: drop}, on_limit: delay}`: {
			"client.operations.limits.a*.per_ip 0 3/s burst 3 delay  1", "client.operations.limits.a*.per_user 0 1/m burst 1 delay  1",
			"client.operations.limits.b.per_connection 0 2/s burst 2 drop  2",
		},
	} {
		c, errs := section(t, text)
		if len(errs) > 0 {
			t.Errorf("%s: %v", text, errs)
			continue
		}
		p := mustCompile(t, map[string]Config{"p": {Client: c}}, "p")
		var got []string
		for _, r := range p.Rates(true) {
			line := fmt.Sprint(r.Name, " ", int(r.Of), " ", r.Rate, " ", r.Action, " ", r.Reply)
			if r.Operation > 0 {
				line += fmt.Sprint(" ", r.Operation)
			}
			got = append(got, line)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n got %q\nwant %q", text, got, want)
		}
		if len(p.Rates(false)) > 0 {
			t.Errorf("%s: the upstream has rates %v", text, p.Rates(false))
		}
	}
}

func TestMessageRatesRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"{messages: 0/s}":                             "is 0, which would admit nothing",
		"{messages: 50}":                              "unit missing",
		"{bytes: 50/s}":                               "bytes",
		"{messages: 5/s, on_limit: ignore}":           "want close, drop, delay or {reply: TEXT}",
		"{messages: {per_users: 5/s}}":                `did you mean "per_user"?`,
		"{messages: {per_claim: {}}}":                 "1 or more entries",
		"{messages: 5/s, on_limit: {answer: x}}":      "unknown key",
		"{messages: {per_connection: 1/s burst 0}}":   "burst is 0",
		"{messages: {per_claim: {tenant: unlimited}}": "",
	} {
		_, errs := section(t, text)
		if len(errs) == 0 {
			t.Errorf("%s: accepted", text)
		} else if !containsText(errs, want) {
			t.Errorf("%s: got %v, want %s", text, errs, want)
		}
	}
	c, _ := section(t, "{frames: 9/s, on_limit: drop}")
	var r reports
	Compile(map[string]Config{"p": {Client: c}}, testEnv(t), r.add)
	r.expect(t, "frames that are dropped", "p.client.on_limit", "frames cannot be left out")
}

func containsText(errs strictyaml.Errors, want string) bool {
	for _, e := range errs {
		if want == "" || len(e.Message) > 0 && strings.Contains(e.Error(), want) {
			return true
		}
	}
	return false
}

// Connections with the same key share a bucket, those of other policies and keys do not.
func TestMessageRatesShareBuckets(t *testing.T) {
	c, errs := section(t, "{messages: {per_connection: 1/s, per_ip: 1/h burst 3}}")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	all := map[string]Config{"p": {Client: c}, "q": {Client: c}}
	env := testEnv(t)
	set := Compile(all, env, failOn(t))
	p, q := set.Route([]string{"p"}, failOn(t)), set.Route([]string{"q"}, failOn(t))
	bucket := func(p *Policy, address string) *ratelimit.Shared {
		t.Helper()
		a := p.Admit(t.Context(), from(address))
		if own := p.Rates(true)[0].Bucket(env.Limits, a); own != nil {
			t.Error("a rate of each connection has a shared bucket")
		}
		b := p.Rates(true)[1].Bucket(env.Limits, a)
		t.Cleanup(b.Release)
		return b
	}
	one, two, other, others := bucket(p, "192.0.2.1"), bucket(p, "192.0.2.1"), bucket(p, "192.0.2.2"), bucket(q, "192.0.2.1")
	for i, b := range []*ratelimit.Shared{one, two, one} {
		if ok, _ := b.TakeN(noon, 1); !ok {
			t.Fatalf("take %d is refused", i)
		}
	}
	if ok, wait := two.TakeN(noon, 1); ok || wait <= 0 || wait > time.Hour {
		t.Errorf("a fourth one: %t, %v", ok, wait)
	}
	for _, b := range []*ratelimit.Shared{other, others} {
		if ok, _ := b.TakeN(noon, 1); !ok {
			t.Error("another key or policy is refused")
		}
	}
}

// Each policy of a route counts its own operations.
func TestOperationsOfPolicies(t *testing.T) {
	one, _ := section(t, "{operations: {from: jsonrpc, limits: {a: 1/s, b: 2/s}}}")
	other, _ := section(t, "{messages: 9/s, operations: {from: jsonrpc, limits: {a: 3/s}}}")
	p := mustCompile(t, map[string]Config{"one": {Client: one}, "none": {}, "other": {Client: other, Mode: "shadow"}}, "one", "none", "other")
	var got []string
	for _, r := range p.Rates(true) {
		got = append(got, fmt.Sprint(r.Policy, "/", r.Name, " ", r.Rate, " ", r.Operation, " ", r.Shadow, " ", r.Reason()))
	}
	want := []string{
		"one/client.operations.limits.a.per_connection 1/s burst 1 1 false operation rate exceeded",
		"one/client.operations.limits.b.per_connection 2/s burst 2 2 false operation rate exceeded",
		"other/client.messages.per_connection 9/s burst 9 0 true ",
		"other/client.operations.limits.a.per_connection 3/s burst 3 3 true operation rate exceeded",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if again := len(p.Rates(true)); again != 4 {
		t.Errorf("%d rates", again)
	}
}
