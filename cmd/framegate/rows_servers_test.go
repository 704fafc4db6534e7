package main_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// farm is several upstream servers.
type farm []*wstest.Recorder

func newFarm(t *testing.T, n int, b wstest.Behaviour) (f farm) {
	for range n {
		r := wstest.NewRecorder(t, b)
		r.Handle("/page", wstest.Page("page"))
		f = append(f, r)
	}
	return f
}

// urls is the beginning of an upstream's section.
func (f farm) urls(more ...string) string {
	list := make([]string, 0, len(f)+len(more))
	for _, r := range f {
		list = append(list, `"ws://`+r.Addr()+`"`)
	}
	for _, addr := range more {
		list = append(list, `"ws://`+addr+`"`)
	}
	return "servers: [" + strings.Join(list, ", ") + "]"
}

func (f farm) dials() (n []int) {
	for _, r := range f {
		n = append(n, r.Dials())
	}
	return n
}

// home returns the one server that has got connections since before, or -1.
func (f farm) home(before []int) int {
	at := -1
	for i, r := range f {
		if r.Dials() > before[i] && at >= 0 {
			return -1
		} else if r.Dials() > before[i] {
			at = i
		}
	}
	return at
}

const stickyRow = ", sticky: {cookie: {key: S3CRET-sticky-key-of-more-than-32-characters}}"

// ask makes a handshake with a Cookie field and returns the answer's head.
func (g *rowGate) ask(t *testing.T, request *wstest.Request, cookies ...string) *wstest.Response {
	t.Helper()
	c := wstest.Dial(t, g.Addr)
	defer c.Close()
	for _, cookie := range cookies {
		request.Add("Cookie: " + cookie)
	}
	c.Send(request.Bytes())
	return c.Head()
}

// given is the cookie that an answer sets, without its attributes.
func given(resp *wstest.Response) string {
	cookie, _, _ := strings.Cut(resp.Get("Set-Cookie"), ";")
	return cookie
}

// TestRowsSticky is row R-16: what is no good cookie is a new pick within the pool, with a new cookie, and never an error.
func TestRowsSticky(t *testing.T) {
	t.Parallel()
	servers := newFarm(t, 3, wstest.Echo)
	g := startRows(t, rowSetup{servers: servers.urls() + stickyRow})
	good := given(g.ask(t, hs("/ws")))
	if len(good) != len("__Host-fg=")+22 || strings.Contains(good, "127") {
		t.Fatalf("got the cookie %q", good)
	}
	flip := func(at int) string {
		b := []byte(good)
		b[at] ^= 1
		return string(b)
	}
	foreign := startRows(t, rowSetup{servers: newFarm(t, 1, wstest.Echo).urls() + stickyRow, noVictim: true})
	for name, cookies := range map[string][]string{
		"first bit": {flip(10)}, "last bits": {flip(len(good) - 2)}, "foreign": {given(foreign.ask(t, hs("/ws")))}, "4 KiB": {"__Host-fg=" + strings.Repeat("x", 4096)},
		"twice": {good + "; " + good}, "twice, one bad": {good, flip(12)}, "two fields": {good, good}, "empty": {"__Host-fg="}, "no value": {"__Host-fg"},
		"bytes": {"__Host-fg=\x80\xff\"\\"}, "an address": {"__Host-fg=169.254.169.254:80"}, "a path": {"__Host-fg=../../../x"},
	} {
		t.Run("R-16/"+name, func(t *testing.T) {
			before := servers.dials()
			for _, request := range []*wstest.Request{hs("/ws").Without("Cookie"), wstest.HS0("/page").Without("Origin"), wstest.Plain("/page")} {
				for range 3 {
					resp := g.ask(t, &wstest.Request{Line: request.Line, Fields: append([]string(nil), request.Fields...)}, cookies...)
					if resp.Status != 101 && resp.Status != 200 || given(resp) == "" {
						t.Errorf("%s: got %q and the cookie %q, want an answer and a new cookie", request.Line, resp.Line, given(resp))
					}
				}
			}
			if got := servers.dials(); got[0]-before[0] != 3 || got[1]-before[1] != 3 || got[2]-before[2] != 3 {
				t.Errorf("the servers got connections from %v to %v, want three turns", before, got)
			}
		})
	}
	t.Run("R-16/good", func(t *testing.T) {
		before := servers.dials()
		for range 4 {
			if resp := g.ask(t, hs("/ws").Without("Cookie"), good); resp.Status != 101 || given(resp) != "" {
				t.Errorf("got %q and the cookie %q", resp.Line, given(resp))
			}
		}
		if servers.home(before) < 0 {
			t.Errorf("the servers got connections from %v to %v, want one server", before, servers.dials())
		}
	})
	for _, r := range servers {
		for _, u := range r.Conns("") {
			if strings.Contains(string(u.All()), "__Host-fg") {
				t.Errorf("a server was sent the gateway's cookie")
			}
		}
	}
}

// TestRowsStickyRestart is the part of row X-09 about cookies: those of a gateway that was killed hold after its restart, also with the key that
// it has made itself, and at a second gateway with the same secret.
func TestRowsStickyRestart(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"secret": stickyRow, "own key": ", sticky: {cookie: {}}"} {
		t.Run("X-09/"+name, func(t *testing.T) {
			servers := newFarm(t, 3, wstest.Echo)
			g := startRows(t, rowSetup{servers: servers.urls() + key, noVictim: true, unguarded: true})
			cookies := map[string]int{}
			for range 3 {
				before := servers.dials()
				cookies[given(g.ask(t, hs("/ws")))] = servers.home(before)
			}
			g.Signal(syscall.SIGKILL)
			g.Wait()
			again := startRows(t, rowSetup{servers: servers.urls() + key, noVictim: true, extra: "tls: {storage: {file: " + g.Storage + "}}"})
			for cookie, home := range cookies {
				before := servers.dials()
				if resp := again.ask(t, hs("/ws").Without("Cookie"), cookie); resp.Status != 101 || given(resp) != "" || servers.home(before) != home {
					t.Errorf("after the restart: %q with the cookie %q at server %d, want server %d", resp.Line, given(resp), servers.home(before), home)
				}
			}
			if len(cookies) != 3 {
				t.Errorf("%d cookies for three servers", len(cookies))
			}
		})
	}
}

// TestRowsFailover is what a client sees of servers that fail while it has seen nothing: an answer from the next one.
func TestRowsFailover(t *testing.T) {
	t.Parallel()
	run, wait := atOnce(t)
	defer wait()
	for name, bad := range map[string]wstest.Behaviour{
		"hangs up": wstest.Hangup, "resets": wstest.Abort, "wrong accept": wstest.Send([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")),
		"subprotocol that nobody has offered": wstest.Accept("Sec-WebSocket-Protocol: x"), "no HTTP": wstest.Send([]byte("220 mail\r\n\r\n")),
	} {
		run("failover/"+name, func(t *testing.T) {
			good, failing := wstest.NewRecorder(t, wstest.Echo), wstest.NewRecorder(t, bad)
			g := startRows(t, rowSetup{servers: farm{failing, good}.urls(), noVictim: true})
			for i := range 2 {
				c := wstest.Dial(t, g.Addr)
				c.Upgrade(hs("/ws"))
				c.Send(wstest.ClientFrame(0x81, []byte("hello")))
				c.ExpectFrame(0x81, []byte("hello"))
				c.Close()
				if got := good.Dials(); got != i+1 {
					t.Errorf("%d connections at the good server", got)
				}
			}
			if failing.Dials() == 0 {
				t.Error("the failing server was never asked")
			}
			for _, u := range failing.Conns("") {
				if body := u.Body(); len(body) > 0 {
					t.Errorf("the failing server got bytes of the client: %q", body)
				}
			}
		})
	}
	run("failover/refusal is relayed", func(t *testing.T) {
		no, good := wstest.NewRecorder(t, wstest.Page("no")), wstest.NewRecorder(t, wstest.Echo)
		g := startRows(t, rowSetup{servers: farm{no, good}.urls(), noVictim: true})
		if resp := g.ask(t, hs("/ws")); resp.Status != 200 || good.Dials() != 0 {
			t.Errorf("got %q, and %d connections to the next server", resp.Line, good.Dials())
		}
	})
	run("caps", func(t *testing.T) {
		servers := newFarm(t, 2, wstest.Echo)
		g := startRows(t, rowSetup{noVictim: true, servers: fmt.Sprintf(`servers: [{url: "ws://%s", max_connections: 2}, {url: "ws://%s", max_connections: 3}]`, servers[0].Addr(), servers[1].Addr())})
		var open []*wstest.Client
		for range 5 {
			c := wstest.Dial(t, g.Addr)
			c.Upgrade(hs("/ws"))
			open = append(open, c)
		}
		if d := servers.dials(); d[0] != 2 || d[1] != 3 {
			t.Errorf("the servers got %v connections, want their caps", d)
		}
		waits := map[string]bool{}
		for range 12 {
			c := wstest.Dial(t, g.Addr)
			c.Send(hs("/ws").Bytes())
			resp := c.Response()
			wstest.CheckRefusal(t, resp)
			seconds, err := strconv.Atoi(resp.Get("Retry-After"))
			if resp.Status != http.StatusServiceUnavailable || err != nil || seconds < 1 || seconds > 10 {
				t.Errorf("got %q, Retry-After: %s", resp.Line, resp.Get("Retry-After"))
			}
			waits[resp.Get("Retry-After")] = true
			c.Close()
		}
		if len(waits) < 2 {
			t.Errorf("all are told to come back at once: %v", waits)
		}
		open[0].Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		open[0].ExpectClose(1000)
		open[0].Close()
		live := func() (n float64) {
			for series, value := range g.Metrics() {
				if strings.HasPrefix(series, "framegate_upstream_connections{") && strings.Contains(series, `upstream="rows"`) {
					n += value
				}
			}
			return n
		}
		for deadline := time.Now().Add(wstest.Patience); live() != 4 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		c := wstest.Dial(t, g.Addr)
		c.Upgrade(hs("/ws"))
		if got := g.Metrics()[`framegate_handshakes_total{result="upstream_full",route="rows"}`]; got != 12 {
			t.Errorf("%v refusals are counted, want 12", got)
		}
	})
}

// rowsSlowServers are rows about servers that let the gateway wait: each has its time, and all together have 15 s.
func rowsSlowServers(t *testing.T) {
	run, wait := atOnce(t)
	defer wait()
	hole := wstest.BlackHole(t)
	run("failover/a server that does not take connections", func(t *testing.T) {
		good := newFarm(t, 1, wstest.Echo)
		g := startRows(t, rowSetup{servers: strings.Replace(good.urls(), "[", `["ws://`+hole+`", `, 1), noVictim: true})
		start := time.Now()
		if resp := g.ask(t, hs("/ws")); resp.Status != 101 {
			t.Errorf("got %q", resp.Line)
		}
		between(t, "the answer of the next server", start, 3*time.Second, 5*time.Second)
	})
	run("failover/silent servers", func(t *testing.T) {
		servers := newFarm(t, 3, wstest.Silent)
		g := startRows(t, rowSetup{servers: servers.urls(), noVictim: true})
		start := time.Now()
		c := wstest.Dial(t, g.Addr)
		c.Within = 15 * time.Second
		c.Send(hs("/ws").Bytes())
		if resp := c.Response(); resp.Status != 502 {
			t.Errorf("got %q, want 502", resp.Line)
		}
		between(t, "the refusal after two servers", start, 10*time.Second, 12*time.Second)
		if d := servers.dials(); d[0]+d[1]+d[2] != 2 {
			t.Errorf("the servers got %v connections, want two in all", d)
		}
	})
	run("failover/15 s in all", func(t *testing.T) {
		holes := farm{}.urls(hole, wstest.BlackHole(t), wstest.BlackHole(t), wstest.BlackHole(t), wstest.BlackHole(t), wstest.BlackHole(t), wstest.BlackHole(t))
		g := startRows(t, rowSetup{servers: holes, noVictim: true})
		start := time.Now()
		c := wstest.Dial(t, g.Addr)
		c.Within = 20 * time.Second
		c.Send(hs("/ws").Bytes())
		resp := c.Response()
		if resp.Status != 502 {
			t.Errorf("got %q, want 502", resp.Line)
		}
		wstest.CheckRefusal(t, resp)
		between(t, "the refusal", start, 14*time.Second, 17*time.Second)
	})
}
