package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// requestFrom is a request that came from an address to a listener with the given proxies.
func requestFrom(from string, trusted []string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://app.example.com/", nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	l := new(listener)
	c := &peer{client: netip.MustParseAddrPort(from), listener: l}
	st := &site{doors: map[*listener]*door{l: {trusted: compileNetworks(trusted, "", ignore)}}}
	return withHop(st, r.WithContext(context.WithValue(r.Context(), connKey{}, c)))
}

// Who the client is comes from trusted proxies alone, read from the right.
func TestHop(t *testing.T) {
	t.Parallel()
	trusted := []string{"10.0.0.0/8", "2001:db8:f::/48"}
	for _, row := range []struct {
		name, peer, fields string // fields separated by |
		client, forwarded  string
		secure             bool
	}{
		{"no proxy", "192.0.2.1:4000", "", "192.0.2.1:4000", "192.0.2.1", false},
		{"a client that claims", "192.0.2.1:4000", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https", "192.0.2.1:4000", "192.0.2.1", false},
		{"a proxy", "10.0.0.1:4000", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https", "203.0.113.9", "203.0.113.9, 10.0.0.1", true},
		{"a proxy that says nothing", "10.0.0.1:4000", "", "10.0.0.1:4000", "10.0.0.1", false},
		{"a client's claim before the proxy's word", "10.0.0.1:4000", "X-Forwarded-For: 10.9.9.9, 6.6.6.6, 203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1", false},
		{"two proxies", "10.0.0.1:4000", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9", "203.0.113.9, 10.0.0.2, 10.0.0.1", false},
		{"two fields", "10.0.0.1:4000", "X-Forwarded-For: 6.6.6.6|X-Forwarded-For: 203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1", false},
		{"IPv6, with brackets and port", "[2001:db8:f::1]:4000", "X-Forwarded-For: [2001:db8::9]:555", "2001:db8::9", "2001:db8::9, 2001:db8:f::1", false},
		{"IPv4 in IPv6", "10.0.0.1:4000", "X-Forwarded-For: ::ffff:203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1", false},
		{"no address", "10.0.0.1:4000", "X-Forwarded-For: 203.0.113.9, unknown", "10.0.0.1:4000", "10.0.0.1", false},
		{"a zone", "10.0.0.1:4000", "X-Forwarded-For: fe80::1%eth0", "10.0.0.1:4000", "10.0.0.1", false},
		{"an inner proxy that says no address", "10.0.0.1:4000", "X-Forwarded-For: x, 10.0.0.2", "10.0.0.2", "10.0.0.2, 10.0.0.1", false},
		{"several protos", "10.0.0.1:4000", "X-Forwarded-For: 203.0.113.9|X-Forwarded-Proto: https, http", "203.0.113.9", "203.0.113.9, 10.0.0.1", false},
		{"wss", "10.0.0.1:4000", "X-Forwarded-Proto: WSS", "10.0.0.1:4000", "10.0.0.1", true},
	} {
		r := requestFrom(row.peer, trusted, strings.Split(row.fields, "|")...)
		h, fwd := hopOf(r), forwarded(r)
		if got := addressText(h.client); got != row.client || h.secure != row.secure || fwd.For != row.forwarded {
			t.Errorf("%s: client %s, secure %t, for %q, want %s, %t, %q", row.name, got, h.secure, fwd.For, row.client, row.secure, row.forwarded)
		}
	}
}

// However long the list is, a bounded part of it is looked at.
func TestHopIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("10.0.0.1, ", 1000) + "10.0.0.2"
	if h := hopOf(requestFrom("10.0.0.1:4000", []string{"10.0.0.0/8"}, "X-Forwarded-For: "+long)); len(h.via) != maxHops {
		t.Errorf("%d addresses, want %d", len(h.via), maxHops)
	}
}

func TestTrustedProxiesRefuse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.1/8":      "has bits behind its prefix, want 10.0.0.0/8",
		"0.0.0.0/0":       "is every address",
		"::/0":            "is every address",
		"localhost":       "is not a network",
		"":                "is not a network",
		"10.0.0.0/33":     "is not a network",
		"::ffff:1.2.3.4":  "is IPv4 in IPv6",
		"fe80::1%eth0/64": "is not a network",
		"fe80::1%eth0":    "is not a network",
	} {
		var got string
		compileNetworks([]string{"10.0.0.0/8", text}, "trusted_proxies", func(path, format string, args ...any) { got = path + ": " + format })
		if !strings.HasPrefix(got, "trusted_proxies[1]: ") || !strings.Contains(strings.ReplaceAll(got, "%s", "10.0.0.0/8"), want) {
			t.Errorf("%q: got %q, want %s", text, got, want)
		}
	}
}

// Behind a proxy that ends TLS, the page's own origin is that of https; the upstream is told the whole way.
func TestTrustedProxyEndToEnd(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	config := strings.Replace(oneRoute("ws://"+up.Addr(), ""), `tls: {certificates: "off"}`, `tls: {certificates: "off"}, trusted_proxies: [127.0.0.1]`, 1)
	g := startGateway(t, config)
	c := wstest.Dial(t, g.addr)
	c.Send(wstest.HS0("/").Add("X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https").Bytes())
	if resp := c.Response(); resp.Status != http.StatusSwitchingProtocols {
		t.Fatalf("got %q", resp.Line)
	}
	u := up.Wait("/")
	if got := u.Value("X-Forwarded-For"); got != "203.0.113.9, 127.0.0.1" || u.Value("X-Forwarded-Proto") != "https" {
		t.Errorf("the upstream is told %q and %q", got, u.Value("X-Forwarded-Proto"))
	}
	c.Close()
	waitFor(t, "the line of the connection", func() bool { return len(g.log.lines(t, "connection")) == 1 })
	if line := g.log.lines(t, "connection")[0]; line["client"] != "203.0.113.9" {
		t.Errorf("the log says %v", line["client"])
	}
}
