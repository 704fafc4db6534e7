// Package acmetest runs a certificate authority for tests: Pebble, Let's Encrypt's small ACME server, in the test's own process, with a name
// server of its own that knows every name. Challenges are checked over the loopback interface, at whatever gateway the test says; what the CA
// answers can be made to fail.
package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// Setup is what a test wants of its CA.
type Setup struct {
	Validity uint64            // of certificates, in seconds; 0 is 90 days
	EAB      map[string]string // accounts that must be bound to: base64url MAC keys by key identifier
	OCSP     bool              // certificates name an OCSP responder, which is the CA itself
}

// A CA is a running certificate authority.
type CA struct {
	URL   string // of its directory
	Roots string // PEM file with the certificate of its own https server
	DNS   *DNS   // where it looks names up

	HTTP *Forward // to which gateway it goes for http-01
	TLS  *Forward // and for tls-alpn-01

	issuer *ca.CAImpl
	store  *db.MemoryStore

	mu        sync.Mutex
	fulfilled []*core.Order

	orders atomic.Int64
	fault  atomic.Pointer[http.HandlerFunc]
	ocsp   atomic.Int64
}

// environment makes Pebble quick and steady. It reads these when it starts.
var environment = sync.OnceFunc(func() {
	os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	os.Setenv("PEBBLE_AUTHZREUSE", "0")
})

// New starts a CA, which ends with the test.
func New(t testing.TB, setup Setup) *CA {
	t.Helper()
	environment()
	c := &CA{DNS: newDNS(t), HTTP: newForward(t), TLS: newForward(t)}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	c.store = store
	for id, key := range setup.EAB {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewUnstartedServer(nil)
	responder, algorithm := "", "ecdsa"
	if setup.OCSP {
		responder, algorithm = c.startOCSP(t), "rsa" // Pebble gives away only keys of that kind
	}
	c.issuer = ca.New(quiet, store, responder, algorithm, 0, 1, map[string]ca.Profile{"default": {Description: "default", ValidityPeriod: setup.Validity}})
	checker := va.New(quiet, c.HTTP.port(), c.TLS.port(), false, c.DNS.Addr, store)
	front := wfe.New(quiet, store, checker, c.issuer, []string{"pebble.letsencrypt.org"}, false, len(setup.EAB) > 0, 1, 1)
	server.Config.Handler = c.front(front.Handler())
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	c.URL = server.URL + wfe.DirectoryPath
	c.Roots = filepath.Join(t.TempDir(), "acme-roots.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(c.Roots, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// front counts orders, and lets a fault answer in the CA's place.
func (c *CA) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := c.fault.Load(); fault != nil {
			recorder := &claimed{ResponseWriter: w}
			(*fault)(recorder, r)
			if recorder.answered {
				return
			}
		}
		if r.URL.Path == "/order-plz" {
			c.orders.Add(1)
			c.seeReplaced()
		}
		if id, ok := strings.CutPrefix(r.URL.Path, "/certZ/"); ok {
			c.remember(id)
		}
		next.ServeHTTP(w, r)
	})
}

// remember keeps the order of a certificate, and has it found by its serial number as DER writes it, with a zero in front of a high bit: Pebble
// knows it without, and so refuses one renewal in 256 for the certificate that it replaces (RFC 9773 section 4.1).
func (c *CA) remember(id string) {
	order, err := c.store.GetOrderByIssuedSerial(id)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fulfilled = append(c.fulfilled, order)
	if id >= "8" {
		padded := &core.Order{Order: order.Order, ID: order.ID, AccountID: order.AccountID, Names: order.Names, CertificateObject: &core.Certificate{ID: "00" + id}}
		c.fulfilled = append(c.fulfilled, padded)
		_ = c.store.AddOrderByIssuedSerial(padded) // fails without a certificate only
	}
}

// seeReplaced makes what Pebble has written to the orders that were replaced visible: it reads that without their locks.
func (c *CA) seeReplaced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, order := range c.fulfilled {
		_, _ = order.GetStatus() // takes the lock of who has written
	}
}

// claimed knows whether a fault has answered.
type claimed struct {
	http.ResponseWriter
	answered bool
}

func (c *claimed) WriteHeader(status int) {
	c.answered = true
	c.ResponseWriter.WriteHeader(status)
}

func (c *claimed) Write(p []byte) (int, error) {
	c.answered = true
	return c.ResponseWriter.Write(p)
}

// Fault has handle see each request first; those that it writes no answer to go on. nil ends that.
func (c *CA) Fault(handle http.HandlerFunc) {
	if handle == nil {
		c.fault.Store(nil)
		return
	}
	c.fault.Store(&handle)
}

// Problem is a fault that answers all orders with an ACME problem.
func Problem(status int, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/order-plz" {
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Replay-Nonce", "bm9uY2U")
		w.WriteHeader(status)
		io.WriteString(w, `{"type": "urn:ietf:params:acme:error:`+kind+`", "detail": "of the test"}`)
	}
}

// Staples is how many OCSP responses were given.
func (c *CA) Staples() int { return int(c.ocsp.Load()) }

// Orders is how many orders have come.
func (c *CA) Orders() int { return int(c.orders.Load()) }

// Root is the root of the certificates that the CA gives.
func (c *CA) Root() *x509.Certificate { return c.issuer.GetRootCert(0).Cert }

// Issuers are a pool with Root.
func (c *CA) Issuers() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Root())
	return pool
}

// A Forward is a port that leads to a gateway, which may change. Until one is set, connections wait.
type Forward struct {
	ln    net.Listener
	known chan struct{} // closed once a gateway is set
	ended chan struct{} // closed with the test

	mu sync.Mutex
	to string
}

func newForward(t testing.TB) *Forward {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Forward{ln: ln, known: make(chan struct{}), ended: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.relay(c) })
		}
	})
	t.Cleanup(func() {
		close(f.ended)
		ln.Close()
		running.Wait()
	})
	return f
}

func (f *Forward) port() int { return f.ln.Addr().(*net.TCPAddr).Port }

// To sets where the port leads to.
func (f *Forward) To(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.to == "" {
		close(f.known)
	}
	f.to = address
}

func (f *Forward) relay(c net.Conn) {
	defer c.Close()
	select {
	case <-f.known:
	case <-f.ended:
		return
	}
	f.mu.Lock()
	to := f.to
	f.mu.Unlock()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(c, up)
		c.(*net.TCPConn).CloseWrite()
	})
	io.Copy(up, c)
	up.(*net.TCPConn).CloseWrite()
	back.Wait()
}

// Config is the section tls of a gateway that uses this CA and keeps its certificates in dir, without the line `tls:`. more are further lines
// of the section acme, indented by four blanks.
func (c *CA) Config(dir string, more ...string) string {
	return strings.Join(append([]string{
		"  acme:", "    email: ops@example.com", "    ca: [" + c.URL + "]", "    ca_roots: " + c.Roots,
	}, append(more, "  storage: {file: "+dir+"}", "")...), "\n")
}
