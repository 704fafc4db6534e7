package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/proxy/reactor"
)

// loopFigures collects what the reactor's loops do at present. They are asked
// when somebody scrapes, so no message pays for them.
type loopFigures struct {
	group                         *reactor.Group
	sessions, paused, queued, lag *prometheus.Desc
}

func newLoopFigures(g *reactor.Group) loopFigures {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("framegate_loop_"+name, help, []string{"loop"}, nil)
	}
	return loopFigures{
		group:    g,
		sessions: desc("sessions", "Sessions that a loop of the reactor drives."),
		paused:   desc("paused_sides", "Sides of sessions that are not read, since the other side does not take what they have sent."),
		queued:   desc("queued_bytes", "Bytes that wait for peers to take them."),
		lag:      desc("lag_seconds", "Longest turn of a loop since the last scrape: how long a peer may have waited for it."),
	}
}

// Describe implements prometheus.Collector.
func (f loopFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.sessions, f.paused, f.queued, f.lag} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f loopFigures) Collect(ch chan<- prometheus.Metric) {
	for i, l := range f.group.Figures() {
		gauge := func(d *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, strconv.Itoa(i))
		}
		gauge(f.sessions, float64(l.Sessions))
		gauge(f.paused, float64(l.Paused))
		gauge(f.queued, float64(l.Queued))
		gauge(f.lag, l.Lag.Seconds())
	}
}

// register adds the figures of the driver to those of the gateway.
func (d driver) register(r *prometheus.Registry) {
	if d.group != nil {
		r.MustRegister(newLoopFigures(d.group))
	}
}
