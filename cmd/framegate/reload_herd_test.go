package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// The experiment of row X-10: connections send messages while a gateway is reloaded a hundred times, ten times with a configuration that is wrong, ten
// times with one that does not admit one more of the pages any more. It is the same for any gateway.
const (
	herdReloads = 100
	herdPages   = 20 // origins, of which ten lose their permission
)

// A herd is the clients. Every tenth is of a page on the route that changes, the others are on one that does not.
type herd struct {
	t       *testing.T
	addr    string
	period  time.Duration // between two messages of one client
	stop    chan struct{}
	clients []*herdClient
	all     sync.WaitGroup
	relayed atomic.Int64
}

type herdClient struct {
	conn  *wstest.Client
	page  int // -1 on the other route
	ended bool
	code  int // 1006 where no Close came
	text  string
	lost  bool // a message had no answer, or a wrong one, on a connection that was not closed
}

func herdOrigin(page int) string { return fmt.Sprintf("https://page%d.example.com", page) }

// newHerd connects n clients that send so many messages per second together.
func newHerd(t *testing.T, addr string, n, perSecond int) *herd {
	t.Helper()
	h := &herd{t: t, addr: addr, period: time.Duration(n) * time.Second / time.Duration(perSecond), stop: make(chan struct{})}
	for i := range n {
		c := &herdClient{page: -1}
		host, origin := "other.example.com", "https://app.example.com"
		if i%10 == 0 {
			c.page = i / 10 % herdPages
			host, origin = "app.example.com", herdOrigin(c.page)
		}
		conn, err := wstest.TryDial(t, addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Send(wstest.HS0("/").With("Host", host).With("Origin", origin).Bytes())
		if resp, err := conn.ReadHead(); err != nil || resp.Status != 101 {
			t.Fatalf("client %d: %+v, %v", i, resp, err)
		}
		c.conn = conn
		h.clients = append(h.clients, c)
	}
	for i, c := range h.clients {
		h.all.Go(func() { h.talk(c, h.period*time.Duration(i)/time.Duration(n)) })
	}
	return h
}

// talk sends messages, and takes the answers, until the herd stops or the connection ends.
func (h *herd) talk(c *herdClient, offset time.Duration) {
	timer := time.NewTimer(offset)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-h.stop:
			return
		case <-timer.C:
			timer.Reset(h.period)
		}
		text := fmt.Appendf(nil, "message %d", n)
		c.conn.Send(wstest.ClientFrame(0x81, text))
		f, err := c.conn.ReadFrame()
		switch {
		case err != nil:
			c.ended, c.code = true, 1006
			return
		case f.IsClose():
			c.ended, c.code = true, 1005
			if len(f.Payload) >= 2 {
				c.code, c.text = int(f.Payload[0])<<8|int(f.Payload[1]), string(f.Payload[2:])
			}
			return
		case !bytes.Equal(f.Payload, text):
			c.lost = true
			return
		}
		h.relayed.Add(1)
	}
}

// A reloader is a gateway under test.
type reloader interface {
	// reload has the configuration hold that admits the pages from gone on, or one that is wrong. It returns once that is decided.
	reload(gone int, wrong bool) error
	processes() int
}

// A herdReport is what became of the connections.
type herdReport struct {
	connections int
	cut         int // ended although nothing had changed for them
	offenders   int // of pages that lost their permission
	refused     int // of these: were closed with 1008
	stayed      int // of these: go on
	lost        int // connections that missed a message
	codes       map[int]int
	relayed     int64
	took        time.Duration
	processes   int
}

// run does the reloads, with a pause after each, and stops the herd.
func (h *herd) run(r reloader, pause time.Duration) herdReport {
	h.t.Helper()
	start, gone := time.Now(), 0
	for i := range herdReloads {
		wrong := i%10 == 3
		if i%10 == 7 {
			gone++
		}
		if err := r.reload(gone, wrong); (err != nil) != wrong {
			h.t.Errorf("reload %d: %v", i, err)
		}
		time.Sleep(pause)
	}
	time.Sleep(2 * h.period) // what was closed is noticed with the next message
	report := herdReport{connections: len(h.clients), codes: map[int]int{}, processes: r.processes(), took: time.Since(start)}
	close(h.stop)
	h.all.Wait()
	for _, c := range h.clients {
		offends := c.page >= 0 && c.page < gone
		if offends {
			report.offenders++
		}
		if c.lost {
			report.lost++
		}
		switch {
		case c.ended && offends && c.code == 1008:
			report.refused++
		case c.ended && !offends:
			report.cut++
			report.codes[c.code]++
		case c.ended:
			report.codes[c.code]++
		case offends:
			report.stayed++
		}
		c.conn.Close()
	}
	report.relayed = h.relayed.Load()
	return report
}

var errRejected = errors.New("rejected")

// herdOrigins lists those that are admitted.
func herdOrigins(gone int) (list string) {
	for page := gone; page < herdPages; page++ {
		list += fmt.Sprintf("%q, ", herdOrigin(page))
	}
	return list
}

// A reloadedFramegate is the gateway of this module.
type reloadedFramegate struct{ *reloading }

func (g reloadedFramegate) reload(gone int, wrong bool) error {
	text := pagesPolicy(herdOrigins(gone))
	if wrong {
		text = "version: 1\npolicies: {pages: {origin: {allowed: []}}}\n"
	}
	g.policy(text)
	switch status, body := g.post(); status {
	case 200:
		return nil
	case 422:
		return errRejected
	default:
		return fmt.Errorf("status %d, %v", status, body)
	}
}

func (g reloadedFramegate) processes() int { return 1 }

// TestRowsReloadUnderLoad is row X-10 with 200 connections.
func TestRowsReloadUnderLoad(t *testing.T) {
	t.Parallel()
	g := startReloading(t, herdOrigins(0), "")
	// What the first session and the first reload make, there is already.
	c := g.enter("other.example.com", "https://app.example.com")
	c.Close()
	if status, body := g.post(); status != 200 {
		t.Fatalf("got %d %v", status, body)
	}
	g.WaitLogs("connection", 1)
	before := g.Usage()
	checkHerd(t, newHerd(t, g.Addr, 200, 1000).run(reloadedFramegate{g}, 40*time.Millisecond))
	g.WaitUsage(before, wstest.Patience) // reloads leave no descriptor and no goroutine behind
}

// checkHerd demands that nothing was cut but what lost its permission.
func checkHerd(t *testing.T, r herdReport) {
	t.Helper()
	if r.cut > 0 || r.lost > 0 || r.stayed > 0 || r.refused != r.offenders || r.offenders == 0 || len(r.codes) > 0 {
		t.Errorf("got %+v", r)
	}
	t.Logf("%+v", r)
}
