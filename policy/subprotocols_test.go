package policy

import (
	"context"
	"reflect"
	"strings"
	"testing"
)

func TestSubprotocols(t *testing.T) {
	const required = "required"
	tests := []struct{ rule, offered, want string }{ // want is what the upstream sees, or that the client is refused
		{"allow: [chat.v2, chat.v1]", "chat.v1 chat.v2", "chat.v1 chat.v2"},
		{"allow: [chat.v2, chat.v1]", "mqtt chat.v2 soap", "chat.v2"},
		{"allow: [chat.v2]", "CHAT.V2", ""},
		{"allow: [chat.v2]", "chat.v22 chat.v", ""},
		{"allow: [chat.v2]", "", ""},
		{"allow: [chat.v2], require: true", "", required},
		{"allow: [chat.v2], require: true", "mqtt", required},
		{"allow: [chat.v2], require: true", "mqtt chat.v2", "chat.v2"},
		{"require: true", "anything", "anything"},
		{"require: true", "", required},
		{"allow: [chat.v2], require: false", "mqtt", ""},
	}
	for _, test := range tests {
		p := mustWrite(t, "subprotocols: {"+test.rule+"}")
		r := &Request{Subprotocols: strings.Fields(test.offered)}
		a := p.Admit(t.Context(), r)
		if d := a.Refused(); d != nil {
			if test.want != required || d.Refusal.Status != 400 || d.Refusal.Reason != reasonSubprotocolMissing || d.Name != "subprotocols" {
				t.Errorf("%s: %s: refused with %+v", test.rule, test.offered, d.Refusal)
			}
			continue
		}
		if got := strings.Join(a.Offered(), " "); got != test.want {
			t.Errorf("%s: %s: the upstream sees %q, want %q", test.rule, test.offered, got, test.want)
		}
		if got := strings.Join(r.Subprotocols, " "); got != test.offered {
			t.Errorf("%s: %s: the request was changed to %q", test.rule, test.offered, got)
		}
	}
}

// Of the lists of several policies there remains what all of them have.
func TestSubprotocolsOfPolicies(t *testing.T) {
	all, errs := written(t, "subprotocols: {allow: [a, b]}}, q: {subprotocols: {allow: [b, c], require: true}")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p := mustCompile(t, all, "p", "q")
	a := p.Admit(t.Context(), &Request{Subprotocols: []string{"a", "b", "c"}})
	if got := a.Offered(); a.Refused() != nil || !reflect.DeepEqual(got, []string{"b"}) {
		t.Errorf("the upstream sees %q, refused by %+v", got, a.Refused())
	}
	a = p.Admit(t.Context(), &Request{Subprotocols: []string{"a", "c"}})
	if d := a.Refused(); d == nil || d.Policy != "q" {
		t.Errorf("refused by %+v, want q", d)
	}
}

// An element that another rule has taken for a token is no subprotocol, and plain requests have none.
func TestSubprotocolsAreNotTokens(t *testing.T) {
	p := mustWrite(t, "subprotocols: {require: true}")
	taker := rule{judge: func(_ context.Context, a *Admission) *Refusal {
		a.removeSubprotocol("bearer")
		return nil
	}}
	p.rules = append([]rule{taker}, p.rules...)
	if got := ask(p, Request{Subprotocols: []string{"bearer"}}); got.Reason != reasonSubprotocolMissing {
		t.Errorf("with a token only: got %+v", got)
	}
	if got := ask(p, Request{Subprotocols: []string{"bearer", "chat"}}); !got.Allow {
		t.Errorf("with a token and a subprotocol: got %+v", got)
	}
	if got := ask(mustWrite(t, "subprotocols: {require: true}"), Request{Plain: true}); !got.Allow {
		t.Errorf("a plain request: got %+v", got)
	}
}

// A policy on trial keeps nothing from the upstream.
func TestShadowChangesNothing(t *testing.T) {
	p := mustWrite(t, "mode: shadow, subprotocols: {allow: [chat]}, csrf: {cookie: c, query: t}")
	r := &Request{Subprotocols: []string{"mqtt", "chat"}, RawQuery: "t=0123456789abcdef&a=1"}
	a := p.Admit(t.Context(), r)
	if got := a.Offered(); a.Refused() != nil || len(got) != 2 || a.Query() != r.RawQuery {
		t.Errorf("the upstream sees %q and %q", got, a.Query())
	}
}

func TestSubprotocolsMistakes(t *testing.T) {
	checkMistakes(t, []mistake{
		{"subprotocols: {}", "p.subprotocols", "is without effect, want allow, require: true or both"},
		{"subprotocols: {require: false}", "p.subprotocols", "is without effect"},
		{"subprotocols: {allow: []}", "p.subprotocols.allow", "want 1 or more entries"},
		{"subprotocols: {allow: ['']}", "p.subprotocols.allow[0]", `"" is not a subprotocol, want letters`},
		{"subprotocols: {allow: ['a b']}", "p.subprotocols.allow[0]", "is not a subprotocol"},
		{"subprotocols: {allow: ['a,b']}", "p.subprotocols.allow[0]", "is not a subprotocol"},
		{"subprotocols: {allow: ['a/b']}", "p.subprotocols.allow[0]", "some of !#$%&'*+-.^_`|~"},
		{"subprotocols: {allow: [ä]}", "p.subprotocols.allow[0]", "is not a subprotocol"},
		{"subprotocols: {allow: [a, b, a]}", "p.subprotocols.allow[2]", `subprotocol "a" is listed twice`},
	})
}
