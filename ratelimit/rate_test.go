package ratelimit

import (
	"encoding"
	"fmt"
	"math"
	"strings"
	"testing"
)

var (
	_ encoding.TextUnmarshaler = (*Rate)(nil)
	_ encoding.TextMarshaler   = Rate{}
)

func TestRateUnmarshalText(t *testing.T) {
	for text, want := range map[string]Rate{
		"50/s burst 100":                {50, 100},
		"10/m burst 5":                  {10.0 / 60, 5},
		"50/s":                          {50, 50},
		"1/s":                           {1, 1},
		"10/m":                          {10.0 / 60, 1},
		"60/m":                          {1, 1},
		"61/m":                          {61.0 / 60, 2},
		"90/m":                          {1.5, 2},
		"5/h":                           {5.0 / 3600, 1},
		"7200/h burst 1":                {2, 1},
		"100000/s burst 100000":         {100000, 100000},
		"1000000000/s burst 1000000000": {1e9, 1e9},
		"1000000000/h":                  {1e9 / 3600.0, 277778},
		"1/h burst 1000000000":          {1.0 / 3600, 1e9},
		"500/s burst 1":                 {500, 1},
		"999999999/s burst 999999999":   {999999999, 999999999},
		"3/s burst 10":                  {3, 10},
		"1000000000/m burst 1000000000": {1e9 / 60.0, 1e9},
		"1000000000/s burst 1":          {1e9, 1},
		"59/m burst 59":                 {59.0 / 60, 59},
		"1/m":                           {1.0 / 60, 1},
		"3600/h":                        {1, 1},
		"3601/h":                        {3601.0 / 3600, 2},
		"120/m burst 2":                 {2, 2},
		"1/s burst 1":                   {1, 1},
		"40/s burst 40":                 {40, 40},
		"10/s burst 40":                 {10, 40},
		"256/s burst 1024":              {256, 1024},
		"2/m burst 2":                   {2.0 / 60, 2},
		"123456789/s burst 987654321":   {123456789, 987654321},
	} {
		var got Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

// Every mistake has its own words, and all errors quote the text and show the form that is wanted.
func TestRateUnmarshalTextRefuses(t *testing.T) {
	for text, what := range map[string]string{
		"":                                "unit missing",
		"50":                              "unit missing",
		"0":                               "unit missing",
		"-1":                              "unit missing",
		"50 burst 100":                    "unit missing",
		"fast":                            "unit missing",
		"unlimited":                       "unit missing",
		"50s":                             "unit missing",
		"0/s":                             "number of events is 0, which would admit nothing",
		"000/s":                           "number of events is 0, which would admit nothing",
		"-5/s":                            "number of events is negative",
		"/s":                              "number of events missing",
		"5.5/s":                           "number of events is not a whole number",
		"1e3/s":                           "number of events is not a whole number",
		"0x10/s":                          "number of events is not a whole number",
		"+5/s":                            "number of events is not a whole number",
		" 5/s":                            "number of events is not a whole number",
		"5 /s":                            "number of events is not a whole number",
		"٥/s":                             "number of events is not a whole number",
		"1_000/s":                         "number of events is not a whole number",
		"64KiB/s":                         "number of events is not a whole number",
		"Inf/s":                           "number of events is not a whole number",
		"NaN/s":                           "number of events is not a whole number",
		"050/s":                           "number of events starts with 0",
		"1000000001/s":                    "number of events is over 1000000000",
		"9223372036854775808/s":           "number of events is over 1000000000",
		"99999999999999999999999999999/s": "number of events is over 1000000000",
		"50/":                             `unknown unit ""`,
		"50/d":                            `unknown unit "d"`,
		"50/S":                            `unknown unit "S"`,
		"50/sec":                          `unknown unit "sec"`,
		"50/ms":                           `unknown unit "ms"`,
		"50/s ":                           `unknown unit "s "`,
		"50/ s":                           `unknown unit " s"`,
		"50/s/s":                          `unknown unit "s/s"`,
		"50/s burst":                      `unknown unit "s burst"`,
		"50/s bust 100":                   `unknown unit "s bust 100"`,
		"50/s, burst 100":                 `unknown unit "s,"`,
		"50/s burst ":                     "burst missing",
		"50/s burst 0":                    "burst is 0, which would admit nothing",
		"50/s burst -1":                   "burst is negative",
		"50/s burst  1":                   "burst is not a whole number",
		"50/s burst 1 ":                   "burst is not a whole number",
		"50/s burst 1.5":                  "burst is not a whole number",
		"50/s burst 100/s":                "burst is not a whole number",
		"50/s burst 010":                  "burst starts with 0",
		"50/s burst 1000000001":           "burst is over 1000000000",
		"50/s burst 1 burst 2":            "burst is not a whole number",
	} {
		before := Rate{7, 7}
		got := before
		err := got.UnmarshalText([]byte(text))
		want := fmt.Sprintf(`rate %q: %s, wanted a rate such as "50/s", "50/s burst 100" or "10/m burst 5"`, text, what)
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
		if got != before {
			t.Errorf("%q: an error changed the rate to %+v", text, got)
		}
	}
}

func TestRateErrorsAreShort(t *testing.T) {
	for _, text := range []string{strings.Repeat("9", 1<<20), strings.Repeat("9", 1<<20) + "/s", "1/" + strings.Repeat("x", 1<<20), "1/s burst " + strings.Repeat("\x00", 1<<20)} {
		if err := new(Rate).UnmarshalText([]byte(text)); err == nil || len(err.Error()) > 600 {
			t.Errorf("error of %d bytes", len(fmt.Sprint(err)))
		}
	}
}

func TestRateMarshalText(t *testing.T) {
	for want, r := range map[string]Rate{
		"50/s burst 100":       {50, 100},
		"10/m burst 5":         {10.0 / 60, 5},
		"90/m burst 2":         {1.5, 2},
		"1/s burst 1":          {60.0 / 60, 1},
		"5/h burst 1":          {5.0 / 3600, 1},
		"1000000000/s burst 1": {1e9, 1},
	} {
		text, err := r.MarshalText()
		if err != nil || string(text) != want || r.String() != want {
			t.Errorf("%+v: %q, %q, %v, want %q", r, text, r, err, want)
		}
	}
	for _, r := range []Rate{{}, {1, 0}, {0, 1}, {-1, 1}, {1, -1}, {math.Pi, 4}, {math.NaN(), 1}, {math.Inf(1), 1}, {2e9, 1}, {1, MaxEvents + 1}, {1e-9, 1}} {
		if text, err := r.MarshalText(); err == nil || !strings.Contains(err.Error(), "wanted a rate such as") {
			t.Errorf("%+v: %q, %v, want an error", r, text, err)
		}
		if r.String() == "" {
			t.Errorf("%+v has no string", r)
		}
	}
}

// What is accepted comes back equal, is a limit, and fits the schema.
func FuzzRate(f *testing.F) {
	for _, seed := range []string{"50/s burst 100", "10/m burst 5", "7/h", "0/s", "1000000000/h", "-1/s", "5/s burst 0", "5"} {
		f.Add(seed)
	}
	pattern := schemaPattern(f, Rate{}.JSONSchema())
	f.Fuzz(func(t *testing.T, text string) {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil {
			if r != (Rate{}) {
				t.Errorf("%q: %v, but %+v", text, err, r)
			}
			return
		}
		if !r.valid() || !pattern.MatchString(text) {
			t.Errorf("%q gives %+v, which is no limit, or against the schema", text, r)
		}
		again, err := r.MarshalText()
		var back Rate
		if err != nil || back.UnmarshalText(again) != nil || back != r {
			t.Errorf("%q gives %+v, written %q, read %+v (%v)", text, r, again, back, err)
		}
	})
}
