package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// fuzzSecret signs what the fuzzers make: the same in each process, for the corpus.
var fuzzSecret = []byte(strings.Repeat("fuzz", 16))

func fuzzIssuer(tb testing.TB) *Issuer {
	set, err := ParseSecret(fuzzSecret)
	if err != nil {
		tb.Fatal(err)
	}
	return issuer(tb, set, config(func(c *IssuerConfig) { c.JWKSURL, c.Secret = "", string(fuzzSecret) }))
}

// FuzzToken states what holds of each token that is admitted: it is the only spelling of its bytes, go-jose verifies it too, and its claims are
// what encoding/json reads.
func FuzzToken(f *testing.F) {
	f.Add(sign(f, jose.HS256, fuzzSecret, `{"alg":"HS256"}`, claims()))
	f.Add(sign(f, jose.HS256, fuzzSecret, `{"typ":"JWT", "alg":"HS256"}`, claims("aud", `["x","chat"]`, "n", "1.5")))
	for _, example := range examples {
		f.Add(example.token)
	}
	i := fuzzIssuer(f)
	f.Fuzz(func(t *testing.T, token string) {
		c, err := i.Verify(context.Background(), token, now)
		if err != nil {
			if further(nil, err) == nil || c != nil {
				t.Fatalf("refused with %v, which is none of the errors, or with claims %v", err, c)
			}
			return
		}
		checkAdmitted(t, token, c)
	})
}

// FuzzClaims signs headers and payloads of the fuzzer, which so come as far as their claims.
func FuzzClaims(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, claims())
	f.Add(`{"alg":"HS256","kid":"a","typ":"JWT"}`, claims("exp", stamp(1)+".5", "iat", stamp(0), "nbf", "1e3", "SUB", "1"))
	f.Add(`{"\u0061lg":"HS256"}`, claims("sub", `"\u00e9\ud83d\ude00"`, "n", "9007199254740993"))
	f.Add(`{"alg":"HS256","crit":["exp"]}`, claims("a", nested(15)))
	f.Add(` {"alg":"HS256" } `, claims("aud", `["chat","x"]`))
	i := fuzzIssuer(f)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := sign(t, jose.HS256, fuzzSecret, header, payload)
		if c, err := i.Verify(context.Background(), token, now); err == nil {
			checkAdmitted(t, token, c)
		}
	})
}

func checkAdmitted(t *testing.T, token string, c *Claims) {
	t.Helper()
	parts := strings.Split(token, ".")
	for n, part := range parts {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || b64(data) != part {
			t.Fatalf("part %d is not the only spelling of its bytes: %v", n, err)
		}
		parts[n] = string(data)
	}
	jws, err := jose.ParseSignedCompact(token, []algorithm{jose.HS256})
	if err != nil {
		t.Fatalf("go-jose does not read what was admitted: %v", err)
	}
	payload, err := jws.Verify(fuzzSecret)
	if err != nil || string(payload) != parts[1] {
		t.Fatalf("go-jose does not verify what was admitted: %v", err)
	}
	var theirs map[string]any
	if err := json.Unmarshal(payload, &theirs); err != nil || !utf8.Valid(payload) {
		t.Fatalf("encoding/json does not read the claims: %v", err)
	}
	if ours, _ := json.Marshal(c.All); !sameJSON(ours, theirs) {
		t.Fatalf("claims %s, want %v", ours, theirs)
	}
	exp, _ := theirs["exp"].(float64)
	if theirs["iss"] != c.Issuer || exp*1000 < float64(now.Add(-30*time.Second).UnixMilli()) || c.Expires.Before(now.Add(-30*time.Second)) {
		t.Fatalf("admitted with iss %v and exp %v", theirs["iss"], theirs["exp"])
	}
}

func sameJSON(data []byte, want any) bool {
	var got any
	if json.Unmarshal(data, &got) != nil {
		return false
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	return string(a) == string(b)
}

// FuzzKeySet states what holds of each key that is kept, by a second reading of the document.
func FuzzKeySet(f *testing.F) {
	p := pairs()
	for _, public := range []any{&p.rsa.PublicKey, &p.p256.PublicKey, &p.p384.PublicKey, &p.p521.PublicKey, p.ed25519.Public()} {
		f.Add([]byte(`{"keys":[` + jwkText(f, public) + `]}`))
	}
	f.Add([]byte(`{"a":1,"keys":[{"kty":"oct","k":"AAAA"},{"kty":"x"},1,` + jwkText(f, &p.p256.PublicKey) + `],"b":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","use":"sig","key_ops":["verify"],"alg":"RS256","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, errs := ParseKeySet(data)
		if set == nil {
			if len(errs) == 0 {
				t.Fatal("refused without an error")
			}
			return
		}
		kids := make(map[string]bool)
		for _, k := range set.keys {
			if k.kid != "" && kids[k.kid] {
				t.Fatalf("two keys are called %q", k.kid)
			}
			kids[k.kid] = true
			checkKept(t, k)
		}
		var theirs struct{ Keys []any }
		if json.Unmarshal(data, &theirs) == nil && len(theirs.Keys) < set.Len() || set.Len() > maxKeys || len(data) > MaxKeySet {
			t.Fatalf("%d keys from %d bytes", set.Len(), len(data))
		}
	})
}

func checkKept(t *testing.T, k key) {
	t.Helper()
	if k.alg != "" && !k.fits(k.alg) {
		t.Fatalf("a %T with the algorithm %s", k.material, k.alg)
	}
	switch material := k.material.(type) {
	case *rsa.PublicKey:
		if material.N.BitLen() < 2048 || material.E < 3 || material.E%2 == 0 {
			t.Fatalf("RSA of %d bits with exponent %d", material.N.BitLen(), material.E)
		}
	case *ecdsa.PublicKey:
		if material.Curve == elliptic.P224() {
			t.Fatal("EC on P-224")
		}
		if _, err := material.ECDH(); err != nil {
			t.Fatalf("EC with a point that is not on its curve: %v", err)
		}
	case ed25519.PublicKey:
		if len(material) != ed25519.PublicKeySize {
			t.Fatalf("Ed25519 of %d bytes", len(material))
		}
	default:
		t.Fatalf("a %T", k.material)
	}
}
