package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// OriginConfig says which web pages may connect. It is what stands between a session cookie and every other page that the user has open: a
// browser sends cookies with the opening handshake of any page, and tells the page's origin in a header that the page cannot change.
type OriginConfig struct {
	Allow                []string `yaml:"allow" doc:"The origins that may connect, each as SCHEME://HOST[:PORT] and compared whole. https://*.example.com stands for every name with exactly one label before .example.com. Without any: the request's own scheme, host and port."`
	Absent               string   `yaml:"absent" enum:"allow,deny" doc:"What happens to a request without an Origin header, which no browser sends. Default: it is allowed unless it carries a cookie."`
	DangerouslyAllowHTTP bool     `yaml:"dangerously_allow_http" doc:"Lets allow list http origins of hosts other than localhost, 127.0.0.1 and [::1]. Whoever is on the network path can put a script into such a page, and so connect as its user."`
}

// What the client is told.
const (
	reasonOriginMissing   = "origin required"
	reasonOriginMalformed = "origin malformed"
	reasonOriginRefused   = "origin not allowed"
)

// origin is a parsed origin (RFC 6454, section 4). Two origins are the same if they are equal.
type origin struct {
	scheme string
	host   string // lower case, IPv6 in its canonical form without brackets; of a browser extension its identifier as it came
	port   uint16 // 0 for a browser extension
}

// Why a text is no origin: each continues `origin "..." `. They are constants, since the text may come from a client.
var (
	errOriginScheme    = errors.New("has no scheme that is allowed, want https:// (or http://, chrome-extension://, moz-extension://, safari-web-extension://)")
	errOriginUserinfo  = errors.New("has a user name or password, want only scheme, host and port")
	errOriginPath      = errors.New("has a path, want only scheme, host and port, and no final slash")
	errOriginQuery     = errors.New("has a query or fragment, want only scheme, host and port")
	errOriginHost      = errors.New("has no valid host, want a DNS name in ASCII, an IPv4 address or an IPv6 address in brackets without a zone")
	errOriginPort      = errors.New("has no valid port after the colon, want 1 to 65535 without leading zeros, or no colon")
	errOriginExtension = errors.New("has no valid extension identifier, want letters, digits and hyphens")
)

// parseOrigin reads one serialized origin. It accepts what browsers send, and less than URL parsers do: whatever another parser might read in
// two ways is no origin. Of an http or https origin only the host's case, the form of an IPv6 address and a default port are normalised.
func parseOrigin(text string) (origin, error) {
	scheme, authority, ok := strings.Cut(text, "://")
	if !ok {
		return origin{}, errOriginScheme
	}
	switch scheme {
	case "http":
		return parseWebOrigin(scheme, authority, 80)
	case "https":
		return parseWebOrigin(scheme, authority, 443)
	case "chrome-extension", "moz-extension", "safari-web-extension":
		if authority == "" || len(authority) > 64 || !isASCIIOf(authority, isIdentifier) {
			return origin{}, errOriginExtension
		}
		return origin{scheme: scheme, host: authority}, nil
	}
	return origin{}, errOriginScheme
}

func parseWebOrigin(scheme, authority string, port uint16) (origin, error) {
	switch i := strings.IndexAny(authority, "/?#"); {
	case strings.Contains(authority, "@"):
		return origin{}, errOriginUserinfo
	case i < 0:
	case authority[i] == '/':
		return origin{}, errOriginPath
	default:
		return origin{}, errOriginQuery
	}
	hostText, portText, hasPort := cutPort(authority)
	if hasPort {
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != portText {
			return origin{}, errOriginPort
		}
		port = uint16(n)
	}
	host, ok := parseOriginHost(hostText)
	if !ok {
		return origin{}, errOriginHost
	}
	return origin{scheme, host, port}, nil
}

// cutPort cuts an authority at the colon before its port: the first one after the brackets of an IPv6 address.
func cutPort(authority string) (host, port string, hasPort bool) {
	end := strings.LastIndexByte(authority, ']') + 1
	port, hasPort = "", false
	if i := strings.IndexByte(authority[end:], ':'); i >= 0 {
		return authority[:end+i], authority[end+i+1:], true
	}
	return authority, "", false
}

// parseOriginHost returns the one form in which hosts are compared.
func parseOriginHost(text string) (string, bool) {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		a, err := netip.ParseAddr(text[1 : len(text)-1])
		return a.String(), err == nil && a.Is6() && a.Zone() == ""
	}
	// No top-level domain begins with a digit; a host that ends like that is an IPv4 address in one form or another (127.1, 0x7f000001), and
	// browsers send only the usual one.
	if last := text[strings.LastIndexByte(text, '.')+1:]; last != "" && isDigit(last[0]) {
		a, err := netip.ParseAddr(text)
		return text, err == nil && a.Is4()
	}
	if len(text) > 253 || !isASCIIOf(text, isNameByte) {
		return "", false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
	}
	return strings.ToLower(text), true
}

func isASCIIOf(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool      { return '0' <= c && c <= '9' }
func isIdentifier(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' }
func isNameByte(c byte) bool   { return isIdentifier(c) || c == '.' || c == '_' }

// String gives the serialized form, which parseOrigin reads as the same origin.
func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.port == 0 || o.port == 80 && o.scheme == "http" || o.port == 443 && o.scheme == "https" {
		return o.scheme + "://" + host
	}
	return o.scheme + "://" + host + ":" + strconv.Itoa(int(o.port))
}

// allowList is a compiled list of origins. A wildcard origin stands in wild under its host without the left label.
type allowList struct {
	exact, wild map[origin]bool
}

func (l allowList) has(o origin) bool {
	if l.exact[o] {
		return true
	}
	_, o.host, _ = strings.Cut(o.host, ".")
	return l.wild[o]
}

// compileOrigin makes the check of one policy.
func compileOrigin(_ place, c *Config, report Report) []rule {
	if c.Origin == nil {
		return nil
	}
	absent := compileAbsent(c.Origin.Absent, report)
	if len(c.Origin.Allow) == 0 {
		return []rule{{judge: judgeOrigin(absent, isOwnOrigin)}}
	}
	list := allowList{exact: make(map[origin]bool), wild: make(map[origin]bool)}
	for i, text := range c.Origin.Allow {
		o, wild, err := parsePattern(text)
		if err == nil && o.scheme == "http" && !isLocal(o.host) && !c.Origin.DangerouslyAllowHTTP {
			err = errors.New("is open to whoever is on the network path, want https (or dangerously_allow_http: true beside allow)")
		}
		switch {
		case err != nil:
			// The error is constant text: only what the file says is an argument, which the reporter may have to hide.
			report(indexed("origin.allow", i), "origin %q "+err.Error(), redactOrigin(text))
		case wild:
			list.wild[o] = true
		default:
			list.exact[o] = true
		}
	}
	return []rule{{judge: judgeOrigin(absent, func(o origin, _ *Request) bool { return list.has(o) })}}
}

// compileAbsent returns what decides on a request without an Origin header.
func compileAbsent(absent string, report Report) func(*Request) bool {
	switch absent {
	case "":
	case "allow":
		return func(*Request) bool { return true }
	case "deny":
		return func(*Request) bool { return false }
	default:
		report("origin.absent", "absent is %q, want allow or deny", absent)
	}
	return withoutCookie
}

// withoutCookie is the default for requests without an Origin header: only what acts for a user by a cookie can be abused by another page.
func withoutCookie(r *Request) bool { return !r.HasCookie }

// sameOrigin is the check of a route that has no origin rule.
func sameOrigin(ctx context.Context, a *Admission) *Refusal {
	return judgeOrigin(withoutCookie, isOwnOrigin)(ctx, a)
}

func judgeOrigin(absent func(*Request) bool, allowed func(origin, *Request) bool) judge {
	return func(_ context.Context, a *Admission) *Refusal {
		if !a.HasOrigin {
			if absent(a.Request) {
				return nil
			}
			return forbidden(reasonOriginMissing)
		}
		o, err := parseOrigin(a.Origin)
		if err != nil {
			return forbidden(reasonOriginMalformed)
		}
		if !allowed(o, a.Request) {
			return forbidden(reasonOriginRefused)
		}
		return nil
	}
}

// isOwnOrigin says whether o is the origin of pages from the address that the request itself went to.
func isOwnOrigin(o origin, r *Request) bool {
	scheme := "http"
	if r.Secure {
		scheme = "https"
	}
	authority := r.Host
	if strings.Contains(r.Host, ":") && !strings.HasPrefix(r.Host, "[") {
		authority = "[" + r.Host + "]"
	}
	if r.Port != "" {
		authority += ":" + r.Port
	}
	own, err := parseOrigin(scheme + "://" + authority)
	return err == nil && own == o
}

// parsePattern reads one entry of allow: an origin, or one whose left label is a wildcard. Its errors too are constant text.
func parsePattern(text string) (o origin, wild bool, err error) {
	switch {
	case text == "":
		return origin{}, false, errors.New("is empty, want an origin such as https://app.example.com")
	case text == "*":
		return origin{}, false, errors.New("would let every web page connect as its user, want the origins of your own pages")
	case text == "null":
		return origin{}, false, errors.New("is that of every sandboxed page, want the origins of your own pages")
	case strings.HasPrefix(text, "ws://") || strings.HasPrefix(text, "wss://"):
		return origin{}, false, errors.New("is a server's address, want the origin of the page, such as https://app.example.com")
	case !strings.Contains(text, "*"):
		o, err = parseOrigin(text)
		return o, false, err
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return origin{}, false, errOriginScheme
	}
	base, whole := strings.CutPrefix(rest, "*.")
	if !whole || strings.Contains(base, "*") {
		return origin{}, false, errors.New("has a wildcard in another place than its whole left label, want a form such as https://*.example.com")
	}
	if scheme != "http" && scheme != "https" {
		return origin{}, false, errors.New("has a wildcard under a scheme without domain names, want the whole identifier")
	}
	if o, err = parseOrigin(scheme + "://" + base); err != nil {
		return origin{}, false, err
	}
	return o, true, checkWildcardBase(o.host)
}

// checkWildcardBase refuses a wildcard under which strangers can have names of their own. Besides a host that is a public suffix itself, that is
// one all of whose children are (kawasaki.jp by the rule *.kawasaki.jp): no real label is the one that is tried here.
func checkWildcardBase(host string) error {
	if net.ParseIP(host) != nil {
		return errors.New("has a wildcard before an IP address, want the whole address")
	}
	for _, name := range []string{host, "framegate--any." + host} {
		if suffix, _ := publicsuffix.PublicSuffix(name); suffix == name {
			return errors.New("has a wildcard on a public suffix, under which anybody can have a name, want a domain of your own")
		}
	}
	return nil
}

// isLocal says whether a page from host comes over no network.
func isLocal(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// redactOrigin hides what may be a password or a token in an entry that is about to be quoted in an error.
func redactOrigin(text string) string {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = "***" + text[at:]
	}
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i+1] + "***"
	}
	return text
}
