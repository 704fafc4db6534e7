package jwt

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// fetched stands for a source that fetches: it has the newest set only after it was asked for a kid that it lacks.
type fetched struct {
	sets  []*KeySet // the one at hand first
	err   error
	asked []string
}

func (f *fetched) Keys(_ context.Context, kid string) (*KeySet, error) {
	f.asked = append(f.asked, kid)
	if f.err != nil {
		return nil, f.err
	}
	if kid != "" && !f.sets[0].Has(kid) && len(f.sets) > 1 {
		f.sets = f.sets[1:]
	}
	return f.sets[0], nil
}

type members = map[string]any

// TestKeysAreAsked shows when the keys of an issuer are asked for, and for which.
func TestKeysAreAsked(t *testing.T) {
	p := pairs()
	old := keySet(t, jwk(t, &p.another.PublicKey, members{"kid": "old"}))
	rotated := keySet(t, jwk(t, &p.p256.PublicKey, members{"kid": "new"}))
	nameless := keySet(t, jwk(t, &p.another.PublicKey, nil))
	unavailable := errors.New("dial tcp 192.0.2.1: S3CRET")
	tests := []struct {
		name, header string
		keys         *fetched
		want         error
		asked        []string
	}{
		{"at hand", `{"alg":"ES256","kid":"new"}`, &fetched{sets: []*KeySet{rotated}}, nil, []string{""}},
		{"rotated", `{"alg":"ES256","kid":"new"}`, &fetched{sets: []*KeySet{old, rotated}}, nil, []string{"", "new"}},
		{"rotated, old key without name", `{"alg":"ES256","kid":"new"}`, &fetched{sets: []*KeySet{nameless, rotated}}, nil, []string{"", "new"}},
		{"unknown", `{"alg":"ES256","kid":"x"}`, &fetched{sets: []*KeySet{old}}, ErrUnknownKey, []string{"", "x"}},
		{"unknown, and fetched", `{"alg":"ES256","kid":"x"}`, &fetched{sets: []*KeySet{old, rotated}}, ErrUnknownKey, []string{"", "x"}},
		{"without a name", `{"alg":"ES256"}`, &fetched{sets: []*KeySet{old, rotated}}, ErrSignature, []string{""}},
		{"a wrong signature with a known name", `{"alg":"ES256","kid":"old"}`, &fetched{sets: []*KeySet{old, rotated}}, ErrSignature, []string{""}},
		{"an algorithm that is not allowed", `{"alg":"ES384","kid":"x"}`, &fetched{sets: []*KeySet{old}}, ErrAlgorithm, nil},
		{"a bad header", `{"alg":"ES256","kid":"x","crit":[]}`, &fetched{sets: []*KeySet{old}}, ErrMalformed, nil},
		{"unavailable", `{"alg":"ES256","kid":"x"}`, &fetched{err: unavailable}, ErrUnavailable, []string{""}},
	}
	for _, test := range tests {
		i := issuer(t, test.keys, config())
		_, err := i.Verify(context.Background(), sign(t, jose.ES256, p.p256, test.header, claims()), now)
		if err != test.want || !slices.Equal(test.keys.asked, test.asked) {
			t.Errorf("%s: %v, asked for %q, want %v, %q", test.name, err, test.keys.asked, test.want, test.asked)
		}
	}
}

// TestWithoutKeys shows that an issuer compiled without keys admits nothing.
func TestWithoutKeys(t *testing.T) {
	for name, keys := range map[string]Keys{"no interface": nil, "no set": (*KeySet)(nil)} {
		i := issuer(t, keys, config())
		token := sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, claims())
		if _, err := i.Verify(context.Background(), token, now); err != ErrUnavailable {
			t.Errorf("%s: %v, want %v", name, err, ErrUnavailable)
		}
	}
}

// TestSeveralIssuers verifies tokens with the issuers a and b, each with a key of its own, and c, which shares that of a.
func TestSeveralIssuers(t *testing.T) {
	p := pairs()
	named := func(name string, algorithms ...string) IssuerConfig {
		return config(func(c *IssuerConfig) { c.Issuer, c.Algorithms = name, algorithms })
	}
	aKeys := &fetched{sets: []*KeySet{keySet(t, jwk(t, &p.p256.PublicKey, members{"kid": "1"}))}}
	bKeys := &fetched{sets: []*KeySet{keySet(t, jwk(t, &p.p384.PublicKey, members{"kid": "1"}))}}
	issuers := []*Issuer{issuer(t, aKeys, named("a")), issuer(t, bKeys, named("b", "ES384", "ES256")), issuer(t, aKeys, named("c"))}
	secret := issuer(t, &KeySet{[]key{{material: p.secret}}}, config(func(c *IssuerConfig) {
		c.Issuer, c.JWKSURL, c.Secret = "s", "", string(p.secret)
	}))
	down := issuer(t, &fetched{err: errors.New("down")}, named("a"))
	all := append(slices.Clone(issuers), secret)
	tests := []struct {
		name    string
		issuers []*Issuer
		alg     algorithm
		private any
		iss     string
		changes []string
		want    error
	}{
		{"of a", all, jose.ES256, p.p256, "a", nil, nil},
		{"of b", all, jose.ES384, p.p384, "b", nil, nil},
		{"of c, after a", all, jose.ES256, p.p256, "c", nil, nil},
		{"of s", all, jose.HS256, p.secret, "s", nil, nil},
		{"of none", all, jose.ES256, p.p256, "d", nil, ErrIssuer},
		{"a says that it is b", all, jose.ES256, p.p256, "b", nil, ErrIssuer},
		{"b says that it is a", all, jose.ES384, p.p384, "a", nil, ErrIssuer},
		{"s says that it is a", all, jose.HS256, p.secret, "a", nil, ErrIssuer},
		{"a stranger", all, jose.ES256, p.another, "a", nil, ErrSignature},
		{"a stranger by an algorithm that nobody uses", all, jose.RS512, p.rsa, "a", nil, ErrAlgorithm},
		{"the furthest refusal counts", all, jose.ES256, p.p256, "a", []string{"exp", stamp(-60)}, ErrExpired},
		{"also that of the last", all, jose.ES256, p.p256, "c", []string{"aud", `"x"`}, ErrAudience},
		{"a is down", []*Issuer{down, issuers[1]}, jose.ES384, p.p384, "b", nil, nil},
		{"a is down, not of b", []*Issuer{down, issuers[1]}, jose.ES256, p.p256, "a", nil, ErrUnavailable},
		{"no issuers", nil, jose.ES256, p.p256, "a", nil, ErrAlgorithm},
	}
	for _, test := range tests {
		payload := claims(append([]string{"iss", `"` + test.iss + `"`}, test.changes...)...)
		token := sign(t, test.alg, test.private, `{"alg":"`+string(test.alg)+`","kid":"1"}`, payload)
		c, err := Verify(context.Background(), test.issuers, token, now)
		if err != test.want || err == nil && c.Issuer != test.iss || err != nil && c != nil {
			t.Errorf("%s: %v, %v, want %v", test.name, c, err, test.want)
		}
	}
}

// TestNobodyIsAskedForOthersKeys shows that a source is not made to fetch by tokens of another issuer.
func TestNobodyIsAskedForOthersKeys(t *testing.T) {
	p := pairs()
	slow := &fetched{sets: []*KeySet{keySet(t, jwk(t, &p.another.PublicKey, members{"kid": "slow"}))}}
	quick := &fetched{sets: []*KeySet{keySet(t, jwk(t, &p.p256.PublicKey, members{"kid": "quick"}))}}
	issuers := []*Issuer{issuer(t, slow, config()), issuer(t, quick, config())}
	token := sign(t, jose.ES256, p.p256, `{"alg":"ES256","kid":"quick"}`, claims())
	if _, err := Verify(context.Background(), issuers, token, now); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(slow.asked, "quick") {
		t.Errorf("asked for %q", slow.asked)
	}
}

// TestErrorsAreRanked shows that each error has its place, and that none quotes anything.
func TestErrorsAreRanked(t *testing.T) {
	for n, err := range progress {
		if further(nil, err) != err || further(err, nil) != err || further(progress[0], err) != err || n > 0 && further(err, progress[n-1]) != err {
			t.Errorf("%v is not further than what stands before it", err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, signer := range signers() {
		if !slices.Contains(append([]algorithm{jose.HS256}, standardAlgorithms...), signer.alg) {
			continue
		}
		b.Run(string(signer.alg), func(b *testing.B) {
			i := issuer(b, signer.set, config(func(c *IssuerConfig) {
				c.Algorithms = []string{string(signer.alg)}
				if signer.alg == jose.HS256 {
					c.JWKSURL, c.Secret = "", string(pairs().secret)
				}
			}))
			token := sign(b, signer.alg, signer.private, `{"alg":"`+string(signer.alg)+`","typ":"JWT"}`, claims("jti", `"0123456789"`, "scope", `"chat feed"`))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Verify(context.Background(), token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
