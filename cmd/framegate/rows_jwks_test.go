package main_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// An idProvider publishes the keys of an issuer over https.
type idProvider struct {
	*httptest.Server
	ca      string // file
	mu      sync.Mutex
	keys    []byte
	down    bool
	fetches atomic.Int64
}

func newIDProvider(t *testing.T) *idProvider {
	t.Helper()
	p := &idProvider{}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	p.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *idProvider) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Write(p.keys)
}

// publish changes the keys.
func (p *idProvider) publish(t *testing.T, minters ...*minter) {
	keys := keySet(t, minters...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// start runs a gateway that trusts the provider.
func (p *idProvider) start(t *testing.T) *rowGate {
	t.Helper()
	return startRows(t, rowSetup{policy: jwtPolicy("jwks_url: "+p.URL+"/keys, jwks_ca: "+p.ca, ""), extra: "limits: {handshakes: 10000/s}"})
}

// TestRowsJWKSRotation: 200 handshakes per second go on while the issuer changes its key three times. No token is refused, and each change
// costs one fetch.
func TestRowsJWKSRotation(t *testing.T) {
	t.Parallel()
	p := newIDProvider(t)
	old := newMinter(t, "key-0")
	p.publish(t, old)
	g := p.start(t)
	waitReady(t, g)
	var refused, admitted atomic.Int64
	var all sync.WaitGroup
	beat := time.NewTicker(5 * time.Millisecond)
	defer beat.Stop()
	for i := range 1200 { // six seconds, with a new key every one and a half
		if i > 0 && i%300 == 0 {
			next := newMinter(t, fmt.Sprintf("key-%d", i/300))
			p.publish(t, old, next) // as issuers do: the old one stays for a while
			old = next
		}
		token := old.mint(nil)
		<-beat.C
		all.Go(func() {
			c, err := wstest.TryDial(t, g.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.Send(bearer(token).Bytes())
			if resp, err := c.ReadHead(); err != nil || resp.Status != http.StatusSwitchingProtocols {
				refused.Add(1)
				return
			}
			admitted.Add(1)
		})
	}
	all.Wait()
	if n := admitted.Load(); n != 1200 {
		t.Errorf("%d of 1200 tokens were admitted, %d refused", n, refused.Load())
	}
	if n := p.fetches.Load(); n > 4 {
		t.Errorf("%d fetches, want the first and one for each rotation at most", n)
	}
}

// readiness asks the gateway whether it is ready.
func readiness(t *testing.T, g *rowGate) (status int) {
	t.Helper()
	c := wstest.Dial(t, g.Admin)
	defer c.Close()
	c.Send([]byte("GET /readyz HTTP/1.1\r\nHost: " + g.Admin + "\r\nConnection: close\r\n\r\n"))
	return c.Response().Status
}

// waitReady waits until the gateway has the keys of its issuers.
func waitReady(t *testing.T, g *rowGate) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(wstest.Patience); ; <-poll.C {
		if readiness(t, g) == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the gateway does not get ready")
		}
	}
}

// TestRowsJWKSUnknownKids (J-23): 10,000 tokens with kids that nobody has cost the issuer one fetch, and tokens of its key are admitted meanwhile.
func TestRowsJWKSUnknownKids(t *testing.T) {
	t.Parallel()
	p, m := newIDProvider(t), newMinter(t, "one")
	p.publish(t, m)
	g := p.start(t)
	waitReady(t, g)
	before := p.fetches.Load()
	var all sync.WaitGroup
	junk := newMinter(t, "")
	for w := range 20 {
		all.Go(func() {
			for i := range 100 {
				c, err := wstest.TryDial(t, g.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				token := junk.raw(fmt.Sprintf(`{"alg":"ES256","kid":"junk-%d-%d"}`, w, i), claims(nil))
				c.Send(bearer(token).Bytes())
				if resp, err := c.ReadHead(); err == nil && resp.Status != http.StatusUnauthorized {
					t.Errorf("junk got %q", resp.Line)
				}
				c.Close()
			}
		})
	}
	for range 20 {
		c := wstest.Dial(t, g.Addr)
		c.Send(bearer(m.mint(nil)).Bytes())
		if resp := c.Head(); resp.Status != http.StatusSwitchingProtocols {
			t.Errorf("a good token got %q", resp.Line)
		}
		c.Close()
	}
	all.Wait()
	if n := p.fetches.Load() - before; n > 1 {
		t.Errorf("%d fetches, want one at most", n)
	}
}

// TestRowsJWKSUnreachable: without keys nobody is admitted, whoever signed; the gateway says that it is not ready.
func TestRowsJWKSUnreachable(t *testing.T) {
	t.Parallel()
	p, m := newIDProvider(t), newMinter(t, "one")
	p.publish(t, m)
	p.down = true
	g := p.start(t)
	g.refuse(t, bearer(m.mint(nil)).Bytes(), 503)
	if got := readiness(t, g); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d", got)
	}
}

// TestRowsJWTExpiry (J-29): when the token of a session expires the session ends with 1008, also while pings go to and fro; what was sent before
// has arrived.
func TestRowsJWTExpiry(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	keys := "jwks_file: " + writeKeys(t, keySet(t, m)) + ", leeway: 0s"
	g := startRows(t, rowSetup{policy: jwtPolicy(keys, ""), route: "ping_interval: 1s, pong_timeout: 1s"})
	c := wstest.Dial(t, g.Addr)
	expires := time.Unix(time.Now().Add(3*time.Second).Unix(), 0)
	c.Upgrade(wstest.HS0("/ws/expiry").Add("Authorization: Bearer " + m.with("exp", expires.Unix())))
	u := g.up.Wait("/ws/expiry")
	sent := wstest.ClientFrame(0x81, []byte("before"))
	c.Send(sent)
	c.ExpectFrame(0x81, []byte("before"))
	pings := 0
	f := c.Frame()
	for ; f.Opcode() == 9; f = c.Frame() {
		pings++
		c.Send(wstest.ClientFrame(0x8a, f.Payload))
	}
	if code, reason := f.CloseCode(); code != 1008 || reason != "token expired" || pings == 0 {
		t.Errorf("got %v after %d pings, want 1008 token expired", f, pings)
	}
	if late := time.Since(expires); late < 0 || late > 2*time.Second {
		t.Errorf("closed %v after the end of the token", late)
	}
	if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
		t.Errorf("the upstream got %d, want 1001", code)
	}
	if frames, _ := u.Frames(); !bytes.Equal(frames[0].Raw, sent) {
		t.Errorf("the upstream got %v first, want the message", frames[0])
	}
}
