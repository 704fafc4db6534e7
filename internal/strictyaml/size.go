package strictyaml

import (
	"fmt"
)

// Size is a number of bytes in a configuration file: a whole number above zero with one of the units B, KB, MB, GB
// (powers of 1000), KiB, MiB, GiB (powers of 1024), such as 64KiB or 10MB. A number without a unit, zero, a negative one
// and an overflow are errors: no size means "unlimited".
type Size int64

// sizeUnits in the order in which String prefers them.
func sizeUnits() []unit {
	return []unit{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1}}
}

const wantedSize = "a size such as 512B, 64KiB or 1MiB"

// ParseSize parses the text of a Size.
func ParseSize(s string) (Size, error) {
	digits := leading(s, "0123456789")
	for _, u := range sizeUnits() {
		if u.name != s[len(digits):] || !decimal(digits) || digits == "0" {
			continue
		}
		n, ok := multiply(digits, u.value)
		if !ok {
			return 0, fmt.Errorf("want %s, not %s, which is too large", wantedSize, quote(s))
		}
		return Size(n), nil
	}
	return 0, fmt.Errorf("want %s, not %s", wantedSize, quote(s))
}

// String prints what ParseSize parses, with the unit that divides it into the smallest whole number: 1MiB, 10MB, 1500B.
// A Size of 0 or less, which no file can hold, is printed in bytes.
func (s Size) String() string {
	best := unit{"B", 1}
	for _, u := range sizeUnits() {
		if int64(s)%u.value == 0 && u.value > best.value && s > 0 {
			best = u
		}
	}
	return fmt.Sprintf("%d%s", int64(s)/best.value, best.name)
}

// UnmarshalText implements encoding.TextUnmarshaler by ParseSize.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler by String.
func (s Size) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// Wanted names the form for error messages.
func (Size) Wanted() string { return wantedSize }

// JSONSchema describes the text.
func (Size) JSONSchema() map[string]any {
	return map[string]any{
		"type":     "string",
		"pattern":  "^[1-9][0-9]*(?:B|KB|MB|GB|KiB|MiB|GiB)$",
		"examples": []any{"512B", "64KiB", "1MiB"},
	}
}
