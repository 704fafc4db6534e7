package proxy

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// A mistake in a policy is reported where the policy stands, whichever file that is and however its name is written.
func TestLoadReportsInPolicyFiles(t *testing.T) {
	t.Parallel()
	main := `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [own, browsers, a.b, ▸browser]}]
upstreams: {app: {servers: ["ws://127.0.0.1:9"]}}
policy_files: ["policy?.yaml"]
policies:
  own: {origin: {allow: [▸nonsense]}}
  own.b: {origin: {allow: [▸nonsense]}}
  ownX: {client: {types: ▸[]}}
`
	first := `version: 1
policies:
  browsers:
    origin:
      allow:
        - https://app.example.com
        - ▸nonsense
  a.b:
    origin: {allow: [▸nonsense]}
  ▸own:
    client: {max_frame: 1KiB}
`
	second := `version: ▸3
policies:
  ▸browsers:
    client: {max_frame: 1KiB}
  more: {client: {▸max_fame: 1KiB}}
▸routes: []
`
	const nonsense = `origin "nonsense" has no scheme that is allowed, want https:// (or http://, chrome-extension://, moz-extension://, safari-web-extension://)`
	wantMistakes(t, []string{main, first, second},
		`routes[0].policies[3]: unknown policy "browser", did you mean "browsers"?`,
		"policies.own.origin.allow[0]: "+nonsense,
		`policies["own.b"].origin.allow[0]: `+nonsense,
		"policies.ownX.client.types: types is empty, want text, binary or both",
		"policies.browsers.origin.allow[1]: "+nonsense,
		`policies["a.b"].origin.allow[0]: `+nonsense,
		`policies.own: policy "own" is defined already`,
		`version: want 1, not "3"`,
		`policies.browsers: policy "browsers" is defined already`,
		`policies.more.client.max_fame: unknown key, did you mean "max_frame"?`,
		"routes: unknown key, want one of version, policies",
	)
}

// Policies may be used from wherever they stand.
func TestLoadTakesPolicyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gateway.yaml":           change(t, "policies: [own]", "policies: [own, browsers, sizes]") + "policy_files: [policies/*.yaml, " + filepath.Join(dir, "sizes.yml") + "]\n",
		"policies/one.yaml":      `{version: 1, policies: {browsers: {origin: {allow: ["https://app.example.com"]}}}}`,
		"policies/two.yaml":      `{version: 1, policies: {unused: {client: {max_frame: 1KiB}}}}`,
		"policies/ignored.txt":   "not read",
		"policies/one_test.yaml": "a test of policies, not read",
		"sizes.yml":              `{version: 1, policies: {sizes: {upstream: {max_message: 2MiB}}}}`,
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Load(filepath.Join(dir, "gateway.yaml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if got := loaded.Config.Policies["sizes"].Upstream.MaxMessage; got != 2<<20 {
		t.Errorf("max_message of a policy file is %d", got)
	}
	want := []string{"policies/two.yaml:1:33: policies.unused: no route uses this policy"}
	if got := lines(loaded.Warnings.Err(), dir); !slices.Equal(got, want) {
		t.Errorf("got the warnings %q, want %q", got, want)
	}
}

func TestLoadWarns(t *testing.T) {
	t.Parallel()
	text := change(t, "upstreams:\n", "upstreams:\n  spare: ▸{servers: [\"ws://127.0.0.1:10\"]}\n  ▸block:\n    servers: [\"ws://127.0.0.1:11\"]\n")
	text = strings.Replace(text, "policies:\n", "policies:\n  \"a b\": ▸{client: {max_frame: 1KiB}}\n", 1)
	clean, places := marked("gateway.yaml", text)
	loaded, dir, err := loadText(t, clean)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{places[0] + "upstreams.spare: no route uses this upstream", places[1] + "upstreams.block: no route uses this upstream", places[2] + `policies["a b"]: no route uses this policy`}
	if got := lines(loaded.Warnings.Err(), dir); !slices.Equal(got, want) {
		t.Errorf("got the warnings %q, want %q", got, want)
	}
	// What seems unused may be what a mistaken route means.
	loaded, dir, err = loadText(t, strings.Replace(clean, "upstream: app", "upstream: blok", 1))
	if got := lines(err, dir); len(got) != 1 || len(loaded.Warnings) > 0 {
		t.Errorf("got the mistakes %q and the warnings %q", got, loaded.Warnings)
	}
}

// A mistake of one entry does not hide those of another whose path begins alike.
func TestLoadReportsBesideWhatTheDecoderReports(t *testing.T) {
	t.Parallel()
	hosts := "a.example.com, b.example.com, c.example.com, d.example.com, e.example.com, f.example.com, g.example.com, h.example.com, i.example.com"
	wantMistakes(t, []string{change(t, "hosts: [app.example.com]", "hosts: ["+hosts[:15]+`▸"bad host", `+hosts[15:]+", ▸[]]")},
		`routes[0].hosts[1]: "bad host" is not a host name, want one such as app.example.com or *.example.com, without port`,
		"routes[0].hosts[10]: want text, not a list")
	wantMistakes(t, []string{change(t, "    upstream: app\n", "    upstream: ▸ap\n    http: ▸maybe\n    ▸pats: []\n")},
		`routes[0].upstream: unknown upstream "ap", did you mean "app"?`,
		`routes[0].http: want one of pass, deny, not "maybe"`,
		`routes[0].pats: unknown key, did you mean "paths"?`)
}

// Values of the environment and of files are put in, and never shown.
func TestLoadExpands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(wstest.Canary+".example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := func(name string) (string, bool) {
		value, ok := map[string]string{"HOST": "env.example.com", "BAD": wstest.Canary + "\x00\xff", "POLICY": wstest.Canary}[name]
		return value, ok
	}
	file := filepath.Join(dir, "gateway.yaml")
	load := func(text string) (*Loaded, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, environment)
	}
	loaded, err := load(change(t, "hosts: [app.example.com]", `hosts: ["${HOST}", "${file:`+secret+`}", "${NONE:-default.example.com}"]`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := loaded.Config.Routes[0].Hosts, []string{"env.example.com", wstest.Canary + ".example.com", "default.example.com"}; !slices.Equal(got, want) {
		t.Errorf("hosts are %q, want %q", got, want)
	}
	for name, text := range map[string]string{
		"host":          change(t, "hosts: [app.example.com]", `hosts: ["${file:`+secret+`}:80"]`),
		"path":          change(t, "paths: [/ws/*]", `paths: ["${file:`+secret+`}"]`),
		"upstream":      change(t, "    upstream: app\n", `    upstream: "${file:`+secret+`}"`+"\n"),
		"policy":        change(t, "policies: [own]", `policies: ["${POLICY}"]`),
		"server":        change(t, `"ws://127.0.0.1:9"`, `"ws://${file:`+secret+`}/path"`),
		"user":          change(t, `"ws://127.0.0.1:9"`, `"ws://user:${POLICY}@127.0.0.1"`),
		"origin":        change(t, "{max_frame: 1KiB}", `{max_frame: 1KiB}, origin: {allow: ["${file:`+secret+`}"]}`),
		"close code":    change(t, "    upstream: app\n", "    upstream: app\n    close_codes: {drain: \"${file:"+secret+"}\"}\n"),
		"admin":         change(t, `admin: {address: "off"}`, `admin: {address: "${file:`+secret+`}"}`),
		"not UTF-8":     change(t, "name: app", `name: "${BAD}"`),
		"policy file":   rightConfig + `policy_files: ["${file:` + secret + `}"]`,
		"missing value": change(t, "name: app", `name: "${NONE:?set a name}"`),
	} {
		if _, err := load(text); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), wstest.Canary) {
			t.Errorf("%s: a secret is in the error %q", name, err)
		}
	}
}

func TestLoadWithoutAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, want := range map[string]string{"none.yaml": "no such file or directory", "": "is a directory"} {
		_, err := Load(filepath.Join(dir, name), noEnvironment)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) || errors.As(err, new(strictyaml.Errors)) {
			t.Errorf("%q: got %v, want an error that names the file and %q", name, err, want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "[]\n", "version: 1\n---\nversion: 1\n", "\xff\xfe", "a: &a [*a]\n", "{{{{"} {
		if _, _, err := loadText(t, text); !errors.As(err, new(strictyaml.Errors)) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// The annotated configuration of the repository is right, and says what holds without it.
func TestLoadTheExample(t *testing.T) {
	t.Parallel()
	loaded, err := Load("../gateway.yaml", noEnvironment)
	if err != nil || len(loaded.Warnings) > 0 {
		t.Fatalf("mistakes: %v\nwarnings: %v", err, loaded.Warnings)
	}
	c := loaded.Config
	least, _, err := loadText(t, `version: 1
listeners: [{address: ":8443", tls: {certificates: internal}}]
routes: [{name: app, hosts: [localhost], upstream: app, policies: [messages]}]
upstreams: {app: {servers: ["ws://127.0.0.1:3000"]}}
policies: {messages: {}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"max_connections": {c.Listeners[0].MaxConnections, least.Config.Listeners[0].MaxConnections},
		"idle_timeout":    {c.Routes[0].IdleTimeout, least.Config.Routes[0].IdleTimeout},
		"ping_interval":   {c.Routes[0].PingInterval, least.Config.Routes[0].PingInterval},
		"pong_timeout":    {c.Routes[0].PongTimeout, least.Config.Routes[0].PongTimeout},
		"close_timeout":   {c.Routes[0].CloseTimeout, least.Config.Routes[0].CloseTimeout},
		"http":            {c.Routes[0].HTTP, least.Config.Routes[0].HTTP},
		"pings":           {c.Routes[0].Pings, least.Config.Routes[0].Pings},
		"compression":     {c.Routes[0].Compression, least.Config.Routes[0].Compression},
		"admin":           {c.Admin.Address, cmp.Or(least.Config.Admin.Address, adminDefault)},
		"log":             {c.Log, least.Config.Log},
		"drain":           {c.Drain, least.Config.Drain},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: the file says %v, the default is %v", name, pair[0], pair[1])
		}
	}
}

// Rates of bytes that have no room for a message which is not too large are told, once for each size of messages.
func TestLoadWarnsOfRates(t *testing.T) {
	t.Parallel()
	text := change(t, "policies: [own]", "policies: [own, rates]")
	text = strings.Replace(text, "policies:\n", `policies:
  rates:
    client:
      max_message: 64KiB
      bytes: {per_connection: ▸32KiB/s, per_ip: ▸64KiB/s burst 100KiB, per_user: 64KiB/s burst 192KiB}
      messages: {per_user: 1/s}
    upstream:
      bytes: ▸1MB/s
`, 1) + "redis: {url: \"redis://127.0.0.1:6379\", nodes: 3}\n"
	clean, places := marked("gateway.yaml", text)
	loaded, dir, err := loadText(t, clean)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		places[0] + "policies.rates.client.bytes.per_connection: a message of max_message (64KiB) in one frame never has room in a burst of 32KiB, want one of at least 64KiB, or a smaller max_message",
		places[1] + "policies.rates.client.bytes.per_ip: while Redis is away each of 3 gateways has a share of 34134B of this burst: a message of max_message (64KiB) has no room, want a burst of at least 192KiB, or a smaller max_message",
		places[2] + "policies.rates.upstream.bytes.per_connection: a message of max_message (1MiB) in one frame never has room in a burst of 1MB, want one of at least 1MiB, or a smaller max_message",
	}
	if got := lines(loaded.Warnings.Err(), dir); !slices.Equal(got, want) {
		t.Errorf("got the warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	loaded, _, err = loadText(t, strings.Replace(clean, "redis:", "#", 1))
	if err != nil || len(loaded.Warnings) != 2 {
		t.Errorf("without Redis: %v, the warnings %q", err, loaded.Warnings)
	}
}
