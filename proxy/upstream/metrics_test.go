package upstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// series are the values of a registry's metrics, by what follows framegate_upstream_ in their names, and server.
func series(t *testing.T, r *Registry) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r.Watched())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		if !slices.Contains([]string{"framegate_upstream_connections", "framegate_upstream_failures_total", "framegate_upstream_picks_total"}, f.GetName()) {
			continue
		}
		for _, m := range f.GetMetric() {
			server, pool := m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue()
			all = append(all, fmt.Sprintf("%s{%s,%s}=%v", strings.TrimPrefix(f.GetName(), "framegate_upstream_"), pool, server, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// The series are those of the servers that there are, and of those that still have connections.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newPools(t)
	p := w.load("ws://a", "ws://b")
	lease := p.Pick(&Facts{}).Next()
	p.Pick(&Facts{}).Next().Failed(errors.New("refused"), time.Now())
	p.Pick(&Facts{}).Next().Release()
	w.load("ws://b")
	if got, want := series(t, w.registry), "connections{app,a:80}=1 connections{app,b:80}=1 failures_total{app,a:80}=0 failures_total{app,b:80}=1 "+
		"picks_total{app,a:80}=2 picks_total{app,b:80}=1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lease.Release()
	if got, want := series(t, w.registry), "connections{app,b:80}=1 failures_total{app,b:80}=1 picks_total{app,b:80}=1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
