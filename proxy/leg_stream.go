package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
)

// A streamLeg is the client's side of a session on a stream of HTTP/2: what is
// read is the request's body, what is written the answer's.
type streamLeg struct {
	body io.ReadCloser
	w    http.ResponseWriter
	ctl  *http.ResponseController

	ended   atomic.Bool // nothing more is wanted of the client
	aborted atomic.Bool
}

func newStreamLeg(w http.ResponseWriter, r *http.Request) *streamLeg {
	return &streamLeg{body: r.Body, w: w, ctl: http.NewResponseController(w)}
}

// accept answers the handshake (RFC 8441 section 5).
func (l *streamLeg) accept(o *handshake.Offer, a handshake.Agreement) error {
	o.SetAccept(l.w.Header(), a)
	l.w.WriteHeader(http.StatusOK)
	return l.ctl.Flush()
}

// Read implements stream.Conn.
func (l *streamLeg) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if err != nil && l.ended.Load() {
		err = io.EOF
	}
	return n, err
}

// Write implements stream.Conn. It waits for the client's window.
func (l *streamLeg) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if err == nil {
		err = l.ctl.Flush()
	}
	return n, err
}

// CloseWrite implements stream.Conn. The stream's end goes out with the return
// of the handler alone, so the client's part is not waited for: a session closes
// its client's writing direction only when it wants nothing more of it.
func (l *streamLeg) CloseWrite() error {
	l.ended.Store(true)
	return l.ctl.SetReadDeadline(time.Unix(1, 0))
}

// Close implements stream.Conn: END_STREAM, once finish has been called.
func (l *streamLeg) Close() error { return l.CloseWrite() }

// Abort implements stream.Conn: RST_STREAM.
func (l *streamLeg) Abort() error {
	l.aborted.Store(true)
	l.CloseWrite()
	return l.ctl.SetWriteDeadline(time.Unix(1, 0))
}

// finish ends the request. net/http takes the panic for the wish to reset the
// stream.
func (l *streamLeg) finish() {
	if l.aborted.Load() {
		panic(http.ErrAbortHandler)
	}
}
