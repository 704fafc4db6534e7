package main_test

import (
	"os"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// TestIdleOfVersions measures what an idle WebSocket costs the gateway over each version of HTTP, with `make idle`: it needs a quiet
// machine, and asserts only that sessions on shared connections cost less than 128 KiB each.
func TestIdleOfVersions(t *testing.T) {
	if os.Getenv("FRAMEGATE_IDLE") == "" {
		t.Skip("a measurement: make idle")
	}
	const sessions, perConnection = 990, 99
	for _, version := range []string{"h2", "h3"} {
		g, _ := startParity(t, newMinter(t, "a"))
		config := g.ClientTLS()
		config.ServerName = "app.example.com"
		open := func(n int) (all []*wstest.Stream) {
			for len(all) < n {
				transport := wstest.HTTP3(t, g.Addr, config.Clone())
				if version == "h2" {
					transport = wstest.HTTP2(t, g.Addr, config.Clone())
				}
				for range min(perConnection, n-len(all)) {
					all = append(all, wstest.OpenStream(t, transport, wstest.HS0("/idle/x")))
				}
			}
			return all
		}
		open(perConnection)
		resident := func() float64 {
			time.Sleep(5 * time.Second) // what the handshakes have left is given back
			return g.Metrics()["process_resident_memory_bytes"]
		}
		before, routines := resident(), g.Metrics()["go_goroutines"]
		for _, s := range open(sessions) {
			if s.Status != 200 {
				t.Fatalf("status %d", s.Status)
			}
		}
		each := (resident() - before) / sessions
		t.Logf("%s: %.1f KiB and %.2f goroutines each", version, each/1024, (g.Metrics()["go_goroutines"]-routines)/sessions)
		if each > 128<<10 {
			t.Errorf("%s: %.1f KiB for an idle session", version, each/1024)
		}
	}
}
