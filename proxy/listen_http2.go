package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	_ "github.com/framegate/framegate/proxy/connectbit" // net/http offers extended CONNECT
)

const (
	alpnHTTP2     = "h2"
	h2PingAfter   = 30 * time.Second // of silence
	h2PingTimeout = 15 * time.Second
)

// newServer2 makes the server of a listener's connections that speak HTTP/2.
// net/http gets them decrypted, each behind a h2Conn, so that they are
// "unencrypted" to it.
func (l *listener) newServer2() *http.Server {
	s := l.newServer()
	s.ReadHeaderTimeout = 0 // h2Conn has the clock
	s.Protocols = new(http.Protocols)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          100,
		MaxDecoderHeaderTableSize:     4 << 10,
		MaxEncoderHeaderTableSize:     4 << 10,
		MaxReadFrameSize:              16 << 10,
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               h2PingAfter,
		PingTimeout:                   h2PingTimeout,
		WriteByteTimeout:              writeTimeout,
		CountError:                    func(kind string) { l.server.metrics.http2Errors.WithLabelValues(kind).Inc() },
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		l.counts(state)
		switch state {
		case http.StateActive:
			l.server.waitlist.leave(c.(*h2Conn))
		case http.StateIdle:
			l.server.waitlist.join(c.(*h2Conn))
		}
	}
	return s
}

// A h2Conn stands between a client's connection and net/http. It reads the heads
// of frames in both directions, to end a connection that makes work and moves
// nothing, and it bounds how long a block of header fields may take.
type h2Conn struct {
	net.Conn
	peer
	seat
	raw      net.Conn // below TLS
	free     func()   // gives its place at the listener back
	waitlist *waitlist
	ended    func(client netip.AddrPort, why string) // counts and logs

	// Of the reading goroutine.
	in      h2Scanner
	started time.Time // when the block of fields under way began
	highest uint32    // stream that the client has opened

	writing sync.Mutex // held in Write
	out     h2Scanner  // of writing

	mu    sync.Mutex
	watch h2Watch
	over  bool // for what the client did
}

var errNotCalm = errors.New("too many frames that move nothing")

// Why the gateway ends connections of HTTP/2, as logs and metrics name it.
const (
	h2Flood = "flood"
	h2Slow  = "slow"
)

// http2Ended counts and logs a connection that was ended for what its client
// did.
func (s *Server) http2Ended(client netip.AddrPort, why string) {
	s.metrics.http2Ended.WithLabelValues(why).Inc()
	s.log.Info("http2 connection ended", "client", client.String(), "reason", why)
}

// newH2Conn takes over a connection for which HTTP/2 was agreed.
func newH2Conn(hc *headConn, ended func(netip.AddrPort, string)) *h2Conn {
	hc.waitlist.leave(hc)
	c := &h2Conn{Conn: hc.Conn, peer: hc.peer, raw: hc.raw, free: hc.free, waitlist: hc.waitlist, ended: ended}
	c.in.skip = int64(len(h2Preface))
	c.Conn.SetReadDeadline(time.Now().Add(headTimeout)) // of the preface; net/http clears it
	c.waitlist.join(c)
	return c
}

// Read implements net.Conn for net/http.
func (c *h2Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.ended(c.client, h2Slow)
		}
		return n, err
	}
	now := time.Now()
	for rest := p[:n]; len(rest) > 0; {
		var f h2Frame
		var done bool
		if f, rest, done = c.in.next(rest); !done {
			break
		}
		if f.kind == h2Headers {
			c.highest = max(c.highest, f.stream)
		}
		if !c.sees(f, false, now) {
			c.goAway()
			return 0, errNotCalm
		}
	}
	switch {
	case !c.in.fields():
		if !c.started.IsZero() {
			c.started = time.Time{}
			c.Conn.SetReadDeadline(time.Time{})
		}
	case c.started.IsZero():
		c.started = now
		c.Conn.SetReadDeadline(now.Add(headTimeout))
	}
	return n, err
}

// sees counts a frame. It reports false where that was one too many.
func (c *h2Conn) sees(f h2Frame, own bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over && !c.watch.sees(f, own, now) {
		c.over = true
		c.ended(c.client, h2Flood)
	}
	return !c.over
}

// goAway says why the connection ends, once no other frame is under way, and
// ends it. A client that takes nothing is not told.
func (c *h2Conn) goAway() {
	c.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // whoever writes gives up
	for range 100 {
		c.writing.Lock()
		between := c.out.between()
		if between {
			c.Conn.Write(appendGoAway(nil, c.highest))
			lingerClose(c.Conn)
		}
		c.writing.Unlock()
		if between {
			return
		}
		time.Sleep(10 * time.Millisecond) // the rest of the frame comes, from net/http's buffer
	}
}

// appendGoAway appends a GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 section 6.8).
func appendGoAway(dst []byte, last uint32) []byte {
	const enhanceYourCalm = 0xb
	dst = append(dst, 0, 0, 8, 0x7, 0, 0, 0, 0, 0)
	dst = append(dst, byte(last>>24), byte(last>>16), byte(last>>8), byte(last))
	return append(dst, 0, 0, 0, enhanceYourCalm)
}

// Write implements net.Conn for net/http.
func (c *h2Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.Conn.Write(p)
	now := time.Now()
	for rest := p[:n]; len(rest) > 0; {
		var f h2Frame
		var done bool
		if f, rest, done = c.out.next(rest); done && !c.sees(f, true, now) {
			c.expire() // the reader ends it
		}
	}
	return n, err
}

// expire implements waiter.
func (c *h2Conn) expire() { c.raw.SetDeadline(time.Unix(1, 0)) }

// Close implements net.Conn for net/http.
func (c *h2Conn) Close() error {
	c.waitlist.leave(c)
	c.free()
	return c.Conn.Close()
}
