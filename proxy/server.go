package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/policy/jwks"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/upstream"
	"github.com/framegate/framegate/ratelimit"
	"github.com/framegate/framegate/tlsmgr"
)

// A Server is a running gateway.
type Server struct {
	start      time.Time
	log        *slog.Logger
	metrics    *metrics
	reloading  sync.Mutex // held by who changes site
	site       atomic.Pointer[site]
	certs      *tlsmgr.Manager
	ctx        context.Context // ends with Close
	stop       context.CancelFunc
	unlistened sync.WaitGroup // listener.finish of those that a reload has closed
	admin      *admin
	sessions   sessions
	partial    *partial
	drains     drains
	reviews    reviews
	reload     reloadStatus
	asked      chan *ReloadRequest
	adminTries *ratelimit.Bucket // that are left for who has no right token
	sockets    *Sockets          // opened by others; may be nil
	retired    atomic.Bool       // another process has the listening sockets

	connections *ratelimit.Count  // over all listeners
	handshakes  *ratelimit.Bucket // over all listeners
	shared      *shared
	keys        *jwks.Cache
	upstreams   *upstream.Registry
	redis       *ratelimit.Redis // nil where limits are this gateway's own
	revoker     *revoker
	renewals    renewals
	waitlist    waitlist
	tidier      tidier
	overload    overload
	driver      driver
	keyed       atomic.Bool // all of them have been there once
	settled     atomic.Bool // what servers there are, and how they are, has been asked once
	leaving     atomic.Bool // not ready any more
	draining    atomic.Bool // no new sessions
}

// New validates cfg and binds its listeners, to sockets as far as those are for
// them. Nothing is accepted before Start; an error leaves nothing behind.
func New(cfg *Config, log *slog.Logger, version string, sockets *Sockets) (_ *Server, err error) {
	s := &Server{start: time.Now(), asked: make(chan *ReloadRequest), adminTries: ratelimit.NewBucket(adminTries), log: log, sockets: sockets, metrics: newMetrics(version), waitlist: waitlist{max: cfg.Limits.Waiting}, partial: newPartial()}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.connections, s.handshakes = ratelimit.NewCount(int64(cfg.Limits.Connections)), ratelimit.NewBucket(cfg.handshakes())
	s.shared = cfg.shared()
	s.upstreams = upstream.NewRegistry(time.Now(), log)
	s.keys = jwks.New(log, s.metrics.registry)
	s.overload.init(log, s.metrics.registry, memory(), descriptors())
	if cfg.Redis != nil {
		if s.redis, err = ratelimit.NewRedis(*cfg.Redis, maxLimitKeys, log); err != nil {
			return nil, err
		}
		s.shared.policies.Limits = s.redis
		s.metrics.registry.MustRegister(s.redis)
		defer func() {
			if err != nil {
				s.redis.Close()
			}
		}()
	}
	if s.certs, err = tlsmgr.New(cfg.TLS, cfg.Redis, log); err != nil {
		return nil, err
	}
	s.metrics.registry.MustRegister(s.certs)
	if s.driver, err = newDriver(cfg.Driver); err != nil {
		s.certs.Close()
		return nil, err
	}
	s.revoker = newRevoker(s, cfg)
	s.renewals.busy = make(chan struct{}, maxRenewals)
	s.driver.register(s.metrics.registry)
	c, err := s.prepare(cfg, nil)
	if err == nil {
		if err = s.bindAdmin(cfg.Admin.Address); err != nil {
			s.undo(c)
		}
	}
	if err != nil {
		s.revoker.close()
		s.driver.close()
		s.certs.Close()
		s.keys.Close()
		return nil, err
	}
	c.site.measure(s.metrics)
	s.site.Store(c.site)
	s.registerReady()
	s.reviews.register(s.metrics.registry)
	s.reload.register(s.metrics.registry)
	s.reload.holds(s.site.Load())
	s.metrics.registry.MustRegister(s.upstreams.Watched(), drainMetrics{s})
	return s, nil
}

// bindAdmin makes the admin listener. That the default address is taken, by
// another gateway on this machine, is no reason not to start.
func (s *Server) bindAdmin(address string) (err error) {
	if address == adminOff {
		return nil
	}
	s.admin, err = newAdmin(s, cmp.Or(address, adminDefault))
	switch {
	case err != nil && address == "":
		s.log.Warn("no admin listener", "address", adminDefault, "error", err.Error())
		return nil
	case err != nil:
		return fmt.Errorf("admin listener %s: %w", address, err)
	}
	return nil
}

// Start accepts connections.
func (s *Server) Start() {
	s.overload.startLooking(&s.sessions)
	if s.admin != nil {
		s.admin.start()
		s.log.Info("listening", "address", s.admin.ln.Addr().String(), "for", "admin")
	}
	st := s.site.Load()
	st.attach(s.upstreams, nil, time.Now())
	s.startCertificates(st)
	for _, l := range st.listeners {
		s.listen(l, st.doors[l])
	}
	s.keys.Start(st.keys)
}

// listen accepts the connections of a listener.
func (s *Server) listen(l *listener, d *door) {
	l.start()
	s.log.Info("listening", "address", l.ln.Addr().String(), "for", "clients", "tls", d.cfg.TLS.Certificates)
}

// listeners are those that hold now.
func (s *Server) listeners() []*listener { return s.site.Load().listeners }

// Addrs are the addresses of the listeners, in the order of the configuration.
func (s *Server) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range s.listeners() {
		addrs = append(addrs, l.ln.Addr())
	}
	return addrs
}

// Drain ends the gateway without harm: not ready at once, no new connections
// after the delay, the live ones closed between their messages over the window,
// in which requests under way may end too. It returns when all have ended, or at
// the hard stop, or when ctx ends.
func (s *Server) Drain(ctx context.Context, d DrainConfig) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.HardStop))
	defer cancel()
	s.leaving.Store(true)
	s.log.Info("draining", "connections", s.sessions.count(), "delay", time.Duration(d.Delay).String(), "window", time.Duration(d.Window).String())
	if d.Delay > 0 {
		select {
		case <-time.After(time.Duration(d.Delay)):
		case <-ctx.Done():
		}
	}
	s.draining.Store(true)
	for _, l := range s.listeners() {
		l.close()
	}
	p := d.pace(d.left())
	window, cancel := context.WithTimeout(ctx, p.span(s.sessions.count()))
	defer cancel()
	var requests sync.WaitGroup
	for _, l := range s.listeners() {
		requests.Go(func() { l.finish(window) })
	}
	s.sessions.drain(ctx, drainOrder(nil, relay.Drain), p)
	requests.Wait()
	if s.sessions.wait(ctx) != nil {
		s.log.Warn("ended before all connections had", "connections", s.sessions.count())
	}
}

// Close ends what Drain left and returns once every goroutine has ended.
func (s *Server) Close() {
	s.reloading.Lock()
	s.stop() // nothing is reloaded any more
	s.reloading.Unlock()
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	for _, l := range s.listeners() {
		l.close()
	}
	s.reviews.close()
	s.revoker.close()
	s.partial.close()
	s.overload.close()
	s.sessions.abort()
	for _, l := range s.listeners() {
		l.wait(expired)
	}
	s.sessions.wait(context.Background())
	s.renewals.wg.Wait()
	s.tidier.stop()
	s.unlistened.Wait()
	s.driver.close()
	s.site.Load().retire()
	s.site.Load().detach(nil)
	s.keys.Close()
	if s.redis != nil {
		s.redis.Close()
	}
	if s.admin != nil {
		s.admin.close()
	}
	s.certs.Close()
}

// refusedHead counts and logs a request that net/http never saw.
func (s *Server) refusedHead(c *headConn, r *handshake.Refusal) {
	s.refusedEarly(c.client, r, resultMalformed)
}

func (s *Server) refusedEarly(client netip.AddrPort, r *handshake.Refusal, result string) {
	s.metrics.requests.WithLabelValues(noRoute, result).Inc()
	attrs := []any{"client", client.String(), "route", noRoute, "status", r.Status, "reason", r.Reason, "result", result}
	if r.Detail != "" {
		attrs = append(attrs, "detail", clean(r.Detail))
	}
	s.log.Info("refused", attrs...)
}

// tlsFailed counts a TLS handshake that failed. Who speaks HTTP to a TLS
// listener is told so.
func (s *Server) tlsFailed(client netip.AddrPort, err error, c net.Conn) {
	s.metrics.tlsErrors.Inc()
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		r := &handshake.Refusal{Status: http.StatusBadRequest, Reason: "this port speaks TLS: use https or wss"}
		c.Write(r.AppendHTTP1(nil))
		lingerClose(c)
	}
	s.log.Debug("tls handshake failed", "client", client.String(), "error", clean(err.Error()))
}

// looksLikeHTTP recognises the first five bytes of a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "GET h":
		return true
	}
	return false
}
