package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A fault in a request ends its connection, and is told to whoever runs the gateway; others go on.
func TestServeContainsFaults(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := startGateway(t, oneRoute("ws://"+up.Addr(), ""))
	other, _ := g.open(t, up, "/other")
	whole := g.site.Load()
	broken := &site{doors: whole.doors, listeners: whole.listeners, routes: whole.routes}
	broken.router.add("app.example.com", "/*", &route{name: "app"}) // without all that a route has
	g.site.Store(broken)
	for _, request := range [][]byte{get("/?token=" + wstest.Canary), handshakeOf(t, "/?token="+wstest.Canary, 0).Bytes()} {
		c := wstest.Dial(t, g.addr)
		c.Send(request)
		if rest := c.ExpectEnd(wstest.Patience); len(rest) > 0 {
			t.Errorf("got %q", rest)
		}
	}
	g.site.Store(whole)
	if got := counted(g.metrics.panics); got != 2 {
		t.Errorf("%v faults were counted, want 2", got)
	}
	lines := g.log.lines(t, "fault in a request")
	if len(lines) != 2 {
		t.Fatalf("%d faults were logged, want 2", len(lines))
	}
	for _, line := range lines {
		if stack, _ := line["stack"].(string); line["level"] != "ERROR" || !strings.Contains(stack, "serve.go") {
			t.Errorf("got the line %v", line)
		}
	}
	if strings.Contains(g.log.String(), wstest.Canary) {
		t.Error("the log holds a secret")
	}
	other.Send(wstest.ClientFrame(0x81, []byte("still here")))
	other.ExpectFrame(0x81, []byte("still here"))
}

// A client that takes nothing of its answer does not hold the handler for ever; one that takes it slowly gets all of it.
func TestHeadConnTimesWrites(t *testing.T) {
	t.Parallel()
	const size = 100 << 10
	synctest.Test(t, func(t *testing.T) {
		type result struct {
			err  error
			took time.Duration
		}
		results := make(chan result, 1)
		pipes := newPipes()
		newFront(t, pipes, func(w http.ResponseWriter, _ *http.Request) {
			start := time.Now()
			_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", size)))
			results <- result{err, time.Since(start)}
		})
		deaf := pipes.dial()
		deaf.Write(get("/"))
		if r := <-results; r.err == nil || r.took != writeTimeout {
			t.Errorf("the handler wrote to a client that does not read for %v, and got %v", r.took, r.err)
		}
		slow := pipes.dial()
		slow.Write(get("/"))
		total, buf := 0, make([]byte, 8<<10)
		for total < size {
			n, err := slow.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
			total += n
			time.Sleep(time.Second)
		}
		if r := <-results; r.err != nil {
			t.Errorf("the handler wrote to a slow client for %v, and got %v", r.took, r.err)
		}
	})
}
