package main_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

const overloaded = `framegate_overload{resource="descriptors"}`

// limitShare sets the limit of descriptors to that of which the gateway now uses the given share.
func (g *rowGate) limitShare(share float64) {
	g.LimitDescriptors(uint64(float64(g.Usage().Descriptors) / share))
}

// TestRowsOverload is the neighbour of row R-17 with sessions: at 90 % of the descriptors new ones are refused, at 95 % those that have been idle
// longest are closed with 1013, behind the message that they are amid of; the others lose nothing, and with room everything is as before.
func TestRowsOverload(t *testing.T) {
	onBothDrivers(t, func(t *testing.T, driver string) {
		g := startRows(t, rowSetup{driver: driver})
		amid, _ := g.open(t, "/ws/amid") // the oldest
		amid.Send(wstest.ClientFrame(0x01, []byte("begun ")))
		amid.ExpectFrame(0x01, []byte("begun "))
		// When a session was last active is known to the second, once that was told, which is a second later.
		time.Sleep(2500 * time.Millisecond)
		const many = 40
		var idle, busy []*wstest.Client
		for i := range many {
			c, _ := g.open(t, fmt.Sprintf("/ws/idle%d", i))
			idle = append(idle, c)
			if i%4 == 0 {
				c, _ := g.open(t, fmt.Sprintf("/ws/busy%d", i))
				busy = append(busy, c)
			}
		}
		opened := time.Now()

		g.limitShare(0.92)
		waitUntil(t, "new sessions to be refused", func() bool { return g.Metrics()[overloaded] == 1 })
		c := wstest.Dial(t, g.Addr)
		c.Send(hs("/ws/refused").Bytes())
		if resp := c.Response(); resp.Status != 503 || resp.Get("Retry-After") == "" {
			t.Errorf("above nine tenths of the descriptors: %q, Retry-After %q; want 503 with one", resp.Line, resp.Get("Retry-After"))
		}
		c.Close()

		// Those that talk do so on and on; the others become idle.
		stop := make(chan struct{})
		var talking sync.WaitGroup
		for i, c := range busy {
			talking.Go(func() {
				for n := 0; ; n++ {
					text := fmt.Appendf(nil, "message %d of %d", n, i)
					c.Send(wstest.ClientFrame(0x81, text))
					if f, err := c.ReadFrame(); err != nil || string(f.Payload) != string(text) {
						t.Errorf("a busy session got %v, %v, want %q", f, err, text)
						return
					}
					select {
					case <-stop:
						return
					case <-time.After(200 * time.Millisecond):
					}
				}
			})
		}
		time.Sleep(time.Until(opened.Add(7 * time.Second))) // idle is who has said nothing for 5 s
		var closed [many]atomic.Int32
		var reading sync.WaitGroup
		for i, c := range idle {
			reading.Go(func() {
				f, err := c.ReadFrame()
				for err == nil && !f.IsClose() { // a ping
					f, err = c.ReadFrame()
				}
				if err != nil {
					return // the test has closed it
				}
				code, _ := f.CloseCode()
				closed[i].Store(int32(code))
				c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(code, "")))
				c.ExpectEnd(wstest.Patience)
			})
		}
		g.limitShare(0.97)
		waitUntil(t, "idle sessions to be closed", func() bool { return closed[0].Load() != 0 })
		amid.Send(wstest.ClientFrame(0x80, []byte("and ended")))
		amid.ExpectFrame(0x80, []byte("and ended"))
		amid.ExpectClose(1013)
		amid.Close()
		waitUntil(t, "enough to be closed", func() bool { return g.Metrics()[overloaded] < 2 })

		g.LimitDescriptors(10000)
		waitUntil(t, "the overload to be over", func() bool { return g.Metrics()[overloaded] == 0 })
		c, _ = g.open(t, "/ws/again")
		c.Send(wstest.ClientFrame(0x81, []byte("served")))
		c.ExpectFrame(0x81, []byte("served"))
		close(stop)
		talking.Wait()
		for _, c := range idle {
			c.Close()
		}
		reading.Wait()
		ended := 0
		for i := range closed {
			switch code := closed[i].Load(); {
			case code == 0:
			case code != 1013 || i > ended:
				t.Errorf("idle session %d got Close %d behind %d older ones that were closed, want 1013 for the oldest", i, code, ended)
			default:
				ended++
			}
		}
		if ended == 0 || ended == many {
			t.Errorf("%d of %d idle sessions were closed, want as many as needed", ended, many)
		}
		t.Logf("%d of %d idle sessions were closed", ended, many)
	})
}

// TestRowsOverloadOfMemory has sessions come until they take 90 % of GOMEMLIMIT: the next one is refused, those that are there are served on, and when some
// have gone there is room again.
func TestRowsOverloadOfMemory(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := wstest.Launch{Env: []string{"GOMEMLIMIT=32MiB"}}.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}]
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [app]}]
upstreams: {app: {servers: ["ws://%s"]}}
policies: {app: {origin: {allow: ["https://app.example.com"]}, handshakes: {per_ip: 10000/s}, connections: {per_ip: 10000}}}
limits: {handshakes: 10000/s}
driver: goroutines # of which a session takes more memory
`, up.Addr()))
	const short = `framegate_overload{resource="memory"}`
	var all []*wstest.Client
	come := func() (*wstest.Client, *wstest.Response) {
		c := wstest.Dial(t, g.Addr)
		c.Send(hs("/").Bytes())
		return c, c.Response()
	}
	served := func(c *wstest.Client) {
		t.Helper()
		c.Send(wstest.ClientFrame(0x81, []byte("served")))
		c.ExpectFrame(0x81, []byte("served"))
	}
	for {
		c, resp := come()
		if resp.Status == 503 && resp.Get("Retry-After") != "" {
			break
		}
		if all = append(all, c); resp.Status != 101 || len(all) > 5000 {
			t.Fatalf("client %d got %q, Retry-After %q; want 101, or 503 with one", len(all), resp.Line, resp.Get("Retry-After"))
		}
	}
	if len(all) < 50 || g.Metrics()[short] == 0 {
		t.Errorf("refused with %d sessions and framegate_overload %v", len(all), g.Metrics()[short])
	}
	served(all[0])
	served(all[len(all)-1])
	for _, c := range all[1:] {
		c.Close()
	}
	waitUntil(t, "the overload to be over", func() bool { return g.Metrics()[short] == 0 })
	c, resp := come()
	if resp.Status != 101 {
		t.Fatalf("with room again: %q", resp.Line)
	}
	served(c)
	served(all[0])
	t.Logf("refused with %d sessions", len(all))
}
