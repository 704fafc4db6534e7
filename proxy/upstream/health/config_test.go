package health

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
)

func TestCompileDefaults(t *testing.T) {
	c := &Config{TCP: &TCPConfig{}}
	k := c.Compile(failOn(t))
	if k == nil || k.Interval != 5*time.Second || k.Timeout != 3*time.Second || k.Jitter != time.Second {
		t.Fatalf("got %+v", k)
	}
	want := &Rules{Checked: true, Healthy: 2, Unhealthy: 3, Failures: 3, Backoff: 10 * time.Second, MaxBackoff: 5 * time.Minute, MaxEjected: 0.5}
	if got := (&Ejection{}).Rules(c, failOn(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (&Ejection{}).Rules(nil, failOn(t)); got.Checked {
		t.Error("checks without a section")
	}
}

// The defaults in the tags are those of zero values.
func TestDefaultsAgree(t *testing.T) {
	var c struct {
		Health   Config   `yaml:"health" doc:"x"`
		Ejection Ejection `yaml:"ejection" doc:"x"`
	}
	if _, errs := strictyaml.Decode("x", []byte("health: {tcp: {}}"), noVariables, &c); errs.Err() != nil {
		t.Fatal(errs.Err())
	}
	bare := &Config{TCP: &TCPConfig{}}
	if got, want := c.Ejection.Rules(&c.Health, failOn(t)), (&Ejection{}).Rules(bare, failOn(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("rules %+v, want %+v", got, want)
	}
	got, want := c.Health.Compile(failOn(t)), bare.Compile(failOn(t))
	if got.Interval != want.Interval || got.Timeout != want.Timeout || got.Jitter != want.Jitter {
		t.Errorf("checks %+v, want %+v", got, want)
	}
}

func TestCompileRefuses(t *testing.T) {
	for section, want := range map[string]string{
		"{}":                                          ": no kind of check, want one of: tcp, http, websocket",
		"{tcp: {}, http: {path: /}}":                  "http: a second kind of check beside tcp, want one",
		"{http: {path: healthz}}":                     `http.path: "healthz" is no path`,
		"{http: {path: http://x/}}":                   `http.path: "http://x/" is no path`,
		"{http: {path: /a/../b}}":                     `http.path: "/a/../b" is not written in its canonical form`,
		`{http: {path: "/a#b"}}`:                      `http.path: "/a#b" is no path`,
		`{http: {path: "/a b"}}`:                      `http.path: "/a b" is`,
		"{http: {path: /, host: a b}}":                `http.host: "a b" is no host`,
		"{websocket: {path: ws}}":                     `websocket.path: "ws" is no path`,
		"{websocket: {path: /, host: @}}":             `websocket.host: "@" is no host`,
		`{websocket: {path: /, subprotocol: "a, b"}}`: `websocket.subprotocol: "a, b" has a space`,
		`{websocket: {path: /, origin: "a\r\nb: c"}}`: "websocket.origin: ",
		"{tcp: {}, jitter: 6s}":                       "jitter: 6s is longer than the interval, 5s",
	} {
		var c Config
		section = strings.ReplaceAll(section, "host: @", `host: "@"`)
		if _, errs := strictyaml.Decode("x", []byte(section), noVariables, &c); errs.Err() != nil {
			t.Errorf("%s: %v", section, errs.Err())
			continue
		}
		var got []string
		if c.Compile(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) }) != nil {
			t.Errorf("%s: compiled", section)
		}
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: reports %q, want one: %s", section, got, want)
		}
	}
	var got string
	e := &Ejection{Backoff: strictyaml.Duration(time.Hour)}
	e.Rules(nil, func(path, format string, args ...any) { got = path + ": " + fmt.Sprintf(format, args...) })
	if got != "max_backoff: 5m0s is shorter than backoff, 1h0m0s" {
		t.Errorf("got %q", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, section := range []string{
		"{http: {path: /, status: 99}}", "{http: {path: /, status: 600}}", "{http: {path: /, status: 300-200}}", "{http: {path: /, status: 100}}",
		"{http: {}}", "{websocket: {}}", "{tcp: {}, healthy: 0}", "{tcp: {}, interval: 0s}", "{tcp: {}, timeout: 0s}", "{tcp: {port: 1}}",
	} {
		var c Config
		if _, errs := strictyaml.Decode("x", []byte(section), noVariables, &c); errs.Err() == nil {
			t.Errorf("%s was read as %+v", section, c)
		}
	}
}

func TestPace(t *testing.T) {
	k := &Checks{Interval: 5 * time.Second, Jitter: time.Second}
	for random, want := range map[float64]time.Duration{0: 4 * time.Second, 0.5: 5 * time.Second, 0.999: 5998 * time.Millisecond} {
		if got := k.Next(random); got != want {
			t.Errorf("next at %v: %v, want %v", random, got, want)
		}
	}
	if got := k.First(0.25); got != 250*time.Millisecond {
		t.Errorf("first: %v", got)
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, section := range []any{Config{}, HTTPConfig{}, WebSocketConfig{}, Ejection{}} {
		s := reflect.TypeOf(section)
		for i := range s.NumField() {
			if f := s.Field(i); f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s has no yaml or doc tag", s, f.Name)
			}
		}
	}
}
