package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/framegate/framegate/internal/acmetest"
	"github.com/framegate/framegate/internal/wstest"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // most wait for a clock or a peer, not for a processor
		panic(err)
	}
	goleak.VerifyTestMain(m, acmetest.Leftovers()...)
}

// A logBook keeps the lines of a log.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns the events with the given message.
func (l *logBook) lines(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for text := range strings.Lines(l.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

// newLog returns a logger at level debug and what it writes.
func newLog() (*slog.Logger, *logBook) {
	book := &logBook{}
	return NewLogger(LogConfig{Level: "debug", Format: "json"}, book), book
}

// loadText writes files, of which the first is the configuration, and loads them.
func loadText(t testing.TB, files ...string) (*Loaded, string, error) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		name := "gateway.yaml"
		if i > 0 {
			name = fmt.Sprintf("policy%d.yaml", i)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Load(filepath.Join(dir, "gateway.yaml"), noEnvironment)
	return loaded, dir, err
}

func noEnvironment(string) (string, bool) { return "", false }

// oneRoute is a configuration of one plain listener and one route of app.example.com; more is further keys of the route.
func oneRoute(server, more string) string {
	return fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes: [{name: app, hosts: [app.example.com], upstream: app%s}]
upstreams: {app: {servers: ["%s"]}}
admin: {address: "off"}
`, more, server)
}

// drivers are the lines of a configuration by which either driver moves the bytes of its sessions.
var drivers = []string{"driver: auto", "driver: goroutines"}

// A gateway is a running server of a test.
type gateway struct {
	*Server
	log  *logBook
	addr string // of the first listener
}

// newGateway makes a server with the given configuration. The caller closes it.
func newGateway(t *testing.T, config string) *gateway {
	t.Helper()
	loaded, _, err := loadText(t, config)
	if err != nil {
		t.Fatal(err)
	}
	log, book := newLog()
	s, err := New(loaded.Config, log, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{Server: s, log: book, addr: s.Addrs()[0].String()}
}

// startGateway runs a server with the given configuration until the test ends.
func startGateway(t *testing.T, config string) *gateway {
	t.Helper()
	g := newGateway(t, config)
	g.Start()
	t.Cleanup(g.Close)
	return g
}

// waitFor waits until a condition holds, for as long as wstest's own waits.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(wstest.Patience); !condition(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v", what, wstest.Patience)
		}
	}
}

// trusting returns a client's configuration that trusts the internal root of a store alone.
func trusting(t *testing.T, storage, name string) *tls.Config {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(storage, "internal", "root.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		t.Fatal("the root is no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: name}
}

// settled returns the number of goroutines once it has stood still.
func settled() int {
	n, since := runtime.NumGoroutine(), time.Now()
	for time.Since(since) < 50*time.Millisecond {
		if now := runtime.NumGoroutine(); now != n {
			n, since = now, time.Now()
		}
		runtime.Gosched()
	}
	return n
}
