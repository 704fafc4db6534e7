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
	cfg       *Config
	log       *slog.Logger
	metrics   *metrics
	site      atomic.Pointer[site]
	certs     *tlsmgr.Manager
	listeners []*listener
	admin     *admin
	sessions  sessions
	partial   *partial

	connections *ratelimit.Count  // over all listeners
	handshakes  *ratelimit.Bucket // over all listeners
	shared      *shared
	keys        keySets
	upstreams   *upstream.Registry
	redis       *ratelimit.Redis // nil where limits are this gateway's own
	waitlist    waitlist
	tidier      tidier
	driver      driver
	keyed       atomic.Bool // all of them have been there once
	leaving     atomic.Bool // not ready any more
	draining    atomic.Bool // no new sessions
}

// New validates cfg and binds its listeners. Nothing is accepted before Start;
// an error leaves nothing behind.
func New(cfg *Config, log *slog.Logger, version string) (_ *Server, err error) {
	s := &Server{cfg: cfg, log: log, metrics: newMetrics(version), waitlist: waitlist{max: cfg.Limits.Waiting}, partial: newPartial()}
	s.connections, s.handshakes = ratelimit.NewCount(int64(cfg.Limits.Connections)), ratelimit.NewBucket(cfg.handshakes())
	s.shared = cfg.shared()
	s.upstreams = upstream.NewRegistry(time.Now())
	s.keys.cache = jwks.New(log, s.metrics.registry)
	s.shared.policies.Fetched = s.keys.source
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
	var mistakes []error
	report := func(path, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}
	st := compile(cfg, s.shared, s.metrics, report, ignore)
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	st.attach(s.upstreams, time.Now())
	s.site.Store(st)
	s.registerReady()
	if s.certs, err = tlsmgr.New(cfg.TLS, log); err != nil {
		return nil, err
	}
	if s.driver, err = newDriver(cfg.Driver); err != nil {
		s.certs.Close()
		return nil, err
	}
	s.driver.register(s.metrics.registry)
	defer func() {
		if err != nil {
			s.unbind()
		}
	}()
	for _, c := range cfg.Listeners {
		var conf *tls.Config
		if conf, err = s.certs.Listener(c.TLS, st.hosts, c.Protocols...); err != nil {
			return nil, fmt.Errorf("listener %s: %w", c.Address, err)
		}
		l, err := newListener(s, c, conf)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", c.Address, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, s.bindAdmin(cfg.Admin.Address)
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

// unbind gives back what New took.
func (s *Server) unbind() {
	for _, l := range s.listeners {
		l.close()
	}
	s.driver.close()
	s.certs.Close()
	s.keys.cache.Close()
}

// Start accepts connections.
func (s *Server) Start() {
	if s.admin != nil {
		s.admin.start()
		s.log.Info("listening", "address", s.admin.ln.Addr().String(), "for", "admin")
	}
	for i, l := range s.listeners {
		l.start()
		s.log.Info("listening", "address", l.ln.Addr().String(), "for", "clients", "tls", s.cfg.Listeners[i].TLS.Certificates)
	}
	s.keys.cache.Start(s.keys.live)
}

// Addrs are the addresses of the listeners, in the order of the configuration.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.ln.Addr()
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
	for _, l := range s.listeners {
		l.close()
	}
	p := d.pace(d.left())
	window, cancel := context.WithTimeout(ctx, p.span(s.sessions.count()))
	defer cancel()
	var requests sync.WaitGroup
	for _, l := range s.listeners {
		requests.Go(func() { l.http.Shutdown(window) })
	}
	s.sessions.drain(ctx, drainOrder(nil, relay.Drain), p)
	requests.Wait()
	if s.sessions.wait(ctx) != nil {
		s.log.Warn("ended before all connections had", "connections", s.sessions.count())
	}
}

// Close ends what Drain left and returns once every goroutine has ended.
func (s *Server) Close() {
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	for _, l := range s.listeners {
		l.close()
	}
	s.partial.close()
	s.sessions.abort()
	for _, l := range s.listeners {
		l.wait(expired)
	}
	s.sessions.wait(context.Background())
	s.tidier.stop()
	s.driver.close()
	s.site.Load().policies.Close()
	s.site.Load().detach()
	s.keys.cache.Close()
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
