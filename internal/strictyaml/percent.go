package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
)

// Percent is a share in a configuration file: a whole number from 0 to 100 with its sign, such as 50%.
type Percent int

const wantedPercent = "a share such as 50%"

// ParsePercent parses the text of a Percent.
func ParsePercent(s string) (Percent, error) {
	digits, ok := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if !ok || !decimal(digits) || err != nil || n > 100 {
		return 0, fmt.Errorf("want %s, not %s", wantedPercent, quote(s))
	}
	return Percent(n), nil
}

// Share returns it as a number from 0 to 1.
func (p Percent) Share() float64 { return float64(p) / 100 }

// String prints what ParsePercent parses.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// UnmarshalText implements encoding.TextUnmarshaler by ParsePercent.
func (p *Percent) UnmarshalText(text []byte) error {
	v, err := ParsePercent(string(text))
	if err == nil {
		*p = v
	}
	return err
}

// MarshalText implements encoding.TextMarshaler by String.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Wanted names the form for error messages.
func (Percent) Wanted() string { return wantedPercent }

// JSONSchema describes the text.
func (Percent) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(?:100|[1-9]?[0-9])%$", "examples": []any{"50%"}}
}
