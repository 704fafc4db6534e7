package tlsmgr

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/ratelimit"
)

// acmeConfig is the configuration of a gateway that asks ca, with a store of its own.
func acmeConfig(t testing.TB, ca *acmetest.CA) Config {
	return Config{
		ACME:    ACMEConfig{Email: "ops@example.com", CA: []CAConfig{{URL: ca.URL}}, CARoots: ca.Roots},
		Storage: StorageConfig{File: t.TempDir()},
	}
}

// An autoGate is a small gateway: a listener with certificates: auto that sends one byte, and one without TLS that answers challenges.
type autoGate struct {
	*Manager
	log    *logBook
	config *tls.Config
	tls    net.Listener
	http   net.Listener
	roots  *x509.CertPool
}

// quick is a system in which nothing waits long.
func quick(change func(*system)) system {
	s := system{now: time.Now, random: rand.Reader, newNotifier: newNotifier, renewEvery: 100 * time.Millisecond, watchEvery: 100 * time.Millisecond,
		retry: func(int) time.Duration { return 200 * time.Millisecond }}
	if change != nil {
		change(&s)
	}
	return s
}

// startAuto starts a gateway for the hosts. ca may go to it for its checks.
func startAuto(t testing.TB, ca *acmetest.CA, cfg Config, shared *ratelimit.RedisConfig, change func(*system), hosts ...string) *autoGate {
	t.Helper()
	book, logger := newLog()
	m, err := newManager(cfg, shared, logger, quick(change))
	check(t, err)
	g := &autoGate{Manager: m, log: book, roots: ca.Issuers()}
	g.config, err = m.Listener(ListenerConfig{Certificates: "auto"}, hosts)
	check(t, err)
	g.tls, g.http = listenLocal(t), listenLocal(t)
	var running sync.WaitGroup
	running.Go(func() { g.acceptLoop(&running) })
	server := &http.Server{Handler: http.HandlerFunc(g.serveHTTP), ErrorLog: log.New(io.Discard, "", 0)}
	running.Go(func() { server.Serve(g.http) })
	ca.HTTP.To(g.http.Addr().String())
	ca.TLS.To(g.tls.Addr().String())
	t.Cleanup(func() {
		check(t, m.Close())
		g.tls.Close()
		server.Close()
		running.Wait()
	})
	check(t, m.Start(g.http.Addr().String(), g.tls.Addr().String()))
	return g
}

func listenLocal(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	return ln
}

func (g *autoGate) acceptLoop(running *sync.WaitGroup) {
	for {
		c, err := g.tls.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer c.Close()
			conn := tls.Server(c, g.config)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if conn.HandshakeContext(ctx) == nil && !IsChallenge(conn.ConnectionState()) {
				conn.Write([]byte("x"))
			}
		})
	}
}

func (g *autoGate) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.IsChallengePath(r.URL.Path) || !g.ServeChallenge(w, r) {
		http.NotFound(w, r)
	}
}

// dial shakes hands as a client for that name that trusts the CA, or returns why it could not.
func (g *autoGate) dial(name string) (tls.ConnectionState, error) {
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: g.roots}, NetDialer: &net.Dialer{Timeout: 20 * time.Second}}
	c, err := dialer.Dial("tcp", g.tls.Addr().String())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	return c.(*tls.Conn).ConnectionState(), err
}

// serial waits until a client for that name gets a certificate, and returns its serial number.
func (g *autoGate) serial(t testing.TB, name string) string {
	t.Helper()
	var failed error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		state, err := g.dial(name)
		if err == nil {
			return state.PeerCertificates[0].SerialNumber.String()
		}
		failed = err
		if !strings.Contains(err.Error(), "unrecognized name") {
			break
		}
	}
	t.Fatalf("no certificate for %s: %v\n%s", name, failed, g.log)
	return ""
}

// metric returns the value of a series of the manager, and whether it is there.
func (g *autoGate) metric(t testing.TB, name string, labels ...string) (float64, bool) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(g.Manager)
	families, err := registry.Gather()
	check(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if slices.Equal(values, labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
