package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/policy/revocation"
	"github.com/framegate/framegate/proxy/relay"
)

// A revoker closes connections whose token, subject or session was revoked,
// here or at another gateway.
type revoker struct {
	server *Server
	redis  *revocation.Redis // nil where each gateway has its own
	made   prometheus.Counter
	stop   context.CancelFunc
	wg     sync.WaitGroup // loop
	wake   chan struct{}

	mu    sync.Mutex
	names map[revocation.Name]bool // that loop has not seen yet
}

func newRevoker(s *Server, cfg *Config) *revoker {
	set := s.shared.policies.Revoked
	r := &revoker{server: s, wake: make(chan struct{}, 1), made: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "framegate_revocations_total", Help: "Revocations that were asked for at this gateway.",
	})}
	s.metrics.registry.MustRegister(r.made, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "framegate_revocations", Help: "Revocations that hold now, of tokens, subjects and sessions.",
	}, func() float64 { return float64(set.Len(time.Now())) }))
	ctx, stop := context.WithCancel(s.ctx)
	r.stop = stop
	r.wg.Go(func() { r.loop(ctx) })
	if cfg.Redis != nil {
		r.redis = revocation.NewRedis(*cfg.Redis, set, time.Duration(cfg.Revocation.TTL), r.tell, s.log)
		s.metrics.registry.MustRegister(r.redis)
	}
	return r
}

// close ends the goroutines.
func (r *revoker) close() {
	if r.redis != nil {
		r.redis.Close()
	}
	r.stop()
	r.wg.Wait()
}

// tell has the connections of some names closed. Who connects later finds them
// in the set.
func (r *revoker) tell(names []revocation.Name) {
	r.mu.Lock()
	if r.names == nil {
		r.names = map[revocation.Name]bool{}
	}
	for _, n := range names {
		r.names[n] = true
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// loop is the goroutine. It looks at all connections once for all names that
// have come meanwhile.
func (r *revoker) loop(ctx context.Context) {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		names := r.names
		r.names = nil
		r.mu.Unlock()
		if !r.end(ctx, names) {
			return
		}
	}
}

// end closes the connections of some names: at the rate of a drain, so that if
// they are many they do not all come back at once. It reports whether it could.
func (r *revoker) end(ctx context.Context, names map[revocation.Name]bool) bool {
	s := r.server
	list := s.sessions.named(names)
	closes := pacer{}
	if len(list) > 0 {
		closes.rate = s.site.Load().cfg.Drain.Rate.PerSecond
		s.log.Info("connections revoked", "revocations", len(names), "connections", len(list))
	}
	for _, c := range list {
		if !closes.wait(ctx) {
			return false
		}
		s.sessions.do(c, revoke)
	}
	return true
}

// revoke ends a session that is not permitted any more.
func revoke(core *relay.Session, now time.Time) { core.Fail(relay.Revoked, now) }

// named returns the sessions that some names are of.
func (s *sessions) named(names map[revocation.Name]bool) (list []*connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.known().Names().Any(names) {
			list = append(list, c)
		}
	}
	return list
}

// A revocationOrder is the body of POST /-/revoke.
type revocationOrder struct {
	Token   string  `json:"jti"`
	Subject string  `json:"sub"`
	Session string  `json:"sid"`
	Issuer  string  `json:"iss"`
	Until   float64 `json:"until"` // as exp of a token: seconds since 1970
	TTL     string  `json:"ttl"`
}

const wantedOrder = `want JSON of one of jti, sub and sid, perhaps with iss, and with until (seconds since 1970) or ttl, such as {"jti": "4f9c", "ttl": "1h"}`

// parseRevocation reads an order, whose revocation holds until a time that is
// within most.
func parseRevocation(body string, now time.Time, most time.Duration) (o revocationOrder, kind revocation.Kind, n revocation.Name, until time.Time, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	bad := errors.New(wantedOrder)
	if d.Decode(&o) != nil || d.Decode(&struct{}{}) != io.EOF { //nolint:errorlint // Decode returns it as it is
		return o, kind, n, until, bad
	}
	var id string
	for of, text := range map[revocation.Kind]string{revocation.Token: o.Token, revocation.Subject: o.Subject, revocation.Session: o.Session} {
		if text != "" && id != "" {
			return o, kind, n, until, bad
		}
		if text != "" {
			kind, id = of, text
		}
	}
	until = now.Add(most)
	switch {
	case id == "", o.Until != 0 && o.TTL != "":
		return o, kind, n, until, bad
	case o.TTL != "":
		ttl, err := time.ParseDuration(o.TTL)
		if err != nil {
			return o, kind, n, until, bad
		}
		until = now.Add(ttl)
	case o.Until != 0:
		until = time.UnixMilli(int64(o.Until * 1000))
	}
	if !until.After(now) || until.Sub(now) > most {
		return o, kind, n, until, errors.New("until or ttl is not within the time that revocation.ttl allows, from now on")
	}
	return o, kind, revocation.NameOf(kind, o.Issuer, id), until, nil
}

// serveRevoke answers POST /-/revoke: 200, or 202 where other gateways will hear
// of it only once Redis is back.
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	body, status, text := s.mayChange(w, r)
	if status != 0 {
		answer(w, status, text)
		return
	}
	now := time.Now()
	o, kind, name, until, err := parseRevocation(body, now, time.Duration(s.site.Load().cfg.Revocation.TTL))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	if _, err := s.shared.policies.Revoked.Add(name, until, now); err != nil {
		s.log.Error("revocation refused", "kind", string(kind), "name", name.String(), "reason", err.Error())
		answer(w, http.StatusInsufficientStorage, err.Error()+", see revocation.max")
		return
	}
	s.revoker.made.Inc()
	s.revoker.tell([]revocation.Name{name})
	reach, status := "this", http.StatusOK
	switch {
	case s.revoker.redis == nil:
	case s.revoker.redis.Share(r.Context(), name, until):
		reach = "all"
	default:
		status = http.StatusAccepted
	}
	s.log.Info("revoked", "client", r.RemoteAddr, "kind", string(kind), "name", name.String(), "any_issuer", o.Issuer == "",
		"until", until.UTC().Format(time.RFC3339), "gateways", reach)
	writeJSON(w, status, "application/json", map[string]any{"until": until.Unix(), "gateways": reach})
}
