package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// handshakeOf is HS0 for a path, without an Origin, whose head has exactly the given size.
func handshakeOf(t *testing.T, path string, size int) *wstest.Request {
	t.Helper()
	r := wstest.HS0(path).Without("Origin")
	for size-len(r.Bytes()) > 5000 {
		r.Add("X-Padding: " + strings.Repeat("p", 4000))
	}
	if missing := size - len(r.Bytes()) - len("X-Rest: \r\n"); missing >= 0 {
		r.Add("X-Rest: " + strings.Repeat("r", missing))
	}
	if got := len(r.Bytes()); size > 0 && got != size {
		t.Fatalf("the head has %d bytes, want %d", got, size)
	}
	return r
}

// numbered are text frames of a client whose payloads say which one each is, of about the given size in all.
func numbered(size int) (b []byte, frames [][]byte) {
	for i := 0; len(b) < size; i++ {
		f := wstest.ClientFrame(0x81, fmt.Appendf(nil, "early %d", i))
		frames = append(frames, f)
		b = append(b, f...)
	}
	return b, frames
}

// wantUpstream demands that an upstream got exactly these frames.
func wantUpstream(t *testing.T, u *wstest.Upstream, want [][]byte) {
	t.Helper()
	u.WaitFrames(len(want))
	if body := u.Body(); !bytes.Equal(body, bytes.Join(want, nil)) {
		t.Errorf("the upstream got %d bytes %.60x..., want %d bytes %.60x...", len(body), body, len(bytes.Join(want, nil)), bytes.Join(want, nil))
	}
}

// What a client sends behind its handshake may be in three places when the gateway takes the connection over: in net/http's buffer,
// in headConn's, in the kernel. It arrives in order and once from all of them, wherever the reads have cut it.
func TestUpgradeDeliversEarlyBytes(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { testEarlyBytes(t, driver) })
	}
}

func testEarlyBytes(t *testing.T, driver string) {
	up := wstest.NewRecorder(t, wstest.Accept())
	g := startGateway(t, oneRoute("ws://"+up.Addr(), "")+driver)
	const buffer = 4096 // of net/http's reader
	for _, head := range []int{300, buffer - 1, buffer, buffer + 1, 2*buffer - 1, 2 * buffer, 2*buffer + 1, 16000} {
		for _, size := range []int{1, 200, buffer - 300, maxEarly - 20} {
			for _, chop := range []int{1 << 20, buffer, 1000} {
				t.Run(fmt.Sprintf("head %d, early %d, chop %d", head, size, chop), func(t *testing.T) {
					t.Parallel()
					path := fmt.Sprintf("/%d/%d/%d", head, size, chop)
					r := handshakeOf(t, path, head)
					early, frames := numbered(size)
					c := wstest.Dial(t, g.addr)
					c.Chop(append(r.Bytes(), early...), chop)
					c.Accepted(r)
					late := wstest.ClientFrame(0x81, []byte("late"))
					c.Send(late)
					wantUpstream(t, up.Wait(path), append(frames, late))
				})
			}
		}
	}
}

// The bytes that come while the upstream thinks about the handshake are no different, and the upstream sees none before its 101.
func TestUpgradeHoldsEarlyBytesUntilThe101(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	up := wstest.NewRecorder(t, func(u *wstest.Upstream) {
		<-proceed
		u.Accept()
	})
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	r := handshakeOf(t, "/", 0)
	early, frames := numbered(300)
	c := wstest.Dial(t, g.addr)
	c.Send(r.Bytes(), early[:7])
	u := up.Wait("/")
	c.Chop(early[7:], 1) // one of these bytes is what net/http reads to learn whether the client is there
	if body := u.Body(); len(body) > 0 {
		t.Errorf("before its 101 the upstream got %q", body)
	}
	close(proceed)
	c.Accepted(r)
	wantUpstream(t, u, frames)
}

// More early bytes than are held are refused, and nothing of them is taken for a request.
func TestUpgradeRefusesManyEarlyBytes(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Accept())
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	for _, size := range []int{maxEarly + 1, 18 << 10, 200 << 10} {
		c := wstest.Dial(t, g.addr)
		r := handshakeOf(t, "/", 300)
		smuggled := bytes.Repeat([]byte("GET /smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"), size)
		c.Send(r.Bytes(), smuggled[:size])
		resp := c.Response()
		if resp.Status != http.StatusBadRequest {
			t.Errorf("%d early bytes: got %q, want 400", size, resp.Line)
		}
		wstest.CheckRefusal(t, resp)
		if rest := c.ExpectEnd(wstest.Patience); len(rest) > 0 {
			t.Errorf("%d early bytes: behind the refusal came %q", size, rest)
		}
	}
	if n := up.Dials(); n > 0 {
		t.Errorf("%d upstream connections for refused handshakes", n)
	}
}

// What the upstream sends in the segment of its 101 comes first to the client.
func TestUpgradeDeliversTheUpstreamsEarlyBytes(t *testing.T) {
	t.Parallel()
	first, second := wstest.ServerFrame(0x81, []byte("welcome")), wstest.ServerFrame(0x81, []byte("second"))
	up := wstest.NewRecorder(t, wstest.AcceptAnd(slices.Concat(first, second[:3])))
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c := wstest.Dial(t, g.addr)
	c.Upgrade(handshakeOf(t, "/", 0))
	c.ExpectFrame(0x81, []byte("welcome"))
	up.Wait("/").Send(second[3:])
	c.ExpectFrame(0x81, []byte("second"))
}

// A client that leaves during the handshake takes its upstream connection with it.
func TestUpgradeEndsWithItsClient(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c := wstest.Dial(t, g.addr)
	c.Send(handshakeOf(t, "/", 0).Bytes())
	u := up.Wait("/")
	c.Close()
	u.WaitEnd(replyTimeout / 2)
	if body := u.Body(); len(body) > 0 {
		t.Errorf("the upstream got %q", body)
	}
	waitFor(t, "the refusal in the log", func() bool { return len(g.log.lines(t, "refused")) == 1 })
	if line := g.log.lines(t, "refused")[0]; line["result"] != resultClientGone {
		t.Errorf("the log says %v, want the result %s", line, resultClientGone)
	}
}

// The answer of an upstream that refuses passes, less what belongs to its connection.
func TestUpgradeRelaysRefusals(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	answer := func(body string, head ...string) wstest.Behaviour {
		return wstest.Then(wstest.Send(append(wstest.Head(head[0], head[1:]...), body...)), wstest.Hangup)
	}
	for path, row := range map[string]struct {
		upstream wstest.Behaviour
		status   int
		body     string
		absent   string
	}{
		"/length":   {answer("no", "HTTP/1.1 403 Forbidden", "Content-Length: 2", "Keep-Alive: timeout=5", "Connection: keep-alive"), 403, "no", "Keep-Alive"},
		"/chunked":  {answer("2\r\nno\r\n0\r\n\r\n", "HTTP/1.1 401 Unauthorized", "Transfer-Encoding: chunked", "Sec-WebSocket-Protocol: x"), 401, "no", "Sec-WebSocket-Protocol"},
		"/end":      {answer("until the end", "HTTP/1.1 404 Not Found", "Connection: X-Hop", "X-Hop: 1"), 404, "until the end", "X-Hop"},
		"/old":      {answer("old", "HTTP/1.0 503 Busy"), 503, "old", "X"},
		"/empty":    {answer("", "HTTP/1.1 204 No Content"), 204, "", "Content-Length"},
		"/ok":       {answer("a page", "HTTP/1.1 200 OK", "Content-Length: 6"), 200, "a page", "X"},
		"/cut":      {answer("cut", "HTTP/1.1 500 Oops", "Content-Length: 300"), 500, "cut", "X"},
		"/no chunk": {answer("zz", "HTTP/1.1 400 Bad", "Transfer-Encoding: chunked"), 400, "", "X"},
		"/large":    {answer(strings.Repeat("x", 2*maxRefusalBody), "HTTP/1.1 403 Forbidden"), 403, strings.Repeat("x", maxRefusalBody), "X"},
	} {
		path = strings.ReplaceAll(path, " ", "-")
		up.Handle(path, row.upstream)
		c := wstest.Dial(t, g.addr)
		c.Send(handshakeOf(t, path, 0).Bytes())
		resp := c.Response()
		if resp.Status != row.status || string(resp.Body) != row.body || !strings.EqualFold(resp.Get("Connection"), "close") {
			t.Errorf("%s: got %q %q with a body %.40q of %d bytes, want %d %.40q", path, resp.Line, resp.Fields, resp.Body, len(resp.Body), row.status, row.body)
		}
		if resp.Get(row.absent) != "" {
			t.Errorf("%s: %s was relayed", path, row.absent)
		}
		c.ExpectEnd(wstest.Patience)
	}
}
