package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// MaxEvents is the most events that a Rate may allow in its unit of time, and the largest burst.
	MaxEvents = 1_000_000_000

	wantedForm = `wanted a rate such as "50/s", "50/s burst 100" or "10/m burst 5"`
)

// Rate is a number of events in a time, and how many may come at once. The zero Rate admits nothing.
type Rate struct {
	PerSecond float64 // more than 0; "10/m" is 10.0/60
	Burst     int     // at least 1, at most MaxEvents
}

// unit is a unit of time in the configuration.
type unit struct {
	name    string
	seconds float64
}

// units lists what may follow the slash, the shortest time first.
func units() [3]unit {
	return [3]unit{{"s", 1}, {"m", 60}, {"h", 3600}}
}

// UnmarshalText reads "50/s", "50/s burst 100" or "10/m burst 5": whole numbers from 1 to MaxEvents and the units s, m and h. Without a burst
// it is what the rate allows in one second, rounded up. r is unchanged if there is an error.
func (r *Rate) UnmarshalText(text []byte) error {
	fail := func(what string) error { return fmt.Errorf("rate %.64q: %s, %s", text, what, wantedForm) }
	rate, burst, hasBurst := strings.Cut(string(text), " burst ")
	count, name, hasUnit := strings.Cut(rate, "/")
	if !hasUnit {
		return fail("unit missing")
	}
	n, problem := parseCount(count)
	if problem != "" {
		return fail("number of events " + problem)
	}
	seconds := 0.0
	for _, u := range units() {
		if u.name == name {
			seconds = u.seconds
		}
	}
	if seconds == 0 {
		return fail(fmt.Sprintf("unknown unit %.16q", name))
	}
	parsed := Rate{PerSecond: float64(n) / seconds}
	parsed.Burst = parsed.defaultBurst()
	if hasBurst {
		if parsed.Burst, problem = parseCount(burst); problem != "" {
			return fail("burst " + problem)
		}
	}
	*r = parsed
	return nil
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

// MarshalText writes the form that UnmarshalText reads, with its burst. A Rate that this form cannot say exactly is an error, which the zero
// Rate is too.
func (r Rate) MarshalText() ([]byte, error) {
	if r.valid() {
		for _, u := range units() {
			n := math.Round(r.PerSecond * u.seconds)
			if n >= 1 && n <= MaxEvents && n/u.seconds == r.PerSecond {
				return fmt.Appendf(nil, "%.0f/%s burst %d", n, u.name, r.Burst), nil
			}
		}
	}
	return nil, fmt.Errorf("rate of %v per second with burst %d cannot be written, %s", r.PerSecond, r.Burst, wantedForm)
}

// String is MarshalText for logs; a Rate that it cannot say is written in numbers.
func (r Rate) String() string {
	text, err := r.MarshalText()
	if err != nil {
		return fmt.Sprintf("%v/s burst %d", r.PerSecond, r.Burst)
	}
	return string(text)
}

func (r Rate) defaultBurst() int {
	return int(math.Ceil(r.PerSecond))
}

// valid tells whether r can be a limit. It is false for NaN.
func (r Rate) valid() bool {
	return r.PerSecond > 0 && r.PerSecond <= MaxEvents && r.Burst >= 1 && r.Burst <= MaxEvents
}
