package strictyaml

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// sample resembles the gateway's configuration and uses every feature of the package.
type sample struct {
	Version   int                        `yaml:"version" required:"true" min:"1" max:"1" doc:"Version of this format."`
	Listeners []sampleListener           `yaml:"listeners,omitempty" doc:"Where clients connect."`
	Routes    []sampleRoute              `yaml:"routes,omitempty"`
	Upstreams map[string]*sampleUpstream `yaml:"upstreams,omitempty"`
	Labels    map[string]string          `yaml:"labels,omitempty" max:"3"`
	Log       sampleLog                  `yaml:"log"`
	Drain     *sampleDrain               `yaml:"drain,omitempty"`
	Numbers   sampleNumbers              `yaml:"numbers,omitempty"`
	Tree      *sampleTree                `yaml:"tree,omitempty"`
	_         func()                     // unexported fields are no keys
	Ignored   float64                    `yaml:"-"`
}

type sampleListener struct {
	Address   string     `yaml:"address" required:"true" doc:"Host and port."`
	TLS       *sampleTLS `yaml:"tls,omitempty"`
	Protocols []string   `yaml:"protocols" enum:"h1,h2" default:"h1" min:"1" max:"2"`
}

type sampleTLS struct {
	Certificates string    `yaml:"certificates" enum:"internal,files,off" default:"internal"`
	Versions     []sampleV `yaml:"versions,omitempty" enum:"1.2,1.3"`
}

type sampleV string

type sampleRoute struct {
	Name       string      `yaml:"name" required:"true"`
	Hosts      sampleHosts `yaml:"hosts,omitempty" required:"true"`
	Upstream   string      `yaml:"upstream,omitempty"`
	Pass       bool        `yaml:"pass" default:"true"`
	MaxMessage Size        `yaml:"max_message" default:"1MiB" max:"64MiB"`
	Idle       Duration    `yaml:"idle_timeout" default:"5m" min:"1s" max:"24h"`
	Rate       *sampleRate `yaml:"rate,omitempty"`
	OnIdle     sampleCode  `yaml:"on_idle,omitempty"`
}

type sampleUpstream struct {
	Servers []string   `yaml:"servers" required:"true" min:"1"`
	Retry   []Duration `yaml:"retry,omitempty"`
	Weights []int      `yaml:"weights,omitempty"`
}

type sampleLog struct {
	Level  string `yaml:"level" enum:"debug,info" default:"info"`
	Format string `yaml:"format" enum:"json,text" default:"json"`
}

type sampleDrain struct {
	Delay  Duration `yaml:"delay" min:"0"`
	Window Duration `yaml:"window" default:"30s"`
}

type sampleNumbers struct {
	I8  int8   `yaml:"i8,omitempty"`
	I64 int64  `yaml:"i64,omitempty"`
	U16 uint16 `yaml:"u16,omitempty"`
	U64 uint64 `yaml:"u64,omitempty"`
	Low int    `yaml:"low" min:"-5" max:"5"`
}

type sampleTree struct {
	Leaf string        `yaml:"leaf,omitempty"`
	Sub  []*sampleTree `yaml:"sub,omitempty"`
}

// sampleRate is a scalar only: "50/s".
type sampleRate struct{ PerSecond int }

func (r *sampleRate) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "/s")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || !decimal(digits) {
		return fmt.Errorf("want %s, not %q", r.Wanted(), text)
	}
	r.PerSecond = n
	return nil
}

func (r sampleRate) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d/s", r.PerSecond), nil }

func (r sampleRate) Wanted() string { return "a rate such as 50/s" }

func (r sampleRate) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(0|[1-9][0-9]{0,9})/s$"}
}

// sampleCode is a scalar or a mapping: 1001, or {client: 4000, upstream: 1001}.
type sampleCode struct {
	Client   int `yaml:"client" required:"true" min:"1000" max:"4999"`
	Upstream int `yaml:"upstream" default:"1001" min:"1000" max:"4999"`
}

func (c *sampleCode) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1000 || n > 4999 {
		return errors.New("want a close code from 1000 to 4999")
	}
	c.Client, c.Upstream = n, n
	return nil
}

func (c sampleCode) Wanted() string { return "a close code" }

func (c sampleCode) JSONSchema() map[string]any {
	return map[string]any{"type": "integer", "minimum": 1000, "maximum": 4999}
}

// sampleHosts is a scalar or a list of scalars, and has no schema of its own.
type sampleHosts []string

func (h *sampleHosts) UnmarshalText(text []byte) error {
	*h = sampleHosts{string(text)}
	return nil
}

// vars is a lookup over fixed variables; PASSWORD is the secret that must never be seen.
func vars(name string) (string, bool) {
	v, ok := map[string]string{
		"PORT": "8080", "ON": "true", "EMPTY": "", "PASSWORD": "hunter2secret", "IDLE": "90s", "NESTED": "${PORT}",
		"YAML": "a: [b", "LATIN1": "\xe9", "NULL": "null",
	}[name]
	return v, ok
}

// decode decodes a sample that must be free of mistakes.
func decode(t *testing.T, text string) (*sample, *Document) {
	t.Helper()
	var s sample
	doc, errs := Decode("gateway.yaml", []byte(text), vars, &s)
	if len(errs) > 0 {
		t.Fatalf("decoding\n%s\n%v", text, errs)
	}
	return &s, doc
}

// mistakes decodes into a sample and returns what Errors prints.
func mistakes(text string) string {
	var s sample
	_, errs := Decode("f", []byte(text), vars, &s)
	return errs.Error()
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}
