package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxEvents is the most events that a Rate may allow in its unit of time, and the largest burst; MaxBytes is that of a ByteRate.
const (
	MaxEvents = 1_000_000_000
	MaxBytes  = 64 << 30
)

// Rate is a number of events in a time, and how many may come at once. The zero Rate admits nothing.
type Rate struct {
	PerSecond float64 // more than 0; "10/m" is 10.0/60
	Burst     int     // at least 1, at most MaxEvents
}

// UnmarshalText reads "50/s", "50/s burst 100" or "10/m burst 5": whole numbers from 1 to MaxEvents and the units s, m and h. Without a burst
// it is what the rate allows in one second, rounded up. r is unchanged if there is an error.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := events().read(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// MarshalText writes the form that UnmarshalText reads, with its burst. A Rate that this form cannot say exactly is an error, which the zero
// Rate is too.
func (r Rate) MarshalText() ([]byte, error) { return events().write(r) }

// String is MarshalText for logs; a Rate that it cannot say is written in numbers.
func (r Rate) String() string {
	text, err := r.MarshalText()
	if err != nil {
		return fmt.Sprintf("%v/s burst %d", r.PerSecond, r.Burst)
	}
	return string(text)
}

// Wanted names the form for error messages.
func (Rate) Wanted() string { return events().wanted }

// JSONSchema describes the text.
func (Rate) JSONSchema() map[string]any {
	const n = "[1-9][0-9]{0,9}"
	return map[string]any{
		"type":     "string",
		"pattern":  "^" + n + "/[smh](?: burst " + n + ")?$",
		"examples": []any{"50/s", "50/s burst 100", "10/m burst 5"},
	}
}

// parseCount reads a whole number from 1 to MaxEvents; problem says what is wrong with it.
func parseCount(text string) (n int, problem string) {
	digits := strings.Trim(text, "0123456789") == ""
	switch {
	case text == "":
		return 0, "missing"
	case strings.HasPrefix(text, "-"):
		return 0, "is negative"
	case !digits:
		return 0, "is not a whole number"
	case strings.Trim(text, "0") == "":
		return 0, "is 0, which would admit nothing"
	case text[0] == '0':
		return 0, "starts with 0"
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value > MaxEvents {
		return 0, fmt.Sprintf("is over %d", MaxEvents)
	}
	return int(value), ""
}

func (r Rate) defaultBurst() int {
	return int(math.Ceil(r.PerSecond))
}

// timeFor is how long it takes to gain some tokens, rounded up to 1 ns; r is valid. It is cut at a hundred years, which leaves room for sums.
func (r Rate) timeFor(tokens float64) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	ns := math.Ceil(tokens / r.PerSecond * float64(time.Second))
	if ns >= float64(longest) {
		return longest
	}
	return max(time.Duration(ns), 0)
}

// valid tells whether r can be a limit, of events or bytes. It is false for NaN.
func (r Rate) valid() bool {
	return r.PerSecond > 0 && r.PerSecond <= MaxBytes && r.Burst >= 1 && r.Burst <= MaxBytes
}
