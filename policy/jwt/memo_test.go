package jwt

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// What is kept of a token is judged by other issuers as the token itself would be, but for its end; and it is not the token.
func TestReview(t *testing.T) {
	mine, other := jwk(t, &pairs().p256.PublicKey, nil), jwk(t, &pairs().another.PublicKey, nil)
	first := issuer(t, keySet(t, mine), config())
	text := sign(t, "ES256", pairs().p256, `{"alg":"ES256","typ":"at+jwt"}`, claims("role", `"editor"`))
	verified, err := first.Verify(t.Context(), text, now)
	if err != nil {
		t.Fatal(err)
	}
	m := verified.Memo()
	if signature := text[strings.LastIndexByte(text, '.')+1:]; strings.Contains(m.payload, signature) {
		t.Error("the signature is kept")
	}
	leeway := strictyaml.Duration(10 * time.Second)
	for _, row := range []struct {
		name string
		by   *Issuer
		at   time.Duration
		want error
	}{
		{"the same", first, 0, nil},
		{"one more key", issuer(t, keySet(t, other, mine), config()), 0, nil},
		{"another key", issuer(t, keySet(t, other), config()), 0, ErrUnknownKey},
		{"no keys at present", issuer(t, (*KeySet)(nil), config()), 0, nil},
		{"another issuer", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Issuer = "https://else.example.com" })), 0, ErrIssuer},
		{"another audience", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Audience = Texts{"mail"} })), 0, ErrAudience},
		{"its type", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Type = "at+jwt" })), 0, nil},
		{"another type", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Type = "jwt" })), 0, ErrType},
		{"its role", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Require = map[string]Texts{"role": {"editor"}} })), 0, nil},
		{"another role", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Require = map[string]Texts{"role": {"admin"}} })), 0, ErrClaimRefused},
		{"another algorithm", issuer(t, keySet(t, jwk(t, &pairs().rsa.PublicKey, nil)), config(func(c *IssuerConfig) { c.Algorithms = []string{"RS256"} })), 0, ErrAlgorithm},
		{"after its end", first, 2 * time.Hour, nil},
		{"another leeway", issuer(t, keySet(t, mine), config(func(c *IssuerConfig) { c.Leeway = &leeway })), 0, nil},
	} {
		c, err := Review([]*Issuer{row.by}, m, now.Add(row.at))
		if !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, err, row.want)
		}
		if row.want == nil && (c.Subject != "alice" || !c.Until.Equal(c.Expires.Add(row.by.leeway)) || c.Memo().Claims().Until != c.Until) {
			t.Errorf("%s: got %+v", row.name, c)
		}
	}
	if _, err := Review([]*Issuer{issuer(t, keySet(t, other), config()), first}, m, now); err != nil {
		t.Errorf("one of two issuers has the key: %v", err)
	}
	if c := m.Claims(); c.All["role"] != "editor" || !c.Until.Equal(verified.Until) {
		t.Errorf("the claims are %+v", c)
	}
}
