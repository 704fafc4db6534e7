package main_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// The rates of the policies under test. A burst is worth 4 s of the rate: no stall that is shorter costs the sender a token.
const (
	ratePerSecond = 50
	rateBurst     = 200
)

// rateActions are policies that do each what may be done at a limit, to messages of any kind and to those of an operation.
func rateActions() (names []string, policies string) {
	for _, action := range []string{"close", "drop", "delay", "reply"} {
		onLimit := action
		if action == "reply" {
			onLimit = "{reply: slower}"
		}
		names = append(names, action, "operation-"+action)
		policies += fmt.Sprintf(`
  %s: {client: {messages: {per_connection: %d/s burst %d, on_limit: %s}}}
  operation-%[1]s: {client: {operations: {from: {json: /op}, limits: {say: %d/s burst %d}, on_limit: %s}}}`,
			action, ratePerSecond, rateBurst, onLimit)
	}
	return names, policies
}

// rateGate starts a gateway with a route for each action, and others for fragments.
func rateGate(t *testing.T) (*wstest.Process, *wstest.Recorder, []string) {
	t.Helper()
	up := wstest.NewRecorder(t, wstest.Echo)
	names, policies := rateActions()
	policies += fmt.Sprintf(`
  drop-messages: {client: {messages: {per_connection: %d/s burst %d, on_limit: drop}}}
  drop-bytes: {client: {bytes: {per_connection: 2KiB/s burst 8KiB, on_limit: drop}}}
  pages: {origin: {allow: ["https://app.example.com"]}}`, ratePerSecond, rateBurst)
	var routes strings.Builder
	for _, name := range append([]string{"drop-messages", "drop-bytes"}, names...) {
		fmt.Fprintf(&routes, "\n  - {name: %s, hosts: [app.example.com], paths: [/%[1]s], upstream: app, policies: [pages, %[1]s]}", name)
	}
	p := wstest.Start(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}]
routes:%s
upstreams: {app: {servers: ["ws://%s"]}}
policies:%s
`, routes.String(), up.Addr(), policies))
	return p, up, names
}

// A rateRun is one connection whose messages are counted.
type rateRun struct {
	c       *wstest.Client
	sent    int
	begun   time.Time // before the first message was sent
	mu      sync.Mutex
	changed *sync.Cond
	first   time.Time // when the first echo had come
	ended   time.Time // when the Close, or the pong behind everything, had come
	echoes  int
	replies int
	code    int // of the Close
	err     error
}

func newRateRun(c *wstest.Client) *rateRun {
	c.Within = time.Minute
	r := &rateRun{c: c, begun: time.Now()}
	r.changed = sync.NewCond(&r.mu)
	go r.read()
	return r
}

func (r *rateRun) read() {
	for {
		f, err := r.c.ReadFrame()
		now := time.Now()
		r.mu.Lock()
		switch {
		case err != nil:
			r.err = err
		case f.IsClose():
			r.code, _ = f.CloseCode()
			r.ended = now
		case f.Opcode() == 10:
			r.ended = now
		case string(f.Payload) == "slower":
			r.replies++
		default:
			if r.echoes++; r.echoes == 1 {
				r.first = now
			}
		}
		over := r.err != nil || !r.ended.IsZero()
		r.changed.Broadcast()
		r.mu.Unlock()
		if over {
			return
		}
	}
}

// wait waits until so many echoes have come, or the end.
func (r *rateRun) wait(echoes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.echoes < echoes && r.ended.IsZero() && r.err == nil {
		r.changed.Wait()
	}
}

// send sends n messages at once.
func (r *rateRun) send(n int) {
	var b []byte
	for range n {
		b = append(b, wstest.ClientFrame(0x81, fmt.Appendf(nil, `{"op":"say","n":%d}`, r.sent))...)
		r.sent++
	}
	r.c.Send(b)
}

// play sends far more than the rate allows, and returns when the last of it was about to be sent. A rate that closes is nearly used up
// but not exceeded before; a rate that delays gets a second and a half more than its burst.
func (r *rateRun) play(action string) (last time.Time) {
	every, each, first := 20*time.Millisecond, ratePerSecond/5, 2*rateBurst
	switch action {
	case "delay":
		r.send(rateBurst + 3*ratePerSecond/2)
		r.wait(r.sent)
		return r.begun
	case "close":
		// For the gateway a message may come a moment before its time: its clock is read once in a turn of the loop.
		every, each, first = time.Second*10/9/ratePerSecond, 1, rateBurst-ratePerSecond/5
	}
	r.send(first)
	r.wait(min(first, rateBurst))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < 1200*time.Millisecond; {
		<-tick.C
		r.send(each)
	}
	last = time.Now()
	r.send(rateBurst + 100)
	if action != "close" {
		r.c.Send(wstest.ClientFrame(0x89, nil))
	}
	r.wait(1 << 30)
	return last
}

// TestRowsRatesAreExact sends messages at ten times a rate of R per second with burst B, over real connections: B + R*t of them
// are admitted within one, whatever happens to the others. The time between the first and the last decision is not known to the
// client, but bounds of it are: from the first echo to the last sending it is at least, from the first sending to the last answer
// at most. So a slow machine widens what is demanded.
func TestRowsRatesAreExact(t *testing.T) {
	t.Parallel()
	p, up, names := rateGate(t)
	run, wait := atOnce(t)
	defer wait()
	for _, name := range names {
		run(name, func(t *testing.T) {
			action := strings.TrimPrefix(name, "operation-")
			for try := 1; ; try++ {
				c := wstest.Dial(t, p.Addr)
				c.Upgrade(wstest.HS0("/" + name))
				r := newRateRun(c)
				last := r.play(action)
				c.Close()
				u := up.Conns("/" + name)[try-1]
				u.WaitEnd(wstest.Patience)
				took := r.ended.Sub(r.begun)
				if took < rateBurst/ratePerSecond*time.Second || try == 3 {
					r.judge(t, action, u, last)
					return
				}
				t.Logf("it took %v: the bucket may have been full in between", took)
			}
		})
	}
}

// judge compares what the upstream u got with what the rate allows.
func (r *rateRun) judge(t *testing.T, action string, u *wstest.Upstream, last time.Time) {
	t.Helper()
	frames, _ := u.Frames()
	got, next := 0, 0
	for _, f := range frames {
		if f.Opcode() != 1 {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(string(f.Payload), `{"op":"say","n":%d}`, &n); err != nil || n < next {
			t.Fatalf("the upstream got %.60q behind message %d", f.Payload, next-1)
		}
		got, next = got+1, n+1
	}
	if action == "delay" {
		// All of them come, none before its time: the last one that is admitted in a time t is number B + R*t.
		took := time.Since(r.begun)
		t.Logf("%d admitted in %v", got, took)
		if most := rateBurst + ratePerSecond*took.Seconds() + 1; got != r.sent || float64(got) > most || r.replies > 0 || r.code != 0 {
			t.Errorf("%d of %d messages in %v, %d replies, close code %d; want all, and at most %.1f in that time", got, r.sent, took, r.replies, r.code, most)
		}
		return
	}
	least := rateBurst + ratePerSecond*last.Sub(r.first).Seconds() - 1
	if r.ended.Sub(r.begun) > rateBurst/ratePerSecond*time.Second {
		least = 0 // not to be known
	}
	most := rateBurst + ratePerSecond*r.ended.Sub(r.begun).Seconds() + 1
	t.Logf("%d of %d admitted, between %.1f and %.1f", got, r.sent, least, most)
	if float64(got) < least || float64(got) > most {
		t.Errorf("%d of %d messages were admitted, want %.1f to %.1f", got, r.sent, least, most)
	}
	wantCode, wantReplies := 0, 0
	switch action {
	case "close":
		wantCode = 1008
	case "reply":
		wantReplies = r.sent - got
	}
	if r.code != wantCode || r.replies != wantReplies || r.err != nil {
		t.Errorf("close code %d, %d replies, %v; want %d and %d", r.code, r.replies, r.err, wantCode, wantReplies)
	}
}

// TestRowsDropWholeMessages sends fragmented messages through rates that drop, with control frames between the fragments: what
// the upstream gets is whole messages.
func TestRowsDropWholeMessages(t *testing.T) {
	t.Parallel()
	p, up, _ := rateGate(t)
	run, wait := atOnce(t)
	defer wait()
	for _, name := range []string{"drop-messages", "drop-bytes"} {
		run(name, func(t *testing.T) {
			c := wstest.Dial(t, p.Addr)
			c.Upgrade(wstest.HS0("/" + name))
			const total = 800
			var sent []byte
			for n := range total {
				part := fmt.Appendf(nil, "%03d%s", n, strings.Repeat("x", 20))
				sent = append(sent, wstest.ClientFrame(0x01, part)...)
				if n%100 == 50 {
					sent = append(sent, wstest.ClientFrame(0x89, part)...)
				}
				sent = append(sent, wstest.ClientFrame(0x00, part)...)
				sent = append(sent, wstest.ClientFrame(0x80, part)...)
			}
			c.Chop(sent[:len(sent)/2], 1000)
			c.Send(sent[len(sent)/2:], wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
			u := up.Wait("/" + name)
			u.WaitClose(wstest.Patience)
			frames, _ := u.Frames()
			whole, pings, open := 0, 0, []byte(nil)
			for _, f := range frames {
				switch {
				case f.Opcode() == 9:
					pings++
				case f.Opcode() > 2:
				case (f.First == 0x01) != (open == nil), open != nil && !bytes.Equal(open, f.Payload):
					t.Fatalf("%v %.10q amid message %.10q", f, f.Payload, open)
				case f.First == 0x80:
					whole, open = whole+1, nil
				default:
					open = f.Payload
				}
			}
			t.Logf("%d of %d messages, %d pings", whole, total, pings)
			if whole == 0 || whole == total || open != nil || pings != 8 {
				t.Errorf("%d of %d messages, %d pings, amid one %.10q", whole, total, pings, open)
			}
		})
	}
}
