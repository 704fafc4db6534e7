package discovery

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/internal/wstest"
)

// rulesAt makes rules that ask one server.
func rulesAt(t *testing.T, server string) *Rules {
	t.Helper()
	c := Config{Resolver: server, Timeout: strictyaml.Duration(wstest.Patience)}
	return c.Compile(failOn(t))
}

func failOn(t *testing.T) Report {
	return func(path, format string, args ...any) { t.Errorf("%s: %s", path, fmt.Sprintf(format, args...)) }
}

func sorted(all []Found) []Found {
	all, _ = judged(all, judgeLoopback)
	return all
}

func TestLookupAddresses(t *testing.T) {
	dns := wstest.NewDNS(t)
	dns.Set("app.test", "10.0.0.2", "10.0.0.1", "fd00::1")
	dns.Set("empty.test")
	r := rulesAt(t, dns.Addr())
	for host, want := range map[string][]string{
		"app.test":     {"10.0.0.1:9000", "10.0.0.2:9000", "[fd00::1]:9000"},
		"app.test.":    {"10.0.0.1:9000", "10.0.0.2:9000", "[fd00::1]:9000"},
		"empty.test":   nil,
		"missing.test": nil,
	} {
		got, err := r.Lookup(t.Context(), Name{Host: host, Port: 9000})
		if err != nil || !reflect.DeepEqual(sorted(got), found(want...)) {
			t.Errorf("%s: %v, %v; want %v", host, got, err, want)
		}
	}
	dns.Fail(true)
	if got, err := r.Lookup(t.Context(), Name{Host: "app.test", Port: 9000}); err == nil || len(got) > 0 {
		t.Errorf("SERVFAIL: %v, %v", got, err)
	}
}

func TestLookupService(t *testing.T) {
	dns := wstest.NewDNS(t)
	dns.Set("a.test", "10.0.0.1", "10.0.0.2")
	dns.Set("b.test", "10.0.0.3")
	dns.SetSRV("_ws._tcp.app.test", wstest.SRV("a.test", 9000, 10, 5), wstest.SRV("b.test", 9001, 20, 0), wstest.SRV("missing.test", 9002, 10, 1), wstest.SRV("b.test", 0, 10, 1))
	dns.SetSRV("_ws._tcp.gone.test", wstest.SRV(".", 0, 0, 0))
	r := rulesAt(t, dns.Addr())
	for host, want := range map[string][]string{
		"_ws._tcp.app.test":     {"10.0.0.1:9000/10/5", "10.0.0.2:9000/10/5", "10.0.0.3:9001/20/0"},
		"_ws._tcp.gone.test":    nil,
		"_ws._tcp.missing.test": nil,
	} {
		got, err := r.Lookup(t.Context(), Name{Host: host, Service: true})
		if err != nil || !reflect.DeepEqual(sorted(got), found(want...)) {
			t.Errorf("%s: %v, %v; want %v", host, got, err, want)
		}
	}
	dns.Fail(true)
	if got, err := r.Lookup(t.Context(), Name{Host: "_ws._tcp.app.test", Service: true}); err == nil || len(got) > 0 {
		t.Errorf("SERVFAIL: %v, %v", got, err)
	}
}

// Many records are many lookups: they are bounded.
func TestLookupServiceIsBounded(t *testing.T) {
	dns := wstest.NewDNS(t)
	r := rulesAt(t, dns.Addr())
	r.MaxAddresses = 2
	dns.Set("a.test", "10.0.0.1")
	dns.SetSRV("_ws._tcp.app.test", wstest.SRV("a.test", 1, 0, 0), wstest.SRV("a.test", 2, 0, 0), wstest.SRV("a.test", 3, 0, 0), wstest.SRV("a.test", 4, 0, 0))
	got, err := r.Lookup(t.Context(), Name{Host: "_ws._tcp.app.test", Service: true})
	if err != nil || len(got) != 2 {
		t.Errorf("got %v, %v, want two", got, err)
	}
}

func TestLookupEndsInTime(t *testing.T) {
	silent := wstest.NewDNS(t)
	silent.Mute()
	r := rulesAt(t, silent.Addr())
	r.Timeout = 50 * time.Millisecond
	if got, err := r.Lookup(context.Background(), Name{Host: "app.test", Port: 1}); err == nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		`resolver: "dns.internal" is no IP address`:          {Resolver: "dns.internal"},
		`resolver: "10.0.0.2:0" is no IP address`:            {Resolver: "10.0.0.2:0"},
		"max_interval: 1s is shorter than min_interval, 10s": {MaxInterval: strictyaml.Duration(time.Second)},
	} {
		var got []string
		c.Compile(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("reports %q, want one: %s", got, want)
		}
	}
}

// The defaults in the tags are those of zero values, and every field is documented.
func TestConfig(t *testing.T) {
	var c Config
	if _, errs := strictyaml.Decode("x", []byte("resolver: 127.0.0.1"), func(string) (string, bool) { return "", false }, &c); errs.Err() != nil {
		t.Fatal(errs.Err())
	}
	bare := Config{Resolver: "127.0.0.1"}
	got, want := c.Compile(failOn(t)), bare.Compile(failOn(t))
	got.Resolver, want.Resolver = nil, nil
	if *got != *want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s := reflect.TypeOf(c)
	for i := range s.NumField() {
		if f := s.Field(i); f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "" {
			t.Errorf("%s has no yaml or doc tag", f.Name)
		}
	}
}
