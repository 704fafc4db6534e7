package schema

import (
	"math"
	"math/bits"
	"strconv"
)

func isInteger(v float64) bool { return v == math.Trunc(v) && !math.IsInf(v, 0) }

// isMultiple says whether v is a multiple of m, both as they are written in decimal: 0.3 is a multiple of 0.1, though no float64 is exactly
// either. Fractions of big integers would say the same, for up to 100 microseconds that a number of six bytes can cost.
func isMultiple(v, m float64) bool {
	const exact = 1 << 53
	if isInteger(v) && isInteger(m) && math.Abs(v) <= exact && m <= exact {
		return math.Mod(v, m) == 0
	}
	a, b := toDecimal(v), toDecimal(m)
	shift := a.exponent - b.exponent
	if shift >= 0 {
		return mulMod(a.digits%b.digits, powMod(10, shift, b.digits), b.digits) == 0
	}
	// a.digits must be a multiple of b.digits * 10^-shift, which is soon more than it.
	for ; shift < 0; shift++ {
		if a.digits%10 != 0 {
			return false
		}
		a.digits /= 10
		if a.digits == 0 {
			return true
		}
	}
	return a.digits%b.digits == 0
}

// decimal is digits * 10^exponent, without its sign.
type decimal struct {
	digits   uint64 // at most 17 of them
	exponent int
}

// toDecimal returns the shortest decimal that stands for v, which is finite.
func toDecimal(v float64) decimal {
	var room [32]byte
	text := strconv.AppendFloat(room[:0], math.Abs(v), 'e', -1, 64)
	var d decimal
	fraction := false
	for i, c := range text {
		switch {
		case c == 'e':
			exponent, _ := strconv.Atoi(string(text[i+1:])) // as AppendFloat wrote it
			d.exponent += exponent
			return d
		case c == '.':
			fraction = true
		default:
			d.digits = d.digits*10 + uint64(c-'0')
			if fraction {
				d.exponent--
			}
		}
	}
	return d
}

// powMod is base^n modulo m.
func powMod(base uint64, n int, m uint64) uint64 {
	result := 1 % m
	for base %= m; n > 0; n >>= 1 {
		if n&1 == 1 {
			result = mulMod(result, base, m)
		}
		base = mulMod(base, base, m)
	}
	return result
}

// mulMod is a*b modulo m, of a and b below m.
func mulMod(a, b, m uint64) uint64 {
	high, low := bits.Mul64(a, b)
	_, rest := bits.Div64(high, low, m)
	return rest
}
