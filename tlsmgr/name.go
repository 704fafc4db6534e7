package tlsmgr

import (
	"fmt"
	"net/netip"
	"strings"
)

// canonicalName gives the one form in which DNS names are compared: lower case, without the root's trailing dot. ok is false for what no
// certificate of ours may answer to: an empty name, an IP address, a label that is empty or over 63 bytes or holds other bytes than letters,
// digits, hyphen and underscore, and a name over 253 bytes (RFC 1035 §2.3.4, RFC 6066 §3).
func canonicalName(name string) (canonical string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	label := ""
	for label = range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return "", false
		}
	}
	// No top-level domain is a number: such a name is an IPv4 address in one of its spellings.
	if strings.Trim(label, "0123456789") == "" {
		return "", false
	}
	return strings.ToLower(name), true
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// canonicalPattern is canonicalName for a name that may start with the label "*": parent is then what follows it, else exact is the name.
func canonicalPattern(pattern string) (exact, parent string, ok bool) {
	if rest, found := strings.CutPrefix(pattern, "*."); found {
		parent, ok = canonicalName(rest)
		return "", parent, ok
	}
	exact, ok = canonicalName(pattern)
	return exact, "", ok
}

// hostSet is the set of hosts that the routes of a listener name. It is not changed after newHostSet.
type hostSet struct {
	exact   map[string]bool
	parents map[string]bool // of the wildcards: "example.com" for "*.example.com"
}

// newHostSet makes the set of hosts, which are names or wildcards such as "*.example.com". IP addresses are left out and returned as
// skipped: TLS clients send no server name for them (RFC 6066 §3).
func newHostSet(hosts []string) (set hostSet, skipped []string, err error) {
	set = hostSet{exact: make(map[string]bool), parents: make(map[string]bool)}
	for _, host := range hosts {
		exact, parent, ok := canonicalPattern(host)
		switch {
		case ok && parent != "":
			set.parents[parent] = true
		case ok:
			set.exact[exact] = true
		case isIP(host):
			skipped = append(skipped, host)
		default:
			return hostSet{}, nil, fmt.Errorf("host %q: wanted a DNS name in ASCII such as chat.example.com or *.example.com", host)
		}
	}
	return set, skipped, nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// has tells whether the canonical name is in the set. A wildcard stands for one or more whole labels, as in the hosts of a route.
func (s hostSet) has(name string) bool {
	if s.exact[name] {
		return true
	}
	for {
		_, parent, found := strings.Cut(name, ".")
		if !found {
			return false
		}
		if s.parents[parent] {
			return true
		}
		name = parent
	}
}
