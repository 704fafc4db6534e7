package main_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TLS alert descriptions (RFC 8446 §6, RFC 7301 §3.2).
const (
	alertHandshakeFailure   = 40
	alertProtocolVersion    = 70
	alertUnrecognizedName   = 112
	alertNoApplicationProto = 120
)

// named is a client configuration for one server name of the gateway.
func (g *rowGate) named(name string) *tls.Config {
	config := g.ClientTLS()
	config.ServerName = name
	return config
}

// TestRowsTLSNames are the rows T-01, T-04 and T-05: server name and Host must name the same policy.
func TestRowsTLSNames(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{certificates: "internal"})
	const app, victim = "app.example.com", "victim.example.com"
	rows := []struct {
		name, sni, host string
		want            int
	}{
		{"T-01/same name", app, app, 101},
		{"T-01/same name with a port", app, app + ":8443", 101},
		{"T-01/same name in other case", app, "APP.example.COM", 101},
		{"T-01/other host of the gateway", victim, app, 421},
		{"T-01/the other way round", app, victim, 421},
		{"T-01/localhost", "localhost", app, 421},
		{"T-01/unknown host", app, "evil.example", 421},
	}
	for _, row := range rows {
		for kind, request := range map[string]*wstest.Request{"upgrade": hs("/ws"), "page": wstest.Plain("/page")} {
			t.Run(row.name+" "+kind, func(t *testing.T) {
				before := g.up.Dials()
				c := wstest.DialTLS(t, g.Addr, g.named(row.sni))
				c.Send(request.With("Host", row.host).Bytes())
				resp := c.Head()
				switch {
				case row.want == 421:
					if resp.Status != 421 && !(resp.Status == 404 && row.host == "evil.example") || g.up.Dials() != before {
						t.Errorf("got %q and %d upstream connections, want 421 and none", resp.Line, g.up.Dials()-before)
					}
				case kind == "upgrade" && resp.Status != 101, g.up.Dials() != before+1:
					t.Errorf("got %q and %d upstream connections", resp.Line, g.up.Dials()-before)
				}
			})
		}
	}
	t.Run("T-01/default origin over TLS", func(t *testing.T) {
		c := wstest.DialTLS(t, g.Addr, g.named(victim))
		c.Upgrade(wstest.HS0("/").With("Host", victim+":8443").With("Origin", "https://"+victim+":8443"))
		for _, origin := range []string{"https://" + victim, "http://" + victim + ":8443", "https://" + app} {
			c := wstest.DialTLS(t, g.Addr, g.named(victim))
			c.Send(wstest.HS0("/").With("Host", victim+":8443").With("Origin", origin).Bytes())
			if resp := c.Response(); resp.Status != 403 {
				t.Errorf("origin %s: %q, want 403", origin, resp.Line)
			}
		}
	})
	t.Run("T-01/X-Forwarded-Proto upstream", func(t *testing.T) {
		c := wstest.DialTLS(t, g.Addr, g.named(app))
		c.Upgrade(hs("/ws/proto").Add("X-Forwarded-Proto: http"))
		if got := g.up.Wait("/ws/proto").Values("X-Forwarded-Proto"); !slices.Equal(got, []string{"https"}) {
			t.Errorf("X-Forwarded-Proto %q", got)
		}
	})
}

// TestRowsTLSHello goes on with the ClientHello: names that it must not have, and how it is cut.
func TestRowsTLSHello(t *testing.T) {
	t.Parallel()
	g := startRows(t, rowSetup{certificates: "internal"})
	const app = "app.example.com"
	hello := wstest.ClientHello(t, g.named(app))
	for name, sni := range map[string]string{
		"IPv4 address": "127.0.0.1", "IPv6 address": "::1", "300 bytes": strings.Repeat("a", 63) + strings.Repeat(".a", 118), "unknown": "unknown.example", "parent": "example.com",
		"label before": "x.app.example.com", "longer": "app.example.com.evil.io", "star": "*.example.com", "NUL": "app.example.com\x00", "space": "app.example.com ", "escape": "\x1b[31m", "port": "app.example.com:443",
	} {
		t.Run("T-05/"+name, func(t *testing.T) {
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.SetSNI(t, hello, sni))
			if got := c.Alert(); got != alertUnrecognizedName {
				t.Errorf("alert %d, want %d", got, alertUnrecognizedName)
			}
			c.ExpectEnd(2 * time.Second)
		})
	}
	for name, sni := range map[string]string{"trailing dot": "app.example.com.", "empty": ""} {
		t.Run("T-05/"+name, func(t *testing.T) { // crypto/tls refuses these while it parses, with an alert of its own
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.SetSNI(t, hello, sni))
			if got := c.Alert(); got < 0 {
				t.Error("no alert")
			}
			c.ExpectEnd(2 * time.Second)
		})
	}
	t.Run("T-05/no name", func(t *testing.T) {
		config := g.ClientTLS()
		config.ServerName, config.InsecureSkipVerify = "", true
		c := wstest.Dial(t, g.Addr)
		c.Send(wstest.ClientHello(t, config))
		if got := c.Alert(); got != alertUnrecognizedName {
			t.Errorf("alert %d, want %d", got, alertUnrecognizedName)
		}
	})
	t.Run("T-05/upper case", func(t *testing.T) {
		c := wstest.Dial(t, g.Addr)
		c.Send(wstest.SetSNI(t, hello, "APP.EXAMPLE.COM"))
		if got := c.Alert(); got != -1 && got != alertUnrecognizedName {
			t.Errorf("alert %d, want the server's flight", got)
		}
	})
	t.Run("T-12/200 names that nobody serves", func(t *testing.T) {
		for i := range 200 {
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.SetSNI(t, hello, fmt.Sprintf("h%d.app.example.com", i)))
			if got := c.Alert(); got != alertUnrecognizedName {
				t.Fatalf("alert %d, want %d", got, alertUnrecognizedName)
			}
			c.Close()
		}
	})
	t.Run("T-04/records of one byte", func(t *testing.T) {
		for origin, want := range map[string]int{"https://app.example.com": 101, "https://evil.io": 403} {
			raw, err := net.Dial("tcp", g.Addr)
			if err != nil {
				t.Fatal(err)
			}
			c := wstest.NewClient(t, tls.Client(wstest.SplitHello(raw), g.named(app)))
			c.Send(hs("/ws").With("Origin", origin).Bytes())
			if resp := c.Head(); resp.Status != want {
				t.Errorf("origin %s: %q, want %d", origin, resp.Line, want)
			}
			c.Close()
		}
	})
	t.Run("T-04/segments of one byte", func(t *testing.T) {
		c := wstest.Dial(t, g.Addr)
		c.Chop(wstest.SetSNI(t, hello, "unknown.example"), 1)
		if got := c.Alert(); got != alertUnrecognizedName {
			t.Errorf("alert %d, want %d", got, alertUnrecognizedName)
		}
	})
}

// TestRowsTLSVersions are the rows T-08 and T-14.
func TestRowsTLSVersions(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{certificates: "internal"})
	with := func(edit func(c *tls.Config)) *tls.Config {
		c := g.named("app.example.com")
		edit(c)
		return c
	}
	version := func(v uint16) *tls.Config {
		return with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v })
	}
	suites := func(ids ...uint16) *tls.Config {
		return with(func(c *tls.Config) {
			c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS12, tls.VersionTLS12, ids
		})
	}
	curve := func(id tls.CurveID) *tls.Config {
		return with(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{id} })
	}
	alpn := func(protos ...string) *tls.Config {
		return with(func(c *tls.Config) { c.NextProtos = protos })
	}
	refused := []struct {
		name   string
		config *tls.Config
		alert  int
	}{
		{"T-08/TLS 1.0", version(tls.VersionTLS10), alertProtocolVersion},
		{"T-08/TLS 1.1", version(tls.VersionTLS11), alertProtocolVersion},
		{"T-08/RC4", suites(tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), alertHandshakeFailure},
		{"T-08/3DES", suites(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), alertHandshakeFailure},
		{"T-08/CBC", suites(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA), alertHandshakeFailure},
		{"T-08/AEAD without forward secrecy", suites(tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384), alertHandshakeFailure},
		{"T-08/P-521 alone", curve(tls.CurveP521), alertHandshakeFailure},
		{"T-08/P-384 alone", curve(tls.CurveP384), alertHandshakeFailure},
		{"T-08/no ALPN overlap", alpn("spdy/3"), alertNoApplicationProto},
		{"T-08/h2 where only h1 is served", alpn("h2"), alertNoApplicationProto},
		{"T-08/ALPN with control bytes", alpn("\x1b[31mred\r\n\x00"), alertNoApplicationProto},
		{"T-08/ALPN of 255 bytes", alpn(strings.Repeat("a", 255)), alertNoApplicationProto},
		{"T-14/ALPN acme-tls/1", alpn("acme-tls/1"), alertNoApplicationProto},
	}
	for _, row := range refused {
		run(row.name, func(t *testing.T) {
			c := wstest.Dial(t, g.Addr)
			c.Send(wstest.ClientHello(t, row.config))
			if got := c.Alert(); got != row.alert {
				t.Errorf("alert %d, want %d", got, row.alert)
			}
			c.ExpectEnd(2 * time.Second)
		})
	}
	for name, config := range map[string]*tls.Config{
		"TLS 1.2": version(tls.VersionTLS12), "TLS 1.3": version(tls.VersionTLS13), "X25519": curve(tls.X25519), "P-256": curve(tls.CurveP256), "X25519MLKEM768": curve(tls.X25519MLKEM768),
		"ALPN http/1.1": alpn("http/1.1"), "ALPN h2 and http/1.1": alpn("h2", "http/1.1"), "no ALPN": alpn(),
	} {
		run("T-08/accepted "+name, func(t *testing.T) {
			c := wstest.DialTLS(t, g.Addr, config)
			c.Upgrade(hs(rowPath(t)))
			c.Send(wstest.ClientFrame(0x81, []byte("served")))
			c.ExpectFrame(0x81, []byte("served"))
		})
	}
}

// TestRowsTLSPorts is row T-14: another protocol than the port speaks.
func TestRowsTLSPorts(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{certificates: "internal"})
	plain := startRows(t, rowSetup{})
	hello := wstest.ClientHello(t, g.named("app.example.com"))
	for name, row := range map[string]struct {
		gate *rowGate
		sent []byte
	}{
		"handshake in plain text to the TLS port": {g, get().Bytes()},
		"page in plain text to the TLS port":      {g, wstest.Plain("/page").Bytes()},
		"h2 preface to the TLS port":              {g, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		"frames to the TLS port":                  {g, wstest.ClientFrame(0x81, []byte("x"))},
		"SSLv2 hello to the TLS port":             {g, wstest.Hex("802e 01 0002 0015 0000 0010 010080 020080 030080 040080 050080 060040 0700c0 00000000000000000000000000000000")},
		"zeros to the TLS port":                   {g, make([]byte, 4096)},
		"a record of 17 KiB to the TLS port":      {g, append(wstest.Hex("16 0301 4400"), make([]byte, 0x4400)...)},
		"an alert to the TLS port":                {g, wstest.Hex("15 0301 0002 0228")},
		"application data to the TLS port":        {g, wstest.Hex("17 0303 0001 00")},
		"ClientHello to the plain port":           {plain, hello},
		"zeros to the plain port":                 {plain, make([]byte, 4096)},
		"SSH to the plain port":                   {plain, []byte("SSH-2.0-OpenSSH_9.9\r\n\r\n")},
	} {
		run("T-14/"+name, func(t *testing.T) {
			before := row.gate.up.Dials()
			c := wstest.Dial(t, row.gate.Addr)
			c.Send(row.sent)
			rest := c.ExpectEnd(5 * time.Second)
			if bytes.HasPrefix(rest, []byte("HTTP/")) && !bytes.HasPrefix(rest, []byte("HTTP/1.1 400")) && !bytes.HasPrefix(rest, []byte("HTTP/1.0 400")) && !bytes.HasPrefix(rest, []byte("HTTP/1.1 505")) {
				t.Errorf("got %.100q, want 400 or the end", rest)
			}
			if row.gate == plain && row.gate.up.Dials() != before {
				t.Errorf("an upstream was dialled")
			}
		})
	}
}
