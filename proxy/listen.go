package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/ratelimit"
	"github.com/framegate/framegate/tlsmgr"
)

const (
	tlsTimeout  = 10 * time.Second // of the TLS handshake, with the PROXY header before it
	idleTimeout = 60 * time.Second // between two requests of one connection
	minBackOff  = 5 * time.Millisecond
	maxBackOff  = time.Second

	maxQuietPoll = 500 * time.Millisecond // as net/http has it
)

// A listener accepts the connections of one address and hands them, decrypted,
// to net/http.
type listener struct {
	server  *Server
	address string // as the configuration has it
	ln      net.Listener
	count   *ratelimit.Count
	http    *http.Server  // of HTTP/1.1
	conns   chan net.Conn // to it
	http2   *http.Server
	conns2  chan net.Conn // to it
	http3   *h3Listener   // nil where HTTP/3 is not offered
	open    context.Context
	shut    context.CancelFunc // ends acceptLoop
	ctx     context.Context
	stop    context.CancelFunc // ends admit and httpLoop

	accepting sync.WaitGroup // acceptLoop, and admit of each connection
	serving   sync.WaitGroup // httpLoop
	served    atomic.Int64   // connections that net/http has
}

// newListener binds the address. Nothing is accepted before start.
func newListener(s *Server, cfg ListenerConfig) (*listener, error) {
	ln, err := s.sockets.listen(cfg.Address, cfg.Socket)
	if err != nil {
		return nil, err
	}
	l := &listener{server: s, address: cfg.Address, ln: ln, count: ratelimit.NewCount(int64(cfg.MaxConnections)), conns: make(chan net.Conn)}
	l.open, l.shut = context.WithCancel(context.Background())
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.http = l.newServer()
	l.http.ConnState = func(c net.Conn, state http.ConnState) {
		l.counts(state)
		if state == http.StateIdle {
			c.(*headConn).idle()
		}
	}
	l.http2, l.conns2 = l.newServer2(), make(chan net.Conn)
	if slices.Contains(cfg.Protocols, protocolHTTP3) {
		if l.http3, err = l.listenHTTP3(); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return l, nil
}

// newServer makes a server of net/http with what all versions of HTTP have in
// common.
func (l *listener) newServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(l.server.serve),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    handshake.MaxHead,
		ErrorLog:          slog.NewLogLogger(l.server.log.Handler(), slog.LevelDebug),
		// OPTIONS * is for the routes too: none has that path.
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// door is what holds now for a connection that comes.
func (l *listener) door() *door { return l.server.site.Load().doors[l] }

func (l *listener) start() {
	l.accepting.Go(l.acceptLoop)
	l.serving.Go(func() { l.httpLoop(l.http, l.conns) })
	l.serving.Go(func() { l.httpLoop(l.http2, l.conns2) })
	if l.http3 != nil {
		l.http3.start()
	}
}

// httpLoop runs net/http until finish.
func (l *listener) httpLoop(server *http.Server, conns chan net.Conn) {
	err := server.Serve(handOver{l, conns})
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		l.server.log.Error("listener failed", "address", l.ln.Addr().String(), "error", err.Error())
	}
}

// acceptLoop accepts until the listener is closed. Out of descriptors it waits
// and tries again: the connections that live go on.
func (l *listener) acceptLoop() {
	backOff := minBackOff
	for {
		c, err := l.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.server.log.Warn("cannot accept", "address", l.ln.Addr().String(), "error", err.Error(), "wait", backOff.String())
			if !l.rest(backOff) {
				return
			}
			backOff = min(2*backOff, maxBackOff)
			continue
		}
		backOff = minBackOff
		if l.server.overload.worst() == closing {
			l.rest(slowAccept)
		}
		free, ok := l.place()
		if !ok {
			l.overflow(c)
			continue
		}
		l.accepting.Go(func() { l.admit(l.server.driver.wrap(c), free) })
	}
}

// rest accepts nothing for a time. It reports false where the listener closes.
func (l *listener) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.open.Done():
		return false
	}
}

// place takes a place for a connection, of the listener's and of those that
// there are in all.
func (l *listener) place() (free func(), ok bool) {
	return l.count.Acquire(l.server.connections)
}

// overflow refuses a connection over max_connections without spending more on
// it than one write.
func (l *listener) overflow(c net.Conn) {
	r := tooMany().Refusal
	l.server.refusedEarly(addrPort(c.RemoteAddr()), r, resultLimit)
	if d := l.door(); d != nil && d.tls == nil {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write(r.AppendHTTP1(nil))
	}
	c.Close()
}

// admit does what comes before HTTP on one connection, the PROXY header and the
// TLS handshake, and hands it to net/http.
func (l *listener) admit(c net.Conn, free func()) {
	d := l.door()
	if d == nil { // the listener was closed
		c.Close()
		free()
		return
	}
	hc := &headConn{Conn: c, raw: c, refuse: l.server.refusedHead, free: free, waitlist: &l.server.waitlist}
	hc.peer = peer{listener: l, client: addrPort(c.RemoteAddr()), local: addrPort(c.LocalAddr())}
	hc.waitlist.join(hc)
	ctx, cancel := context.WithTimeout(l.ctx, tlsTimeout)
	defer cancel()
	if trusts(d.proxies, hc.client.Addr()) && !l.introduce(ctx, hc) {
		hc.Close()
		return
	}
	if d.tls != nil {
		tc := tls.Server(c, d.handshake)
		err := tc.HandshakeContext(ctx)
		if err != nil {
			l.server.tlsFailed(hc.client, err, c)
			hc.Close()
			return
		}
		state := tc.ConnectionState()
		if tlsmgr.IsChallenge(state) { // the handshake was all that the CA wanted
			hc.Close()
			return
		}
		hc.Conn, hc.secure, hc.tls = tc, true, state.ServerName
		hc.proven(d.authOf(state.ServerName), state)
		if state.NegotiatedProtocol == alpnHTTP2 {
			l.handOver(newH2Conn(hc, l.server.http2Ended), l.conns2)
			return
		}
	}
	l.handOver(hc, l.conns)
}

// handOver gives a connection to net/http.
func (l *listener) handOver(c net.Conn, to chan net.Conn) {
	select {
	case to <- c:
	case <-l.ctx.Done():
		c.Close()
	}
}

// close stops accepting. What was accepted is served on: see finish.
func (l *listener) close() {
	l.ln.Close()
	l.shut()
	if l.http3 != nil {
		l.http3.close()
	}
}

// finish follows close: it returns once every connection that was accepted has
// had its answer, or ctx ends, which is an error. Sessions on connections of
// their own are not the listener's any more and go on; those on streams of
// HTTP/2 are waited for.
func (l *listener) finish(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.stop)()
	l.accepting.Wait()
	l.stop()
	l.serving.Wait()
	var http2, http3 error
	var shutdown sync.WaitGroup
	shutdown.Go(func() { http2 = l.http2.Shutdown(ctx) }) // GOAWAY, and new streams are refused
	if l.http3 != nil {
		shutdown.Go(func() { http3 = l.http3.finish(ctx) })
	}
	// On HTTP/1.1 Shutdown would drop a request that it reads afterwards. This has
	// each connection end with its next answer; what is idle ends now.
	l.http.SetKeepAlivesEnabled(false)
	err := l.quiet(ctx)
	shutdown.Wait()
	return errors.Join(err, http2, http3)
}

// counts keeps the number of connections that net/http has.
func (l *listener) counts(state http.ConnState) {
	switch state {
	case http.StateNew:
		l.served.Add(1)
	case http.StateHijacked, http.StateClosed:
		l.served.Add(-1)
	}
}

// quiet returns once net/http has no connection any more, or ctx ends.
func (l *listener) quiet(ctx context.Context) error {
	for wait := time.Millisecond; l.served.Load() > 0; wait = min(2*wait, maxQuietPoll) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// wait returns once the listener's goroutines have ended; requests under way
// have until ctx ends.
func (l *listener) wait(ctx context.Context) {
	l.finish(ctx)
	l.http.Close()
	l.http2.Close()
	l.quiet(context.Background())
}

// A handOver is the net.Listener from which net/http takes connections.
type handOver struct {
	l     *listener
	conns chan net.Conn
}

func (h handOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (h handOver) Close() error   { return nil }
func (h handOver) Addr() net.Addr { return h.l.ln.Addr() }

// udpAddrPort is the address of a UDP peer.
func udpAddrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// addrPort is the address of a TCP peer.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
