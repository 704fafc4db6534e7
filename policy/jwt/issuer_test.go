package jwt

import (
	"context"
	"strings"
	"testing"
	"time"
)

// config returns the configuration that most tests use, with changes.
func config(changes ...func(*IssuerConfig)) IssuerConfig {
	c := IssuerConfig{
		Issuer: "https://id.example.com", Audience: Texts{"chat", "feed"}, JWKSURL: "https://id.example.com/keys",
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
		{"only what is required", `{"iss":"https://id.example.com","aud":"feed","exp":` + stamp(60) + `}`, nil},
		{"others beside", claims("roles", `["a",{"b":null}]`, "SUB", `"x"`, "Exp", `-1`), nil},

		{"J-16 sub twice", claims("s\\u0075b", `"bob"`), ErrClaims},
		{"J-16 lone surrogate", claims("name", `"\ud800"`), ErrClaims},
		{"J-16 Sub instead of sub", claims("sub", "", "Sub", `"bob"`), nil},
		{"Exp instead of exp", claims("exp", "", "Exp", stamp(60)), ErrClaimMissing},
		{"J-15 16 deep", claims("a", nested(15)), nil},
		{"J-15 17 deep", claims("a", nested(16)), ErrClaims},
		{"no object", `["iss"]`, ErrClaims},
		{"two objects", claims() + claims(), ErrClaims},
		{"a token in a token", sign(t, "ES256", pairs().p256, `{"alg":"ES256"}`, claims()), ErrClaims},

		{"J-17 expired within the leeway", claims("exp", stamp(-29)), nil},
		{"J-17 expired", claims("exp", stamp(-31)), ErrExpired},
		{"expired half a second before", claims("exp", stamp(-30)), ErrExpired},
		{"expired right now", claims("exp", stamp(-30)+".5"), ErrExpired},
		{"not expired yet", claims("exp", stamp(-30)+".5001"), nil},
		{"exp with an exponent", claims("exp", "18.00003e8"), nil},
		{"J-18 exp absent", claims("exp", ""), ErrClaimMissing},
		{"J-18 exp as text", claims("exp", `"9999999999"`), ErrClaims},
		{"J-18 exp infinite", claims("exp", `1e400`), ErrClaims},
		{"J-18 exp negative", claims("exp", `-1`), ErrClaims},
		{"J-18 exp out of range", claims("exp", `9223372036854775808`), ErrClaims},
		{"J-18 exp far away", claims("exp", `1e300`), ErrClaims},
		{"J-18 exp null", claims("exp", `null`), ErrClaims},
		{"exp zero", claims("exp", `0`), ErrExpired},
		{"exp after the year 9999", claims("exp", `253402300800`), ErrClaims},
		{"exp true", claims("exp", `true`), ErrClaims},
		{"exp a list", claims("exp", `[`+stamp(60)+`]`), ErrClaims},

		{"nbf within the leeway", claims("nbf", stamp(30)), nil},
		{"nbf in the future", claims("nbf", stamp(31)), ErrNotYetValid},
		{"nbf as text", claims("nbf", `"0"`), ErrClaims},
		{"nbf null", claims("nbf", `null`), ErrClaims},
		{"iat within the leeway", claims("iat", stamp(30)), nil},
		{"iat in the future", claims("iat", stamp(31)), ErrNotYetValid},
		{"iat as text", claims("iat", `"`+stamp(0)+`"`), ErrClaims},
		{"iat negative", claims("iat", `-1`), ErrClaims},

		{"J-20 among several audiences", claims("aud", `["x","chat"]`), nil},
		{"J-20 another audience", claims("aud", `["x"]`), ErrAudience},
		{"J-20 aud absent", claims("aud", ""), ErrClaimMissing},
		{"J-20 longer audience", claims("aud", `"chat.evil"`), ErrAudience},
		{"J-20 aud an object", claims("aud", `{}`), ErrClaims},
		{"J-20 aud an object with it", claims("aud", `{"chat":1}`), ErrClaims},
		{"J-20 aud empty", claims("aud", `[]`), ErrAudience},
		{"aud empty text", claims("aud", `""`), ErrAudience},
		{"aud other case", claims("aud", `"Chat"`), ErrAudience},
		{"aud with a space", claims("aud", `"chat feed"`), ErrAudience},
		{"aud a list in a list", claims("aud", `[["chat"]]`), ErrClaims},
		{"aud also a number", claims("aud", `["chat",1]`), ErrClaims},
		{"aud null", claims("aud", `null`), ErrClaims},

		{"J-21 final slash", claims("iss", `"https://id.example.com/"`), ErrIssuer},
		{"J-21 other case", claims("iss", `"https://ID.example.com"`), ErrIssuer},
		{"iss absent", claims("iss", ""), ErrClaimMissing},
		{"iss a list", claims("iss", `["https://id.example.com"]`), ErrClaims},
		{"iss null", claims("iss", `null`), ErrClaims},
		{"iss escaped", claims("iss", `"https:\/\/id.example.com"`), nil},
		{"sub a number", claims("sub", `1`), ErrClaims},
		{"jti a list", claims("jti", `[]`), ErrClaims},

		{"a day", claims("iat", stamp(-3600), "exp", stamp(23*3600)), nil},
		{"more than a day", claims("iat", stamp(-3600), "exp", stamp(23*3600+1)), ErrLifetime},
		{"J-22 ten years", claims("exp", stamp(10*365*86400)), ErrLifetime},
		{"ten years, nearly over", claims("iat", stamp(-10*365*86400), "exp", stamp(60)), ErrLifetime},
		{"without iat, a day", claims("iat", "", "exp", stamp(86400)), nil},
		{"without iat, more", claims("iat", "", "exp", stamp(86401)), ErrLifetime},
	}
	for _, test := range tests {
		token := sign(t, "ES256", pairs().p256, `{"alg":"ES256"}`, test.payload)
		c, err := i.Verify(context.Background(), token, now)
		if err != test.want || (c == nil) != (err != nil) {
			t.Errorf("%s: %v, %v, want %v", test.name, c, err, test.want)
		}
	}
}

// TestVerified looks at all that a verified token tells.
func TestVerified(t *testing.T) {
	i := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config())
	payload := claims("jti", `"7"`, "exp", stamp(60)+".25", "SUB", `"mallory"`, "level", "3", "big", "12345678901234567890", "ratio", "0.5",
		"admin", "true", "roles", `["a"]`, "nothing", "null")
	c, err := i.Verify(context.Background(), sign(t, "ES256", pairs().p256, `{"alg":"ES256"}`, payload), now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != "https://id.example.com" || c.Subject != "alice" || c.ID != "7" {
		t.Errorf("iss %q, sub %q, jti %q", c.Issuer, c.Subject, c.ID)
	}
	if want := time.Unix(now.Unix()+60, 250e6); !c.Expires.Equal(want) || !c.Until.Equal(want.Add(30*time.Second)) || !c.IssuedAt.Equal(time.Unix(now.Unix()-60, 0)) {
		t.Errorf("exp %v, iat %v", c.Expires, c.IssuedAt)
	}
	for name, want := range map[string]string{
		"sub": "alice", "SUB": "mallory", "level": "3", "big": "1.2345678901234567e+19", "ratio": "0.5", "admin": "true", "iat": stamp(-60),
	} {
		if got, ok := c.Get(name); !ok || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"roles", "nothing", "Sub", "", "absent"} {
		if got, ok := c.Get(name); ok {
			t.Errorf("%s: %q, want none", name, got)
		}
	}
}

// TestType is the second half of J-22: a pinned typ.
func TestType(t *testing.T) {
	pinned := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config(func(c *IssuerConfig) { c.Type = "at+jwt" }))
	for member, want := range map[string]error{
		`,"typ":"at+jwt"`:               nil,
		`,"typ":"AT+JWT"`:               nil,
		`,"typ":"application/at+jwt"`:   nil,
		`,"typ":"id"`:                   ErrType,
		`,"typ":"JWT"`:                  ErrType,
		`,"typ":"at+jwt "`:              ErrType,
		`,"typ":"application/x/at+jwt"`: ErrType,
		`,"typ":""`:                     ErrType,
		``:                              ErrType,
		`,"TYP":"at+jwt"`:               ErrType,
	} {
		token := sign(t, "ES256", pairs().p256, `{"alg":"ES256"`+member+`}`, claims())
		if _, err := pinned.Verify(context.Background(), token, now); err != want {
			t.Errorf("header with %s: %v, want %v", member, err, want)
		}
	}
}

func TestRequire(t *testing.T) {
	set := keySet(t, jwk(t, &pairs().p256.PublicKey, nil))
	tests := []struct {
		require map[string]Texts
		claim   string // name and value
		want    error
	}{
		{map[string]Texts{"role": {"admin"}}, `"role":"admin"`, nil},
		{map[string]Texts{"role": {"admin", "owner"}}, `"role":"owner"`, nil},
		{map[string]Texts{"role": {"admin"}}, `"role":["user","admin"]`, nil},
		{map[string]Texts{"role": {"admin", "owner"}}, `"role":["user",{},"owner"]`, nil},
		{map[string]Texts{"role": {"admin"}}, `"role":"Admin"`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"role":"admin user"`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"role":["user"]`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"role":[["admin"]]`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"role":{"admin":true}`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"role":null`, ErrClaimRefused},
		{map[string]Texts{"role": {"admin"}}, `"Role":"admin"`, ErrClaimRefused},
		{map[string]Texts{"level": {"3"}}, `"level":3`, nil},
		{map[string]Texts{"level": {"3"}}, `"level":30`, ErrClaimRefused},
		{map[string]Texts{"admin": {"true"}}, `"admin":true`, nil},
		{map[string]Texts{"admin": {"true"}}, `"admin":false`, ErrClaimRefused},
		{map[string]Texts{"role": {"a"}, "level": {"1"}}, `"role":"a","level":1`, nil},
		{map[string]Texts{"role": {"a"}, "level": {"1"}}, `"role":"a","level":2`, ErrClaimRefused},
		{map[string]Texts{"scope": {"read"}}, `"scope":"read write"`, nil},
		{map[string]Texts{"scope": {"read", "write"}}, `"scope":"write admin read"`, nil},
		{map[string]Texts{"scope": {"read", "write"}}, `"scope":["write","read"]`, nil},
		{map[string]Texts{"scope": {"read", "write"}}, `"scope":"read"`, ErrClaimRefused},
		{map[string]Texts{"scope": {"read"}}, `"scope":"reader"`, ErrClaimRefused},
		{map[string]Texts{"scope": {"read"}}, `"scope":""`, ErrClaimRefused},
		{map[string]Texts{"scope": {"read"}}, `"scp":"read"`, ErrClaimRefused},
	}
	for _, test := range tests {
		i := issuer(t, set, config(func(c *IssuerConfig) { c.Require = test.require }))
		token := sign(t, "ES256", pairs().p256, `{"alg":"ES256"}`, strings.TrimSuffix(claims(), "}")+","+test.claim+"}")
		if _, err := i.Verify(context.Background(), token, now); err != test.want {
			t.Errorf("require %v with %s: %v, want %v", test.require, test.claim, err, test.want)
		}
	}
}
