package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/stream"
)

// A streamLeg is the client's side of a session that has no connection of its
// own.
type streamLeg interface {
	stream.Conn

	// accept answers the handshake.
	accept(o *handshake.Offer, a handshake.Agreement) error

	// finish is the last that is called, when the session has ended.
	finish()
}

func newStreamLeg(w http.ResponseWriter, r *http.Request) streamLeg {
	if r.ProtoMajor == 3 {
		return &h3Leg{w: w}
	}
	return &h2Leg{body: r.Body, w: w, ctl: http.NewResponseController(w)}
}

// A h2Leg is the client's side of a session on a stream of HTTP/2: what is
// read is the request's body, what is written the answer's.
type h2Leg struct {
	body io.ReadCloser
	w    http.ResponseWriter
	ctl  *http.ResponseController

	ended   atomic.Bool // nothing more is wanted of the client
	aborted atomic.Bool
}

// accept implements streamLeg (RFC 8441 section 5).
func (l *h2Leg) accept(o *handshake.Offer, a handshake.Agreement) error {
	o.SetAccept(l.w.Header(), a)
	l.w.WriteHeader(http.StatusOK)
	return l.ctl.Flush()
}

// Read implements stream.Conn.
func (l *h2Leg) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if err != nil && l.ended.Load() {
		err = io.EOF
	}
	return n, err
}

// Write implements stream.Conn. It waits for the client's window.
func (l *h2Leg) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if err == nil {
		err = l.ctl.Flush()
	}
	return n, err
}

// CloseWrite implements stream.Conn. The stream's end goes out with the return
// of the handler alone, so the client's part is not waited for: a session closes
// its client's writing direction only when it wants nothing more of it.
func (l *h2Leg) CloseWrite() error {
	l.ended.Store(true)
	return l.ctl.SetReadDeadline(time.Unix(1, 0))
}

// Close implements stream.Conn: END_STREAM, once finish has been called.
func (l *h2Leg) Close() error { return l.CloseWrite() }

// Abort implements stream.Conn: RST_STREAM.
func (l *h2Leg) Abort() error {
	l.aborted.Store(true)
	l.CloseWrite()
	return l.ctl.SetWriteDeadline(time.Unix(1, 0))
}

// finish implements streamLeg. net/http takes the panic for the wish to reset the
// stream.
func (l *h2Leg) finish() {
	if l.aborted.Load() {
		panic(http.ErrAbortHandler)
	}
}
