package proxy

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// onPipes runs a test with a front whose connections are pipes, in a bubble: times are exact, and no time passes.
func onPipes(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, f *front, dial func() (*wstest.Client, net.Conn))) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pipes := newPipes()
		f := newFront(t, pipes, handler)
		test(t, f, func() (*wstest.Client, net.Conn) {
			conn := pipes.dial()
			c := wstest.NewClient(t, conn)
			c.Within = time.Hour
			return c, conn
		})
	})
}

// dribble writes b one byte at a time, every so often, until the other side ends the connection. wait returns when it is done.
func dribble(conn net.Conn, b []byte, every time.Duration) (wait func()) {
	var wg sync.WaitGroup
	conn.SetWriteDeadline(time.Time{}) // wstest.Client has set one
	wg.Go(func() {
		for i := range b {
			time.Sleep(every) // of the bubble
			if _, err := conn.Write(b[i : i+1]); err != nil {
				return
			}
		}
	})
	return wg.Wait
}

// wantAfter compares the time that has passed on the bubble's clock.
func wantAfter(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

func TestHeadConnEndsSilentConnections(t *testing.T) {
	onPipes(t, mirror, func(t *testing.T, f *front, dial func() (*wstest.Client, net.Conn)) {
		start := time.Now()
		c, _ := dial()
		c.ExpectEOF(time.Hour)
		wantAfter(t, start, headTimeout)

		c, _ = dial()
		c.Send(get("/"))
		expect(t, c, "GET / ")
		start = time.Now()
		c.ExpectEOF(time.Hour)
		wantAfter(t, start, idleTimeout)
		if n := len(f.log.lines(t, "refused")); n > 0 {
			t.Errorf("%d refusals were logged for clients that said nothing", n)
		}
	})
}

func TestHeadConnEndsSlowHeads(t *testing.T) {
	onPipes(t, mirror, func(t *testing.T, f *front, dial func() (*wstest.Client, net.Conn)) {
		// The first head has its time from the accept on.
		start := time.Now()
		c, conn := dial()
		wait := dribble(conn, get("/"), 400*time.Millisecond)
		if resp := c.Response(); resp.Status != http.StatusRequestTimeout {
			t.Errorf("got %q, want 408", resp.Line)
		}
		wantAfter(t, start, headTimeout)
		c.ExpectEnd(time.Hour)
		wait()

		// Every other one from its first byte on, after however long a pause.
		c, conn = dial()
		c.Send(get("/"))
		expect(t, c, "GET / ")
		time.Sleep(idleTimeout / 2)
		start = time.Now()
		wait = dribble(conn, get("/"), 400*time.Millisecond)
		if resp := c.Response(); resp.Status != http.StatusRequestTimeout {
			t.Errorf("got %q, want 408", resp.Line)
		}
		wantAfter(t, start, headTimeout+400*time.Millisecond)
		c.ExpectEnd(time.Hour)
		wait()
		if got := f.refusals(resultMalformed); got != 2 {
			t.Errorf("%v refusals were counted, want 2", got)
		}
	})
}

// A head that comes ahead of its turn has its time from its turn on.
func TestHeadConnTimesAHeadFromItsTurnOn(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Minute)
		mirror(w, r)
	}
	onPipes(t, handler, func(t *testing.T, _ *front, dial func() (*wstest.Client, net.Conn)) {
		c, conn := dial()
		c.Send(get("/1"))
		second := get("/2")
		go func() {
			conn.SetWriteDeadline(time.Time{}) // wstest.Client has set one
			conn.Write(second[:1])
			time.Sleep(time.Minute + headTimeout - time.Second)
			conn.Write(second[1:])
		}()
		expect(t, c, "GET /1 ")
		expect(t, c, "GET /2 ")

		c.Send(get("/1"))
		go conn.Write(second[:1])
		expect(t, c, "GET /1 ")
		start := time.Now()
		if resp := c.Response(); resp.Status != http.StatusRequestTimeout {
			t.Errorf("got %q, want 408", resp.Line)
		}
		wantAfter(t, start, headTimeout)
	})
}

// The time of a head ends with the head: a body may take longer, and so may an answer.
func TestHeadConnDoesNotTimeBodies(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		mirror(w, r)
		w.(http.Flusher).Flush()
		time.Sleep(time.Minute)
	}
	onPipes(t, handler, func(t *testing.T, _ *front, dial func() (*wstest.Client, net.Conn)) {
		c, conn := dial()
		body := "slow but sure"
		request := post("/", body)
		for range 2 {
			c.Send(request[:len(request)-len(body)])
			wait := dribble(conn, []byte(body), time.Second)
			expect(t, c, "POST / "+body)
			wait()
		}
	})
}

// A buffer is borrowed while a head is incomplete, or a request waits for its turn: not by a connection that is idle, nor while a
// long answer goes out.
func TestHeadConnBorrowsItsBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conns, release := make(chan *headConn, 1), make(chan struct{})
		pipes := newPipes()
		newFront(t, pipes, func(_ http.ResponseWriter, r *http.Request) {
			conns <- headConnOf(r)
			<-release
		})
		client := pipes.dial()
		c := wstest.NewClient(t, client)
		c.Send(get("/"))
		hc := <-conns
		holds := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := hc.buf != nil; got != want {
				t.Errorf("%s: holds a buffer: %t, want %t", when, got, want)
			}
		}
		holds("while the handler runs", false)
		release <- struct{}{}
		c.Response()
		holds("idle", false)
		c.Send(get("/")[:10])
		holds("within a head", true)
		c.Send(get("/")[10:])
		<-conns
		holds("while the handler runs again", false)
		c.Send([]byte("G"))
		holds("with the next head begun", true)
		release <- struct{}{}
		c.Response()
		c.Send(get("/")[1:])
		<-conns
		release <- struct{}{}
		c.Response()
		holds("idle again", false)
	})
}
