package ratelimit

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/strictyaml"
)

var (
	_ encoding.TextUnmarshaler = (*ByteRate)(nil)
	_ encoding.TextMarshaler   = ByteRate{}
)

func TestByteRateUnmarshalText(t *testing.T) {
	for text, want := range map[string]ByteRate{
		"256KiB/s burst 1MiB": {256 << 10, 1 << 20},
		"256KiB/s":            {256 << 10, 256 << 10},
		"1B/s":                {1, 1},
		"1B/h":                {1.0 / 3600, 1},
		"10MiB/m":             {10 * (1 << 20) / 60.0, 174763},
		"10MB/m burst 1B":     {1e7 / 60.0, 1},
		"1GB/s burst 1GB":     {1e9, 1e9},
		"4GiB/s burst 4GiB":   {4 << 30, 4 << 30},
		"1000MB/s":            {1e9, 1e9},
		"1GB/h":               {1e9 / 3600.0, 277778},
		"1500B/s burst 64KB":  {1500, 64000},
	} {
		var got ByteRate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q = %+v, %v, want %+v", text, got, err, want)
		}
		if got.Rate() != Rate(want) {
			t.Errorf("%q is the rate %v", text, got.Rate())
		}
	}
}

func TestByteRateUnmarshalTextRefuses(t *testing.T) {
	const noSize = "is no size above 0 with its unit, such as 512B, 64KiB or 1MiB"
	for text, what := range map[string]string{
		"":                      "unit missing",
		"256KiB":                "unit missing",
		"unlimited":             "unit missing",
		"/s":                    "number of bytes missing",
		"256/s":                 "number of bytes " + noSize,
		"0/s":                   "number of bytes " + noSize,
		"0B/s":                  "number of bytes " + noSize,
		"-1KiB/s":               "number of bytes " + noSize,
		"1.5KiB/s":              "number of bytes " + noSize,
		"064KiB/s":              "number of bytes " + noSize,
		"64kib/s":               "number of bytes " + noSize,
		"64 KiB/s":              "number of bytes " + noSize,
		"64Kibit/s":             "number of bytes " + noSize,
		"99999999999999999GB/s": "number of bytes " + noSize,
		"65GiB/s":               "number of bytes is over 64GiB",
		"68719476737B/s":        "number of bytes is over 64GiB",
		"64KiB/":                `unknown unit ""`,
		"64KiB/d":               `unknown unit "d"`,
		"64KiB/s burst":         `unknown unit "s burst"`,
		"64KiB/s burst ":        "burst missing",
		"64KiB/s burst 100":     "burst " + noSize,
		"64KiB/s burst 0B":      "burst " + noSize,
		"64KiB/s burst 65GiB":   "burst is over 64GiB",
		"64KiB/s burst 1MiB/s":  "burst " + noSize,
	} {
		got := ByteRate{7, 7}
		err := got.UnmarshalText([]byte(text))
		want := fmt.Sprintf(`rate %q: %s, wanted a rate such as "256KiB/s" or "256KiB/s burst 1MiB"`, text, what)
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
		if got != (ByteRate{7, 7}) {
			t.Errorf("%q: an error changed the rate to %+v", text, got)
		}
	}
}

func TestByteRateMarshalText(t *testing.T) {
	for want, r := range map[string]ByteRate{
		"256KiB/s burst 1MiB": {256 << 10, 1 << 20},
		"10MiB/m burst 1B":    {10 * (1 << 20) / 60.0, 1},
		"5B/h burst 3B":       {5.0 / 3600, 3},
	} {
		text, err := r.MarshalText()
		if err != nil || string(text) != want || r.String() != want {
			t.Errorf("%+v: %q, %q, %v, want %q", r, text, r, err, want)
		}
	}
	for _, r := range []ByteRate{{}, {1, 0}, {math.Pi, 4}, {math.NaN(), 1}, {70e9, 1}} {
		if text, err := r.MarshalText(); err == nil || !strings.Contains(err.Error(), "wanted a rate such as") {
			t.Errorf("%+v: %q, %v, want an error", r, text, err)
		}
		if !strings.HasSuffix(r.String(), "B") {
			t.Errorf("%+v has the string %q", r, r)
		}
	}
}

// Both kinds of rate are values of a configuration file, with errors at their place.
func TestRatesInConfiguration(t *testing.T) {
	type config struct {
		Messages Rate      `yaml:"messages" default:"100/s burst 200"`
		Bytes    *ByteRate `yaml:"bytes"`
	}
	var c config
	if _, errs := strictyaml.Decode("f", []byte("bytes: 1MiB/s burst 4MiB\n"), nil, &c); errs.Err() != nil {
		t.Fatal(errs)
	}
	if c.Messages != (Rate{100, 200}) || c.Bytes == nil || *c.Bytes != (ByteRate{1 << 20, 4 << 20}) {
		t.Errorf("decoded %+v", c)
	}
	_, errs := strictyaml.Decode("f", []byte("messages: {}\nbytes: 0B/s\n"), nil, &c)
	want := `f:1:11: messages: want a rate such as "50/s", "50/s burst 100" or "10/m burst 5", not a mapping`
	if len(errs) != 2 || errs[0].Error() != want || !strings.HasPrefix(errs[1].Error(), `f:2:8: bytes: rate "0B/s": number of bytes is no size`) {
		t.Errorf("errors %v", errs)
	}
}

// What is accepted comes back equal, is a limit, and fits the schema.
func FuzzByteRate(f *testing.F) {
	for _, seed := range []string{"256KiB/s burst 1MiB", "10MB/m burst 5B", "7B/h", "0B/s", "1GB/h", "-1B/s", "5", "5B/s burst 0"} {
		f.Add(seed)
	}
	pattern := schemaPattern(f, ByteRate{}.JSONSchema())
	f.Fuzz(func(t *testing.T, text string) {
		var r ByteRate
		if err := r.UnmarshalText([]byte(text)); err != nil {
			if r != (ByteRate{}) || len(err.Error()) > 600 {
				t.Errorf("%q: %v, %+v", text, err, r)
			}
			return
		}
		again, err := r.MarshalText()
		var back ByteRate
		if err != nil || back.UnmarshalText(again) != nil || back != r {
			t.Errorf("%q gives %+v, written %q, read %+v (%v)", text, r, again, back, err)
		}
		if !r.Rate().valid() || !pattern.MatchString(text) || !pattern.Match(again) {
			t.Errorf("%q gives %+v, written %q: no limit, or against the schema", text, r, again)
		}
	})
}

func schemaPattern(t testing.TB, schema map[string]any) *regexp.Regexp {
	t.Helper()
	if _, err := json.Marshal(schema); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(schema["pattern"].(string))
}
