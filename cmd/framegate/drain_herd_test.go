package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A drainHerd is connections that are amid messages, from either side, when the gateway is told to end. The messages are completed later: each
// must arrive whole, or not at all, and the Close behind it.
type drainHerd struct {
	t        *testing.T
	addr     string
	sessions []*drainSession
	running  sync.WaitGroup
}

// What a session of the herd is amid of when the signal comes.
const (
	drainIdle           = iota
	drainFrame          // half of a frame of the client
	drainMessage        // a message of the client, of which the first fragment has been relayed
	drainUpstreamFrame  // half of a large frame of the upstream, of which the gateway relays what there is
	drainUpstreamPieces // a message of the upstream in fragments
	drainBoth           // both sides
	drainKinds
	drainNever // a message of the client that will not end
)

type drainSession struct {
	kind             int
	client, upstream drainEnd
	arrived          chan struct{} // the upstream has the connection
}

// A drainEnd is one end of a session: what it sends, and what it is sent.
type drainEnd struct {
	conn    net.Conn
	r       *bufio.Reader
	masked  bool
	rest    []byte // of the message that it is amid
	message []byte // whose payload this is

	mu     sync.Mutex // held by who writes
	told   bool       // has got a Close
	begun  bool       // the rest was sent
	texts  [][]byte   // of whole messages that it got
	torn   bool       // the end came within a frame, or the Close within a message
	code   int        // 1006 where no Close came
	closed time.Time
}

// frame makes a frame as this end sends it.
func (e *drainEnd) frame(first byte, payload []byte) []byte {
	if e.masked {
		return wstest.ClientFrame(first, payload)
	}
	return wstest.ServerFrame(first, payload)
}

// amid sends the beginning of a message: half of a frame, or one of two fragments.
func (e *drainEnd) amid(payload []byte, fragments bool) error {
	e.message = payload
	wire, cut := e.frame(0x81, payload), 0
	if cut = len(wire) / 2; fragments {
		first := e.frame(0x01, payload[:len(payload)/2])
		wire, cut = append(first, e.frame(0x80, payload[len(payload)/2:])...), len(first)
	}
	e.rest = wire[cut:]
	_, err := e.conn.Write(wire[:cut])
	return err
}

// complete sends the rest, unless this end was told meanwhile that nothing more is wanted.
func (e *drainEnd) complete() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rest != nil && !e.told {
		e.begun = true
		e.conn.Write(e.rest)
	}
}

// read takes what comes until the end, and answers a Close.
func (e *drainEnd) read() {
	e.code = 1006
	var message []byte
	open := false
	for {
		f, err := wstest.ReadFrame(e.r)
		switch {
		case err != nil:
			e.torn = e.torn || open || err != io.EOF
			e.conn.Close()
			return
		case e.code != 1006:
			e.torn = true // something behind the Close
		case f.IsClose():
			e.code, _ = f.CloseCode()
			e.closed, e.torn, open = time.Now(), open, false
			e.mu.Lock()
			e.told = true
			e.conn.Write(e.frame(0x88, f.Payload))
			e.mu.Unlock()
			if !e.masked {
				e.conn.(*net.TCPConn).CloseWrite()
			}
		default:
			message = append(message, f.Payload...)
			if open = f.First&0x80 == 0; !open {
				e.texts, message = append(e.texts, message), nil
			}
		}
	}
}

// newDrainHerd starts an upstream, and connects n clients once start has made a gateway in front of it.
func newDrainHerd(t *testing.T, n int, start func(upstream string) (addr string)) *drainHerd {
	t.Helper()
	h := &drainHerd{t: t, sessions: make([]*drainSession, n)}
	for i := range h.sessions {
		h.sessions[i] = &drainSession{kind: i % drainKinds, arrived: make(chan struct{})}
		if i%100 == 99 {
			h.sessions[i].kind = drainNever
		}
	}
	h.addr = start(wstest.Serve(t, h.welcome))
	dialling := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i, s := range h.sessions {
		dialling <- struct{}{}
		all.Go(func() {
			defer func() { <-dialling }()
			if err := h.connect(i, s); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	if all.Wait(); t.Failed() {
		t.FailNow()
	}
	for i, s := range h.sessions {
		if err := s.begin(i); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		h.running.Go(s.client.read)
		h.running.Go(s.upstream.read)
	}
	return h
}

// welcome is the upstream's handshake. The path says which session it is of.
func (h *drainHerd) welcome(conn net.Conn) {
	r := bufio.NewReaderSize(conn, 512)
	req, err := http.ReadRequest(r)
	if err != nil {
		conn.Close()
		return
	}
	i, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil || i >= len(h.sessions) {
		conn.Close()
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", wstest.AcceptOf(req.Header.Get("Sec-WebSocket-Key")))
	s := h.sessions[i]
	s.upstream.conn, s.upstream.r = conn, r
	close(s.arrived)
}

// connect opens a session.
func (h *drainHerd) connect(i int, s *drainSession) error {
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		return err
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReaderSize(conn, 512)
	conn.Write(wstest.HS0(fmt.Sprintf("/%d", i)).Bytes())
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		return fmt.Errorf("%+v, %v", resp, err)
	}
	s.client.conn, s.client.r, s.client.masked = conn, r, true
	<-s.arrived
	h.t.Cleanup(func() { s.upstream.conn.Close() })
	return nil
}

// begin sends the beginning of the messages that the session will be amid of.
func (s *drainSession) begin(i int) (err error) {
	text := fmt.Appendf(nil, "message of session %d: %s", i, strings.Repeat("x", 200))
	if s.kind == drainFrame || s.kind == drainBoth {
		err = s.client.amid(text, false)
	}
	if s.kind == drainMessage || s.kind == drainNever {
		err = s.client.amid(text, true)
	}
	if err == nil && s.kind == drainUpstreamFrame {
		err = s.upstream.amid(bytes.Repeat([]byte("large frame "), 3000), false)
	}
	if err == nil && (s.kind == drainUpstreamPieces || s.kind == drainBoth) {
		err = s.upstream.amid(text, true)
	}
	if s.kind == drainNever {
		s.client.rest = nil
	}
	return err
}

// A drainReport is what became of the sessions. Those whose message never ends are counted in never alone.
type drainReport struct {
	whole, none, torn int         // messages that were under way
	codes             map[int]int // that clients saw
	upstreamCodes     map[int]int
	never             map[int]int   // codes that clients saw amid a message that does not end
	histogram         [15]int       // closes that reached clients, by tenth of the window since the gateway has begun to drain
	last              time.Duration // the last of these
	exit              time.Duration
}

// run gives the signal, completes the messages early in the window, for the gateway gives nobody more than 5 s for a small frame, and waits for all
// connections and for the process.
func (h *drainHerd) run(p *wstest.Process, window time.Duration) drainReport {
	h.t.Helper()
	start := time.Now()
	p.Signal(syscall.SIGTERM)
	for _, s := range h.sessions {
		timer := time.AfterFunc(rand.N(min(window/2, 3*time.Second)), func() {
			s.client.complete()
			s.upstream.complete()
		})
		defer timer.Stop()
	}
	if code := p.Wait(); code != 0 {
		h.t.Errorf("exit code %d, want 0", code)
	}
	report := drainReport{codes: map[int]int{}, upstreamCodes: map[int]int{}, never: map[int]int{}, exit: time.Since(start)}
	h.running.Wait()
	begin, err := time.Parse(time.RFC3339Nano, p.Logs("draining")[0]["time"].(string))
	if err != nil {
		h.t.Fatal(err)
	}
	for i, s := range h.sessions {
		if s.kind == drainNever {
			report.never[s.client.code]++
			continue
		}
		report.codes[s.client.code]++
		report.upstreamCodes[s.upstream.code]++
		if !s.client.closed.IsZero() {
			after := max(0, s.client.closed.Sub(begin))
			report.last = max(report.last, after)
			report.histogram[min(int(10*after/window), len(report.histogram)-1)]++
		}
		report.count(h.t, i, &s.client, &s.upstream)
		report.count(h.t, i, &s.upstream, &s.client)
	}
	return report
}

// count says what became of the message that from was amid of.
func (r *drainReport) count(t *testing.T, i int, from, to *drainEnd) {
	switch {
	case to.torn || len(to.texts) > 1 || len(to.texts) == 1 && !bytes.Equal(to.texts[0], from.message):
		r.torn++
		t.Errorf("session %d: Close %d, torn %t, %d messages of %d bytes", i, to.code, to.torn, len(to.texts), len(bytes.Join(to.texts, nil)))
	case from.message == nil:
	case len(to.texts) == 1:
		r.whole++
	default:
		r.none++
	}
}

// check demands what the drain promises: every message whole or not begun, 1001 for all, and closes that are spread.
func (r drainReport) check(t *testing.T, n int, window, most time.Duration) {
	t.Helper()
	t.Logf("%+v", r)
	sessions := n - n/100
	if r.codes[1001] != sessions || r.upstreamCodes[1001] != sessions {
		t.Errorf("clients saw %v, upstreams %v, want 1001 for all %d", r.codes, r.upstreamCodes, sessions)
	}
	if r.torn > 0 || r.whole == 0 {
		t.Errorf("%d messages arrived whole, %d not at all, %d in part", r.whole, r.none, r.torn)
	}
	for tenth, closes := range r.histogram[:10] {
		// The first ones wait for the messages to be completed.
		if fair := sessions / 10; tenth >= 2 && closes < fair/4 || closes > 3*fair {
			t.Errorf("%d closes in tenth %d of the window, want about %d: %v", closes, tenth, fair, r.histogram)
		}
	}
	if r.exit > most {
		t.Errorf("the process ended after %v, want at most %v", r.exit, most)
	}
}

// TestRowsDrainHerd is the experiment of make drain-bench with fewer connections.
func TestRowsDrainHerd(t *testing.T) {
	onBothDrivers(t, func(t *testing.T, driver string) { drainHerdOf(t, driver, 300, time.Second, time.Second) })
}

// TestDrainBench ends a gateway with 5,000 connections that are amid messages: make drain-bench.
func TestDrainBench(t *testing.T) {
	if os.Getenv("FRAMEGATE_DRAIN_BENCH") == "" {
		t.Skip("a measurement that needs the machine: make drain-bench")
	}
	const n, window = 5000, 10 * time.Second
	r := drainHerdOf(t, "auto", n, window, 5*time.Second)
	var table strings.Builder
	for tenth, closes := range r.histogram {
		fmt.Fprintf(&table, "%5.1f s %5d %s\n", float64(tenth)*window.Seconds()/10, closes, strings.Repeat("#", closes/10))
	}
	t.Logf("\n%s\nmessages under way: %d arrived whole, %d not at all, %d in part; clients saw %v, of messages without an end %v; last Close after %.2f s, exit after %.2f s",
		table.String(), r.whole, r.none, r.torn, r.codes, r.never, r.last.Seconds(), r.exit.Seconds())
}

func drainHerdOf(t *testing.T, driver string, n int, window, closeTimeout time.Duration) drainReport {
	t.Helper()
	var p *wstest.Process
	h := newDrainHerd(t, n, func(upstream string) string {
		p = wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}]
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [app], close_timeout: %v}]
upstreams: {app: {servers: ["ws://%s"]}}
policies: {app: {origin: {allow: ["https://app.example.com"]}}}
limits: {handshakes: 10000/s}
drain: {delay: 0s, window: %v, hard_stop: %v}
driver: %s
`, closeTimeout, upstream, window, window+4*closeTimeout, driver))
		return p.Addr
	})
	r := h.run(p, window)
	r.check(t, n, window, window+4*closeTimeout)
	return r
}
