package main_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// quickPings has a silent side pinged after a second, and dead a second later.
const quickPings = ", ping_interval: 1s, pong_timeout: 1s"

// farRecorder starts an echo at the far end of a new link.
func farRecorder(t *testing.T) (*wstest.Link, *wstest.Recorder) {
	t.Helper()
	l := wstest.NewLink(t)
	return l, wstest.NewRecorderOn(t, l.Listen(), wstest.Echo)
}

// TestRowsNetwork has the gateway and its servers in network namespaces of their own, with wires between them that are cut or lose packets.
func TestRowsNetwork(t *testing.T) {
	t.Parallel()
	if !wstest.InNamespace(t) {
		return
	}
	run, wait := atOnce(t)
	defer wait()
	run("half-open/server gone without a word", halfOpenSilent)
	run("half-open/server started anew", halfOpenReset)
	run("loss/5 percent", lossy)
	run("partition/short", shortPartition)
	run("partition/with checks", checkedPartition)
	run("partition/without checks", uncheckedPartition)
}

// halfOpenSilent cuts the wire: nobody says that the server has gone. The client learns it once a pong is due, and what the gateway held is free.
func halfOpenSilent(t *testing.T) {
	l, up := farRecorder(t)
	p := startPoolWith(t, urlsOf(up), "", quickPings)
	sessionsAt(t, p, "/ws/warm", 1, up)
	wstest.Guard(t, p)
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(hs("/ws/lost"))
	c.Send(wstest.ClientFrame(0x81, []byte("here?")))
	c.ExpectFrame(0x81, []byte("here?"))
	start := time.Now()
	l.Cut(true)
	answering(t, c, 1001)
	between(t, "the Close", start, time.Second, 10*time.Second)
	c.Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1001, "")))
	c.ExpectEnd(10 * time.Second)
	l.Cut(false)
	if got := sessionsAt(t, p, "/ws/again", 1, up); got[0] != 1 {
		t.Error("no session once the wire is whole")
	}
}

// answering waits for a Close, and answers pings meanwhile as clients do.
func answering(t *testing.T, c *wstest.Client, code int) {
	t.Helper()
	for {
		f := c.Frame()
		switch {
		case f.IsClose():
			if got, _ := f.CloseCode(); got != code {
				t.Errorf("got Close %d, want %d", got, code)
			}
			return
		case f.Opcode() == 9:
			c.Send(wstest.ClientFrame(0x8a, f.Payload))
		}
	}
}

// halfOpenReset has the server forget its connections while the wire is cut, as one that is started anew does: the next packet is answered by a
// reset, and the client is told at once.
func halfOpenReset(t *testing.T) {
	l, up := farRecorder(t)
	p := startPool(t, urlsOf(up))
	c := wstest.Dial(t, p.Addr)
	c.Upgrade(hs("/ws/lost"))
	u := up.Wait("/ws/lost")
	l.Cut(true)
	u.Reset() // of which nothing gets through
	l.Cut(false)
	start := time.Now()
	c.Send(wstest.ClientFrame(0x81, []byte("here?")))
	c.ExpectClose(1011)
	between(t, "the Close", start, 0, 10*time.Second)
}

// lossy loses one packet in twenty: every message arrives, once and in order, and checks do not take the server for dead.
func lossy(t *testing.T) {
	l, up := farRecorder(t)
	p := startPool(t, urlsOf(up)+", health: {websocket: {path: /check}, interval: 200ms, timeout: 5s}")
	l.Lose(50)
	for i := range 12 {
		c := wstest.Dial(t, p.Addr)
		c.Upgrade(hs(fmt.Sprint("/ws/", i)))
		wstest.NewVictim(t, c)
	}
	before := l.Lost()
	time.Sleep(3 * time.Second) // of traffic
	if n := l.Lost() - before; n < 20 {
		t.Errorf("%d packets lost, which shows nothing", n)
	}
	if lines := p.Logs("server state"); slices.ContainsFunc(lines, func(line map[string]any) bool { return line["state"] != "up" }) {
		t.Errorf("the server was taken for dead: %v", lines)
	}
	l.Lose(0) // the victims' last echoes
}

// shortPartition cuts the wire for less time than a pong may take: sessions live on and lose nothing.
func shortPartition(t *testing.T) {
	l, up := farRecorder(t)
	p := startPool(t, urlsOf(up))
	for i := range 4 {
		c := wstest.Dial(t, p.Addr)
		c.Upgrade(hs(fmt.Sprint("/ws/", i)))
		wstest.NewVictim(t, c)
	}
	l.Cut(true)
	time.Sleep(time.Second) // of silence
	l.Cut(false)
}

// checkedPartition cuts one of two servers off: its checks find out, new sessions go to the other one at once, and come back with it.
func checkedPartition(t *testing.T) {
	_, a := farRecorder(t)
	cut, b := farRecorder(t)
	p := startPoolWith(t, urlsOf(a, b)+", health: {websocket: {path: /check}, interval: 200ms, timeout: 2s, unhealthy: 1}", "", quickPings)
	waitState(t, p, a.Addr(), "up")
	waitState(t, p, b.Addr(), "up")
	lost := wstest.Dial(t, p.Addr)
	for lost.Upgrade(hs("/ws/lost")); len(b.Conns("/ws/lost")) == 0; lost.Upgrade(hs("/ws/lost")) {
		lost = wstest.Dial(t, p.Addr)
	}
	cut.Cut(true)
	waitState(t, p, b.Addr(), "down")
	start := time.Now()
	if got := sessionsAt(t, p, "/ws/cut", 6, a); got[0] != 6 {
		t.Errorf("%d of 6 sessions at the server that is left", got[0])
	}
	between(t, "six sessions", start, 0, 3*time.Second) // no one waits for the server that is cut off
	answering(t, lost, 1001)
	cut.Cut(false)
	waitState(t, p, b.Addr(), "up")
	if got := sessionsAt(t, p, "/ws/whole", 6, a, b); !slices.Equal(got, []int{3, 3}) {
		t.Errorf("sessions once the wire is whole: %v, want 3 at each", got)
	}
}

// uncheckedPartition is the same without checks: some clients wait for the connection that does not come about, all of them get their session,
// and then nobody waits any more.
func uncheckedPartition(t *testing.T) {
	_, a := farRecorder(t)
	cut, b := farRecorder(t)
	p := startPool(t, urlsOf(a, b))
	cut.Cut(true)
	var sessions sync.WaitGroup
	for i := range 6 {
		c := wstest.Dial(t, p.Addr)
		c.Send(hs(fmt.Sprint("/ws/", i)).Bytes())
		sessions.Go(func() {
			if resp, err := c.ReadHead(); err != nil || resp.Status != 101 {
				t.Errorf("session %d: %v, %v", i, resp, err)
			}
		})
	}
	sessions.Wait()
	waitState(t, p, b.Addr(), "ejected")
	start := time.Now()
	if got := sessionsAt(t, p, "/ws/cut", 6, a); got[0] != 6 {
		t.Errorf("%d of 6 sessions at the server that is left", got[0])
	}
	between(t, "six sessions", start, 0, 2500*time.Millisecond)
}
