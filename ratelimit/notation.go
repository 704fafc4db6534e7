package ratelimit

import (
	"fmt"
	"math"
	"strings"
)

// A notation is how a rate of something is written: an amount, a slash and a unit of time, and perhaps the word burst and another amount.
type notation struct {
	noun   string // what the amount before the slash is called in errors
	wanted string // the form, in errors
	max    int64
	parse  func(text string) (int, string) // an amount from 1 to max, or what is wrong with the text
	format func(amount int64) string       // what parse reads
}

// events is the notation of a Rate.
func events() notation {
	return notation{
		noun:   "number of events",
		wanted: `a rate such as "50/s", "50/s burst 100" or "10/m burst 5"`,
		max:    MaxEvents,
		parse:  parseCount,
		format: func(n int64) string { return fmt.Sprint(n) },
	}
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

func (f notation) read(text string) (Rate, error) {
	fail := func(what string) (Rate, error) {
		return Rate{}, fmt.Errorf("rate %.64q: %s, wanted %s", text, what, f.wanted)
	}
	amount, burst, hasBurst := strings.Cut(text, " burst ")
	amount, name, hasUnit := strings.Cut(amount, "/")
	if !hasUnit {
		return fail("unit missing")
	}
	n, problem := f.parse(amount)
	if problem != "" {
		return fail(f.noun + " " + problem)
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
	r := Rate{PerSecond: float64(n) / seconds}
	r.Burst = r.defaultBurst()
	if hasBurst {
		if r.Burst, problem = f.parse(burst); problem != "" {
			return fail("burst " + problem)
		}
	}
	return r, nil
}

func (f notation) write(r Rate) ([]byte, error) {
	if r.valid() && int64(r.Burst) <= f.max {
		for _, u := range units() {
			n := math.Round(r.PerSecond * u.seconds)
			if n >= 1 && n <= float64(f.max) && n/u.seconds == r.PerSecond {
				return fmt.Appendf(nil, "%s/%s burst %s", f.format(int64(n)), u.name, f.format(int64(r.Burst))), nil
			}
		}
	}
	return nil, fmt.Errorf("rate of %v per second with burst %d cannot be written, wanted %s", r.PerSecond, r.Burst, f.wanted)
}
