package proxy

import (
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// sum adds up a series over its loops.
func (g *gateway) sum(t *testing.T, name string) (total float64) {
	t.Helper()
	for series, value := range g.metrics.series(t) {
		if strings.HasPrefix(series, name+"{loop=") {
			total += value
		}
	}
	return total
}

// The figures of the loops follow what their sessions do.
func TestLoopFigures(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Accept())
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ", close_timeout: 300ms"))
	for _, name := range []string{"sessions", "paused_sides", "queued_bytes"} {
		if got := g.sum(t, "framegate_loop_"+name); got != 0 {
			t.Errorf("%s begins with %v", name, got)
		}
	}
	first, _ := g.open(t, up, "/first")
	slow, u := g.open(t, up, "/slow")
	waitFor(t, "the second session", func() bool { return g.sum(t, "framegate_loop_sessions") == 2 })
	big := wstest.ServerFrame(0x82, make([]byte, 1<<20))
	go func() {
		for u.Send(big) == nil { // until the end of the session
		}
	}()
	waitFor(t, "the pause of a side whose peer does not read", func() bool {
		return g.sum(t, "framegate_loop_paused_sides") == 1 && g.sum(t, "framegate_loop_queued_bytes") > 0
	})
	slow.Close()
	first.Close()
	waitFor(t, "the end", func() bool {
		return g.sum(t, "framegate_loop_sessions") == 0 && g.sum(t, "framegate_loop_paused_sides") == 0 && g.sum(t, "framegate_loop_queued_bytes") == 0
	})
}

// The lag is that since the last scrape, so a turn is told once.
func TestLoopLag(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c, _ := g.open(t, up, "/")
	big := wstest.ClientFrame(0x82, make([]byte, 1<<20))
	waitFor(t, "a turn that something waited for", func() bool {
		c.Send(big)
		c.Frame()
		return g.sum(t, "framegate_loop_lag_seconds") > 0
	})
	waitFor(t, "a scrape without any", func() bool { return g.sum(t, "framegate_loop_lag_seconds") == 0 })
}

// Without the reactor there are no loops to tell of.
func TestNoLoopsWithoutReactor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, oneRoute("ws://127.0.0.1:1", "")+"driver: goroutines\n")
	t.Cleanup(g.Close)
	for series := range g.metrics.series(t) {
		if strings.HasPrefix(series, "framegate_loop") {
			t.Errorf("%s is there", series)
		}
	}
}
