package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
)

// refusedPort is an address at which nobody listens.
const refusedPort = "ws://127.0.0.1:9"

// severalServers is a configuration with these servers in one upstream.
func severalServers(servers ...string) string {
	return strings.Replace(oneRoute("X", ""), `"X"`, `"`+strings.Join(servers, `", "`)+`"`, 1)
}

// A server that cannot be reached costs nothing but time: the next one is asked.
func TestDialTakesTheNextServer(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, severalServers(refusedPort, "ws://"+up.Addr(), "ws://127.0.0.1:10"))
	for i := range 6 { // each server is the first choice twice
		c, _ := g.open(t, up, fmt.Sprintf("/%d", i))
		c.Close()
	}
	if n := up.Dials(); n != 6 {
		t.Errorf("%d connections for 6 sessions", n)
	}
}

// A server that gives no answer, or one that is none, leaves the client waiting, who has seen nothing yet: one more server is asked, and no
// third one.
func TestDialAsksTwice(t *testing.T) {
	t.Parallel()
	bad := func() *wstest.Recorder { return wstest.NewRecorder(t, wstest.Hangup) }
	wrong := func() *wstest.Recorder {
		return wstest.NewRecorder(t, wstest.Accept("Sec-WebSocket-Protocol: unasked"))
	}
	echo := func() *wstest.Recorder { return wstest.NewRecorder(t, wstest.Echo) }
	for _, row := range []struct {
		servers []*wstest.Recorder
		status  int
		dials   []int
	}{
		{[]*wstest.Recorder{bad(), echo()}, 101, []int{1, 1}},
		{[]*wstest.Recorder{wrong(), echo()}, 101, []int{1, 1}},
		{[]*wstest.Recorder{bad(), wrong(), echo()}, 502, []int{1, 1, 0}},
		{[]*wstest.Recorder{wstest.NewRecorder(t, wstest.Page("no")), echo()}, 200, []int{1, 0}},
	} {
		var urls []string
		for _, r := range row.servers {
			urls = append(urls, "ws://"+r.Addr())
		}
		g := startGateway(t, severalServers(urls...))
		c := wstest.Dial(t, g.addr)
		c.Send(handshakeOf(t, "/", 0).Bytes())
		if resp := c.Head(); resp.Status != row.status {
			t.Errorf("got %d, want %d", resp.Status, row.status)
		}
		for i, r := range row.servers {
			if r.Dials() != row.dials[i] {
				t.Errorf("status %d: server %d has had %d connections, want %d", row.status, i, r.Dials(), row.dials[i])
			}
		}
		c.Close()
	}
}

func TestDialWithNobodyThere(t *testing.T) {
	t.Parallel()
	g := startGateway(t, severalServers(refusedPort, "ws://127.0.0.1:10"))
	c := wstest.Dial(t, g.addr)
	c.Send(handshakeOf(t, "/", 0).Bytes())
	resp := c.Response()
	if resp.Status != http.StatusBadGateway || !strings.Contains(string(resp.Body), reasonNoUpstream) {
		t.Errorf("got %q %q", resp.Line, resp.Body)
	}
	wstest.CheckRefusal(t, resp)
	line := g.log.lines(t, "refused")[0]
	if detail, _ := line["detail"].(string); !strings.Contains(detail, "127.0.0.1:") || line["result"] != resultNoUpstream {
		t.Errorf("the log says %v, want the address that was tried", line)
	}
}

// The answer of an upstream may come in any pieces, behind a few interim ones.
func TestDialReadsAnswers(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	interim := func(n int) string { return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", n) }
	for path, row := range map[string]struct {
		before, lines string // ahead of the 101, and in it
		chop, status  int
	}{
		"/whole":       {"", "", 1 << 20, 101},
		"/bytes":       {interim(1), "X-Own: 1\r\n", 1, 101},
		"/five":        {interim(5), "", 1 << 20, 101},
		"/six":         {interim(6), "", 1 << 20, 502},
		"/long":        {"", "X-Long: " + strings.Repeat("x", 8000) + "\r\nX-More: " + strings.Repeat("x", 8000) + "\r\n", 1000, 101},
		"/longer":      {"", strings.Repeat("X-Long: "+strings.Repeat("x", 8000)+"\r\n", 3), 1000, 502},
		"/garbage":     {"SSH-2.0\r\n", "", 1 << 20, 502},
		"/accept":      {"", "Sec-WebSocket-Accept: x\r\n", 1 << 20, 502},
		"/subprotocol": {"", "Sec-WebSocket-Protocol: unasked\r\n", 1 << 20, 502},
	} {
		up.Handle(path, func(u *wstest.Upstream) {
			answer := u.Switching()
			b := slices.Concat([]byte(row.before), answer[:len(answer)-2], []byte(row.lines), []byte("\r\n"))
			for part := range slices.Chunk(b, row.chop) {
				u.Send(part)
			}
		})
		c := wstest.Dial(t, g.addr)
		c.Send(handshakeOf(t, path, 0).Bytes())
		if resp := c.Head(); resp.Status != row.status {
			t.Errorf("%s: got %q, want %d", path, resp.Line, row.status)
		}
		if row.status == http.StatusBadGateway {
			up.Wait(path).WaitEnd(wstest.Patience) // nobody else will use that connection
		}
		c.Close()
	}
	if got := counted(g.metrics.handshakes.WithLabelValues("app", resultBadReply)); got != 5 {
		t.Errorf("%v bad answers were counted, want 5", got)
	}
}

// What a client sends while it waits is bounded.
func TestDialEndsForAFlood(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Silent)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	c := wstest.Dial(t, g.addr)
	c.Send(handshakeOf(t, "/", 0).Bytes())
	u := up.Wait("/")
	c.Send(make([]byte, 64<<10))
	if resp := c.Head(); resp.Status != http.StatusBadRequest {
		t.Errorf("got %q, want 400", resp.Line)
	}
	u.WaitEnd(wstest.Patience)
	if body := u.Body(); len(body) > 0 {
		t.Errorf("the upstream got %d bytes of it", len(body))
	}
}

// Over TLS the name that the certificate was chosen by is the host that is asked for.
func TestServeOverTLSWantsOneName(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	storage := t.TempDir()
	config := strings.Replace(oneRoute("ws://"+up.Addr(), ""), `certificates: "off"`, "certificates: internal", 1)
	config = strings.Replace(config, "hosts: [app.example.com]", "hosts: [app.example.com, other.example.com]", 1)
	g := startGateway(t, config+"tls: {storage: {file: "+storage+"}}\n")
	dial := func(name string) *wstest.Client { return wstest.DialTLS(t, g.addr, trusting(t, storage, name)) }
	c := dial("app.example.com")
	c.Upgrade(handshakeOf(t, "/", 0))
	if proto := up.Wait("/").Value("X-Forwarded-Proto"); proto != "https" {
		t.Errorf("the upstream is told of %q", proto)
	}
	for _, request := range [][]byte{get("/"), handshakeOf(t, "/", 0).Bytes()} {
		c := dial("other.example.com")
		c.Send(request)
		resp := c.Response()
		if resp.Status != http.StatusMisdirectedRequest {
			t.Errorf("got %q, want 421", resp.Line)
		}
		wstest.CheckRefusal(t, resp)
	}
}
