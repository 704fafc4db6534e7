package jwt

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// config returns the configuration that most tests use, with changes.
func config(changes ...func(*IssuerConfig)) IssuerConfig {
	c := IssuerConfig{
		Issuer: "https://id.example.com", Audience: Texts{"chat", "feed"}, JWKSURL: "https://id.example.com/keys",
		Leeway: strictyaml.Duration(30 * time.Second), MaxLifetime: strictyaml.Duration(24 * time.Hour),
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

// issuer compiles a configuration, which must be free of mistakes.
func issuer(t testing.TB, keys Keys, c IssuerConfig) *Issuer {
	t.Helper()
	i := c.Compile(keys, func(path, format string, args ...any) {
		t.Errorf("mistake at %q: "+format, append([]any{path}, args...)...)
	})
	if i == nil {
		t.FailNow()
	}
	return i
}

// claims is the payload of a good token, with members replaced or added: each change is a name and a value, both in JSON, or a name and "" for
// one that is taken away.
func claims(changes ...string) string {
	members := [][2]string{
		{"iss", `"https://id.example.com"`}, {"aud", `"chat"`}, {"exp", stamp(3600)}, {"iat", stamp(-60)}, {"sub", `"alice"`},
	}
	for n := 0; n < len(changes); n += 2 {
		added := true
		for m := range members {
			if members[m][0] == changes[n] {
				members[m][1], added = changes[n+1], false
			}
		}
		if added {
			members = append(members, [2]string{changes[n], changes[n+1]})
		}
	}
	var parts []string
	for _, m := range members {
		if m[1] != "" {
			parts = append(parts, `"`+m[0]+`":`+m[1])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// TestClaims verifies tokens whose signature is good.
func TestClaims(t *testing.T) {
	i := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config())
	tests := []struct {
		name, payload string
		want          error
	}{
		{"good", claims(), nil},
		{"J-17 expired within the leeway", claims("exp", stamp(-29)), nil},
		{"J-17 expired", claims("exp", stamp(-31)), ErrExpired},
		{"J-18 exp absent", claims("exp", ""), ErrClaimMissing},
		{"J-18 exp as text", claims("exp", `"9999999999"`), ErrMalformed},
		{"J-18 exp infinite", claims("exp", `1e400`), ErrMalformed},
		{"J-18 exp negative", claims("exp", `-1`), ErrMalformed},
		{"J-18 exp out of range", claims("exp", `9223372036854775808`), ErrMalformed},
		{"J-18 exp null", claims("exp", `null`), ErrMalformed},
		{"J-20 among several audiences", claims("aud", `["x","chat"]`), nil},
		{"J-20 another audience", claims("aud", `["x"]`), ErrAudience},
		{"J-20 aud absent", claims("aud", ""), ErrClaimMissing},
		{"J-20 longer audience", claims("aud", `"chat.evil"`), ErrAudience},
		{"J-20 aud an object", claims("aud", `{}`), ErrMalformed},
		{"J-20 aud empty", claims("aud", `[]`), ErrAudience},
		{"J-21 final slash", claims("iss", `"https://id.example.com/"`), ErrIssuer},
		{"J-21 other case", claims("iss", `"https://ID.example.com"`), ErrIssuer},
		{"J-22 ten years", claims("exp", stamp(10*365*86400)), ErrLifetime},
	}
	for _, test := range tests {
		token := sign(t, "ES256", pairs().p256, `{"alg":"ES256"}`, test.payload)
		c, err := i.Verify(context.Background(), token, now)
		if err != test.want || (c == nil) != (err != nil) {
			t.Errorf("%s: %v, %v, want %v", test.name, c, err, test.want)
		}
	}
}
