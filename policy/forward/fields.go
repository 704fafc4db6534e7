package forward

import (
	"strings"
)

// isName accepts the names of header fields that have one spelling: an underscore becomes a hyphen on its way through some servers.
func isName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// ofHop says whether a field, in canonical spelling, describes one hop (RFC 9110, section 7.6.1), its framing, its target or what came before it.
// The gateway makes such fields itself.
func ofHop(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Early-Data", "Expect", "Forwarded", "Host", "Http2-Settings", "Keep-Alive", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "X-Real-Ip":
		return true
	}
	return strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "Sec-Websocket-") || strings.HasPrefix(name, "X-Forwarded-")
}

// isValue accepts what may stand in a field's value (RFC 9110, section 5.5): nothing that ends the line, and no other control character.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// maxChallenge bounds a WWW-Authenticate that is passed on, in bytes.
const maxChallenge = 1 << 10

// isChallenge accepts the value of a WWW-Authenticate: one or more challenges (RFC 9110, section 11.6.1), of which it looks at the first scheme and
// otherwise only demands visible ASCII.
func isChallenge(s string) bool {
	scheme, _, _ := strings.Cut(s, " ")
	if !isName(scheme) || len(s) > maxChallenge {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
