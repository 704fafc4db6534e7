package proxy

import "github.com/prometheus/client_golang/prometheus"

// ready says whether new connections are welcome, and if not why: not before
// the keys of every issuer have been fetched once, nor before the first lookup
// of every name and the first check of every server have ended, and not in a
// drain. Keys that are lost later, and upstreams that are down, make their
// routes refuse, not all of the gateway unready: it serves other routes yet,
// and no other gateway could do better.
func (s *Server) ready() (reason string, ok bool) {
	if s.leaving.Load() {
		return "draining", false
	}
	if !s.keyed.Load() {
		if !s.site.Load().keysReady() {
			return "no keys of a token issuer yet", false
		}
		s.keyed.Store(true)
	}
	if !s.settled.Load() {
		if !s.upstreams.Settled() {
			return "not all servers are known yet", false
		}
		s.settled.Store(true)
	}
	return "ready", true
}

// registerReady makes the gauge of it.
func (s *Server) registerReady() {
	s.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "framegate_ready", Help: "1 while new connections are welcome.",
	}, func() float64 {
		if _, ok := s.ready(); !ok {
			return 0
		}
		return 1
	}))
}
