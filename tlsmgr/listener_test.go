package tlsmgr

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// localhostListener serves localhost and other.example with one certificate each, serials 1 and 2.
func localhostListener(t *testing.T, useRSA bool) *tls.Config {
	t.Helper()
	m, _ := startManager(t, Config{})
	return filesListener(t, m, nil,
		certSpec{names: []string{"localhost"}, serial: 1, rsa: useRSA}.write(t, t.TempDir()),
		certSpec{names: []string{"other.example"}, serial: 2}.write(t, t.TempDir()))
}

func TestServerConfig(t *testing.T) {
	config := localhostListener(t, false)
	if config.MinVersion != tls.VersionTLS12 || config.MaxVersion != tls.VersionTLS13 {
		t.Errorf("versions %x to %x", config.MinVersion, config.MaxVersion)
	}
	if want := []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}; !slices.Equal(config.CurvePreferences, want) {
		t.Errorf("curves %v", config.CurvePreferences)
	}
	if !slices.Equal(config.NextProtos, []string{"http/1.1"}) {
		t.Errorf("protocols %q", config.NextProtos)
	}
	if !config.DynamicRecordSizingDisabled || config.SessionTicketsDisabled {
		t.Error("dynamic record sizing must be off, tickets on")
	}
	if len(config.Certificates) != 0 || config.GetConfigForClient != nil {
		t.Error("there must be no certificate but those of GetCertificate")
	}
	if len(config.CipherSuites) != 6 {
		t.Errorf("%d suites", len(config.CipherSuites))
	}
	for _, id := range config.CipherSuites {
		if name := tls.CipherSuiteName(id); !strings.HasPrefix(name, "TLS_ECDHE_") || !strings.Contains(name, "GCM") && !strings.Contains(name, "POLY1305") {
			t.Errorf("suite %s", name)
		}
	}
}

func TestProtocols(t *testing.T) {
	m, _ := startManager(t, Config{})
	c := ListenerConfig{Certificates: "files", Files: []FileConfig{certSpec{names: []string{"localhost"}}.write(t, t.TempDir())}}
	config, err := m.Listener(c, nil, "h1")
	check(t, err)
	for _, test := range []struct {
		offered []string
		want    string // negotiated, or part of the error
		refused bool
	}{
		{nil, "", false},
		{[]string{"http/1.1"}, "http/1.1", false},
		{[]string{"h2", "http/1.1"}, "http/1.1", false},
		{[]string{"h2"}, "no application protocol", true},
		{[]string{"acme-tls/1"}, "no application protocol", true},
		{[]string{"http/1.0"}, "no application protocol", true},
	} {
		client := insecure("localhost")
		client.NextProtos = test.offered
		state, _, err := shake(t, config, client)
		switch {
		case test.refused:
			wantError(t, err, test.want)
		case err != nil || state.NegotiatedProtocol != test.want:
			t.Errorf("offered %q: %q, %v", test.offered, state.NegotiatedProtocol, err)
		}
	}
	both, err := m.Listener(c, nil, "h1", "h2")
	check(t, err)
	for _, offered := range [][]string{{"http/1.1", "h2"}, {"h2"}} {
		client := insecure("localhost")
		client.NextProtos = offered
		if state, _, err := shake(t, both, client); err != nil || state.NegotiatedProtocol != "h2" {
			t.Errorf("offered %q to both: %q, %v", offered, state.NegotiatedProtocol, err)
		}
	}
	for _, unknown := range []string{"h9", "http/1.1", ""} {
		_, err := m.Listener(c, nil, "h1", unknown)
		wantError(t, err, fmt.Sprintf("unknown protocol %q, wanted h1, h2 or h3", unknown))
	}
}

func TestVersionsAndSuites(t *testing.T) {
	configs := map[bool]*tls.Config{false: localhostListener(t, false), true: localhostListener(t, true)}
	client := func(min, max uint16, suites ...uint16) *tls.Config {
		c := insecure("localhost")
		c.MinVersion, c.MaxVersion, c.CipherSuites = min, max, suites
		return c
	}
	for _, config := range configs {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			state, _, err := shake(t, config, client(version, version))
			if err != nil || state.Version != version {
				t.Errorf("version %x: %x, %v", version, state.Version, err)
			}
		}
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
			_, _, err := shake(t, config, client(version, version))
			wantError(t, err, "protocol version")
		}
	}
	// Each of the six suites works with its kind of key; all others are refused.
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		config := configs[!strings.Contains(suite.Name, "ECDSA")]
		state, _, err := shake(t, config, client(tls.VersionTLS12, tls.VersionTLS12, suite.ID))
		if slices.Contains(config.CipherSuites, suite.ID) {
			if err != nil || state.CipherSuite != suite.ID {
				t.Errorf("%s: %v", suite.Name, err)
			}
			continue
		}
		wantError(t, err, "handshake failure")
	}
}

func TestCurves(t *testing.T) {
	config := localhostListener(t, false)
	for curve, ok := range map[tls.CurveID]bool{
		tls.X25519MLKEM768: true, tls.X25519: true, tls.CurveP256: true,
		tls.CurveP384: false, tls.CurveP521: false, tls.SecP256r1MLKEM768: false, tls.SecP384r1MLKEM1024: false,
	} {
		client := insecure("localhost")
		client.CurvePreferences = []tls.CurveID{curve}
		client.MinVersion = tls.VersionTLS13
		state, _, err := shake(t, config, client)
		if ok && (err != nil || state.CurveID != curve) {
			t.Errorf("%v: %v, %v", curve, state.CurveID, err)
		}
		if !ok {
			wantError(t, err, "handshake failure")
		}
	}
	state, _, err := shake(t, config, insecure("localhost"))
	if err != nil || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("a client that can do all gets %v, %v, want the post-quantum one", state.CurveID, err)
	}
}

// isAlert tells whether record is that fatal alert and nothing else (RFC 8446 §6).
func isAlert(record []byte, alert byte) bool {
	return len(record) == 7 && record[0] == 21 && bytes.Equal(record[3:], []byte{0, 2, 2, alert})
}

// What no TLS library would send: the bytes of a ClientHello with its server name replaced by another of the same length.
func TestUnknownServerNameOnTheWire(t *testing.T) {
	m, _ := startManager(t, Config{Storage: StorageConfig{File: t.TempDir()}})
	internal, err := m.Listener(ListenerConfig{Certificates: "internal"}, []string{"*.example.com"})
	check(t, err)
	for source, config := range map[string]*tls.Config{"files": localhostListener(t, false), "internal": internal} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, test := range []struct {
				name  string
				alert byte
			}{
				{"unknown", 112},
				{"127.0.0.1", 112},
				{"127.1", 112},
				{"::1", 112},
				{"[::1]", 112},
				{"*.example.com", 112},
				{"localhost\x00", 112},
				{"localhost ", 112},
				{"..example.com", 112},
				{strings.Repeat("x", 300), 112},
				{strings.Repeat("x.", 150) + "example.com", 112},
				{"localhost.", 50}, // crypto/tls: no valid server_name extension (RFC 6066 §3), decode_error
			} {
				t.Run(fmt.Sprintf("%s/%x/%.20q", source, version, test.name), func(t *testing.T) {
					placeholder := strings.Repeat("y", len(test.name))
					client := insecure(placeholder)
					client.MinVersion, client.MaxVersion = version, version
					hello := clientHello(t, client)
					forged := bytes.Replace(hello, []byte(placeholder), []byte(test.name), 1)
					if bytes.Equal(hello, forged) {
						t.Fatal("the ClientHello holds no server name")
					}
					if reply := answer(t, config, forged); !isAlert(reply, test.alert) {
						t.Errorf("answer % x, want alert %d", reply, test.alert)
					}
				})
			}
			t.Run(fmt.Sprintf("%s/%x/none", source, version), func(t *testing.T) {
				client := insecure("")
				client.MinVersion, client.MaxVersion = version, version
				if reply := answer(t, config, clientHello(t, client)); !isAlert(reply, 112) {
					t.Errorf("answer % x, want alert 112", reply)
				}
			})
		}
		_, _, err := shake(t, config, insecure(""))
		wantError(t, err, "tls: unrecognized name")
	}
}

// A ClientHello in records of one byte meets the same decision as a whole one.
func TestSplitClientHello(t *testing.T) {
	config := localhostListener(t, false)
	for name, handshake := range map[string]bool{"localhost": true, "unknownxx": false} {
		hello := clientHello(t, insecure(name))
		var split []byte
		for _, b := range hello[5:] {
			split = append(split, hello[0], hello[1], hello[2], 0, 1, b)
		}
		reply := answer(t, config, split)
		if handshake && reply[0] != 22 || !handshake && !isAlert(reply, 112) {
			t.Errorf("%q: answer % x", name, reply)
		}
	}
}

// oneTicket hands every connection the session of the first one, whatever its server name.
type oneTicket struct{ state *tls.ClientSessionState }

func (c *oneTicket) Get(string) (*tls.ClientSessionState, bool) { return c.state, c.state != nil }
func (c *oneTicket) Put(_ string, state *tls.ClientSessionState) {
	if c.state == nil {
		c.state = state
	}
}

func TestTicketsResumeUnderTheirNameOnly(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, clone := range []bool{false, true} {
			config := localhostListener(t, false)
			if clone {
				config = config.Clone() // as http.Server does
			}
			session := &oneTicket{}
			connect := func(name string) (tls.ConnectionState, error) {
				client := insecure(name)
				client.MinVersion, client.MaxVersion = version, version
				client.ClientSessionCache = session
				_, state, err := shake(t, config, client)
				return state, err
			}
			state, err := connect("localhost")
			if err != nil || state.DidResume {
				t.Fatalf("%x: first connection resumed %t, %v", version, state.DidResume, err)
			}
			state, err = connect("localhost")
			if err != nil || !state.DidResume || state.ServerName != "localhost" {
				t.Errorf("%x: second connection resumed %t as %q, %v", version, state.DidResume, state.ServerName, err)
			}
			state, err = connect("other.example")
			if err != nil || state.DidResume || state.ServerName != "other.example" {
				t.Errorf("%x: under another name it resumed %t as %q, %v", version, state.DidResume, state.ServerName, err)
			}
			for _, name := range []string{"unknown.example", ""} {
				_, err = connect(name)
				wantError(t, err, "unrecognized name")
			}
		}
	}
}
