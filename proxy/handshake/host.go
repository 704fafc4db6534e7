package handshake

import (
	"net/netip"
	"strings"
)

// maxHostName is the longest name that DNS can carry, in characters.
const maxHostName = 253

// CanonicalHost returns the host of "host" or "host:port" in the one form that routes, policies and upstreams see: lower case, without port,
// IPv6 in brackets as RFC 5952 writes it. It is not ok for anything that two programs could read in two ways: userinfo, spaces, zones,
// percent-encoding, empty labels (so also a trailing dot), characters outside letters, digits, "-" and "_", and numbers that are no dotted
// quad (127.1, 0x7f.1, 2130706433). A port must be 1 to 65535 without leading zeros.
func CanonicalHost(hostport string) (host string, ok bool) {
	host, _, ok = CanonicalAuthority(hostport)
	return host, ok
}

// CanonicalAuthority is CanonicalHost that also returns the port, "" when there is none.
func CanonicalAuthority(hostport string) (host, port string, ok bool) {
	host, port, ok = splitAuthority(hostport)
	if !ok {
		return "", "", false
	}
	if host[0] == '[' {
		addr, _ := netip.ParseAddr(host[1 : len(host)-1])
		return "[" + addr.String() + "]", port, true
	}
	return strings.ToLower(host), port, true
}

// validAuthority is CanonicalAuthority without the answer, and without allocation but for IPv6.
func validAuthority(hostport []byte) bool {
	_, _, ok := splitAuthority(hostport)
	return ok
}

func splitAuthority[T text](s T) (host, port T, ok bool) {
	if len(s) == 0 {
		return host, port, false
	}
	end := indexByte(s, ':')
	if s[0] == '[' {
		if end = indexByte(s, ']') + 1; end == 0 || !validIPv6(s[1:end-1]) {
			return host, port, false
		}
	} else {
		if end < 0 {
			end = len(s)
		}
		if !validName(s[:end]) {
			return host, port, false
		}
	}
	if end == len(s) {
		return s, port, true
	}
	host, port = s[:end], s[end+1:]
	return host, port, s[end] == ':' && validPort(port)
}

func validPort[T text](s T) bool {
	if len(s) == 0 || len(s) > 5 || s[0] == '0' {
		return false
	}
	n, ok := parseLength(s)
	return ok && n <= 65535
}

func validIPv6[T text](s T) bool {
	if len(s) < 2 || len(s) > 45 || indexByte(s, '%') >= 0 {
		return false
	}
	addr, err := netip.ParseAddr(string(s))
	return err == nil && addr.Is6()
}

// validName accepts a registered name of non-empty labels of at most 63 characters, and a dotted quad where the last label is a number, since
// resolvers read such names as addresses in many spellings.
func validName[T text](s T) bool {
	if len(s) > maxHostName {
		return false
	}
	start := 0
	for i := range len(s) {
		switch {
		case s[i] == '.':
			if i == start || i-start > 63 {
				return false
			}
			start = i + 1
		case classes[s[i]]&classHost == 0:
			return false
		}
	}
	last := s[start:]
	if len(last) == 0 || len(last) > 63 {
		return false
	}
	return !isNumber(last) || validIPv4(s)
}

// isNumber is the "ends in a number" rule of the URL standard: decimal, octal and hexadecimal.
func isNumber[T text](label T) bool {
	if hasPrefixFold(label, "0x") {
		return len(label) == 2 || consists(label[2:], classHex)
	}
	for i := range len(label) {
		if !isDigit(label[i]) {
			return false
		}
	}
	return true
}

func validIPv4[T text](s T) bool {
	parts, value, digits := 1, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			parts, value, digits = parts+1, 0, 0
		case !isDigit(c) || digits > 0 && value == 0:
			return false
		default:
			digits++
			if value = value*10 + int(c-'0'); value > 255 {
				return false
			}
		}
	}
	return parts == 4
}
