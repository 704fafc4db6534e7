package tlsmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/ratelimit"
)

// mistakes are those of a section tls, as "path: text".
func mistakes(c Config, uses Uses) (all []string) {
	c.Validate(uses, func(path, format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) })
	slices.Sort(all)
	return all
}

func TestValidateACME(t *testing.T) {
	const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	junk := filepath.Join(t.TempDir(), "junk.pem")
	check(t, os.WriteFile(junk, []byte("junk"), 0o600))
	acme := func(a ACMEConfig) Config {
		if a.Email == "" {
			a.Email = "ops@example.com"
		}
		return Config{ACME: a}
	}
	auto := Uses{Auto: true, Plain: true}
	tests := map[string]struct {
		config Config
		uses   Uses
		want   []string // each the start of one
	}{
		"nothing":               {Config{}, Uses{}, nil},
		"an address":            {acme(ACMEConfig{}), auto, nil},
		"no address":            {Config{}, auto, []string{"acme.email: missing"}},
		"an address with name":  {acme(ACMEConfig{Email: "Ops <ops@example.com>"}), auto, []string{"acme.email: "}},
		"known CAs":             {acme(ACMEConfig{CA: []CAConfig{{URL: "letsencrypt", short: true}, {URL: "google", short: true}}}), auto, nil},
		"the same CA":           {acme(ACMEConfig{CA: []CAConfig{{URL: "letsencrypt"}, {URL: "https://acme-v02.api.letsencrypt.org/directory"}}}), auto, []string{"acme.ca[1]: is the same as ca[0]"}},
		"a misspelt CA":         {acme(ACMEConfig{CA: []CAConfig{{URL: "letsencript", short: true}}}), auto, []string{`acme.ca[0]: "letsencript" is not known`}},
		"a CA in the clear":     {acme(ACMEConfig{CA: []CAConfig{{URL: "http://127.0.0.1/dir"}}}), auto, []string{`acme.ca[0].url: URL "http://127.0.0.1/dir" is plain http`}},
		"staging beside a CA":   {acme(ACMEConfig{Staging: true, CA: []CAConfig{{URL: "google"}}}), auto, []string{"acme.staging: not used with ca"}},
		"a MAC key":             {acme(ACMEConfig{CA: []CAConfig{{URL: "zerossl", ExternalAccount: &EABConfig{"k", "not base64!"}}}}), auto, []string{"acme.ca[0].external_account.mac_key: is not a key"}},
		"roots":                 {acme(ACMEConfig{CARoots: junk}), auto, []string{"acme.ca_roots: "}},
		"http-01 alone":         {acme(ACMEConfig{Challenges: []string{"http-01"}}), Uses{Auto: true}, []string{"acme.challenges: http-01 alone"}},
		"dns and challenges":    {acme(ACMEConfig{Challenges: []string{"http-01"}, DNS: &DNSConfig{Exec: &ExecConfig{Command: []string{"/bin/true"}}}}), auto, []string{"acme.challenges: not used with dns"}},
		"dns without a way":     {acme(ACMEConfig{DNS: &DNSConfig{}}), auto, []string{"acme.dns: wanted one of rfc2136 and exec"}},
		"a relative command":    {acme(ACMEConfig{DNS: &DNSConfig{Exec: &ExecConfig{Command: []string{"hook"}}}}), auto, []string{`acme.dns.exec.command[0]: "hook" is not an absolute path`}},
		"a name server":         {acme(ACMEConfig{DNS: &DNSConfig{RFC2136: &RFC2136Config{Server: "10.0.0.53:53", KeyName: "key", Secret: key}}}), auto, nil},
		"a bad name server":     {acme(ACMEConfig{DNS: &DNSConfig{RFC2136: &RFC2136Config{Server: "10.0.0.53", KeyName: "a key", Zone: "..", Secret: "short"}}}), auto, []string{"acme.dns.rfc2136.key_name: ", "acme.dns.rfc2136.secret: ", "acme.dns.rfc2136.server: ", "acme.dns.rfc2136.zone: "}},
		"on demand for all":     {acme(ACMEConfig{OnDemand: &OnDemandConfig{}}), auto, []string{"acme.on_demand: neither allow nor ask"}},
		"on demand":             {acme(ACMEConfig{OnDemand: &OnDemandConfig{Allow: []string{"*.example.com", "*", "a b"}, Ask: "http://10.0.0.1/ask"}}), auto, []string{"acme.on_demand.allow[1]: ", "acme.on_demand.allow[2]: ", "acme.on_demand.ask: "}},
		"redis without one":     {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{key}}}}, Uses{}, []string{"storage.redis.url: missing"}},
		"redis of the section":  {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{key}}}}, Uses{Redis: &ratelimit.RedisConfig{URL: "redis://localhost", Timeout: 5e7, Nodes: 1, LeasePercent: 25}}, nil},
		"redis of its own":      {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{strings.Repeat("0f", 32)}, URL: "rediss://redis.example.com"}}}, Uses{}, nil},
		"redis in the clear":    {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{key}, URL: "redis://redis.example.com"}}}, Uses{}, []string{"storage.redis.url: redis:// to"}},
		"redis, weak keys":      {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{key, "short"}, URL: "redis://localhost"}}}, Uses{}, []string{"storage.redis.encryption_keys[1]: is not a key of 32 bytes"}},
		"redis without keys":    {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{URL: "redis://localhost"}}}, Uses{}, []string{"storage.redis.encryption_keys: missing"}},
		"redis, ca without url": {Config{Storage: StorageConfig{Redis: &RedisStorageConfig{EncryptionKeys: []string{key}, CA: junk}}}, Uses{Redis: &ratelimit.RedisConfig{URL: "redis://localhost", Timeout: 5e7, Nodes: 1, LeasePercent: 25}}, []string{"storage.redis.url: missing, wanted the URL that ca"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := mistakes(test.config, test.uses)
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], test.want[i]) {
					t.Errorf("got %q, want %q", got[i], test.want[i])
				}
			}
		})
	}
}

func TestCheckHost(t *testing.T) {
	public, private := Config{}, Config{ACME: ACMEConfig{CA: []CAConfig{{URL: "https://ca.internal/dir"}}}}
	withDNS := Config{ACME: ACMEConfig{DNS: &DNSConfig{Exec: &ExecConfig{}}}}
	tests := []struct {
		config    Config
		host      string
		odd, fail bool
	}{
		{public, "chat.example.com", false, false},
		{public, "localhost", true, false},
		{public, "gateway.internal", true, false},
		{public, "chat.test", true, false},
		{public, "127.0.0.1", true, false},
		{public, "*.example.com", true, true},
		{withDNS, "*.example.com", false, false},
		{private, "localhost", false, false},
		{private, "gateway.internal", false, false},
		{private, "*.example.com", true, true},
	}
	for _, test := range tests {
		problem, never := test.config.CheckHost(test.host)
		if (problem != "") != test.odd || never != test.fail {
			t.Errorf("%s: %q %t", test.host, problem, never)
		}
	}
}

func TestWanted(t *testing.T) {
	hosts, _, err := newHostSet([]string{"a.example.com", "b.c.example.com", "*.example.com", "other.example.net", "localhost"})
	check(t, err)
	tests := map[string]struct {
		config ACMEConfig
		want   []string
	}{
		"by dns":      {ACMEConfig{DNS: &DNSConfig{}}, []string{"*.example.com", "b.c.example.com", "other.example.net"}},
		"one by one":  {ACMEConfig{}, []string{"a.example.com", "b.c.example.com", "other.example.net"}},
		"own CA":      {ACMEConfig{CA: []CAConfig{{URL: "https://ca.internal/dir"}}}, []string{"a.example.com", "b.c.example.com", "localhost", "other.example.net"}},
		"for a trial": {ACMEConfig{Staging: true}, []string{"a.example.com", "b.c.example.com", "other.example.net"}},
	}
	for name, test := range tests {
		if got := (&auto{cfg: test.config}).wanted(hosts); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
