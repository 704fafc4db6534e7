package wstest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait that has no time of its own: long enough for a race build on a loaded machine.
const Patience = 20 * time.Second

// Behaviour is what a recording upstream does with a connection once it has read the request head. The connection stays open
// when it returns, until the gateway ends it or the test is over.
type Behaviour func(u *Upstream)

// Recorder is an upstream that logs each connection, its request head byte for byte, and every byte after it, and that answers
// as the test chooses by path. It knows no HTTP or WebSocket library that could repair or hide what the gateway sends.
type Recorder struct {
	tb       testing.TB
	ln       net.Listener
	tls      *tls.Config
	greeting []byte
	fallback Behaviour
	running  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something is recorded
	conns   []*Upstream
	byPath  map[string]Behaviour
	closed  bool
}

// End tells how the gateway ended a connection to an upstream.
type End int

// The ways in which a connection ends.
const (
	Open     End = iota
	EOF          // an orderly end: FIN, and over TLS a close_notify
	Reset        // a TCP reset
	Dropped      // over TLS: FIN without close_notify, or another failure
	ByItself     // the recorder closed it
)

func (e End) String() string {
	return [...]string{"open", "end of stream", "reset", "dropped", "closed by the recorder"}[e]
}

// NewRecorder starts a recorder on a free loopback port. fallback serves the paths without a behaviour of their own.
func NewRecorder(tb testing.TB, fallback Behaviour) *Recorder {
	tb.Helper()
	return newRecorder(tb, &Recorder{fallback: fallback})
}

// NewTLSRecorder starts a recorder that speaks TLS.
func NewTLSRecorder(tb testing.TB, config *tls.Config, fallback Behaviour) *Recorder {
	tb.Helper()
	return newRecorder(tb, &Recorder{fallback: fallback, tls: config})
}

// NewGreeter starts a recorder that sends greeting to every connection before it reads a byte, and then runs then.
func NewGreeter(tb testing.TB, greeting []byte, then Behaviour) *Recorder {
	tb.Helper()
	return newRecorder(tb, &Recorder{fallback: then, greeting: greeting})
}

// NewRecorderOn starts a recorder on a listener of TCP, which it closes.
func NewRecorderOn(tb testing.TB, ln net.Listener, fallback Behaviour) *Recorder {
	tb.Helper()
	return startRecorder(tb, ln, &Recorder{fallback: fallback})
}

func newRecorder(tb testing.TB, r *Recorder) *Recorder {
	tb.Helper()
	return startRecorder(tb, Listen(tb, "127.0.0.1:0"), r)
}

// Listen listens on an address. One of this machine that it has not got (not every system has all of 127.0.0.0/8) skips the test.
func Listen(tb testing.TB, addr string) net.Listener {
	tb.Helper()
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		tb.Skipf("needs the address: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// ListenAlike listens on each of some addresses of this machine, on the same port.
func ListenAlike(tb testing.TB, hosts ...string) (list []net.Listener) {
	tb.Helper()
	for range 100 { // somebody else may have the first one's port on another address
		port := "0"
		for _, host := range hosts {
			ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if errors.Is(err, syscall.EADDRINUSE) {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			list, port = append(list, ln), Port(tb, ln.Addr().String())
		}
		if len(list) == len(hosts) {
			return list
		}
		for _, ln := range list {
			ln.Close()
		}
		list = nil
	}
	tb.Fatalf("no port is free on all of %v", hosts)
	return nil
}

// Serve has each connection to an address of the loopback interface served by a goroutine. The test's end closes the listener and waits for
// these: what they wait for must end before, or with it.
func Serve(tb testing.TB, serve func(net.Conn)) (address string) {
	tb.Helper()
	ln := Listen(tb, "127.0.0.1:0")
	var running sync.WaitGroup
	tb.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(conn) })
		}
	})
	return ln.Addr().String()
}

func startRecorder(tb testing.TB, ln net.Listener, r *Recorder) *Recorder {
	tb.Helper()
	r.tb, r.ln, r.changed, r.byPath = tb, ln, make(chan struct{}), make(map[string]Behaviour)
	r.running.Go(r.accept)
	tb.Cleanup(r.Close)
	return r
}

// Close ends the listener and all connections, and waits for the recorder's goroutines.
func (r *Recorder) Close() {
	r.mu.Lock()
	r.closed = true
	conns := slices.Clone(r.conns)
	r.mu.Unlock()
	r.ln.Close()
	for _, u := range conns {
		u.Close()
	}
	r.running.Wait()
}

// Addr is the recorder's host:port.
func (r *Recorder) Addr() string { return r.ln.Addr().String() }

// Handle chooses the behaviour for one path; the request's query does not count.
func (r *Recorder) Handle(path string, b Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byPath[path] = b
}

func (r *Recorder) accept() {
	for {
		conn, err := r.ln.Accept()
		if err != nil {
			return
		}
		u := &Upstream{rec: r, tcp: conn.(*net.TCPConn), conn: conn}
		if r.tls != nil {
			u.conn = tls.Server(conn, r.tls)
		}
		r.mu.Lock()
		r.conns = append(r.conns, u)
		closed := r.closed
		r.notifyLocked()
		r.mu.Unlock()
		if closed {
			conn.Close()
			return
		}
		if r.greeting != nil {
			u.Send(r.greeting)
		}
		r.running.Go(u.record)
		r.running.Go(u.behave)
	}
}

func (r *Recorder) notifyLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// await blocks until cond, which is called with the lock held, is true. It reports false after the given time.
func (r *Recorder) await(within time.Duration, cond func() bool) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		ok, changed := cond(), r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// Dials returns the number of connections that the recorder has accepted so far.
func (r *Recorder) Dials() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// Conns returns the connections so far whose request was for path, in their order; "" takes all.
func (r *Recorder) Conns(path string) []*Upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connsLocked(path)
}

func (r *Recorder) connsLocked(path string) []*Upstream {
	if path == "" {
		return slices.Clone(r.conns)
	}
	var found []*Upstream
	for _, u := range r.conns {
		if p, _, _ := strings.Cut(u.targetLocked(), "?"); p == path {
			found = append(found, u)
		}
	}
	return found
}

// Wait returns the first connection for path; "" means the first of all, which need not have sent its head.
func (r *Recorder) Wait(path string) *Upstream {
	r.tb.Helper()
	var found []*Upstream
	if !r.await(Patience, func() bool { found = r.connsLocked(path); return len(found) > 0 }) {
		r.tb.Fatalf("no connection for %q arrived at the upstream within %v", path, Patience)
	}
	return found[0]
}

// Upstream is one recorded connection from the gateway.
type Upstream struct {
	rec  *Recorder
	tcp  *net.TCPConn
	conn net.Conn

	// under rec.mu
	all  []byte
	head int // length of the request head within all, 0 until it is whole
	end  End
	mine bool // the recorder has closed the connection
	deaf bool // the recorder reads no more
}

// record reads everything that arrives, whatever the behaviour does.
func (u *Upstream) record() {
	buf := make([]byte, 64<<10)
	for {
		u.await(time.Hour, func() bool { return !u.deaf || u.mine })
		n, err := u.conn.Read(buf)
		u.rec.mu.Lock()
		u.all = append(u.all, buf[:n]...)
		if u.head == 0 {
			if i := bytes.Index(u.all, []byte("\r\n\r\n")); i >= 0 {
				u.head = i + 4
			}
		}
		if err != nil {
			u.end = u.endOf(err)
		}
		u.rec.notifyLocked()
		u.rec.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// endOf translates a read error; rec.mu is held.
func (u *Upstream) endOf(err error) End {
	switch {
	case u.mine:
		return ByItself
	case err == io.EOF:
		return EOF
	case isReset(err):
		return Reset
	}
	return Dropped
}

func (u *Upstream) behave() {
	alive := u.await(time.Hour, func() bool { return u.head > 0 || u.end != Open }) && u.Head() != ""
	if !alive {
		return
	}
	path, _, _ := strings.Cut(u.Target(), "?")
	u.rec.mu.Lock()
	b, ok := u.rec.byPath[path]
	u.rec.mu.Unlock()
	if !ok {
		b = u.rec.fallback
	}
	b(u)
}

func (u *Upstream) await(within time.Duration, cond func() bool) bool {
	return u.rec.await(within, cond)
}

// Head returns the request head with its empty line, "" until it is whole.
func (u *Upstream) Head() string {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	return string(u.all[:u.head])
}

// All returns every byte so far.
func (u *Upstream) All() []byte {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	return bytes.Clone(u.all)
}

// Body returns every byte so far that came after the head.
func (u *Upstream) Body() []byte {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	return bytes.Clone(u.all[u.head:])
}

// Frames returns the whole frames so far and the bytes of a last, partial one.
func (u *Upstream) Frames() (frames []Frame, rest []byte) { return ParseFrames(u.Body()) }

// Target returns the request target, "" until the head is whole.
func (u *Upstream) Target() string {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	return u.targetLocked()
}

func (u *Upstream) targetLocked() string {
	line, _, _ := bytes.Cut(u.all[:u.head], []byte("\r\n"))
	parts := strings.Split(string(line), " ")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// Values returns the values of a field of the request head, in order.
func (u *Upstream) Values(name string) []string {
	var values []string
	for line := range strings.SplitSeq(u.Head(), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// Value returns the first value of a field, "" if there is none.
func (u *Upstream) Value(name string) string {
	if values := u.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Ended returns how the connection ended, Open while it lives.
func (u *Upstream) Ended() End {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	return u.end
}

// WaitEnd waits until the gateway has ended the connection and returns how.
func (u *Upstream) WaitEnd(within time.Duration) End {
	u.rec.tb.Helper()
	if !u.await(within, func() bool { return u.end != Open }) {
		u.rec.tb.Errorf("the gateway still holds the upstream connection for %q after %v", u.Target(), within)
	}
	return u.Ended()
}

// WaitBody waits until cond holds for the bytes after the head; what names the condition in the failure.
func (u *Upstream) WaitBody(within time.Duration, what string, cond func(body []byte) bool) {
	u.rec.tb.Helper()
	if !u.await(within, func() bool { return u.head > 0 && cond(u.all[u.head:]) }) {
		frames, rest := u.Frames()
		u.rec.tb.Errorf("upstream %q: no %s within %v; it has %v and %d more bytes, connection %v", u.Target(), what, within, frames, len(rest), u.Ended())
	}
}

// WaitFrames waits for n whole frames and returns all there are.
func (u *Upstream) WaitFrames(n int) []Frame {
	u.rec.tb.Helper()
	u.WaitBody(Patience, "frames", func(b []byte) bool { f, _ := ParseFrames(b); return len(f) >= n })
	frames, _ := u.Frames()
	return frames
}

// WaitClose waits for a Close frame and returns its code and reason; NoCode stands for an empty one.
func (u *Upstream) WaitClose(within time.Duration) (code int, reason string) {
	u.rec.tb.Helper()
	u.WaitBody(within, "Close frame", func(b []byte) bool {
		frames, _ := ParseFrames(b)
		return slices.ContainsFunc(frames, Frame.IsClose)
	})
	frames, _ := u.Frames()
	for _, f := range frames {
		if f.IsClose() {
			return f.CloseCode()
		}
	}
	return 0, "no Close frame"
}

// Send writes bytes as they are. An error is no failure: the gateway may have ended the connection, as many tests want.
func (u *Upstream) Send(b []byte) error {
	_, err := u.conn.Write(b)
	return err
}

// Close ends the connection with FIN.
func (u *Upstream) Close() {
	u.take()
	u.conn.Close()
}

// CloseWrite sends FIN and goes on reading.
func (u *Upstream) CloseWrite() {
	if c, ok := u.conn.(*tls.Conn); ok {
		c.CloseWrite()
	}
	u.tcp.CloseWrite()
}

// Reset ends the connection with a TCP reset.
func (u *Upstream) Reset() {
	u.take()
	u.tcp.SetLinger(0)
	u.tcp.Close()
}

func (u *Upstream) take() {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	u.mine = u.mine || u.end == Open
	u.rec.notifyLocked()
}

// StopReading makes the upstream deaf, but for the one read that is under way: what the gateway sends stays in the kernel.
func (u *Upstream) StopReading() { u.setDeaf(true) }

// ReadOn ends StopReading.
func (u *Upstream) ReadOn() { u.setDeaf(false) }

func (u *Upstream) setDeaf(deaf bool) {
	u.rec.mu.Lock()
	defer u.rec.mu.Unlock()
	u.deaf = deaf
	u.rec.notifyLocked()
}

// SetBuffers shrinks the kernel's buffers, so that back-pressure shows after little data.
func (u *Upstream) SetBuffers(n int) {
	u.tcp.SetReadBuffer(n)
	u.tcp.SetWriteBuffer(n)
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
