package policy

import (
	"context"
	"net/http"
	"reflect"
	"testing"
)

// fixed is a judge that always says the same.
func fixed(no *Refusal) judge { return func(context.Context, *Admission) *Refusal { return no } }

// policyOf makes a Policy of rules that need no configuration.
func policyOf(rules ...rule) *Policy {
	p := &Policy{rules: rules}
	for _, r := range rules {
		p.managed = append(p.managed, r.manages...)
	}
	return p
}

// The first enforced refusal ends the judging. What a rule in shadow mode says is kept, and decides nothing.
func TestAdmitStopsAtTheFirstRefusal(t *testing.T) {
	no := forbidden("no")
	p := policyOf(
		rule{policy: "a", name: "one", judge: fixed(nil)},
		rule{policy: "b", name: "two", judge: fixed(no), shadow: true},
		rule{policy: "c", name: "three", judge: fixed(no)},
		rule{policy: "d", name: "four", judge: func(context.Context, *Admission) *Refusal { panic("asked after a refusal") }},
	)
	a := p.Admit(t.Context(), &Request{})
	want := []Decision{
		{Rule: 0, Policy: "a", Name: "one"},
		{Rule: 1, Policy: "b", Name: "two", Shadow: true, Refusal: no},
		{Rule: 2, Policy: "c", Name: "three", Refusal: no},
	}
	if !reflect.DeepEqual(a.Decisions, want) {
		t.Errorf("got %+v, want %+v", a.Decisions, want)
	}
	if d := a.Refused(); d == nil || d.Name != "three" || d.Outcome() != OutcomeRefused {
		t.Errorf("refused by %+v", d)
	}
	if got := a.Decisions[1].Outcome(); got != OutcomeWouldRefuse {
		t.Errorf("a refusal in shadow mode is %q", got)
	}
	if got := a.Decisions[0].Outcome(); got != OutcomeAdmitted {
		t.Errorf("an admission is %q", got)
	}
	wantRules := []Rule{{"a", "one", false}, {"b", "two", true}, {"c", "three", false}, {"d", "four", false}}
	if got := p.Rules(); !reflect.DeepEqual(got, wantRules) {
		t.Errorf("rules %+v", got)
	}
}

// An explanation has what every rule says, and the same outcome.
func TestExplainAsksEveryRule(t *testing.T) {
	p := policyOf(
		rule{policy: "a", name: "one", judge: fixed(forbidden("first"))},
		rule{policy: "b", name: "two", judge: fixed(nil)},
		rule{policy: "c", name: "three", judge: fixed(forbidden("second"))},
	)
	a := p.Explain(t.Context(), &Request{})
	if d := a.Refused(); len(a.Decisions) != 3 || d == nil || d.Name != "one" {
		t.Errorf("got %+v, refused by %+v", a.Decisions, d)
	}
	if a := policyOf(rule{judge: fixed(nil)}).Explain(t.Context(), &Request{}); a.Refused() != nil {
		t.Errorf("refused by %+v", a.Refused())
	}
}

// A refusal at the end in shadow mode is none.
func TestShadowAdmits(t *testing.T) {
	a := policyOf(rule{judge: fixed(forbidden("no")), shadow: true}).Admit(t.Context(), &Request{})
	if d := a.Refused(); d != nil {
		t.Errorf("refused by %+v", d)
	}
}

// Plain requests are judged by the checks that are for them too.
func TestPlainRequestsSkipWhatIsForHandshakes(t *testing.T) {
	p := mustCompile(t, withOrigin(OriginConfig{Absent: "deny"}), "browsers")
	if d := ask(p, Request{}); d.Allow {
		t.Error("a handshake without Origin is admitted")
	}
	if d := ask(p, Request{Plain: true}); !d.Allow {
		t.Errorf("a plain request without Origin: %+v", d)
	}
}

// What a connection holds is given back once: after a refusal at once.
func TestRelease(t *testing.T) {
	released := 0
	hold := func(_ context.Context, a *Admission) *Refusal {
		a.Hold(func() { released++ })
		return nil
	}
	a := policyOf(rule{judge: hold}, rule{judge: hold}).Admit(t.Context(), &Request{})
	if released != 0 {
		t.Fatal("released before the end")
	}
	a.Release()
	a.Release()
	if released != 2 {
		t.Errorf("%d releases, want 2", released)
	}
	kept := policyOf(rule{judge: hold}).Admit(t.Context(), &Request{})
	held := kept.Keep()
	if kept.Release(); released != 2 || len(held) != 1 {
		t.Errorf("%d releases, %d kept", released, len(held))
	}
	(*Admission)(nil).Release()
	released = 0
	policyOf(rule{judge: hold}, rule{judge: fixed(forbidden("no"))}).Admit(t.Context(), &Request{})
	if released != 1 {
		t.Errorf("%d releases after a refusal, want 1", released)
	}
}

// A policy in shadow mode leaves the protection of the default in place.
func TestShadowDoesNotReplaceTheDefault(t *testing.T) {
	all := map[string]Config{"trial": {Mode: "shadow", Origin: &OriginConfig{Allow: []string{"https://a.example"}}}}
	p := mustCompile(t, all, "trial")
	got := ask(p, Request{Secure: true, Host: "b.example", Origin: "https://evil.example", HasOrigin: true})
	if want := (answer{Status: 403, Policy: "default", Rule: "origin", Reason: reasonOriginRefused}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	a := p.Admit(t.Context(), &Request{Secure: true, Host: "b.example", Origin: "https://b.example", HasOrigin: true})
	if len(a.Decisions) != 2 || a.Refused() != nil || a.Decisions[0].Outcome() != OutcomeWouldRefuse {
		t.Errorf("got %+v", a.Decisions)
	}
}

// changesOf has one rule change a request.
func changesOf(r *Request, manages []string, change func(a *Admission)) *Admission {
	return policyOf(rule{manages: manages, judge: func(_ context.Context, a *Admission) *Refusal {
		change(a)
		return nil
	}}).Admit(context.Background(), r)
}

// Fields that only the gateway may set never come from a client, whether they are set or not.
func TestManagedFieldsAreTheGateways(t *testing.T) {
	sent := http.Header{"X-Auth-Sub": {"root"}, "X-Auth-Role": {"admin"}, "Accept": {"a", "b"}, "Authorization": {"Bearer S3CRET"}}
	r := &Request{Header: sent}
	a := changesOf(r, []string{"X-Auth-Sub", "X-Auth-Role"}, func(a *Admission) {
		a.setField("X-Auth-Sub", "alice")
		a.removeField("Authorization")
	})
	a.Edit(sent)
	if want := (http.Header{"X-Auth-Sub": {"alice"}, "Accept": {"a", "b"}}); !reflect.DeepEqual(sent, want) {
		t.Errorf("got %v, want %v", sent, want)
	}
}

func TestQueryWithout(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                     "",
		"token=S3CRET":                         "",
		"a=1&token=S3CRET&b=2":                 "a=1&b=2",
		"token=S3CRET&a=%20&token=S3CRET":      "a=%20",
		"%74oken=S3CRET&a":                     "a",
		"tok%65n=S3CRET&Token=kept&token":      "Token=kept",
		"a=token=1&&x":                         "a=token=1&&x",
		"to+ken=1&%zz=1":                       "to+ken=1&%zz=1",
		"token%3DS3=1&tokens=2&a[token]=3&t=4": "token%3DS3=1&tokens=2&a[token]=3&t=4",
	} {
		a := changesOf(&Request{RawQuery: raw}, nil, func(a *Admission) { a.removeQuery("token") })
		if got := a.Query(); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
	if a := changesOf(&Request{RawQuery: "a&&b"}, nil, func(*Admission) {}); a.Query() != "a&&b" {
		t.Errorf("got %q", a.Query())
	}
}

// The address of the page may hold the parameter as well.
func TestRefererWithout(t *testing.T) {
	for sent, want := range map[string]string{
		"https://app.example.com/x?token=S3CRET&a=1#token=S3CRET": "https://app.example.com/x?a=1",
		"https://app.example.com/x":                               "https://app.example.com/x",
		"https://app.example.com/%zz?token=S3CRET":                "",
	} {
		h := http.Header{"Referer": {sent}}
		changesOf(&Request{Header: h}, nil, func(a *Admission) { a.removeQuery("token") }).Edit(h)
		if got := h.Get("Referer"); got != want {
			t.Errorf("%q: got %q, want %q", sent, got, want)
		}
	}
	kept := "https://app.example.com/?token=x"
	h := http.Header{"Referer": {kept}}
	if changesOf(&Request{Header: h}, nil, func(*Admission) {}).Edit(h); h.Get("Referer") != kept {
		t.Errorf("got %q, want it as it came", h.Get("Referer"))
	}
}

func TestOfferedWithout(t *testing.T) {
	r := &Request{Subprotocols: []string{"bearer", "S3CRET", "chat"}}
	a := changesOf(r, nil, func(a *Admission) {
		a.removeSubprotocol("bearer")
		a.removeSubprotocol("S3CRET")
	})
	if got := a.Offered(); !reflect.DeepEqual(got, []string{"chat"}) || len(r.Subprotocols) != 3 {
		t.Errorf("got %q of %q", got, r.Subprotocols)
	}
	if got := changesOf(r, nil, func(*Admission) {}).Offered(); len(got) != 3 {
		t.Errorf("got %q, want all", got)
	}
}
