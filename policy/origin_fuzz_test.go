package policy

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// parseOriginByURL is the naive second parser: net/url does the work, and what is more than an origin is an error.
func parseOriginByURL(text string) (scheme, host string, port int, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", 0, err
	}
	if u.Opaque != "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Hostname() == "" {
		return "", "", 0, errors.New("not only scheme, host and port")
	}
	host = u.Hostname()
	switch u.Scheme {
	case "http":
		port = 80
	case "https":
		port = 443
	case "chrome-extension", "moz-extension", "safari-web-extension":
		return u.Scheme, host, 0, nil
	default:
		return "", "", 0, errors.New("no scheme for an origin")
	}
	if u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
	}
	return u.Scheme, strings.ToLower(host), port, err
}

// sameHost compares by value where both are IP addresses.
func sameHost(a, b string) bool {
	x, y := net.ParseIP(a), net.ParseIP(b)
	return a == b || x != nil && x.Equal(y)
}

// FuzzOrigin states three laws. What both parsers accept they read alike. What ours accepts, the naive one accepts. And an accepted origin,
// rendered again, is read as itself.
func FuzzOrigin(f *testing.F) {
	for _, text := range []string{
		"https://app.example.com", "http://localhost:3000", "https://[0:0:0:0:0:0:0:1]:8443", "https://[::1%25lo]", "https://[::ffff:1.2.3.4]",
		"https://10.0.0.5:0443", "https://u:p@h", "https://h/?#", "https://h:", "https://h.", "https://0x7f.1", "null", "", "file://",
		"chrome-extension://abc", "safari-web-extension://0C1F-2A3B", "HTTPS://H", "https://h, https://i", "https://%41", `https://a\@b`, "https://xn--a_b-.w",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOrigin(text)
		if err != nil {
			return
		}
		scheme, host, port, err := parseOriginByURL(text)
		if err != nil {
			t.Fatalf("%q: read as %+v, and refused by net/url: %v", text, o, err)
		}
		if o.scheme != scheme || !sameHost(o.host, host) || int(o.port) != port {
			t.Fatalf("%q: read as %+v, and as %q %q %d by net/url", text, o, scheme, host, port)
		}
		if again, err := parseOrigin(o.String()); err != nil || again != o {
			t.Fatalf("%q: rendered as %q, which is read as %+v, %v, want %+v", text, o, again, err, o)
		}
	})
}

// FuzzOriginList states the law of the wildcard by naive string work: a web origin matches if and only if its serialization is the pattern with
// one label without dots in the place of the star.
func FuzzOriginList(f *testing.F) {
	f.Add("https://a.w.example")
	f.Add("https://w.example")
	f.Add("https://A.b.W.example:443")
	f.Add("https://.w.example")
	list := allowList{wild: map[origin]bool{{"https", "w.example", 443}: true}}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOrigin(text)
		if err != nil {
			return
		}
		label, found := strings.CutSuffix(o.String(), ".w.example")
		label, https := strings.CutPrefix(label, "https://")
		want := found && https && label != "" && !strings.Contains(label, ".")
		if got := list.has(o); got != want {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
	})
}
