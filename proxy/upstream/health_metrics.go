package upstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/proxy/upstream/health"
)

// The series of servers. Their labels are bounded by the configuration: so many servers as are listed, and so many as max_addresses
// lets be found.
var (
	descLive      = describe("connections", "Connections to a server, those of plain requests too.", "upstream", "server")
	descPicks     = describe("picks_total", "Connections for which a server was chosen.", "upstream", "server")
	descFailures  = describe("failures_total", "Connections that a server did not take, or for which it gave no answer that could be relayed.", "upstream", "server")
	descState     = describe("server_state", "1 for the state that a server is in, 0 for the others.", "upstream", "server", "state")
	descDraining  = describe("server_draining", "1 while a server is being drained.", "upstream", "server")
	descChecks    = describe("checks_total", "Active checks of a server by how they ended.", "upstream", "server", "result")
	descEjections = describe("ejections_total", "How often a server was left out since connections failed.", "upstream", "server")
	descLookups   = describe("lookups_total", "Lookups of a name by how they ended.", "upstream", "name", "result")
	descFound     = describe("found_servers", "Addresses that a name has led to and that are used.", "upstream", "name")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("framegate_upstream_"+name, help, labels, nil)
}

// watched collects the series of servers.
type watched struct{ *Registry }

// Watched returns the collector of what connections, checks, ejections and lookups have shown. Of states that change with time it tells those of now.
func (r *Registry) Watched() prometheus.Collector { return watched{r} }

// Describe implements prometheus.Collector.
func (watched) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLive, descPicks, descFailures, descState, descDraining, descChecks, descEjections, descLookups, descFound} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r watched) Collect(ch chan<- prometheus.Metric) {
	for _, m := range r.measure() {
		ch <- m
	}
}

// measure reads all at once, since whoever reads the channel may be slow.
func (r watched) measure() (all []prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...))
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, st := range r.states {
		pool, server := key.Pool, key.Address
		gauge(descLive, float64(st.live.Load()), pool, server)
		counter(descPicks, st.picks.Load(), pool, server)
		counter(descFailures, st.failures.Load(), pool, server)
		state := st.health.State(st.rules, now)
		for _, s := range health.States() {
			gauge(descState, flag(s == state), pool, server, s.String())
		}
		gauge(descDraining, flag(Reason(st.down.Load())&Draining != 0), pool, server)
		counter(descChecks, st.passed.Load(), pool, server, "passed")
		counter(descChecks, st.failed.Load(), pool, server, "failed")
		counter(descEjections, st.ejections.Load(), pool, server)
	}
	for key, f := range r.names {
		counter(descLookups, f.answered, key.pool, key.name, "answered")
		counter(descLookups, f.failed, key.pool, key.name, "failed")
		gauge(descFound, float64(len(f.set.Servers())), key.pool, key.name)
	}
	return all
}

// Settled reports whether every name was looked up and every server checked at least once, where that is to be done.
func (r *Registry) Settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, st := range r.states {
		if st.lists > 0 && st.health.State(st.rules, now) == health.Unchecked {
			return false
		}
	}
	for _, f := range r.names {
		if !f.asked {
			return false
		}
	}
	return true
}
