package proxy

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/upstream"
)

// A drainTarget is the body of POST /-/drain and of POST /-/undrain: a route, or
// a server of an upstream, as logs and metrics name it.
type drainTarget struct {
	Route    string `json:"route,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	Server   string `json:"server,omitempty"`
}

func (t drainTarget) attrs() []any {
	if t.Route != "" {
		return []any{"route", t.Route}
	}
	return []any{"upstream", t.Upstream, "server", t.Server}
}

// drains are those that somebody has asked for. They hold until they are called
// off, what is drained is removed, or the process ends.
type drains struct {
	mu   sync.RWMutex
	held map[drainTarget]func() // what stops the closing of the sessions there were
}

// has reports whether a target is being drained, or has been.
func (d *drains) has(t drainTarget) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.held[t] != nil
}

// hold has a drain of a target, instead of one that there may have been.
func (d *drains) hold(t drainTarget, stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.held[t]; before != nil {
		before()
	}
	if d.held == nil {
		d.held = map[drainTarget]func(){}
	}
	d.held[t] = stop
}

// release ends a drain. It reports whether there was one.
func (d *drains) release(t drainTarget) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	stop := d.held[t]
	if stop == nil {
		return false
	}
	stop()
	delete(d.held, t)
	return true
}

// forget ends the drains of what a site has not. Its sessions are drained by
// the review.
func (d *drains) forget(st *site) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for t := range d.held {
		if _, err := t.find(st); err != nil {
			delete(d.held, t)
		}
	}
}

var errDrainTarget = errors.New(`want JSON of a route or of a server, such as {"route": "chat"} or {"upstream": "chat", "server": "10.0.0.11:9000"}`)

// parseDrain reads the body of a request.
func parseDrain(body string) (t drainTarget, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&t) != nil || d.Decode(&struct{}{}) != io.EOF || (t.Route != "") == (t.Upstream != "") || (t.Upstream != "") != (t.Server != "") { //nolint:errorlint // Decode returns it as it is
		return t, errDrainTarget
	}
	return t, nil
}

// errNoTarget says what there is instead of what was to be drained.
type errNoTarget struct {
	kind  string
	there []string
}

func (e *errNoTarget) Error() string {
	const most = 20
	slices.Sort(e.there)
	list := strings.Join(e.there[:min(len(e.there), most)], ", ")
	if len(e.there) > most {
		list += ", ..."
	}
	return "no such " + e.kind + ", there are: " + cmp.Or(list, "none")
}

// find returns the server that is meant, nil for a route.
func (t drainTarget) find(st *site) (*upstream.Server, error) {
	if t.Route != "" {
		if st.named(t.Route) != nil {
			return nil, nil
		}
		e := &errNoTarget{kind: "route"}
		for _, rt := range st.routes {
			e.there = append(e.there, rt.name)
		}
		return nil, e
	}
	pool := st.pools[t.Upstream]
	if pool == nil {
		e := &errNoTarget{kind: "upstream"}
		for name := range st.pools {
			e.there = append(e.there, name)
		}
		return nil, e
	}
	e := &errNoTarget{kind: "server"}
	for _, s := range pool.Servers() {
		if s.String() == t.Server {
			return s, nil
		}
		e.there = append(e.there, s.String())
	}
	return nil, e
}

// concerns tells which connections are drained with a target.
func (t drainTarget) concerns(server *upstream.Server) func(*connection) bool {
	if server == nil {
		return func(c *connection) bool { return c.route.Load().name == t.Route }
	}
	key := server.Key()
	return func(c *connection) bool { return c.lease.Server().Key() == key }
}

// serveDrain answers POST /-/drain: new clients are kept away, and those that
// there are closed as by a drain of the gateway.
func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(st *site, t drainTarget, server *upstream.Server) bool {
		if server != nil {
			server.Mark(upstream.Draining)
		}
		which := t.concerns(server)
		s.drains.hold(t, s.drainSome(which, relay.Drain, st.cfg.Drain))
		s.log.Info("drain asked for", append(t.attrs(), "client", r.RemoteAddr, "connections", s.sessions.countOf(which))...)
		return true
	})
}

// serveUndrain answers POST /-/undrain: new clients are served again. Those that
// were closed, were closed.
func (s *Server) serveUndrain(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(_ *site, t drainTarget, server *upstream.Server) bool {
		if server != nil {
			server.Clear(upstream.Draining, time.Now())
		}
		if s.drains.release(t) {
			s.log.Info("drain called off", append(t.attrs(), "client", r.RemoteAddr)...)
		}
		return false
	})
}

// change has a request change whether something is drained, while no reload can
// take it away.
func (s *Server) change(w http.ResponseWriter, r *http.Request, do func(*site, drainTarget, *upstream.Server) (draining bool)) {
	body, status, text := s.mayChange(w, r)
	if status != 0 {
		answer(w, status, text)
		return
	}
	t, err := parseDrain(body)
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	st := s.site.Load()
	server, err := t.find(st)
	if err != nil {
		answer(w, http.StatusNotFound, err.Error())
		return
	}
	draining := do(st, t, server)
	writeJSON(w, http.StatusOK, "application/json", map[string]any{"draining": draining, "connections": s.sessions.countOf(t.concerns(server))})
}

// drained refuses a request of a route that is drained.
func (s *Server) drained(rt *route) *refused {
	if !s.drains.has(drainTarget{Route: rt.name}) {
		return nil
	}
	return refuse(http.StatusServiceUnavailable, resultDraining, "route is drained").after(retryAfter)
}

// countOf is how many sessions there are of some.
func (s *sessions) countOf(which func(*connection) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if which(c) {
			n++
		}
	}
	return n
}

var descRouteDraining = prometheus.NewDesc("framegate_route_draining", "1 while a route is drained since somebody has asked for it.", []string{"route"}, nil)

// drainMetrics collects which routes are drained.
type drainMetrics struct{ *Server }

// Describe implements prometheus.Collector.
func (drainMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- descRouteDraining }

// Collect implements prometheus.Collector.
func (m drainMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, rt := range m.site.Load().routes {
		value := 0.0
		if m.drains.has(drainTarget{Route: rt.name}) {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(descRouteDraining, prometheus.GaugeValue, value, rt.name)
	}
}
