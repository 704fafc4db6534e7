package schema

import (
	"math"
	"math/big"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestIsMultiple(t *testing.T) {
	for _, test := range []struct {
		v, m float64
		want bool
	}{
		{0, 5, true},
		{10, 5, true},
		{-10, 5, true},
		{11, 5, false},
		{0.3, 0.1, true},
		{1.1, 0.1, true},
		{0.35, 0.1, false},
		{19.99, 0.01, true},
		{1, 0.3, false},
		{3, 0.3, true},
		{0.3, 3, false},
		{1e300, 0.1, true},
		{1e300, 7, false},
		{1e-300, 1, false},
		{1e-300, 1e-301, true},
		{1e-300, 3e-301, false},
		{math.MaxFloat64, math.MaxFloat64, true},
		{math.MaxFloat64, 5e-324, true},
		{5e-324, 5e-324, true},
		{5e-324, math.MaxFloat64, false},
		{1 << 53, 2, true},
		{1e17, 3, false},
		{0, 0.1, true},
	} {
		if got := isMultiple(test.v, test.m); got != test.want {
			t.Errorf("%v of %v: %t", test.v, test.m, got)
		}
	}
}

// The law: it is division of the decimals that one would write.
func TestIsMultipleIsDivision(t *testing.T) {
	written := func(v float64) *big.Rat {
		r, _ := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
		return r
	}
	draw := rapid.OneOf(rapid.Float64Range(-1e300, 1e300), rapid.Map(rapid.IntRange(-100_000, 100_000), func(n int) float64 { return float64(n) / 1000 }))
	rapid.Check(t, func(t *rapid.T) {
		v, m := draw.Draw(t, "v"), math.Abs(draw.Draw(t, "m"))
		if rapid.Bool().Draw(t, "multiple") {
			v = m * float64(rapid.IntRange(0, 1000).Draw(t, "times"))
		}
		if m == 0 || math.IsInf(v, 0) {
			return
		}
		if got, want := isMultiple(v, m), new(big.Rat).Quo(written(v), written(m)).IsInt(); got != want {
			t.Fatalf("%v of %v: %t", v, m, got)
		}
	})
}
