package handshake

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// CanonicalPath returns the path of u in the one spelling that is matched and forwarded alike: everything that may stand literally does, the
// rest is percent-encoded in upper case. An empty path is "/".
//
// It refuses with 400 what another server might take for a different path: dot segments, empty segments, backslashes, path parameters
// (";"), control bytes and invalid UTF-8, plain or encoded; "/" and "#" encoded; and what is still percent-encoded after one decoding, since a
// second one would turn it into any of these.
func CanonicalPath(u *url.URL) (string, *Refusal) {
	if u.Opaque != "" || u.Fragment != "" {
		return "", badPath("opaque target or fragment")
	}
	escaped := u.EscapedPath()
	if escaped == "" {
		return "/", nil
	}
	if escaped[0] != '/' {
		return "", badPath("path does not begin with a slash")
	}
	decoded, refusal := decodePath(escaped)
	if refusal != nil {
		return "", refusal
	}
	if refusal := checkDecoded(decoded); refusal != nil {
		return "", refusal
	}
	return encodePath(decoded), nil
}

func badPath(detail string) *Refusal { return refuse(http.StatusBadRequest, reasonPath, detail) }

// decodePath removes one layer of percent-encoding. It returns its argument where there is none.
func decodePath(s string) (string, *Refusal) {
	var out []byte
	for i := 0; i < len(s); i++ {
		c, encoded := s[i], s[i] == '%'
		if encoded {
			if !validEscape(s, i) {
				return "", badPath("malformed percent-encoding in the path")
			}
			if out == nil {
				out = append(make([]byte, 0, len(s)), s[:i]...)
			}
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		switch {
		case c == '\\' || c == ';' || c < 0x20 || c == 0x7f:
			return "", badPath("backslash, semicolon or control byte in the path")
		case encoded && (c == '/' || c == '#'):
			return "", badPath("encoded slash or number sign in the path")
		case out != nil:
			out = append(out, c)
		}
	}
	if out == nil {
		return s, nil
	}
	return string(out), nil
}

// checkDecoded looks at a decoded path; only its last segment may be empty.
func checkDecoded(path string) *Refusal {
	if !utf8.ValidString(path) {
		return badPath("path is not UTF-8")
	}
	for i := range len(path) {
		if path[i] == '%' && validEscape(path, i) {
			return badPath("path is encoded twice")
		}
	}
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "." || segment == ".." || segment == "" && more {
			return badPath("dot segment or empty segment in the path")
		}
	}
	return nil
}

func encodePath(s string) string {
	const hex = "0123456789ABCDEF"
	if consists(s, classPath) {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; classes[c]&classPath != 0 {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}

// validEscapes reports whether each percent sign stands before two hex digits.
func validEscapes[T text](s T) bool {
	for i := range len(s) {
		if s[i] == '%' && !validEscape(s, i) {
			return false
		}
	}
	return true
}

func validEscape[T text](s T, at int) bool {
	return at+2 < len(s) && consists(s[at+1:at+3], classHex)
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return lowerByte(c) - 'a' + 10
}
