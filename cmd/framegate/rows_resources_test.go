package main_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// between demands that something took a time within bounds.
func between(t *testing.T, what string, start time.Time, from, until time.Duration) {
	t.Helper()
	if took := time.Since(start); took < from || took > until {
		t.Errorf("%s after %v, want %v to %v", what, took.Round(time.Millisecond), from, until)
	}
}

// TestRowsSlow runs the rows that wait for the gateway's own time-outs side by side.
func TestRowsSlow(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	run("handshake", rowsSlowHandshake)
	run("frames", rowsSlowFrames)
	run("unread", rowsBackPressure)
	run("descriptors", rowsDescriptors)
	run("reply", rowsReplyTimeouts)
	run("servers", rowsSlowServers)
}

// rowsSlowHandshake are the rows: clients that take their time before they are anybody. The machine that runs the
// tests may be slow itself: each limit has two seconds more.
func rowsSlowHandshake(t *testing.T) {
	run, wait := atOnce(t)
	defer wait()
	plain := startRows(t, rowSetup{})
	sealed := startRows(t, rowSetup{certificates: "internal"})
	hello := wstest.ClientHello(t, sealed.named("app.example.com"))
	run("R-01/TCP", func(t *testing.T) {
		c := wstest.Dial(t, plain.Addr)
		c.ExpectEnd(12 * time.Second)
	})
	run("R-01/TLS", func(t *testing.T) {
		c := wstest.Dial(t, sealed.Addr)
		if rest := c.ExpectEnd(12 * time.Second); len(rest) > 7 { // an alert at most
			t.Errorf("got %x", rest)
		}
	})
	run("R-01/TLS done, no request", func(t *testing.T) {
		c := wstest.DialTLS(t, sealed.Addr, sealed.named("app.example.com"))
		c.ExpectEnd(12 * time.Second)
	})
	for name, row := range map[string]struct {
		request *wstest.Request
		every   time.Duration
	}{
		"one byte in 4 s":            {get(), 4 * time.Second},
		"ten bytes a second":         {get(), 100 * time.Millisecond},
		"one byte in 4 s, page":      {page(), 4 * time.Second},
		"ten bytes a second, page":   {page(), 100 * time.Millisecond},
		"one byte and nothing after": {get(), time.Hour},
	} {
		run("R-02/"+name, func(t *testing.T) {
			c := wstest.Dial(t, plain.Addr)
			stop, start := make(chan struct{}), time.Now()
			defer close(stop)
			go c.Dribble(row.request.Bytes(), row.every, stop)
			resp := c.Response()
			between(t, "408", start, 4*time.Second, 12*time.Second)
			if resp.Status != 408 {
				t.Errorf("got %q, want 408", resp.Line)
			}
			wstest.CheckRefusal(t, resp)
			c.ExpectEnd(2 * time.Second)
		})
	}
	run("R-02/over TLS", func(t *testing.T) {
		c := wstest.DialTLS(t, sealed.Addr, sealed.named("app.example.com"))
		stop, start := make(chan struct{}), time.Now()
		defer close(stop)
		go c.Dribble(get().Bytes(), 100*time.Millisecond, stop)
		if resp := c.Response(); resp.Status != 408 {
			t.Errorf("got %q, want 408", resp.Line)
		}
		between(t, "408", start, 4*time.Second, 12*time.Second)
	})
	run("R-02/second request of a connection", func(t *testing.T) {
		plain.up.Handle("/page/first", wstest.Page("first"))
		c := wstest.Dial(t, plain.Addr)
		c.Send(wstest.Plain("/page/first").Bytes())
		if resp := c.Response(); resp.Status != 200 {
			t.Fatalf("got %q", resp.Line)
		}
		stop, start := make(chan struct{}), time.Now()
		defer close(stop)
		go c.Dribble(page().Bytes(), 100*time.Millisecond, stop)
		c.ExpectEnd(8 * time.Second)
		between(t, "the end", start, 0, 8*time.Second)
	})
	rowsSlowBody(run, plain, sealed)
	rowsSlowProxy(run, startBehind(t, told(t), "127.0.0.1", "").Addr)
	for name, every := range map[string]time.Duration{"one byte in 4 s": 4 * time.Second, "ten bytes a second": 100 * time.Millisecond, "one byte": time.Hour} {
		run("R-03/ClientHello, "+name, func(t *testing.T) {
			c := wstest.Dial(t, sealed.Addr)
			stop := make(chan struct{})
			defer close(stop)
			go c.Dribble(hello, every, stop)
			c.ExpectEnd(12 * time.Second)
		})
	}
	run("R-03/ClientHello and then nothing", func(t *testing.T) {
		c := wstest.Dial(t, sealed.Addr)
		c.Send(hello)
		c.ExpectEnd(12 * time.Second)
	})
}

// rowsSlowBody is row R-05: a request whose body trickles has the time of any other body, whatever frames it.
func rowsSlowBody(run func(string, func(*testing.T)), plain, sealed *rowGate) {
	length := post("Content-Length: 1000")
	chunked := post("Transfer-Encoding: chunked")
	for name, row := range map[string]struct {
		request *wstest.Request
		body    string
		every   time.Duration
	}{
		"length, ten bytes a second":  {length, strings.Repeat("b", 1000), 100 * time.Millisecond},
		"length, one byte in 4 s":     {length, "bbbbbbbbb", 4 * time.Second},
		"length and nothing after":    {length, "", time.Hour},
		"chunked, ten bytes a second": {chunked, strings.Repeat("1\r\nb\r\n", 200), 100 * time.Millisecond},
		"amid the size of a chunk":    {chunked, "0", time.Hour},
	} {
		for kind, g := range map[string]*rowGate{"plain": plain, "TLS": sealed} {
			path := "/page/" + strings.ReplaceAll(name+" "+kind, " ", "-")
			run("R-05/"+name+", "+kind, func(t *testing.T) {
				g.up.Handle(path, wstest.Silent)
				c := g.dialHost(t, rowSetup{certificates: map[string]string{"plain": "off", "TLS": "internal"}[kind]}, "app.example.com")
				request := *row.request
				request.Line = "POST " + path + " HTTP/1.1"
				c.Send(request.Bytes())
				stop, start := make(chan struct{}), time.Now()
				defer close(stop)
				go c.Dribble([]byte(row.body), row.every, stop)
				c.Within = 20 * time.Second
				resp := c.Response()
				between(t, "408", start, 8*time.Second, 20*time.Second)
				if resp.Status != 408 {
					t.Errorf("got %q, want 408", resp.Line)
				}
				wstest.CheckRefusal(t, resp)
				c.ExpectEnd(3 * time.Second)
				g.up.Wait(path).WaitEnd(3 * time.Second)
			})
		}
	}
	run("R-05/an answer before the body", func(t *testing.T) {
		plain.up.Handle("/page/early", wstest.Page("early"))
		c := wstest.Dial(t, plain.Addr)
		request := post("Content-Length: 1000")
		request.Line = "POST /page/early HTTP/1.1"
		c.Send(request.Bytes())
		stop := make(chan struct{})
		defer close(stop)
		go c.Dribble([]byte(strings.Repeat("b", 1000)), 100*time.Millisecond, stop)
		if resp := c.Response(); resp.Status != 200 || string(resp.Body) != "early" {
			t.Errorf("got %q %q, want the upstream's answer", resp.Line, resp.Body)
		}
		c.ExpectEnd(20 * time.Second) // what is left of the body has no more time than a body has
	})
}

// rowsSlowFrames is row R-07 from both sides: a frame that has begun must go on.
func rowsSlowFrames(t *testing.T) {
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	rows := []struct {
		name            string
		client, trickle string // the client's bytes, and what it sends every 2 s after them
		upstream, drip  string // the same of an upstream
		until           time.Duration
	}{
		{"one byte of a header", "81", "", "81", "", 7 * time.Second},
		{"header but its last byte", "81 81 000000", "", "82 7E 01", "", 7 * time.Second},
		{"header a byte at a time", "82", "FF", "82", "7F", 7 * time.Second},
		{"payload that stalls", "82 FE 0400 M 61", "", "82 7E 0400 61", "", 12 * time.Second},
		{"payload that trickles", "82 FE 0800 M", "616263", "82 7E 0800", "616263", 12 * time.Second},
		{"ping that stalls", "89 85 M 61", "", "89 05 61", "", 12 * time.Second},
		{"Close that stalls", "88 85 M 03", "", "88 05 03", "", 12 * time.Second},
	}
	for _, row := range rows {
		run("R-07/client, "+row.name, func(t *testing.T) {
			path, stop := rowPath(t), make(chan struct{})
			defer close(stop)
			g.up.Handle(path, wstest.Accept())
			c, u := g.open(t, path)
			start := time.Now()
			go func() {
				c.Send(wstest.Hex(row.client))
				drip(wstest.Hex(row.trickle), func(b []byte) error { return c.Send(b) }, stop)
			}()
			c.Within = row.until
			f, err := c.ReadFrame()
			between(t, fmt.Sprintf("%v, %v", f, err), start, 3*time.Second, row.until)
			if err == nil && !f.IsClose() {
				t.Errorf("the client got %v, want a Close", f)
			}
			wantFrames(t, u, nil, 1001)
		})
		run("R-07/upstream, "+row.name, func(t *testing.T) {
			path, stop := rowPath(t), make(chan struct{})
			defer close(stop)
			g.up.Handle(path, func(u *wstest.Upstream) {
				u.Send(append(u.Switching(), wstest.Hex(row.upstream)...))
				drip(wstest.Hex(row.drip), u.Send, stop)
			})
			c, u := g.open(t, path)
			start := time.Now()
			c.Within = row.until
			if before, _ := c.ExpectClose(1011); len(before) > 0 {
				t.Errorf("before the Close the client got %v", before)
			}
			between(t, "the Close", start, 3*time.Second, row.until)
			u.WaitEnd(5 * time.Second)
			if frames, rest := u.Frames(); len(frames) != 1 || len(rest) != 0 || !frames[0].IsClose() {
				t.Errorf("the upstream got %v and %d more bytes, want a Close", frames, len(rest))
			}
		})
	}
	run("R-07/payload of a big frame that stalls", func(t *testing.T) {
		c, u := g.open(t, rowPath(t))
		start := time.Now()
		c.Send(wstest.Hex("82 FF 0000000000080000 M"), make([]byte, 8<<10))
		c.ExpectEnd(20 * time.Second)
		between(t, "the end", start, 3*time.Second, 20*time.Second)
		u.WaitEnd(5 * time.Second)
		if frames, _ := u.Frames(); len(frames) > 0 {
			t.Errorf("the upstream got %v", frames)
		}
	})
	run("R-07/message that is never finished", func(t *testing.T) {
		path, stop := rowPath(t), make(chan struct{})
		defer close(stop)
		g.up.Handle(path, wstest.Accept())
		c, u := g.open(t, path)
		start := time.Now()
		c.Send(wstest.Hex("01 81 M 61"))
		go drip(wstest.Hex("00 81 M 61"), func(b []byte) error { return c.Send(b) }, stop)
		c.Within = 40 * time.Second
		if f := c.Frame(); !f.IsClose() {
			t.Errorf("the client got %v, want a Close", f)
		}
		between(t, "the Close", start, 25*time.Second, 40*time.Second)
		if code, _ := u.WaitClose(5 * time.Second); code != 1001 {
			t.Errorf("the upstream got Close %d, want 1001", code)
		}
	})
}

// drip sends b every 2 s until a write fails or stop is closed.
func drip(b []byte, send func([]byte) error, stop <-chan struct{}) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for len(b) > 0 {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		if send(b) != nil {
			return
		}
	}
}

// rowsDescriptors is row R-17: with 256 descriptors the gateway backs off from accepting, keeps what it has, and recovers.
func rowsDescriptors(t *testing.T) {
	g := startRows(t, rowSetup{})
	g.LimitDescriptors(256)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range 300 {
		conn, err := net.DialTimeout("tcp", g.Addr, time.Second)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	// Until the gateway ends the first of them, for want of a request, it has nothing to do but to wait for a descriptor.
	cpu, start := g.CPU(), time.Now()
	wstest.NewClient(t, held[0]).ExpectEnd(12 * time.Second)
	if used := g.CPU() - cpu; used > time.Since(start)/4 && !wstest.RaceEnabled() {
		t.Errorf("without descriptors the gateway used %v of processor time in %v", used, time.Since(start))
	}
	for _, c := range held {
		c.Close()
	}
	c := wstest.Dial(t, g.Addr)
	c.Upgrade(hs("/ws/recovered"))
	c.Send(wstest.ClientFrame(0x81, []byte("served")))
	c.ExpectFrame(0x81, []byte("served"))
}

// TestRowsStorm is row R-13 as far as no policy limits it: hundreds of handshakes at once are served or told to come back.
func TestRowsStorm(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	g := startRows(t, rowSetup{})
	for i := range 600 {
		run(fmt.Sprintf("R-13/%d", i), func(t *testing.T) {
			c := wstest.Dial(t, g.Addr)
			c.Send(get().Bytes())
			resp := c.Response()
			switch resp.Status {
			case 101:
				c.Send(wstest.ClientFrame(0x81, []byte("served")))
				c.ExpectFrame(0x81, []byte("served"))
			case 429, 503:
				if resp.Get("Retry-After") == "" {
					t.Errorf("got %q without Retry-After", resp.Line)
				}
			default:
				t.Errorf("got %q", resp.Line)
			}
		})
	}
}

// TestRowsReset is a part of row R-18: many connects that end at random phases leave nothing behind.
func TestRowsReset(t *testing.T) { onBothDrivers(t, rowsReset) }

func rowsReset(t *testing.T, driver string) {
	g := startRows(t, rowSetup{driver: driver})
	head := append(get().Bytes(), wstest.ClientFrame(0x82, make([]byte, 200))...)
	for i := range 400 {
		c := wstest.Dial(t, g.Addr)
		c.Send(head[:i*len(head)/400])
		if i%2 == 0 {
			c.Reset()
		} else {
			c.Close()
		}
	}
}
