package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/framegate/framegate/internal/strictyaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fakeRedis is a server inside a bubble of synctest, which can be made to fail.
type fakeRedis struct {
	*miniredis.Miniredis
	refuse atomic.Bool                 // new connections
	hook   atomic.Pointer[server.Hook] // sees each EVALSHA
}

// inBubble runs a test with a server of its own.
func inBubble(t *testing.T, test func(t *testing.T, m *fakeRedis)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &fakeRedis{Miniredis: miniredis.NewMiniRedis()}
		m.ClockTTL(true)
		c, err := m.Dial() // starts it, so that it has a Server
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		m.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
			hook := m.hook.Load()
			return hook != nil && strings.EqualFold(cmd, "EVALSHA") && (*hook)(p, cmd, args...)
		})
		test(t, m)
		m.Close()
	})
}

// on makes hook see each question; nil ends that.
func (m *fakeRedis) on(hook server.Hook) {
	if hook == nil {
		m.hook.Store(nil)
		return
	}
	m.hook.Store(&hook)
}

// countKeys is how many counts Redis knows.
func (m *fakeRedis) countKeys() (n int) {
	for _, key := range m.Keys() {
		if strings.HasPrefix(key, "fg:count:") {
			n++
		}
	}
	return n
}

// A buffered connection takes what is written at once, as a socket does and net.Pipe does not.
type buffered struct {
	net.Conn
	out   chan []byte
	close func() error
}

func newBuffered(c net.Conn) net.Conn {
	out := make(chan []byte, 1000)
	go func() { // ends with Close
		for p := range out {
			_, _ = c.Write(p) // the reader sees what is wrong
		}
	}()
	return &buffered{c, out, sync.OnceValue(func() error {
		close(out)
		return c.Close()
	})}
}

func (b *buffered) Write(p []byte) (int, error) {
	b.out <- bytes.Clone(p)
	return len(p), nil
}

func (b *buffered) Close() error { return b.close() }

// A gateway is a store on a fakeRedis, and its log.
type gateway struct {
	*Redis
	log *logBook
}

// gateway starts a store, and waits until it has come to rest.
func (m *fakeRedis) gateway(t *testing.T, nodes int) *gateway {
	t.Helper()
	c := RedisConfig{URL: "redis://localhost", Prefix: "fg:", Timeout: strictyaml.Duration(50 * ms), Nodes: nodes, LeasePercent: 50}
	options := c.compile(func(path, format string, args ...any) { t.Fatalf(path+": "+format, args...) })
	options.Dialer = func(context.Context, string, string) (net.Conn, error) {
		if m.refuse.Load() {
			return nil, errors.New("refused")
		}
		c, err := m.Dial()
		return newBuffered(c), err
	}
	book := &logBook{}
	g := &gateway{newRedis(c, options, 1000, slog.New(slog.NewTextHandler(book, nil))), book}
	synctest.Wait()
	return g
}

// expect compares what the metrics say.
func (g *gateway) expect(t *testing.T, up float64, errorsSeen, fallbacks bool) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil || len(families) != 3 {
		t.Fatalf("%d series, %v", len(families), err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
	}
	if got["framegate_redis_up"] != up || got["framegate_redis_errors_total"] > 0 != errorsSeen || got["framegate_redis_fallbacks_total"] > 0 != fallbacks {
		t.Errorf("metrics %v, want up %v, errors %t, fallbacks %t", got, up, errorsSeen, fallbacks)
	}
}

// logged compares the lines since the last call with parts of them.
func (g *gateway) logged(t *testing.T, want ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(g.log.take(), "\n"), "\n")
	if lines[0] == "" {
		lines = nil
	}
	if len(lines) != len(want) {
		t.Errorf("logged %q, want %q", lines, want)
		return
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("logged %q, want %q", lines[i], want[i])
		}
	}
}

// logBook is what was logged.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
