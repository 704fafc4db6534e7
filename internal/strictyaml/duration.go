package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time in a configuration file: whole numbers with the units h, m, s and ms, each at most once
// and from the largest to the smallest, such as 5s, 1m30s or 250ms. A number without a unit, a negative one and an
// overflow are errors. Zero is one too, unless the field's tag says min:"0".
type Duration time.Duration

// durationUnits from the largest to the smallest.
func durationUnits() []unit {
	return []unit{
		{"h", int64(time.Hour)},
		{"m", int64(time.Minute)},
		{"s", int64(time.Second)},
		{"ms", int64(time.Millisecond)},
	}
}

type unit struct {
	name  string
	value int64
}

const wantedDuration = "a duration such as 5s, 1m30s or 250ms"

// ParseDuration parses the text of a Duration, and accepts zero ("0s").
func ParseDuration(s string) (Duration, error) {
	refuse := func() (Duration, error) {
		return 0, fmt.Errorf("want %s, not %s", wantedDuration, quote(s))
	}
	if s == "" {
		return refuse()
	}
	units, total := durationUnits(), int64(0)
	for rest := s; rest != ""; {
		digits := leading(rest, "0123456789")
		name := leading(rest[len(digits):], "hms")
		rest = rest[len(digits)+len(name):]
		for len(units) > 0 && units[0].name != name {
			units = units[1:]
		}
		if !decimal(digits) || len(units) == 0 {
			return refuse()
		}
		part, ok := multiply(digits, units[0].value)
		if !ok || total > math.MaxInt64-part {
			return 0, fmt.Errorf("want %s, not %s, which is too long", wantedDuration, quote(s))
		}
		total, units = total+part, units[1:]
	}
	return Duration(total), nil
}

// leading returns the longest prefix of s that consists of characters of set.
func leading(s, set string) string {
	return s[:len(s)-len(strings.TrimLeft(s, set))]
}

// decimal tells whether s is a whole number in its only form: no sign, no leading zeros.
func decimal(s string) bool {
	return s != "" && leading(s, "0123456789") == s && (s == "0" || s[0] != '0')
}

// multiply returns the number in digits times by, and false when it overflows.
func multiply(digits string, by int64) (int64, bool) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/by {
		return 0, false
	}
	return n * by, true
}

// String prints what ParseDuration parses, in its shortest form: 1m30s, 12h, 0s. A Duration that no file can hold,
// negative or finer than a millisecond, is printed as time.Duration does.
func (d Duration) String() string {
	if d < 0 || d%Duration(time.Millisecond) != 0 {
		return time.Duration(d).String()
	}
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits() {
		if n := int64(d) / u.value; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= Duration(n * u.value)
		}
	}
	return b.String()
}

// UnmarshalText implements encoding.TextUnmarshaler by ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler by String.
func (d Duration) MarshalText() ([]byte, error) {
	return []byte(d.String()), nil
}

// Wanted names the form for error messages.
func (Duration) Wanted() string { return wantedDuration }

// JSONSchema describes the text. It does not know the bounds of the field, nor whether zero is allowed.
func (Duration) JSONSchema() map[string]any {
	const n = "(?:0|[1-9][0-9]*)"
	return map[string]any{
		"type":      "string",
		"minLength": 1,
		"pattern":   "^(?:" + n + "h)?(?:" + n + "m)?(?:" + n + "s)?(?:" + n + "ms)?$",
		"examples":  []any{"5s", "1m30s", "250ms"},
	}
}
