package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A client sends pieces of a body at times of its own. It stands for net/http's connection and knows its read deadline.
type slowBody struct {
	pieces   []time.Duration // how long each takes to arrive
	size     int             // bytes of a piece
	deadline time.Time
	closed   bool
}

func (b *slowBody) SetReadDeadline(t time.Time) error {
	b.deadline = t
	return nil
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	wait := b.pieces[0]
	if left := time.Until(b.deadline); !b.deadline.IsZero() && left < wait {
		time.Sleep(left)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(wait)
	b.pieces = b.pieces[1:]
	return min(b.size, len(p)), nil
}

func (b *slowBody) Close() error {
	b.closed = true
	return nil
}

// A slowClient is a ResponseWriter whose connection the body shares.
type slowClient struct {
	*httptest.ResponseRecorder
	*slowBody
}

func (c slowClient) Write(p []byte) (int, error) { return c.ResponseRecorder.Write(p) }

func pieces(n int, each time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = each
	}
	return all
}

func TestPacedBody(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		pieces   []time.Duration
		size     int
		upstream time.Duration // that the reader takes over each piece
		end      time.Duration
		slow     bool
	}{
		"at once":                           {pieces: pieces(3, 0), size: 1000},
		"nothing":                           {pieces: pieces(1, time.Hour), size: 1, end: bodyGrace, slow: true},
		"a byte in four seconds":            {pieces: pieces(100, 4*time.Second), size: 1, end: bodyGrace, slow: true},
		"ten bytes a second":                {pieces: pieces(1000, 100*time.Millisecond), size: 1, end: 10 * time.Second, slow: true},
		"just enough":                       {pieces: pieces(60, time.Second), size: 1024, end: time.Minute},
		"a little less":                     {pieces: pieces(600, time.Second), size: 1000, end: 386 * time.Second, slow: true},
		"a pause":                           {pieces: []time.Duration{0, bodyGrace - 1, 0}, size: 1, end: bodyGrace - 1},
		"pauses that were paid for":         {pieces: []time.Duration{9 * time.Second, 9 * time.Second, 9 * time.Second}, size: 9 << 10, end: 27 * time.Second},
		"a pause longer than can be saved":  {pieces: []time.Duration{0, 0, 11 * time.Second}, size: 1 << 20, end: bodyGrace, slow: true},
		"an upstream that takes its time":   {pieces: pieces(5, 0), size: 1, upstream: time.Minute, end: 5 * time.Minute},
		"as slow as its upstream, and more": {pieces: pieces(5, 3*time.Second), size: 1, upstream: time.Minute, end: 3*time.Minute + bodyGrace, slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &slowBody{pieces: row.pieces, size: row.size}
				body := newPacedBody(slowClient{httptest.NewRecorder(), client}, &http.Request{Body: client})
				if client.deadline.IsZero() {
					t.Error("no deadline before the first read")
				}
				start := time.Now()
				err := error(nil)
				for buffer := make([]byte, 1<<20); err == nil; {
					var n int
					if n, err = body.Read(buffer); n > 0 {
						time.Sleep(row.upstream)
					}
				}
				if row.slow != errors.Is(err, os.ErrDeadlineExceeded) || row.slow != body.tooSlow() || !row.slow && err != io.EOF {
					t.Errorf("ended by %v, too slow: %t", err, body.tooSlow())
				}
				if took := time.Since(start); took < row.end-2*time.Second || took > row.end+2*time.Second {
					t.Errorf("ended after %v, want %v", took, row.end)
				}
				if row.slow == client.deadline.IsZero() {
					t.Errorf("the connection's deadline is %v afterwards", client.deadline)
				}
			})
		})
	}
}

// What is over touches no deadline any more: the connection may serve another request.
func TestPacedBodyClosed(t *testing.T) {
	t.Parallel()
	client := &slowBody{pieces: pieces(3, 0), size: 1}
	body := newPacedBody(slowClient{httptest.NewRecorder(), client}, &http.Request{Body: client})
	body.Read(make([]byte, 1))
	body.Close()
	client.deadline = time.Time{}
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose || !client.closed {
		t.Errorf("%d, %v after Close", n, err)
	}
	if !client.deadline.IsZero() {
		t.Error("a read after Close sets the connection's deadline")
	}
	for _, r := range []*http.Request{{Body: nil}, {Body: http.NoBody}} {
		if body := newPacedBody(httptest.NewRecorder(), r); body != nil || body.tooSlow() {
			t.Errorf("a request without a body got %v", body)
		}
	}
}

// Bodies that are in time pass whole, and their connection serves the next request.
func TestPlainBodies(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	g := startGateway(t, oneRoute(app.server(), ""))
	c := wstest.Dial(t, g.addr)
	for _, size := range []int{0, 1, 5000, 1 << 20} {
		body := strings.Repeat("x", size)
		request := wstest.Plain("/").With("Host", "app.example.com").Add(fmt.Sprint("Content-Length: ", size)).Then(body)
		request.Line = "POST / HTTP/1.1"
		go c.Chop(request.Bytes(), 4000)
		if resp := c.Response(); resp.Status != http.StatusOK || string(resp.Body) != body {
			t.Errorf("%d bytes came back as %q and %d", size, resp.Line, len(resp.Body))
		}
	}
}
