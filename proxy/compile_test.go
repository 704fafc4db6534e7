package proxy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
)

// compileText loads and compiles a configuration that is right.
func compileText(t *testing.T, text string) *site {
	t.Helper()
	loaded, _, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	st := compile(loaded.Config, loaded.Config.shared(), func(path, format string, args ...any) {
		t.Errorf(path+": "+format, args...)
	}, func(string, string, ...any) {})
	st.measure(newMetrics("test"))
	return st
}

// Where a policy reads messages they must be readable one by one, whatever the route says.
func TestCompileCompression(t *testing.T) {
	t.Parallel()
	st := compileText(t, `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: default, hosts: [default.example.com], upstream: app}
  - {name: "off", hosts: [off.example.com], upstream: app, compression: "off", policies: [reads]}
  - {name: inspect, hosts: [inspect.example.com], upstream: app, compression: inspect, policies: [counts]}
  - {name: counts, hosts: [counts.example.com], upstream: app, policies: [counts]}
  - {name: reads, hosts: [reads.example.com], upstream: app, policies: [reads]}
  - {name: answers, hosts: [answers.example.com], upstream: app, policies: [answers]}
upstreams: {app: {servers: ["ws://127.0.0.1:9"]}}
policies:
  counts: {client: {messages: 10/s burst 10}}
  reads: {client: {json: strict}}
  answers: {upstream: {json: strict}}
admin: {address: "off"}
`)
	for name, want := range map[string]handshake.Compression{
		"default": handshake.Pass, "off": handshake.Off, "inspect": handshake.Inspect, "counts": handshake.Pass, "reads": handshake.Inspect, "answers": handshake.Inspect,
	} {
		rt := st.router.find(name+".example.com", "/")
		if rt.compression != want || rt.limits.Inflate != (want == handshake.Inspect) {
			t.Errorf("%s: compression %d, inflate %t; want %d", name, rt.compression, rt.limits.Inflate, want)
		}
	}
}

func TestCompileLimits(t *testing.T) {
	t.Parallel()
	st := compileText(t, `version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: plain, hosts: [plain.example.com], upstream: app}
  - name: own
    hosts: [own.example.com]
    upstream: app
    policies: [small, text]
    http: deny
    pings: answer
    compression: off
    close_codes: {drain: 1012, idle: {client: 4000, upstream: 1001}, stalled: {upstream: 3001}}
    idle_timeout: 1m
    max_lifetime: 12h
    ping_interval: 2s
    pong_timeout: 3s
    close_timeout: 4s
upstreams: {app: {servers: ["ws://127.0.0.1:9"]}}
policies:
  small: {client: {max_frame: 1KiB, max_message: 2KiB, max_fragments: 3}}
  text: {client: {max_message: 1MiB, types: [text]}, upstream: {types: [binary]}}
admin: {address: "off"}
`)
	plain, own := st.router.find("plain.example.com", "/"), st.router.find("own.example.com", "/")
	if defaults := relay.Defaults(); !reflect.DeepEqual(plain.limits.From, defaults.From) || plain.limits.IdleTimeout != defaults.IdleTimeout || plain.limits.PingInterval != defaults.PingInterval ||
		plain.limits.PongTimeout != defaults.PongTimeout || plain.limits.CloseTimeout != defaults.CloseTimeout || plain.limits.MaxLifetime != 0 || plain.limits.AnswerPings {
		t.Errorf("a route without keys has the limits %+v, want the relay's own", plain.limits)
	}
	if plain.denyHTTP || plain.compression != handshake.Pass || !own.denyHTTP || own.compression != handshake.Off {
		t.Errorf("http and compression: plain %t %d, own %t %d", plain.denyHTTP, plain.compression, own.denyHTTP, own.compression)
	}
	l := own.limits
	if want := (relay.Shape{MaxFrame: 1 << 10, MaxMessage: 2 << 10, MaxFragments: 3, MaxRatio: 100, RatioFrom: 1 << 20, NoBinary: true}); !reflect.DeepEqual(l.From[relay.Client], want) {
		t.Errorf("clients may send %+v, want %+v", l.From[relay.Client], want)
	}
	if up := l.From[relay.Upstream]; !up.NoText || up.NoBinary || up.MaxMessage != 1<<20 {
		t.Errorf("upstreams may send %+v", up)
	}
	if l.IdleTimeout != time.Minute || l.MaxLifetime != 12*time.Hour || l.PingInterval != 2*time.Second || l.PongTimeout != 3*time.Second || l.CloseTimeout != 4*time.Second || !l.AnswerPings {
		t.Errorf("got the limits %+v", l)
	}
	want := relay.Codes{relay.Drain: {1012, 0}, relay.Idle: {4000, 1001}, relay.Stalled: {0, 3001}}
	if l.Codes != want {
		t.Errorf("got the codes %v, want %v", l.Codes, want)
	}
	if a, b := l.Random(), l.Random(); a == b {
		t.Errorf("two masking keys are %x", a)
	}
}

// Every cause that a session can end by has a code to be configured, but for the one that is not the gateway's.
func TestCompileTakesEveryCause(t *testing.T) {
	t.Parallel()
	var keys []string
	for name := range causes() {
		keys = append(keys, name+": {client: 4001, upstream: 3001}")
	}
	if len(keys) != len(relay.Causes())-1 {
		t.Errorf("%d causes, want all %d but one", len(keys), len(relay.Causes()))
	}
	st := compileText(t, oneRoute("ws://127.0.0.1:9", ", close_codes: {"+strings.Join(keys, ", ")+"}"))
	codes := &st.router.find("app.example.com", "/").limits.Codes
	for _, cause := range relay.Causes() {
		for _, by := range relay.Blamed(cause) {
			client, upstream := codes.Code(cause, by, relay.Client), codes.Code(cause, by, relay.Upstream)
			if own := client == 4001 && upstream == 3001; own != (cause != relay.PeerClosed) {
				t.Errorf("%v by the %v: told %d and %d", cause, by, client, upstream)
			}
		}
	}
}

func TestCanonicalPattern(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "/*": "/*", "/ws": "/ws", "/ws/": "/ws/", "/ws/*": "/ws/*", "/a.b/~c/$d": "/a.b/~c/$d", "/é": "/%C3%A9", "/räume/*": "/r%C3%A4ume/*", "/a|b": "/a%7Cb",
		"": "", "*": "", "ws": "", "/*/*": "", "//": "", "//*": "", "/a/": "/a/", "/./*": "", "/a/..": "", "/a\nb": "", "/\xff": "",
	} {
		got, ok := canonicalPattern(path)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", path, got, ok, want)
		}
	}
}

func TestCanonicalHostOfAConfiguration(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"example.com": "example.com", "App.Example.COM": "app.example.com", "localhost": "localhost", "*.example.com": "*.example.com", "*.Example.com": "*.example.com",
		"[::1]": "[::1]", "[0:0:0:0:0:0:0:1]": "[::1]", "127.0.0.1": "127.0.0.1", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"": "", "*": "", "*.com": "", "**.example.com": "", "a.*.example.com": "", "example.com:443": "", "[::1]:443": "", "bücher.example": "", "example.com.": "", "user@example.com": "", "127.1": "", "a b": "",
	} {
		got, ok := canonicalHost(name)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", name, got, ok, want)
		}
	}
}

// The built-in configuration is a right one, whatever stands in its places.
func TestSingle(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{"ws://127.0.0.1:3000": true, "wss://app.internal": true, "unix:///run/app.sock": true, "http://localhost": false, "": false} {
		cfg, err := Single("127.0.0.1:0", server, []string{"localhost", "app.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		mistakes := 0
		st := compile(cfg, cfg.shared(), func(string, string, ...any) { mistakes++ }, func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) })
		if (mistakes == 0) != ok {
			t.Errorf("%q: %d mistakes", server, mistakes)
		}
		if ok && (st.router.find("app.example.com", "/x") == nil || cfg.Admin.Address != adminOff) {
			t.Errorf("%q: got %+v", server, cfg)
		}
	}
}
