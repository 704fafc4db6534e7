package tlsmgr

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxNamed is how many names have series of their own; those of on-demand certificates could be any number.
const maxNamed = 1000

// alarmAt is what is left of a certificate's time when it should have been renewed long ago: certificates for 90 days are renewed when 30 are
// left. Of shorter ones it is the same part.
const alarmAt = 20 * 24 * time.Hour

// endsSoon tells whether the alarm is due for a certificate.
func endsSoon(leaf *x509.Certificate, now time.Time) bool {
	return leaf.NotAfter.Sub(now) < min(alarmAt, leaf.NotAfter.Sub(leaf.NotBefore)*2/9)
}

var (
	expiryDesc   = prometheus.NewDesc("framegate_certificate_expiry_seconds", "Time until the certificate of a name ends, negative once it has.", []string{"name"}, nil)
	failuresDesc = prometheus.NewDesc("framegate_certificate_failures", "Attempts in a row that got no certificate for a name, and why the last one failed.", []string{"name", "reason"}, nil)
	retryDesc    = prometheus.NewDesc("framegate_certificate_retry_seconds", "Time until the next attempt to get a certificate for a name.", []string{"name"}, nil)
	alarmDesc    = prometheus.NewDesc("framegate_certificates_ending", "Certificates in service that end in less than 20 days, or two ninths of their time if that is less.", nil, nil)
	errorsDesc   = prometheus.NewDesc("framegate_certificate_errors_total", "Attempts that got no certificate, by reason.", []string{"reason"}, nil)
	demandDesc   = prometheus.NewDesc("framegate_certificate_demands_total", "Names that clients asked for and that had no certificate yet, by what became of them.", []string{"result"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Manager) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{expiryDesc, failuresDesc, retryDesc, alarmDesc, errorsDesc, demandDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Manager) Collect(to chan<- prometheus.Metric) {
	now := m.sys.now()
	leaves, auto := m.inService()
	ending := 0
	for i, name := range slices.Sorted(maps.Keys(leaves)) {
		if endsSoon(leaves[name], now) {
			ending++
		}
		if i < maxNamed {
			to <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, leaves[name].NotAfter.Sub(now).Seconds(), name)
		}
	}
	to <- prometheus.MustNewConstMetric(alarmDesc, prometheus.GaugeValue, float64(ending))
	if auto != nil {
		auto.collect(to, now)
	}
}

// inService are the certificates of files and of ACME, by name.
func (m *Manager) inService() (map[string]*x509.Certificate, *auto) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]*x509.Certificate{}
	for _, set := range m.fileSets {
		maps.Copy(all, set.index.Load().leaves())
	}
	a := m.auto.Load()
	if a != nil {
		maps.Copy(all, a.leaves())
	}
	return all, a
}

// leaves are the certificates of the index, by name.
func (x *certIndex) leaves() map[string]*x509.Certificate {
	all := make(map[string]*x509.Certificate, len(x.exact)+len(x.wild))
	for name, certs := range x.exact {
		all[name] = certs[0].Leaf
	}
	for parent, certs := range x.wild {
		all["*."+parent] = certs[0].Leaf
	}
	return all
}

func (a *auto) collect(to chan<- prometheus.Metric, now time.Time) {
	p := &a.problems
	p.mu.Lock()
	for i, name := range slices.Sorted(maps.Keys(p.open)) {
		if o := p.open[name]; i < maxNamed {
			to <- prometheus.MustNewConstMetric(failuresDesc, prometheus.GaugeValue, float64(o.failures), name, o.reason)
			to <- prometheus.MustNewConstMetric(retryDesc, prometheus.GaugeValue, max(o.retry.Sub(now), 0).Seconds(), name)
		}
	}
	for _, reason := range reasons() {
		to <- prometheus.MustNewConstMetric(errorsDesc, prometheus.CounterValue, float64(p.totals[reason]), reason)
	}
	p.mu.Unlock()
	if a.demand != nil {
		a.demand.collect(to)
	}
}
