package health

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusRange is a range of HTTP statuses in a configuration file: one such as 204, or two such as 200-399.
type StatusRange struct{ first, last int }

const wantedStatus = "a status such as 204, or a range such as 200-399"

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *StatusRange) UnmarshalText(text []byte) error {
	low, high, two := strings.Cut(string(text), "-")
	if !two {
		high = low
	}
	first, err1 := strconv.Atoi(low)
	last, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || len(low) != 3 || len(high) != 3 || first < 200 || last > 599 || first > last {
		return fmt.Errorf("want %s, not %q", wantedStatus, text)
	}
	s.first, s.last = first, last
	return nil
}

// Contains says whether a status is in the range.
func (s StatusRange) Contains(status int) bool { return s.first <= status && status <= s.last }

// String prints what UnmarshalText reads.
func (s StatusRange) String() string {
	if s.first == s.last {
		return strconv.Itoa(s.first)
	}
	return strconv.Itoa(s.first) + "-" + strconv.Itoa(s.last)
}

// MarshalText implements encoding.TextMarshaler by String.
func (s StatusRange) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Wanted names the form for error messages.
func (StatusRange) Wanted() string { return wantedStatus }

// JSONSchema describes the text. A single status may stand without quotes.
func (StatusRange) JSONSchema() map[string]any {
	return map[string]any{"type": []any{"string", "integer"}, "pattern": "^[2-5][0-9]{2}(?:-[2-5][0-9]{2})?$", "examples": []any{"200-399", 204}}
}
