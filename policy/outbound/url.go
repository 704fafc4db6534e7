// Package outbound is how policies send HTTP requests of their own: to which URLs, over which connections, trusting whom.
//
// The URLs are the operator's, the names in them are the DNS's. So whoever asks for a URL also says how far plain http may reach, and that is
// held against the address of each connection, not against the name.
package outbound

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Report receives one configuration mistake and the path of the value that holds it.
type Report = func(path, format string, args ...any)

// CheckURL reads the URL of a service at path and reports what is wrong with it; then it returns nil. It accepts https, and http as far as plain
// reaches. It is stricter than net/url, because whatever is ignored in a URL was meant to do something. A URL with a password is not quoted.
func CheckURL(text string, plain Reach, path string, report Report) *url.URL {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f {
			report(path, "URL has the byte 0x%02x at offset %d, want printable ASCII without spaces", c, i)
			return nil
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		report(path, "value is not a URL, want one such as https://id.example.com/path") // which url.Error would quote, password and all
	case u.User != nil:
		report(path, "URL has a user name or password, want none")
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "":
		report(path, "URL %q has no scheme that is allowed, want https://HOST/PATH", text)
	case u.Fragment != "" || strings.Contains(text, "#"):
		report(path, "URL %q has a fragment, want none", text)
	case u.Hostname() == "" || !validPort(u):
		report(path, "URL %q has no valid host and port, want https://HOST[:PORT]/PATH", text)
	case u.Scheme == "http" && !plain.allowsHost(u.Hostname()):
		report(path, "URL %q is plain http, which whoever is on the way reads and changes, want https%s", text, plain.but())
	default:
		return u
	}
	return nil
}

// validPort accepts no port, or 1 to 65535 in the one way to write it.
func validPort(u *url.URL) bool {
	text := u.Port()
	if text == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

// A Reach is how far requests over plain http may go.
type Reach int

// The zero Reach is the strictest.
const (
	Nowhere  Reach = iota // no plain http
	Loopback              // the gateway's own host: 127.0.0.0/8, ::1 and localhost
	Private               // loopback and private networks (RFC 1918, RFC 4193)
	Anywhere
)

// allows judges the address of a connection.
func (r Reach) allows(a netip.Addr) bool {
	a = a.Unmap()
	switch r {
	case Loopback:
		return a.IsLoopback()
	case Private:
		return a.IsLoopback() || a.IsPrivate()
	}
	return r == Anywhere
}

// allowsHost judges the host of a URL, as far as that can be done before its addresses are known.
func (r Reach) allowsHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return r.allows(a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return r >= Private || r == Loopback && (name == "localhost" || strings.HasSuffix(name, ".localhost"))
}

// but continues a sentence that wants https.
func (r Reach) but() string {
	switch r {
	case Loopback:
		return " (or a loopback address)"
	case Private:
		return " (or a loopback or private address)"
	}
	return ""
}
