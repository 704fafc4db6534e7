package main_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// Content types of TLS records (RFC 8446 §5.1).
const (
	handshake   = 22
	application = 23
)

// openRaw upgrades a connection whose records the test seals itself.
func (g *rowGate) openRaw(t *testing.T, edit func(c *tls.Config)) (*wstest.RawTLS, *wstest.Upstream) {
	t.Helper()
	config := g.named("app.example.com")
	edit(config)
	r := wstest.DialRawTLS(t, g.Addr, config)
	path := rowPath(t)
	// The answers are sealed: that a frame has reached the upstream shows that the 101 is out.
	r.Send(r.Seal(application, append(hs(path).Bytes(), wstest.ClientFrame(0x81, []byte("ready"))...)))
	u := g.up.Wait(path)
	u.WaitFrames(1)
	return r, u
}

func v13(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }

func v12(c *tls.Config) {
	c.MaxVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

// TestRowsTLSRecords is row T-09.
func TestRowsTLSRecords(t *testing.T) { onBothDrivers(t, rowsTLSRecords) }

func rowsTLSRecords(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, certificates: "internal"})
	keyUpdate := wstest.Hex("18 000001 00")
	run("T-09/1000 KeyUpdates in one record", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		r.Send(r.Seal(handshake, bytes.Repeat(keyUpdate, 1000)))
		r.ExpectEnd(5 * time.Second)
		u.WaitEnd(wstest.Patience)
	})
	run("T-09/continuous KeyUpdates", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		for range 1000 {
			if r.Send(r.Seal(handshake, keyUpdate)) != nil {
				break
			}
			r.NextSecret(t)
		}
		r.ExpectEnd(5 * time.Second)
		u.WaitEnd(wstest.Patience)
	})
	run("T-09/KeyUpdates that ask for an answer, unread", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		r.SetReadBuffer(4096)
		for range 1000 {
			if r.Send(r.Seal(handshake, wstest.Hex("18 000001 01"))) != nil {
				break
			}
			r.NextSecret(t)
		}
		u.WaitEnd(15 * time.Second)
	})
	run("T-09/KeyUpdate cut in two records", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		r.Send(r.Seal(handshake, keyUpdate[:2]), r.Seal(handshake, keyUpdate[2:]))
		r.NextSecret(t)
		r.Send(r.Seal(application, wstest.ClientFrame(0x88, wstest.CloseFrame(1000, ""))))
		u.WaitEnd(wstest.Patience) // whether it is taken or refused, nothing hangs
	})
	run("T-09/one KeyUpdate between messages", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		for i := range 10 {
			r.Send(r.Seal(application, wstest.ClientFrame(0x81, fmt.Append(nil, i))), r.Seal(handshake, keyUpdate))
			r.NextSecret(t)
		}
		wantFrame(t, u, 10, "9")
	})
	run("T-09/empty records", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		for range 1000 {
			if r.Send(r.Seal(application, nil)) != nil {
				break
			}
		}
		r.ExpectEnd(5 * time.Second)
		u.WaitEnd(wstest.Patience)
	})
	run("T-09/record that does not decrypt", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		good := r.Seal(application, wstest.ClientFrame(0x81, []byte("a")))
		bad := r.Seal(application, wstest.ClientFrame(0x81, []byte("b")))
		bad[len(bad)-1] ^= 1
		r.Send(good, bad)
		r.ExpectEnd(5 * time.Second)
		wantFrame(t, u, 1, "a")
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
	})
}

// TestRowsTLSEnds is row T-11, and ends of the connection that TLS does not announce.
func TestRowsTLSEnds(t *testing.T) { onBothDrivers(t, rowsTLSEnds) }

func rowsTLSEnds(t *testing.T, driver string) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{driver: driver, certificates: "internal"})
	run("T-11/renegotiation", func(t *testing.T) {
		r, u := g.openRaw(t, v12)
		r.Send(r.Seal(handshake, wstest.ClientHello(t, g.named("app.example.com"))[5:]))
		r.ExpectEnd(5 * time.Second)
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
	})
	run("T-11/frames over TLS 1.2", func(t *testing.T) {
		r, u := g.openRaw(t, v12)
		r.Send(r.Seal(application, wstest.ClientFrame(0x81, []byte("12"))))
		wantFrame(t, u, 1, "12")
	})
	run("X-02/FIN without close_notify", func(t *testing.T) {
		path := rowPath(t)
		c := wstest.DialTLS(t, g.Addr, g.named("app.example.com"))
		c.Upgrade(hs(path))
		c.Send(wstest.ClientFrame(0x81, []byte("a")))
		c.ExpectFrame(0x81, []byte("a"))
		c.CloseTCP()
		wantFrame(t, g.up.Wait(path), 0, "a")
		if code, _ := g.up.Wait(path).WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
	})
	run("X-02/close_notify without a Close", func(t *testing.T) {
		r, u := g.openRaw(t, v13)
		r.Send(r.Seal(21, wstest.Hex("0100")))
		if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
		r.ExpectEnd(5 * time.Second)
	})
	run("F-30/the gateway ends TLS in order", func(t *testing.T) {
		c := wstest.DialTLS(t, g.Addr, g.named("app.example.com"))
		c.Upgrade(hs(rowPath(t)))
		c.Send(wstest.Hex("83 80 M"))
		c.ExpectClose(1002)
		if _, err := c.Drain(3 * time.Second); errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the connection ended without a close_notify")
		}
	})
	for name, n := range map[string]int{"amid the ClientHello": 100, "behind the ClientHello": 1 << 20} {
		for how, end := range map[string]func(*wstest.Client){"FIN": (*wstest.Client).Close, "RST": (*wstest.Client).Reset} {
			run("H-20/"+name+" "+how, func(t *testing.T) {
				hello := wstest.ClientHello(t, g.named("app.example.com"))
				c := wstest.Dial(t, g.Addr)
				c.Send(hello[:min(n, len(hello))])
				end(c) // the guard demands that nothing is left
			})
		}
	}
}

// wantFrame waits for the frame with index n at the upstream and compares its payload.
func wantFrame(t *testing.T, u *wstest.Upstream, n int, payload string) {
	t.Helper()
	if frames := u.WaitFrames(n + 1); len(frames) <= n || string(frames[n].Payload) != payload {
		t.Errorf("the upstream got %v, want %q as frame %d", frames, payload, n)
	}
}

// TestRowsTLSUpstream is the TLS that the gateway itself speaks to an upstream: an upstream that is not who it should be is a 502.
func TestRowsTLSUpstream(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	cert, ca := wstest.SelfSigned(t, "app.internal")
	other, _ := wstest.SelfSigned(t, "app.internal")
	config := func(c tls.Certificate, edit ...func(*tls.Config)) *tls.Config {
		conf := &tls.Config{Certificates: []tls.Certificate{c}}
		for _, e := range edit {
			e(conf)
		}
		return conf
	}
	rows := []struct {
		name, serverName string
		config           *tls.Config
		want             int
	}{
		{"right certificate", "app.internal", config(cert), 101},
		{"other name", "evil.internal", config(cert), 502},
		{"other root", "app.internal", config(other), 502},
		{"old version", "app.internal", config(cert, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }), 502},
	}
	for _, row := range rows {
		run("T-upstream/"+row.name, func(t *testing.T) {
			rec := wstest.NewTLSRecorder(t, row.config, wstest.Echo)
			g := startRows(t, rowSetup{noVictim: true, servers: fmt.Sprintf(`servers: ["wss://%s"], tls: {ca: "%s", server_name: %s}`, rec.Addr(), ca, row.serverName)})
			c := wstest.Dial(t, g.Addr)
			c.Send(hs("/ws").Bytes())
			resp := c.Response()
			if resp.Status != row.want {
				t.Fatalf("got %q, want %d", resp.Line, row.want)
			}
			u := rec.Wait("")
			if row.want != 101 {
				wstest.CheckRefusal(t, resp)
				if bytes.Contains(u.All(), []byte("GET ")) {
					t.Error("the request reached an upstream that was not who it should be")
				}
				u.WaitEnd(2 * time.Second)
				return
			}
			c.Send(wstest.ClientFrame(0x81, []byte("sealed")), wstest.Hex("88 82 M 03e8"))
			c.ExpectFrame(0x81, []byte("sealed"))
			c.ExpectClose(1000)
			if end := u.WaitEnd(wstest.Patience); end != wstest.EOF {
				t.Errorf("the upstream's TLS ended: %v, want a close_notify", end)
			}
		})
	}
}
