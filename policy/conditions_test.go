package policy

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/policy/jwt"
)

// asked is a handshake in which everything is there that conditions can name.
func asked() *Request {
	return &Request{
		Now: time.Date(2026, 11, 2, 22, 30, 0, 0, time.UTC), Secure: true, Method: "GET", Host: "chat.example", Path: "/ws/room",
		RawQuery: "room=7&room=8&q=%20x&token=S3CRET", Origin: "https://chat.example", HasOrigin: true, Subprotocols: []string{"bearer", "S3CRET", "chat"},
		Header: http.Header{
			"User-Agent": {"curl/8"}, "X-Tag": {"a", "b"}, "Cookie": {"a=1", "b=2"}, "X-Auth-Sub": {"root"}, "Sec-Fetch-Site": {"same-origin"},
		},
		Address: netip.MustParseAddr("::ffff:10.1.2.3"), Route: "chat",
		Certificate: &x509.Certificate{
			Raw: []byte("raw"), SerialNumber: big.NewInt(0xabc), Subject: pkix.Name{CommonName: "ada", Organization: []string{"Example"}}, Issuer: pkix.Name{CommonName: "ca"},
			DNSNames: []string{"ada.example"}, EmailAddresses: []string{"ada@example.com"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/ada"}},
		},
	}
}

// identified is the policy of a file, behind a rule that does what the one for tokens does.
func identified(t *testing.T, text string, claims map[string]any) *Policy {
	t.Helper()
	p := mustWrite(t, text)
	identify := rule{judge: func(_ context.Context, a *Admission) *Refusal {
		a.Claims = &jwt.Claims{All: claims}
		a.removeQuery("token")
		a.removeSubprotocol("bearer")
		a.removeSubprotocol("S3CRET")
		return nil
	}}
	p.rules, p.managed = append([]rule{identify}, p.rules...), []string{"X-Auth-Sub"}
	return p
}

func TestConditionsSeeTheRequest(t *testing.T) {
	claims := map[string]any{"sub": "ada", "groups": []any{"dev", "ops"}, "level": int64(5)}
	for require, want := range map[string]string{ // reasons, "" where the condition holds
		`request.websocket && request.secure && request.method == "GET"`:                                "",
		`request.host == "chat.example" && request.path == "/ws/room" && route == "chat"`:               "",
		`request.origin == "https://chat.example"`:                                                      "",
		`request.query == {"room": ["7", "8"], "q": [" x"]}`:                                            "",
		`request.subprotocols == ["chat"]`:                                                              "",
		`request.headers["user-agent"] == "curl/8" && request.headers["x-tag"] == "a, b"`:               "",
		`request.headers.cookie == "a=1; b=2"`:                                                          "",
		`"x-auth-sub" in request.headers || "token" in request.query`:                                   reasonConditionFails,
		`client.address == "10.1.2.3" && in_network(client.address, "10.0.0.0/8")`:                      "",
		`"ops" in claims.groups && claims.level >= 5`:                                                   "",
		`"root" in claims.groups`:                                                                       reasonConditionFails,
		`claims.admin == true`:                                                                          reasonConditionUndecided,
		`!(claims.admin == true)`:                                                                       reasonConditionUndecided,
		`!has(claims.admin)`:                                                                            "",
		`certificate.subject == "CN=ada,O=Example" && certificate.issuer == "CN=ca"`:                    "",
		`certificate.dns == ["ada.example"] && certificate.emails == ["ada@example.com"]`:               "",
		`certificate.common_name == "ada" && certificate.serial == "0abc"`:                              "",
		`certificate.uris.exists(u, u.startsWith("spiffe://example/"))`:                                 "",
		`certificate.fingerprint == "cb02fd0794f08f7ba85e3e5ff8fb0c31edc4c8ae35cc2a5d19be1ee01dd6d4a7"`: reasonConditionFails,
		`certificate.fingerprint.matches("^[0-9a-f]{64}$")`:                                             "",
		`now.getHours() == 22 && now < timestamp("2026-11-02T22:30:01Z")`:                               "",
	} {
		p := identified(t, fmt.Sprintf("conditions: [{require: %q}]", require), claims)
		a := p.Admit(t.Context(), asked())
		switch d := a.Refused(); {
		case want == "" && d != nil:
			t.Errorf("%s: refused with %+v", require, d.Refusal)
		case want != "" && (d == nil || d.Refusal.Status != 403 || d.Refusal.Reason != want || d.Name != "conditions[0]"):
			t.Errorf("%s: got %+v, want 403 %s", require, d, want)
		}
	}
}

// What is not there is empty or absent, and never taken from another request.
func TestConditionsWithoutAnything(t *testing.T) {
	for require, admitted := range map[string]bool{
		`!request.websocket && !request.secure && !has(request.origin)`:              true,
		`request.query == {} && request.headers == {} && request.subprotocols == []`: true,
		`claims == {} && !has(certificate.subject)`:                                  true,
		`claims.sub == ""`:          false,
		`certificate.subject == ""`: false,
	} {
		p := mustWrite(t, fmt.Sprintf("conditions: [{require: %q}]", require))
		if got := ask(p, Request{Plain: true, Now: time.Unix(0, 0)}); got.Allow != admitted {
			t.Errorf("%s: got %+v", require, got)
		}
	}
}

// Each condition is a rule: the first that does not hold decides, under its own name.
func TestConditionsAreRules(t *testing.T) {
	p := mustWrite(t, `conditions: [{name: office-hours, require: "now.getHours() < 18"}, {require: "request.secure"}, {name: path, require: "request.path == '/'"}]`)
	early, late := time.Unix(0, 0).UTC(), time.Unix(20*3600, 0).UTC()
	for want, r := range map[string]Request{
		"office-hours":  {Now: late},
		"conditions[1]": {Now: early, Path: "/"},
		"path":          {Now: early, Secure: true, Path: "/x"},
		"":              {Now: early, Secure: true, Path: "/"},
	} {
		if got := ask(p, r); got.Rule != want || got.Allow != (want == "") {
			t.Errorf("got %+v, want rule %q", got, want)
		}
	}
	var names []string
	for _, r := range p.Rules() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "origin office-hours conditions[1] path" {
		t.Errorf("rules %s", got)
	}
}

func TestConditionsMistakes(t *testing.T) {
	const noName = "want at most 64 letters, digits, hyphens, underscores and dots"
	checkMistakes(t, []mistake{
		{`conditions: []`, "p.conditions", "want 1 or more entries"},
		{`conditions: [{name: a}]`, "p.conditions[0].require", "required key is missing"},
		{`conditions: [{require: ""}]`, "p.conditions[0].require", "is empty, want an expression of type bool over certificate, claims"},
		{`conditions: [{require: "true"}, {require: "claims.sub"}]`, "p.conditions[1].require", "line 1, column 1: the whole is of type dyn, want bool"},
		{`conditions: [{require: "request.metod == 'GET'"}]`, "p.conditions[0].require", "line 1, column 8: undefined field 'metod'"},
		{`conditions: [{require: "claims.a.all(x, claims.b.all(y, x == y))"}]`, "p.conditions[0].require", "steps, want at most"},
		{`conditions: [{name: "a b", require: "true"}]`, "p.conditions[0].name", noName},
		{`conditions: [{name: ` + strings.Repeat("x", 65) + `, require: "true"}]`, "p.conditions[0].name", noName},
		{`conditions: [{name: a, require: "true"}, {name: a, require: "true"}]`, "p.conditions[1].name", `another condition of the policy is called "a" too`},
		{`conditions: [{require: "true", when: "true"}]`, "p.conditions[0].when", "unknown key"},
	})
}
