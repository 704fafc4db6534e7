package proxy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloadStatus is how the latest reload went, for whoever watches the gateway.
type reloadStatus struct {
	rejected atomic.Bool

	success    prometheus.Gauge
	changed    prometheus.Gauge
	generation prometheus.Gauge
	info       *prometheus.GaugeVec   // hash
	reloads    *prometheus.CounterVec // result
}

// Results of a reload.
const (
	reloadAccepted = "accepted"
	reloadRejected = "rejected"
)

func (r *reloadStatus) register(reg prometheus.Registerer) {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "framegate_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	r.success = gauge("config_reload_success", "1 where the configuration that was read last holds, 0 where it was rejected.")
	r.changed = gauge("config_timestamp_seconds", "When the configuration that holds was put in place, in Unix time.")
	r.generation = gauge("config_generation", "How many configurations have held, counted from 1.")
	r.info = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "framegate_config_info", Help: "Always 1; hash is that of all files of the configuration that holds."}, []string{"hash"})
	r.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framegate_config_reloads_total", Help: "Reloads by result."}, []string{"result"})
	r.reloads.WithLabelValues(reloadAccepted)
	r.reloads.WithLabelValues(reloadRejected)
	reg.MustRegister(r.info, r.reloads)
}

// holds notes that a configuration is in place.
func (r *reloadStatus) holds(st *site) {
	r.rejected.Store(false)
	r.success.Set(1)
	r.changed.Set(float64(time.Now().UnixMilli()) / 1000)
	r.generation.Set(float64(st.generation))
	r.info.Reset()
	r.info.WithLabelValues(st.digest).Set(1)
}

// fails notes that one was rejected.
func (r *reloadStatus) fails() {
	r.rejected.Store(true)
	r.success.Set(0)
	r.reloads.WithLabelValues(reloadRejected).Inc()
}

// ErrLeaving is the error of a reload of a gateway that is about to end.
var ErrLeaving = errors.New("the gateway drains")

// ReloadFrom reads a configuration and puts it in the place of the one that
// holds, as Reload does. How that went is in the log, in the metrics and in
// /readyz. What was read is returned in any case, as far as it was.
func (s *Server) ReloadFrom(load func() (*Loaded, error)) (*Loaded, error) {
	loaded, err := load()
	if err == nil {
		err = s.Reload(loaded.Config)
	}
	if errors.Is(err, ErrLeaving) {
		return loaded, err
	}
	st := s.site.Load()
	if err != nil {
		s.reload.fails()
		s.log.Error("configuration rejected", "error", err.Error(), "holds", st.generation)
		return loaded, err
	}
	s.reload.reloads.WithLabelValues(reloadAccepted).Inc()
	for _, w := range loaded.Warnings {
		s.log.Warn("configuration", "warning", w.Error())
	}
	s.log.Info("reloaded", "generation", st.generation, "hash", st.digest)
	return loaded, nil
}
