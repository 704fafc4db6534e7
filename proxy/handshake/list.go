package handshake

import (
	"slices"
	"strings"
)

// eachElement calls f with each element of the comma-separated lists in values, trimmed; empty elements are passed over, as RFC 9110 section
// 5.6.1.2 wants. It ends early when f returns false, and reports whether that did not happen. Not for lists with quoted strings.
func eachElement(values []string, f func(element string) bool) bool {
	for _, rest := range values {
		for more := true; more; {
			var element string
			element, rest, more = strings.Cut(rest, ",")
			if element = trimOWS(element); element != "" && !f(element) {
				return false
			}
		}
	}
	return true
}

// hasToken reports whether one element of the lists is the token, in any case; valid is false when an element is no token at all.
func hasToken(values []string, lower string) (has, valid bool) {
	valid = eachElement(values, func(element string) bool {
		has = has || equalFold(element, lower)
		return consists(element, classToken)
	})
	return has, valid
}

// parseSubprotocols reads Sec-WebSocket-Protocol of a request (RFC 6455 section 11.3.4): at least one token where the field is present, at most
// maxSubprotocols, none twice. Their case matters.
func parseSubprotocols(values []string) ([]string, bool) {
	if len(values) == 0 {
		return nil, true
	}
	var out []string
	ok := eachElement(values, func(element string) bool {
		if !consists(element, classToken) || len(out) == maxSubprotocols || slices.Contains(out, element) {
			return false
		}
		out = append(out, element)
		return true
	})
	return out, ok && len(out) > 0
}
