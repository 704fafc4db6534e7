package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
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

	mu   sync.Mutex
	news revocation.Group // that loop has not seen yet
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

// tell has the connections that are revoked closed. Who connects later finds
// the revocations in the set.
func (r *revoker) tell(news revocation.Group) {
	r.mu.Lock()
	if r.news == nil {
		r.news = revocation.Group{}
	}
	for name, before := range news {
		r.news.Add(revocation.Revocation{Name: name, Before: before})
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// loop is the goroutine. It looks at all connections once for all revocations
// that have come meanwhile.
func (r *revoker) loop(ctx context.Context) {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		news := r.news
		r.news = nil
		r.mu.Unlock()
		if !r.end(ctx, news) {
			return
		}
	}
}

// end closes the connections that are revoked: at the rate of a drain, so that
// if they are many they do not all come back at once. It reports whether it
// could.
func (r *revoker) end(ctx context.Context, news revocation.Group) bool {
	s := r.server
	list := s.sessions.named(news)
	closes := pacer{}
	if len(list) > 0 {
		closes.rate = s.site.Load().cfg.Drain.Rate.PerSecond
		s.log.Info("connections revoked", "revocations", len(news), "connections", len(list))
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

// named returns the sessions that some revocations are of.
func (s *sessions) named(group revocation.Group) (list []*connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if group.Meets(c.known().Names()) {
			list = append(list, c)
		}
	}
	return list
}

// A revocationOrder is the body of POST /-/revoke.
type revocationOrder struct {
	Token   string   `json:"jti"`
	Subject string   `json:"sub"`
	Session string   `json:"sid"`
	Issuer  string   `json:"iss"`
	Before  *float64 `json:"issued_before"` // as iat of a token: seconds since 1970; nil for all tokens
	Until   float64  `json:"until"`         // as exp
	TTL     string   `json:"ttl"`

	kind  revocation.Kind
	of    revocation.Revocation
	until time.Time
}

// sooner is how far the clock of whoever orders may be ahead of ours.
const sooner = time.Minute

var (
	errOrder  = errors.New(`want JSON of one of jti, sub and sid, perhaps with iss, with issued_before (seconds since 1970; not with jti), and with until (the same) or ttl, such as {"sub": "alice", "ttl": "1h"}`)
	errBefore = errors.New("issued_before is in the future, or no time at all")
	errUntil  = errors.New("until or ttl is not within the time that revocation.ttl allows, from now on")
)

// parseRevocation reads an order, whose revocation holds until a time that is
// within most.
func parseRevocation(body string, now time.Time, most time.Duration) (o revocationOrder, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&o) != nil || d.Decode(&struct{}{}) != io.EOF { //nolint:errorlint // Decode returns it as it is
		return o, errOrder
	}
	var id string
	for kind, text := range map[revocation.Kind]string{revocation.Token: o.Token, revocation.Subject: o.Subject, revocation.Session: o.Session} {
		if text != "" && id != "" {
			return o, errOrder
		}
		if text != "" {
			o.kind, id = kind, text
		}
	}
	if id == "" || o.Until != 0 && o.TTL != "" || o.Before != nil && o.kind == revocation.Token {
		return o, errOrder
	}
	o.of = revocation.Revocation{Name: revocation.NameOf(o.kind, o.Issuer, id), Before: revocation.All}
	if o.Before != nil {
		if latest := now.Add(sooner).Unix(); !(*o.Before > 0 && *o.Before <= float64(latest)) {
			return o, errBefore
		}
		o.of.Before = int64(math.Ceil(*o.Before))
	}
	o.until = now.Add(most)
	switch {
	case o.TTL != "":
		ttl, err := time.ParseDuration(o.TTL)
		if err != nil {
			return o, errOrder
		}
		o.until = now.Add(ttl)
	case o.Until != 0:
		o.until = time.UnixMilli(int64(o.Until * 1000))
	}
	if !o.until.After(now) || o.until.Sub(now) > most {
		return o, errUntil
	}
	return o, nil
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
	o, err := parseRevocation(body, now, time.Duration(s.site.Load().cfg.Revocation.TTL))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	if _, err := s.shared.policies.Revoked.Add(o.of, o.until, now); err != nil {
		s.log.Error("revocation refused", "kind", string(o.kind), "name", o.of.Name.String(), "reason", err.Error())
		answer(w, http.StatusInsufficientStorage, err.Error()+", see revocation.max")
		return
	}
	s.revoker.made.Inc()
	s.revoker.tell(revocation.Group{o.of.Name: o.of.Before})
	reach, status := "this", http.StatusOK
	switch {
	case s.revoker.redis == nil:
	case s.revoker.redis.Share(r.Context(), o.of, o.until):
		reach = "all"
	default:
		status = http.StatusAccepted
	}
	attrs := []any{
		"client", r.RemoteAddr, "kind", string(o.kind), "name", o.of.Name.String(), "any_issuer", o.Issuer == "",
		"until", o.until.UTC().Format(time.RFC3339), "gateways", reach,
	}
	if o.Before != nil {
		attrs = append(attrs, "issued_before", time.Unix(o.of.Before, 0).UTC().Format(time.RFC3339))
	}
	s.log.Info("revoked", attrs...)
	writeJSON(w, status, "application/json", map[string]any{"until": o.until.Unix(), "gateways": reach})
}
