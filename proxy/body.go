package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	bodyGrace = 10 * time.Second // that a body may keep the gateway waiting
	bodyRate  = 1 << 10          // bytes of it that earn another second, up to bodyGrace again
)

// A pacedBody holds a client to the pace of the request body that it sends, on
// every version of HTTP alike. Only the time in which the gateway waits for the
// client counts, not that in which the upstream lets the gateway wait.
type pacedBody struct {
	io.ReadCloser
	limit func(time.Time) error // sets the deadline of reads

	mu     sync.Mutex // the upstream's transport reads, and may go on when the request is over
	left   time.Duration
	closed bool
	slow   bool
}

// newPacedBody returns the body of r paced, or nil where r has none.
func newPacedBody(w http.ResponseWriter, r *http.Request) *pacedBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &pacedBody{ReadCloser: r.Body, limit: http.NewResponseController(w).SetReadDeadline, left: bodyGrace}
	b.arm(time.Now()) // nobody may ever read it
	return b
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	start := time.Now()
	if !b.arm(start) {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(bodyGrace, b.left-time.Since(start)+time.Duration(n)*time.Second/bodyRate)
	switch {
	case b.closed: // the connection may be another request's already
	case err == io.EOF:
		b.limit(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.slow = true // the deadline stays: net/http would read on
	}
	return n, err
}

// arm sets the deadline of a read that starts now.
func (b *pacedBody) arm(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.limit(now.Add(b.left))
	}
	return !b.closed
}

// Close implements io.Closer. net/http reads what is left of a short body, for
// which it has the rest of its time.
func (b *pacedBody) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.ReadCloser.Close()
}

// tooSlow reports whether the body's time has run out.
func (b *pacedBody) tooSlow() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow
}
