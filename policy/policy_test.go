package policy

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/framegate/framegate/policy/rates"
	"github.com/framegate/framegate/ratelimit"
)

// reports collects what Compile and Route report.
type reports []string

func (r *reports) add(path, format string, args ...any) {
	*r = append(*r, path+": "+fmt.Sprintf(format, args...))
}

// expect demands exactly one report that begins with path and contains message.
func (r reports) expect(t *testing.T, what, path, message string) {
	t.Helper()
	if len(r) != 1 || !strings.HasPrefix(r[0], path+": ") || !strings.Contains(r[0], message) {
		t.Errorf("%s: got reports %q, want one: %s: ...%s", what, []string(r), path, message)
	}
}

// failOn is a Report for configurations that are right.
func failOn(t *testing.T) Report {
	return func(path, format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
}

// mustCompile compiles all and makes the policy of a route that lists names.
func mustCompile(t *testing.T, all map[string]Config, names ...string) *Policy {
	t.Helper()
	p := Compile(all, testEnv(t), failOn(t)).Route(names, failOn(t))
	if p == nil {
		t.FailNow()
	}
	return p
}

// testEnv is an Env without any file.
func testEnv(t *testing.T) *Env {
	t.Helper()
	return &Env{
		File:   func(policy, path string) ([]byte, error) { return nil, fmt.Errorf("no file %s for %s", path, policy) },
		Path:   func(policy, path string) string { return policy + "/" + path },
		Limits: ratelimit.NewLocal(1000),
	}
}

// answer is a Decision in short: what decided on a request.
type answer struct {
	Allow  bool
	Status int
	Policy string
	Rule   string
	Reason string
}

// ask has p judge one request.
func ask(p *Policy, r Request) answer {
	a := p.Admit(context.Background(), &r)
	defer a.Release()
	d := a.Refused()
	if d == nil {
		return answer{Allow: true}
	}
	return answer{Status: d.Refusal.Status, Policy: d.Policy, Rule: d.Name, Reason: d.Refusal.Reason}
}

// withOrigin makes a section of one policy called browsers.
func withOrigin(c OriginConfig) map[string]Config {
	return map[string]Config{"browsers": {Origin: &c}}
}

func TestEveryPolicyMustAdmit(t *testing.T) {
	all := map[string]Config{
		"both":   {Origin: &OriginConfig{Allow: []string{"https://a.example", "https://b.example"}}},
		"one":    {Origin: &OriginConfig{Allow: []string{"https://b.example"}}},
		"strict": {Origin: &OriginConfig{Absent: "deny", Allow: []string{"https://b.example"}}},
		"sizes":  {Client: &ShapeConfig{MaxFragments: 2}},
	}
	tests := []struct {
		names   string
		request Request
		want    answer
	}{
		{"both sizes", Request{Origin: "https://a.example", HasOrigin: true}, answer{Allow: true}},
		{"both one", Request{Origin: "https://b.example", HasOrigin: true}, answer{Allow: true}},
		{"both one", Request{Origin: "https://a.example", HasOrigin: true}, answer{Status: 403, Policy: "one", Rule: "origin", Reason: "origin not allowed"}},
		{"one both", Request{Origin: "https://a.example", HasOrigin: true}, answer{Status: 403, Policy: "one", Rule: "origin", Reason: "origin not allowed"}},
		{"both one", Request{Origin: "https://c.example", HasOrigin: true}, answer{Status: 403, Policy: "both", Rule: "origin", Reason: "origin not allowed"}},
		{"both one", Request{Origin: "null", HasOrigin: true}, answer{Status: 403, Policy: "both", Rule: "origin", Reason: "origin malformed"}},
		{"both strict", Request{}, answer{Status: 403, Policy: "strict", Rule: "origin", Reason: "origin required"}},
		{"sizes", Request{Secure: true, Host: "a.example", Origin: "https://b.example", HasOrigin: true}, answer{Status: 403, Policy: "default", Rule: "origin", Reason: "origin not allowed"}},
		{"sizes", Request{Secure: true, Host: "a.example", Origin: "https://a.example", HasOrigin: true}, answer{Allow: true}},
		{"", Request{HasCookie: true}, answer{Status: 403, Policy: "default", Rule: "origin", Reason: "origin required"}},
		{"", Request{}, answer{Allow: true}},
	}
	for _, tt := range tests {
		p := mustCompile(t, all, strings.Fields(tt.names)...)
		if got := ask(p, tt.request); got != tt.want {
			t.Errorf("policies %q, %+v: got %+v, want %+v", tt.names, tt.request, got, tt.want)
		}
	}
}

func TestCompileRefusesNames(t *testing.T) {
	all := map[string]Config{
		"browsers": {},
		"members":  {},
		"texts":    {Client: &ShapeConfig{Types: []string{"text"}}},
		"blobs":    {Client: &ShapeConfig{Types: []string{"binary"}}},
		"texts-up": {Upstream: &ShapeConfig{Types: []string{"text"}}},
		"blobs-up": {Upstream: &ShapeConfig{Types: []string{"binary"}}},
	}
	tests := []struct{ names, path, message string }{
		{"browsers,membres", "policies[1]", `unknown policy "membres", did you mean "members"?`},
		{"Browsers", "policies[0]", `unknown policy "Browsers", did you mean "browsers"?`},
		{"", "policies[0]", `unknown policy "", want the name of an entry`},
		{"zzzzzz", "policies[0]", `unknown policy "zzzzzz", want the name of an entry`},
		{"members,browsers,members", "policies[2]", `policy "members" is listed twice`},
		{"texts,blobs", "policies", "let no message type pass"},
		{"texts-up,texts,blobs-up", "policies", "let no message type pass"},
	}
	for _, tt := range tests {
		var r reports
		if p := Compile(all, testEnv(t), failOn(t)).Route(strings.Split(tt.names, ","), r.add); p != nil {
			t.Errorf("%s: got a policy", tt.names)
		}
		r.expect(t, tt.names, tt.path, tt.message)
	}
}

// A mistake inside a policy is reported once, however many routes use the policy, and none of them gets a half of it.
func TestBadPolicyIsReportedOnce(t *testing.T) {
	all := map[string]Config{
		"browsers": {Origin: &OriginConfig{Allow: []string{"https://a.example", "https://b.example", "*"}}},
		"a.b":      {Client: &ShapeConfig{Types: []string{}}},
		"unused":   {Origin: &OriginConfig{Absent: "maybe"}, Client: &ShapeConfig{Types: []string{"text", "txt"}}},
	}
	var r reports
	set := Compile(all, testEnv(t), r.add)
	want := []string{
		`["a.b"].client.types: types is empty, want text, binary or both`,
		`browsers.origin.allow[2]: origin "*" would let every web page connect as its user, want the origins of your own pages`,
		`unused.origin.absent: absent is "maybe", want allow or deny`,
		`unused.client.types[1]: unknown message type "txt", want text or binary`,
	}
	if !reflect.DeepEqual([]string(r), want) {
		t.Errorf("got reports %q, want %q", []string(r), want)
	}
	for _, name := range []string{"a.b", "browsers", "unused"} {
		if p := set.Route([]string{name}, failOn(t)); p != nil {
			t.Errorf("%s: got a policy", name)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, section := range []any{
		Config{}, AddressesConfig{}, RequestConfig{}, OriginConfig{}, CSRFConfig{}, JWTConfig{}, SubprotocolsConfig{}, ConditionConfig{},
		ConnectionsConfig{}, HandshakesConfig{}, ShapeConfig{}, rates.Config{}, rates.Bytes{},
	} {
		s := reflect.TypeOf(section)
		for i := range s.NumField() {
			if f := s.Field(i); f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "" && f.Tag.Get("yaml") != ",inline" {
				t.Errorf("%s.%s has no yaml or doc tag", s, f.Name)
			}
		}
	}
}

// A policy that does not have a check's key gets no rule of it.
func TestEveryCheckIsComplete(t *testing.T) {
	for _, c := range checks {
		if c.rule == "" || c.compile == nil {
			t.Errorf("row %q of checks is incomplete", c.rule)
			continue
		}
		if rules := c.compile(place{policy: "p", env: testEnv(t)}, &Config{}, failOn(t)); len(rules) > 0 {
			t.Errorf("check %q judges for a policy that does not have it", c.rule)
		}
	}
}
