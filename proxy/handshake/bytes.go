package handshake

// class is a set of byte properties; classes maps each byte to its set.
type class uint8

const (
	classToken  class = 1 << iota // tchar of RFC 9110 section 5.6.2
	className                     // what the gateway accepts in the name of a request's field: letters, digits, hyphen
	classTarget                   // visible ASCII, as in a request-target
	classLine                     // what may stand in a request line: visible ASCII and SP
	classField                    // what may stand in a field line: SP, HTAB, visible ASCII, obs-text (RFC 9110 section 5.5)
	classPath                     // literal in a canonical path: unreserved, "/", and pchar without ";" (RFC 3986 section 3.3)
	classHost                     // a registered name in lower or upper case, with "_" as container networks use it
	classHex
)

var classes = func() (t [256]class) {
	mark := func(set string, as class) {
		for i := range len(set) {
			t[set[i]] |= as
		}
	}
	mark("0123456789abcdefABCDEF", classHex)
	for c := range 256 {
		switch {
		case c >= 0x21 && c <= 0x7e:
			t[c] |= classTarget | classLine | classField
		case c == ' ':
			t[c] |= classLine | classField
		case c == '\t' || c >= 0x80:
			t[c] |= classField
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			t[c] |= classToken | className | classPath | classHost
		}
	}
	mark("!#$%&'*+-.^_`|~", classToken)
	mark("-", className)
	mark("-._~/!$&'()*+,=:@", classPath)
	mark("-_", classHost)
	return t
}()

// text is what the scanners read (bytes) or net/http gives us (strings).
type text interface{ ~string | ~[]byte }

// consists reports whether s is not empty and has only bytes of the class c.
func consists[T text](s T, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return len(s) > 0
}

// indexByte is bytes.IndexByte and strings.IndexByte in one, for short input.
func indexByte[T text](s T, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// trimOWS cuts optional white space (SP and HTAB, RFC 9110 section 5.6.3) from both ends.
func trimOWS[T text](s T) T {
	s = skipOWS(s)
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

func skipOWS[T text](s T) T {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// equalFold compares ASCII without case; lower must be lower case already.
func equalFold[T text](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

// hasPrefixFold is equalFold on the start of s.
func hasPrefixFold[T text](s T, lower string) bool {
	return len(s) >= len(lower) && equalFold(s[:len(lower)], lower)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// parseLength reads a Content-Length: digits only, no sign, no list, within int64.
func parseLength[T text](s T) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
