package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/stream"
)

// All that knows of QUIC is in this file.

const (
	h3Handshake    = 5 * time.Second
	h3Idle         = 30 * time.Second // without a packet
	h3FirstRequest = 10 * time.Second // after the handshake
	h3MaxHalfOpen  = 1000             // handshakes at once, beyond which clients must show that their address is theirs

	h3Follow = time.Second // how often clients are looked for at other addresses

	altSvcAge = 24 * time.Hour

	protocolHTTP3 = "h3" // in the configuration
)

// A h3Listener is a listener's socket for HTTP/3, at the port that the one for
// TCP has.
type h3Listener struct {
	*listener
	udp       *net.UDPConn
	transport *quic.Transport
	ln        *quic.Listener
	server    *http3.Server
	altSvc    string
	halfOpen  atomic.Int64
	serving   sync.WaitGroup // acceptLoop, and serve of each connection
	following sync.WaitGroup // followLoop
	stop      func()         // ends that

	mu      sync.Mutex
	conns   map[*h3Conn]int // how many requests are under way on each
	closing bool
}

// listenHTTP3 binds the address. Nothing is accepted before start.
func (l *listener) listenHTTP3() (_ *h3Listener, err error) {
	tcp, ok := l.ln.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.New("HTTP/3 needs an IP address")
	}
	h := &h3Listener{listener: l, conns: map[*h3Conn]int{}, stop: func() {}, altSvc: fmt.Sprintf(`h3=":%d"; ma=%d`, tcp.Port, int(altSvcAge.Seconds()))}
	if h.udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: tcp.IP, Port: tcp.Port, Zone: tcp.Zone}); err != nil {
		return nil, err
	}
	h.transport = &quic.Transport{
		Conn:                h.udp,
		ConnContext:         h.arrived,
		VerifySourceAddress: func(net.Addr) bool { return h.halfOpen.Load() > h3MaxHalfOpen },
	}
	h.ln, err = h.transport.Listen(&tls.Config{GetConfigForClient: h.tlsConfig, MinVersion: tls.VersionTLS13}, &quic.Config{
		HandshakeIdleTimeout:           h3Handshake,
		MaxIdleTimeout:                 h3Idle,
		KeepAlivePeriod:                h3Idle / 2,
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         64 << 10,
		InitialConnectionReceiveWindow: 1 << 20,
		MaxConnectionReceiveWindow:     1 << 20,
		MaxIncomingStreams:             100,
		MaxIncomingUniStreams:          8,
		Allow0RTT:                      false,
	})
	if err != nil {
		h.udp.Close()
		return nil, err
	}
	h.server = &http3.Server{Handler: http.HandlerFunc(l.server.serve), MaxHeaderBytes: handshake.MaxHead, IdleTimeout: idleTimeout}
	return h, nil
}

// tlsConfig is what holds now for a client that comes. Sessions are not resumed:
// there is no early data.
func (h *h3Listener) tlsConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	d := h.door()
	if d == nil || d.tls == nil || !slices.Contains(d.cfg.Protocols, protocolHTTP3) {
		return nil, errors.New("not served any more")
	}
	conf, c := d.tls, hello.Context().Value(connKey{}).(*h3Conn)
	if c.wanted = d.authOf(hello.ServerName); c.wanted != nil {
		conf = c.wanted.config(d.tls)
	}
	conf = conf.Clone()
	conf.NextProtos, conf.MinVersion, conf.SessionTicketsDisabled = []string{http3.NextProtoH3}, tls.VersionTLS13, true
	return conf, nil
}

func (h *h3Listener) start() {
	h.serving.Go(h.acceptLoop)
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.following.Go(func() { h.followLoop(ctx) })
}

// arrived takes a place for a connection, before its handshake.
func (h *h3Listener) arrived(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	free, ok := h.place()
	if !ok {
		r := tooMany().Refusal
		h.listener.server.refusedEarly(udpAddrPort(info.RemoteAddr), r, resultLimit)
		return nil, errors.New(r.Reason)
	}
	c := &h3Conn{listener: h}
	h.halfOpen.Add(1)
	context.AfterFunc(ctx, func() {
		c.settled()
		free()
	})
	return context.WithValue(ctx, connKey{}, c), nil
}

func (h *h3Listener) acceptLoop() {
	for {
		conn, err := h.ln.Accept(h.open)
		if err != nil {
			return
		}
		h.serving.Go(func() { h.serve(conn) })
	}
}

// A h3Conn is one connection.
type h3Conn struct {
	peer
	seat
	listener *h3Listener
	conn     *quic.Conn
	once     sync.Once
	wanted   *clientAuth          // of its handshake
	watch    h2Watch              // of the listener's lock
	asked    atomic.Bool          // a request has come
	sessions map[*connection]bool // that go by its address; of the listener's lock
}

// who is who sends requests now: a client may come to another address (RFC 9000,
// section 9).
func (c *h3Conn) who() *peer {
	if at := udpAddrPort(c.conn.RemoteAddr()); at != c.client {
		there := c.peer
		there.client = at
		return &there
	}
	return &c.peer
}

// followed has a session of HTTP/3 move with its client, until the function
// that it returns is called. Of one whose address a trusted proxy has told it
// does nothing.
func followed(r *http.Request, session *connection) (leave func()) {
	c, ok := r.Context().Value(connKey{}).(*h3Conn)
	if _, told := r.Context().Value(hopKey{}).(hop); !ok || told {
		return func() {}
	}
	h := c.listener
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.sessions == nil {
		c.sessions = map[*connection]bool{}
	}
	c.sessions[session] = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(c.sessions, session)
	}
}

// followLoop looks for clients that have come to other addresses.
func (h *h3Listener) followLoop(ctx context.Context) {
	tick := time.NewTicker(h3Follow)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for session, to := range h.moved() {
			h.listener.server.move(session, to)
		}
	}
}

// moved returns the sessions whose clients are at other addresses than before.
func (h *h3Listener) moved() map[*connection]netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	var moved map[*connection]netip.AddrPort
	for c := range h.conns {
		if len(c.sessions) == 0 {
			continue
		}
		at := udpAddrPort(c.conn.RemoteAddr())
		for session := range c.sessions {
			// One that is not there yet is found the next time.
			if session.client() != at && h.listener.server.sessions.has(session) {
				if moved == nil {
					moved = map[*connection]netip.AddrPort{}
				}
				moved[session] = at
			}
		}
	}
	return moved
}

// settled says that the connection is not half open any more.
func (c *h3Conn) settled() { c.once.Do(func() { c.listener.halfOpen.Add(-1) }) }

// expire implements waiter.
func (c *h3Conn) expire() { c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }

// count says that requests of a connection begin, or end. One that has none ends
// once the listener closes.
func (h *h3Listener) count(c *h3Conn, more int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] += more
	if h.closing && h.conns[c] == 0 {
		c.expire()
	}
}

// serve takes the streams of a connection, to its end.
func (h *h3Listener) serve(conn *quic.Conn) {
	c := conn.Context().Value(connKey{}).(*h3Conn)
	c.settled()
	c.conn = conn
	c.peer = peer{
		client: udpAddrPort(conn.RemoteAddr()), local: udpAddrPort(conn.LocalAddr()), listener: h.listener, secure: true,
		tls: conn.ConnectionState().TLS.ServerName,
	}
	c.proven(c.wanted, conn.ConnectionState().TLS)
	list := &h.listener.server.waitlist
	list.join(c)
	defer list.leave(c)
	h.count(c, 0)
	defer h.forget(c)
	first := time.AfterFunc(h3FirstRequest, func() {
		if !c.asked.Load() {
			c.expire()
		}
	})
	defer first.Stop()
	raw, err := h.server.NewRawServerConn(conn)
	if err != nil {
		c.expire()
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		for {
			s, err := conn.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			streams.Go(func() { raw.HandleUnidirectionalStream(s) })
		}
	})
	for {
		s, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		c.asked.Store(true)
		list.leave(c)
		h.count(c, 1)
		s.SetReadDeadline(time.Now().Add(headTimeout)) // of the fields; serve clears it
		streams.Go(func() {
			raw.HandleRequestStream(s)
			if wasReset(s) {
				h.reset(c)
			}
			h.count(c, -1)
		})
	}
}

// forget is called when a connection has ended.
func (h *h3Listener) forget(c *h3Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// reset counts a stream that the client has reset, and ends a connection with
// too many.
func (h *h3Listener) reset(c *h3Conn) {
	h.mu.Lock()
	calm := c.watch.sees(h2Frame{kind: h2Reset}, false, time.Now())
	h.mu.Unlock()
	if !calm && c.conn.Context().Err() == nil {
		h.listener.server.http2Ended(c.who().client, h2Flood)
		c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
	}
}

// wasReset reports that the client has reset a stream that was served.
func wasReset(s *quic.Stream) bool {
	s.SetReadDeadline(time.Unix(1, 0))
	_, err := s.Read(make([]byte, 1))
	var reset *quic.StreamError
	return errors.As(err, &reset) && reset.Remote
}

// close stops accepting, and ends the connections on which nothing is served.
func (h *h3Listener) close() {
	h.ln.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	for c, requests := range h.conns {
		if requests == 0 {
			c.expire()
		}
	}
}

// finish waits for the connections that there are, which end when all their
// requests have, or with ctx.
func (h *h3Listener) finish(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		h.serving.Wait()
		close(done)
	}()
	defer func() {
		h.transport.Close()
		h.udp.Close()
		<-done
		h.stop()
		h.following.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// announce tells a client of an earlier version that HTTP/3 is to be had (RFC
// 7838). On HTTP/3 it takes the clock off that held the fields.
func announce(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 3 {
		http.NewResponseController(w).SetReadDeadline(time.Time{})
	} else if p := peerOf(r); p.secure && p.listener.http3 != nil {
		w.Header().Set("Alt-Svc", p.listener.http3.altSvc)
	}
}

// A h3Leg is the client's side of a session on a stream of HTTP/3 (RFC 9220).
type h3Leg struct {
	*http3.Stream
	w http.ResponseWriter
}

// accept implements streamLeg.
func (l *h3Leg) accept(o *handshake.Offer, a handshake.Agreement) (err error) {
	o.SetAccept(l.w.Header(), a)
	l.w.WriteHeader(http.StatusOK)
	l.Stream, err = l.w.(http3.HTTPStreamer).HTTPStream()
	return err
}

// CloseWrite implements stream.Conn: FIN.
func (l *h3Leg) CloseWrite() error { return l.Stream.Close() }

// Close implements stream.Conn.
func (l *h3Leg) Close() error {
	l.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return l.Stream.Close()
}

// Abort implements stream.Conn: RESET_STREAM.
func (l *h3Leg) Abort() error {
	l.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	l.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	return nil
}

// finish implements streamLeg.
func (l *h3Leg) finish() {}

var _ stream.Conn = (*h3Leg)(nil)
