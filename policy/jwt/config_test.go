package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

// mistakes compiles a configuration and returns what is reported.
func mistakes(t *testing.T, c IssuerConfig, keys Keys) []string {
	t.Helper()
	var list []string
	i := c.Compile(keys, func(path, format string, args ...any) {
		list = append(list, path+": "+fmt.Sprintf(format, args...))
	})
	if (i == nil) != (len(list) > 0) {
		t.Errorf("issuer %v with %d mistakes", i, len(list))
	}
	return list
}

func TestCompileMistakes(t *testing.T) {
	secret := strings.Repeat("s", 48)
	withSecret := func(c *IssuerConfig) { c.JWKSURL, c.Secret = "", secret }
	tests := []struct {
		name   string
		change func(c *IssuerConfig)
		want   string // the beginning of the only mistake; "" for none
	}{
		{"good", func(c *IssuerConfig) {}, ""},
		{"no issuer", func(c *IssuerConfig) { c.Issuer = "" }, "issuer: issuer is missing"},
		{"no audience", func(c *IssuerConfig) { c.Audience = nil }, "audience: audience is missing"},
		{"an empty audience", func(c *IssuerConfig) { c.Audience = Texts{"a", ""} }, "audience[1]: this audience is empty"},

		{"no keys", func(c *IssuerConfig) { c.JWKSURL = "" }, ": no keys, want one of jwks_url, jwks_file, pem and secret"},
		{"two sources", func(c *IssuerConfig) { c.PEM = "a.pem" }, "pem: pem beside jwks_url"},
		{"secret beside public keys", func(c *IssuerConfig) { c.Secret = secret }, "secret: secret beside jwks_url"},
		{"an own authority", func(c *IssuerConfig) { c.JWKSCA = "ca.pem" }, ""},
		{"an authority of nothing", func(c *IssuerConfig) { c.JWKSURL, c.PEM, c.JWKSCA = "", "a.pem", "ca.pem" }, "jwks_ca: jwks_ca without jwks_url"},
		{"stale keys of nothing", func(c *IssuerConfig) { c.JWKSURL, c.PEM, c.MaxStale = "", "a.pem", 1 }, "max_stale: max_stale without jwks_url"},
		{"http of nothing", func(c *IssuerConfig) { c.JWKSURL, c.PEM, c.DangerouslyAllowHTTP = "", "a.pem", true }, "dangerously_allow_http: "},

		{"all public algorithms", func(c *IssuerConfig) {
			c.Algorithms = strings.Fields("ES256 ES384 ES512 EdDSA RS256 RS384 RS512 PS256 PS384 PS512")
		}, ""},
		{"C-11 none", func(c *IssuerConfig) { c.Algorithms = []string{"none"} }, `algorithms[0]: unknown algorithm "none"`},
		{"other case", func(c *IssuerConfig) { c.Algorithms = []string{"ES256", "eddsa"} }, `algorithms[1]: unknown algorithm "eddsa"`},
		{"twice", func(c *IssuerConfig) { c.Algorithms = []string{"ES256", "ES256"} }, "algorithms[1]: algorithm ES256 is listed twice"},
		{"HS256 without secret", func(c *IssuerConfig) { c.Algorithms = []string{"ES256", "HS256"} }, "algorithms[1]: algorithm HS256 goes with a secret only"},
		{"secret", withSecret, ""},
		{"secret with its algorithms", func(c *IssuerConfig) { withSecret(c); c.Algorithms = []string{"HS256", "HS384"} }, ""},
		{"secret with another one", func(c *IssuerConfig) { withSecret(c); c.Algorithms = []string{"RS256"} }, "algorithms[0]: algorithm RS256 goes with public keys"},
		{"secret too short", func(c *IssuerConfig) { withSecret(c); c.Algorithms = []string{"HS512"} }, "algorithms[0]: algorithm HS512 needs a secret of 64 bytes"},

		{"no leeway", func(c *IssuerConfig) { c.Leeway = new(strictyaml.Duration(0)) }, ""},
		{"leeway of 60 s", func(c *IssuerConfig) { c.Leeway = new(strictyaml.Duration(time.Minute)) }, ""},
		{"C-11 leeway", func(c *IssuerConfig) { c.Leeway = new(strictyaml.Duration(time.Hour)) }, "leeway: leeway is 1h0m0s, want at most 1m0s"},
		{"negative leeway", func(c *IssuerConfig) { c.Leeway = new(strictyaml.Duration(-1)) }, "leeway: "},
		{"default leeway", func(c *IssuerConfig) { c.Leeway = nil }, ""},
		{"default lifetime", func(c *IssuerConfig) { c.MaxLifetime = 0 }, ""},
		{"negative lifetime", func(c *IssuerConfig) { c.MaxLifetime = -1 }, "max_lifetime: "},

		{"required", func(c *IssuerConfig) { c.Require = map[string]Texts{"scope": {"chat"}, "role": {"a", "b"}} }, ""},
		{"required without value", func(c *IssuerConfig) { c.Require = map[string]Texts{"role": {}} }, `require.role: claim "role" without a value`},
		{"required to be empty", func(c *IssuerConfig) { c.Require = map[string]Texts{"a.b": {""}} }, `require["a.b"]: `},
	}
	for _, test := range tests {
		got := mistakes(t, config(test.change), nil)
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], test.want)) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if strings.Contains(strings.Join(got, ""), secret) {
			t.Errorf("%s: a mistake quotes the secret", test.name)
		}
	}
}

// TestCompileReportsAll shows that all mistakes are reported at once.
func TestCompileReportsAll(t *testing.T) {
	if got := mistakes(t, IssuerConfig{Leeway: new(strictyaml.Duration(-1)), Algorithms: []string{"x"}, JWKSCA: "a"}, nil); len(got) < 5 {
		t.Errorf("%q, want issuer, audience, keys, leeway and algorithms", got)
	}
}

// TestCompileKeys shows that keys which no algorithm fits are a mistake.
func TestCompileKeys(t *testing.T) {
	ec384 := keySet(t, jwk(t, &pairs().p384.PublicKey, nil))
	fromFile := func(algorithms ...string) IssuerConfig {
		return config(func(c *IssuerConfig) { c.JWKSURL, c.JWKSFile, c.Algorithms = "", "keys.json", algorithms })
	}
	want := "jwks_file: none of the keys fits one of the algorithms ES256, EdDSA, RS256, PS256"
	if got := mistakes(t, fromFile(), ec384); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := mistakes(t, fromFile("ES384"), ec384); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if got := mistakes(t, fromFile(), nil); len(got) > 0 {
		t.Errorf("to check a configuration, no keys are needed: %q", got)
	}
}

func TestStaticKeys(t *testing.T) {
	p := pairs()
	good, _ := json.Marshal(map[string]any{"keys": []any{jwk(t, &p.p256.PublicKey, map[string]any{"kid": "a"})}})
	partly, _ := json.Marshal(map[string]any{"keys": []any{jwk(t, &p.p256.PublicKey, nil), jwk(t, p.p384, nil)}})
	files := map[string]string{"keys.json": string(good), "partly.json": string(partly), "empty.json": `{"keys":[]}`, "key.pem": publicPEM(t, &p.p256.PublicKey)}
	read := func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, errors.New("no such file")
		}
		return []byte(text), nil
	}
	tests := []struct {
		name   string
		config IssuerConfig
		keys   int
		want   string
	}{
		{"a set", IssuerConfig{JWKSFile: "keys.json"}, 1, ""},
		{"PEM", IssuerConfig{PEM: "key.pem"}, 1, ""},
		{"a secret", IssuerConfig{Secret: strings.Repeat("s", 32)}, 1, ""},
		{"a URL", IssuerConfig{JWKSURL: "https://id.example.com/"}, 0, ""},
		{"nothing", IssuerConfig{}, 0, ""},
		{"C-11 a short secret", IssuerConfig{Secret: "S3CRET"}, 0, "secret: a secret of 6 bytes, want 32 or more"},
		{"a file that is missing", IssuerConfig{PEM: "x.pem"}, 0, "pem: reading the keys: no such file"},
		{"a set as PEM", IssuerConfig{PEM: "keys.json"}, 0, "pem: no PEM block"},
		{"PEM as a set", IssuerConfig{JWKSFile: "key.pem"}, 0, "jwks_file: malformed key set"},
		{"a bad key in a set", IssuerConfig{JWKSFile: "partly.json"}, 0, "jwks_file: keys[1]"},
		{"an empty set", IssuerConfig{JWKSFile: "empty.json"}, 0, "jwks_file: a key set without keys"},
	}
	for _, test := range tests {
		var got []string
		set := test.config.StaticKeys(read, func(path, format string, args ...any) {
			got = append(got, path+": "+fmt.Sprintf(format, args...))
		})
		if (set == nil) != (test.keys == 0) || set != nil && set.Len() != test.keys {
			t.Errorf("%s: %v, want %d keys", test.name, set, test.keys)
		}
		if (test.want == "") != (len(got) == 0) || test.want != "" && !strings.HasPrefix(got[0], test.want) || strings.Contains(fmt.Sprint(got), "S3CRET") {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestDecode reads the section as it is written, and compiles its defaults.
func TestDecode(t *testing.T) {
	var section struct {
		JWT IssuerConfig `yaml:"jwt"`
	}
	text := "jwt:\n  issuer: https://id.example.com\n  audience: chat\n  jwks_url: https://id.example.com/keys\n" +
		"  require: {scope: chat, role: [admin, owner], level: 3}\n"
	if _, errs := strictyaml.Decode("f", []byte(text), nil, &section); len(errs) > 0 {
		t.Fatal(errs)
	}
	c := section.JWT
	if i := issuer(t, nil, c); i.leeway != 30*time.Second || i.maxLifetime != 24*time.Hour {
		t.Errorf("leeway %v and max_lifetime %v, want 30s and 24h", i.leeway, i.maxLifetime)
	}
	if fmt.Sprint(c.Audience, c.Require) != "[chat] map[level:[3] role:[admin owner] scope:[chat]]" {
		t.Errorf("audience %q, require %q", c.Audience, c.Require)
	}
	for change, want := range map[string]string{
		"leeway: 61s":          "leeway",
		"leeway: 0":            "leeway",
		"leeway: -1s":          "leeway",
		"max_lifetime: 0s":     "max_lifetime",
		"algorithms: [none]":   "algorithms[0]",
		"algorithms: []":       "algorithms",
		"audience: {a: b}":     "audience",
		"jwks: https://a.b/c":  "jwks",
		"require: [a]":         "require",
		"require: {a: {b: c}}": "require.a",
		"require: {a: , b: c}": "require.a",
		"type: JWT":            "type",
	} {
		section.JWT = IssuerConfig{}
		_, errs := strictyaml.Decode("f", []byte("jwt:\n  "+change+"\n"), nil, &section)
		if len(errs) != 1 || !strings.Contains(errs.Error(), "jwt."+want+":") {
			t.Errorf("%s: %v, want one mistake at %s", change, errs, want)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	section := reflect.TypeFor[IssuerConfig]()
	for i := range section.NumField() {
		if f := section.Field(i); f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "" {
			t.Errorf("%s has no yaml or doc tag", f.Name)
		}
	}
}
