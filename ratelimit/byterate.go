package ratelimit

import (
	"fmt"

	"github.com/framegate/framegate/internal/strictyaml"
)

// ByteRate is a Rate of bytes. The zero ByteRate admits nothing.
type ByteRate struct {
	PerSecond float64 // bytes, more than 0
	Burst     int     // bytes, at least 1, at most MaxBytes
}

// byteNotation is the notation of a ByteRate.
func byteNotation() notation {
	return notation{
		noun:   "number of bytes",
		wanted: `a rate such as "256KiB/s" or "256KiB/s burst 1MiB"`,
		max:    MaxBytes,
		parse:  parseBytes,
		format: func(n int64) string { return strictyaml.Size(n).String() },
	}
}

// Rate returns r with a byte as the event.
func (r ByteRate) Rate() Rate { return Rate(r) }

// UnmarshalText reads "256KiB/s", "256KiB/s burst 1MiB" or "10MB/m": sizes from 1B to 64GiB and the units s, m and h. Without a burst it is what
// the rate allows in one second, rounded up. r is unchanged if there is an error.
func (r *ByteRate) UnmarshalText(text []byte) error {
	parsed, err := byteNotation().read(string(text))
	if err == nil {
		*r = ByteRate(parsed)
	}
	return err
}

// MarshalText writes the form that UnmarshalText reads, with its burst. A ByteRate that this form cannot say exactly is an error, which the
// zero ByteRate is too.
func (r ByteRate) MarshalText() ([]byte, error) { return byteNotation().write(Rate(r)) }

// String is MarshalText for logs; a ByteRate that it cannot say is written in numbers.
func (r ByteRate) String() string {
	text, err := r.MarshalText()
	if err != nil {
		return fmt.Sprintf("%vB/s burst %dB", r.PerSecond, r.Burst)
	}
	return string(text)
}

// Wanted names the form for error messages.
func (ByteRate) Wanted() string { return byteNotation().wanted }

// JSONSchema describes the text.
func (ByteRate) JSONSchema() map[string]any {
	const size = "[1-9][0-9]*(?:B|KB|MB|GB|KiB|MiB|GiB)"
	return map[string]any{
		"type":     "string",
		"pattern":  "^" + size + "/[smh](?: burst " + size + ")?$",
		"examples": []any{"256KiB/s", "256KiB/s burst 1MiB"},
	}
}

// parseBytes reads a size from 1B to 64GiB; problem says what is wrong with it.
func parseBytes(text string) (n int, problem string) {
	if text == "" {
		return 0, "missing"
	}
	size, err := strictyaml.ParseSize(text)
	switch {
	case err != nil:
		return 0, "is no size above 0 with its unit, such as 512B, 64KiB or 1MiB"
	case size > MaxBytes:
		return 0, "is over " + strictyaml.Size(MaxBytes).String()
	}
	return int(size), ""
}
