package upstream

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/framegate/framegate/proxy/upstream/discovery"
)

// maxUnixPath is the room for a path in sockaddr_un on Linux (108 bytes with the final zero).
const maxUnixPath = 107

// target is a server URL after parsing.
type target struct {
	network string // "tcp" or "unix"
	address string // host:port, or the socket's path
	host    string // lower case, IPv6 without brackets; empty for a Unix socket; what a certificate is for
	secure  bool   // TLS

	find discovery.Name // what is looked up for the addresses of servers; no Host for a server of its own
}

// String gives the form for logs: host:port, unix:/path, or the name of a service.
func (t target) String() string {
	if t.network == "unix" {
		return "unix:" + t.address
	}
	return t.address
}

// parseTarget reads a server URL. It is stricter than net/url, because whatever is ignored in such a URL (a path, a password) was meant to do
// something. What it finds continues the sentence `server "..." `.
func parseTarget(text string) (target, *flaw) {
	if text == "" {
		return target{}, flawf(`is empty, want a URL such as "ws://10.0.0.11:9000"`)
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f {
			return target{}, flawf("has the byte 0x%02x at offset %d, want printable ASCII without spaces (write other names in their xn-- form)", c, i)
		}
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if scheme == "unix" && ok {
		return parseUnix(rest)
	}
	authority, slashes := strings.CutPrefix(rest, "//")
	if !slashes {
		return target{}, flawf(`has no scheme, want "ws://HOST:PORT", "wss://HOST:PORT" or "unix:///PATH"`)
	}
	switch scheme {
	case "ws":
		return parseAuthority(authority, false)
	case "wss":
		return parseAuthority(authority, true)
	case "dns+ws", "dns+wss":
		return parseFound(authority, scheme == "dns+wss")
	case "srv+ws", "srv+wss":
		return parseService(authority, scheme == "srv+wss")
	case "http", "https":
		return target{}, flawf("has the scheme %q, want %q (plain HTTP requests go to the same address)", scheme, strings.Replace(scheme, "http", "ws", 1))
	default:
		return target{}, flawf("has the scheme %q, want ws, wss, unix, dns+ws, dns+wss, srv+ws or srv+wss", scheme)
	}
}

// parseUnix reads what follows "unix:", with or without an empty authority ("unix:/run/app.sock", "unix:///run/app.sock").
func parseUnix(rest string) (target, *flaw) {
	p := rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		p = after
	}
	switch {
	case !strings.HasPrefix(p, "/"):
		return target{}, flawf(`has no absolute path, want "unix:///run/app.sock"`)
	case strings.ContainsAny(p, "?#%"):
		return target{}, flawf("has a query, a fragment or an escape, want a plain path")
	case path.Clean(p) != p || p == "/":
		return target{}, flawf(`does not name a file by its shortest path, want one such as "unix:///run/app.sock"`)
	case len(p) > maxUnixPath:
		return target{}, flawf("has a path of %d bytes, want at most %d", len(p), maxUnixPath)
	}
	return target{network: "unix", address: p}, nil
}

// parseAuthority reads what follows "ws://" and "wss://".
func parseAuthority(authority string, secure bool) (target, *flaw) {
	switch i := strings.IndexAny(authority, "/?#\\@"); {
	case strings.Contains(authority, "@"):
		return target{}, flawf("has a user name or password, want none (the gateway sends no credentials of its own)")
	case i < 0:
	case authority[i] == '/':
		return target{}, flawf("has a path, want only host and port (the path of each request is kept)")
	case authority[i] == '?':
		return target{}, flawf("has a query, want only host and port")
	case authority[i] == '#':
		return target{}, flawf("has a fragment, want only host and port")
	default:
		return target{}, flawf("has a backslash, want only host and port")
	}
	hostText, portText, hasPort, bad := splitHostPort(authority)
	if bad != nil {
		return target{}, bad
	}
	host, bad := parseHost(hostText)
	if bad != nil {
		return target{}, bad
	}
	port := "80"
	if secure {
		port = "443"
	}
	if hasPort {
		if port, bad = parsePort(portText); bad != nil {
			return target{}, bad
		}
	}
	return target{network: "tcp", address: net.JoinHostPort(host, port), host: host, secure: secure}, nil
}

// parseFound reads what follows "dns+ws://" and "dns+wss://": a name whose every address is a server.
func parseFound(authority string, secure bool) (target, *flaw) {
	t, bad := parseAuthority(authority, secure)
	if bad != nil {
		return target{}, bad
	}
	if _, err := netip.ParseAddr(t.host); err == nil {
		return target{}, flawf("has an address that nothing needs to find, want it without dns+")
	}
	_, portText, _ := net.SplitHostPort(t.address)
	port, _ := strconv.ParseUint(portText, 10, 16) // of parseAuthority
	t.find = discovery.Name{Host: t.host, Port: uint16(port)}
	return t, nil
}

// parseService reads what follows "srv+ws://" and "srv+wss://": the name of SRV records (RFC 2782), such as _ws._tcp.example.com. A certificate
// must be for the domain, example.com here: where the records lead, an attacker may say.
func parseService(authority string, secure bool) (target, *flaw) {
	t, bad := parseAuthority(authority, secure)
	if bad != nil {
		return target{}, bad
	}
	labels := strings.SplitN(t.host, ".", 3)
	switch {
	case len(labels) < 3 || len(labels[0]) < 2 || len(labels[1]) < 2 || labels[0][0] != '_' || labels[1][0] != '_' || labels[2] == "":
		return target{}, flawf(`has the host %q, want the name of a service such as "_ws._tcp.example.com"`, t.host)
	case strings.Contains(authority, ":"):
		return target{}, flawf("has a port, want none (SRV records tell the ports)")
	}
	t.find = discovery.Name{Host: t.host, Service: true}
	t.address, t.host = t.host, labels[2]
	return t, nil
}

// authority is the Host of requests of the gateway's own to a server.
func (t target) authority() string {
	if t.network == "unix" {
		return "localhost"
	}
	host := t.serverName()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	_, port, _ := net.SplitHostPort(t.address)
	if t.secure && port == "443" || !t.secure && port == "80" {
		return host
	}
	return host + ":" + port
}

// at is the server at an address that was found for t.
func (t target) at(a netip.AddrPort) target {
	t.address, t.find = a.String(), discovery.Name{}
	return t
}

// splitHostPort cuts an authority at its port. An IPv6 host keeps its brackets.
func splitHostPort(authority string) (host, port string, hasPort bool, bad *flaw) {
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", false, flawf(`has "[" without "]", want an IPv6 address such as "[fd00::11]:9000"`)
		}
		host, rest := authority[:end+1], authority[end+1:]
		if rest == "" {
			return host, "", false, nil
		}
		port, hasPort := strings.CutPrefix(rest, ":")
		if !hasPort {
			return "", "", false, flawf(`has %q after "]", want a port such as ":9000"`, rest)
		}
		return host, port, true, nil
	}
	if strings.Count(authority, ":") > 1 {
		return "", "", false, flawf(`has more than one colon, want an IPv6 address in brackets such as "[fd00::11]:9000"`)
	}
	host, port, hasPort = strings.Cut(authority, ":")
	return host, port, hasPort, nil
}

// parsePort accepts 1 to 65535 in the one way to write it.
func parsePort(text string) (string, *flaw) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return "", flawf("has the port %q, want 1 to 65535 without leading zeros", text)
	}
	return text, nil
}

// parseHost accepts an IPv4 address of four decimal parts, an IPv6 address in brackets, or a DNS name, and returns the one way to write it.
func parseHost(text string) (string, *flaw) {
	if text == "" {
		return "", flawf("has no host")
	}
	if strings.HasPrefix(text, "[") {
		return parseIPv6(text[1 : len(text)-1])
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return a.String(), nil
	}
	name := strings.ToLower(text)
	if endsInNumber(name) {
		return "", flawf("has the host %q, which resolvers may read as a number, want an IPv4 address of four decimal parts such as 10.0.0.11", text)
	}
	return name, checkName(name)
}

func parseIPv6(text string) (string, *flaw) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || !a.Is6():
		return "", flawf("has %q in brackets, want an IPv6 address", text)
	case a.Zone() != "":
		return "", flawf("has the zone %q, want an address without a zone", a.Zone())
	case a.Is4In6():
		return "", flawf("has an IPv4 address written as IPv6, want %q", a.Unmap())
	}
	return a.String(), nil
}

// endsInNumber is the "ends in a number" test of the WHATWG URL standard: what passes it is an IPv4 address to some resolvers (2130706433,
// 0x7f.1, 127.1), so a name must not.
func endsInNumber(name string) bool {
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkName checks a lower-case DNS name. One dot may follow it (a name that no search domain applies to), and underscores are fine, since
// container platforms make such names.
func checkName(name string) *flaw {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		switch {
		case label == "" || len(label) > 63:
			return flawf("has the host %q, want labels of 1 to 63 bytes between the dots", name)
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return flawf("has the host %q, want letters, digits, hyphens and dots", name)
		case label[0] == '-' || label[len(label)-1] == '-':
			return flawf("has the host %q, want no label that begins or ends with a hyphen", name)
		}
	}
	if len(name) > 254 {
		return flawf("has a host of %d bytes, want at most 253", len(name))
	}
	return nil
}

// redact hides what may be a password or a token in a server URL that is about to be quoted in an error. A password may hold any of "/?#", so
// everything before the last "@" goes.
func redact(text string) string {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		start := 0
		if i := strings.Index(text, "//"); i >= 0 && i < at {
			start = i + 2
		}
		text = text[:start] + "***" + text[at:]
	}
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i+1] + "***"
	}
	return text
}
