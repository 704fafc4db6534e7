package upstream

import (
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

// quiet logs nothing.
var quiet = slog.New(slog.DiscardHandler)

// reports collects what Compile reports.
type reports []string

func (r *reports) add(path, format string, args ...any) {
	*r = append(*r, path+": "+fmt.Sprintf(format, args...))
}

// expect demands exactly one report that begins with path and contains message.
func (r reports) expect(t *testing.T, what, path, message string) {
	t.Helper()
	if len(r) != 1 || !strings.HasPrefix(r[0], path) || !strings.Contains(r[0], message) {
		t.Errorf("%q: got reports %q, want one: %s...%s", what, []string(r), path, message)
	}
}

// failOn is a Report for configurations that are right.
func failOn(t *testing.T) Report {
	return func(path, format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
}

// mustCompile compiles a configuration that is right and attaches its pool to a registry of its own.
func mustCompile(t *testing.T, c Config) *Pool {
	t.Helper()
	p := Compile("app", c, failOn(t))
	if p == nil {
		t.FailNow()
	}
	p.Attach(testRegistry(), time.Now())
	t.Cleanup(p.Detach)
	return p
}

// testRegistry is a new registry with a key for cookies.
func testRegistry() *Registry {
	r := NewRegistry(time.Now(), quiet)
	r.SetKey([]byte("the installation's own key, 32 b."))
	return r
}

// urls is a list of servers that are nothing but URLs.
func urls(list ...string) (servers []ServerConfig) {
	for _, text := range list {
		var c ServerConfig
		c.UnmarshalText([]byte(text))
		servers = append(servers, c)
	}
	return servers
}

func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/app.sock"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestCompile(t *testing.T) {
	p := mustCompile(t, Config{Servers: urls("ws://A.internal:9000", "wss://b.internal", "unix:///run/app.sock"), Balance: "round_robin"})
	if p.Name() != "app" {
		t.Errorf("got name %q", p.Name())
	}
	if got, want := names(p.Servers()), []string{"a.internal:9000", "b.internal:443", "unix:/run/app.sock"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got servers %q, want %q", got, want)
	}
}

func TestCompileRefuses(t *testing.T) {
	secure := urls("wss://a.internal")
	tests := []struct {
		what          string
		config        Config
		path, message string
	}{
		{"no servers", Config{}, "servers: ", `no server, want at least one such as "ws://10.0.0.11:9000"`},
		{"second is bad", Config{Servers: urls("ws://a", "http://b")}, "servers[1]: ", `server "http://b" has the scheme "http"`},
		{"password", Config{Servers: urls("ws://u:S3CRET@a")}, "servers[0]: ", `server "ws://***@a" has a user name or password`},
		{"duplicate", Config{Servers: urls("ws://a", "ws://b", "ws://A:80")}, "servers[2]: ", `server "ws://A:80" has the address of servers[0]`},
		{"duplicate over TLS", Config{Servers: urls("ws://a:443", "wss://a")}, "servers[1]: ", "has the address of servers[0]"},
		{"duplicate IPv6", Config{Servers: urls("ws://[::1]:80", "ws://[0:0:0:0:0:0:0:1]")}, "servers[1]: ", "has the address of servers[0]"},
		{"duplicate socket", Config{Servers: urls("unix:///run/a", "unix:/run/a")}, "servers[1]: ", "has the address of servers[0]"},
		{"metadata", Config{Servers: urls("ws://169.254.169.254")}, "servers[0]: ", "link-local address, where clouds keep their metadata service (dangerously_allow_addresses would allow it)"},
		{"unspecified", Config{Servers: urls("ws://0.0.0.0:80")}, "servers[0]: ", "unspecified"},
		{"unspecified IPv6", Config{Servers: urls("ws://[::]:80")}, "servers[0]: ", "unspecified"},
		{"NAT64 loopback", Config{Servers: urls("ws://[64:ff9b::7f00:1]")}, "servers[0]: ", "loopback address behind a translator"},
		{"strategy", Config{Servers: secure, Balance: "random"}, "balance: ", `unknown strategy "random", want one of: consistent_hash, least_connections, random_two, round_robin`},
		{"hash for another strategy", Config{Servers: secure, Hash: &HashConfig{Address: true}}, "hash: ", "is only for balance: consistent_hash"},
		{"hash of nothing", Config{Servers: secure, Balance: "consistent_hash", Hash: &HashConfig{}}, "hash: ", "0 values to hash, want one: address, {header: NAME}"},
		{"hash of two", Config{Servers: secure, Sticky: &StickyConfig{Hash: &HashConfig{Header: "a", Claim: "b"}}}, "sticky.hash: ", "2 values to hash, want one"},
		{"hash of no header", Config{Servers: secure, Sticky: &StickyConfig{Hash: &HashConfig{Header: "a b"}}}, "sticky.hash.header: ", `"a b" is not the name of a header field`},
		{"hash of no cookie", Config{Servers: secure, Balance: "consistent_hash", Hash: &HashConfig{Cookie: "a;"}}, "hash.cookie: ", `"a;" is not the name of a cookie`},
		{"sticky by nothing", Config{Servers: secure, Sticky: &StickyConfig{}}, "sticky: ", "says not by what, want cookie or hash"},
		{"sticky by any cookie", Config{Servers: secure, Sticky: &StickyConfig{Cookie: &CookieConfig{Name: "fg"}}}, "sticky.cookie.name: ", `"fg" is not the name of such a cookie, want one that begins with __Host-, such as __Host-fg`},
		{"sticky by a bad name", Config{Servers: secure, Sticky: &StickyConfig{Cookie: &CookieConfig{Name: "__Host-a=b"}}}, "sticky.cookie.name: ", "is not the name of such a cookie"},
		{"short key", Config{Servers: secure, Sticky: &StickyConfig{Cookie: &CookieConfig{Key: Secrets{"S3CRET"}}}}, "sticky.cookie.key: ", "has 6 characters, want at least 32 by chance"},
		{"second key short", Config{Servers: secure, Sticky: &StickyConfig{Cookie: &CookieConfig{Key: Secrets{strings.Repeat("k", 32), "S3CRET"}}}}, "sticky.cookie.key[1]: ", "has 6 characters"},
		{"TLS for nobody", Config{Servers: urls("ws://a"), TLS: &TLSConfig{}}, "tls: ", "no server of this pool speaks TLS"},
		{"server name", Config{Servers: secure, TLS: &TLSConfig{ServerName: "*.internal"}}, "tls.server_name: ", `server name "*.internal" has the host`},
		{"server name with port", Config{Servers: secure, TLS: &TLSConfig{ServerName: "a:80"}}, "tls.server_name: ", "want an IPv6 address"},
		{"server name half bracketed", Config{Servers: secure, TLS: &TLSConfig{ServerName: "[::1"}}, "tls.server_name: ", `"[" without "]"`},
		{"CA missing", Config{Servers: secure, TLS: &TLSConfig{CA: "/nonexistent/ca.pem"}}, "tls.ca: ", `file "/nonexistent/ca.pem" cannot be read: no such file or directory`},
	}
	for _, tt := range tests {
		var r reports
		if p := Compile("app", tt.config, r.add); p != nil {
			t.Errorf("%s: got a pool", tt.what)
		}
		r.expect(t, tt.what, tt.path, tt.message)
		if strings.Contains(strings.Join(r, ""), "S3CRET") {
			t.Errorf("%s: reports hold the password: %q", tt.what, []string(r))
		}
	}
}

func TestCompileReportsEverything(t *testing.T) {
	var r reports
	Compile("app", Config{
		Servers:                   urls("ws://a/", "wss://b:0", "ws://0.0.0.0"),
		Balance:                   "x",
		TLS:                       &TLSConfig{CA: "/nonexistent", ServerName: "-"},
		DangerouslyAllowAddresses: []string{"x"},
	}, r.add)
	var paths []string
	for _, text := range r {
		path, _, _ := strings.Cut(text, ": ")
		paths = append(paths, path)
	}
	want := []string{"dangerously_allow_addresses[0]", "servers[0]", "servers[1]", "servers[2]", "tls.ca", "tls.server_name", "balance"}
	if !reflect.DeepEqual(paths, want) {
		t.Errorf("got reports at %q, want %q", paths, want)
	}
}

// The reporter hides arguments that come from expanded variables, so no value may hide in the text of a report.
func TestReportsKeepValuesApart(t *testing.T) {
	const secret = "s3cret"
	configs := []Config{
		{Servers: urls("ws://" + secret + "..x"), Balance: secret, DangerouslyAllowAddresses: []string{secret}},
		{Servers: urls("wss://a"), TLS: &TLSConfig{CA: "/nonexistent/" + secret, ServerName: secret + "!"}},
		{Servers: urls(secret + "://a")},
		{Servers: urls("ws://a:" + secret)},
		{Servers: urls("ws://[" + secret + "]")},
		{Servers: urls("ws://[::1]" + secret)},
	}
	for _, c := range configs {
		Compile("app", c, func(path, format string, args ...any) {
			for _, arg := range args {
				if _, ok := arg.(error); ok {
					t.Errorf("%s: %q has an error as an argument", path, format)
				}
			}
			if strings.Contains(format, secret) {
				t.Errorf("%s: value in the text %q", path, format)
			}
		})
	}
}

func TestCompileAllowsListedAddress(t *testing.T) {
	mustCompile(t, Config{Servers: urls("ws://169.254.10.1:80"), DangerouslyAllowAddresses: []string{"169.254.10.0/24"}})
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, section := range []any{Config{}, ServerConfig{}, TLSConfig{}, StickyConfig{}, CookieConfig{}, HashConfig{}} {
		s := reflect.TypeOf(section)
		for i := range s.NumField() {
			if f := s.Field(i); f.IsExported() && f.Tag.Get("yaml") != "-" && (f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "") {
				t.Errorf("%s.%s has no yaml or doc tag", s, f.Name)
			}
		}
	}
}

func names(servers []*Server) []string {
	var list []string
	for _, s := range servers {
		list = append(list, s.String())
	}
	return list
}
