package tlsmgr

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/framegate/framegate/policy/outbound"
)

const (
	demandPatience = 10 * time.Second // of a handshake, whatever its own deadline is
	askTimeout     = 2 * time.Second
	maxFlights     = 64    // names that are looked into at a time
	maxDemanded    = 10000 // names that got a certificate in this way
	maxDenied      = 1024  // names that are remembered as not to be had
	denyFor        = time.Minute

	ordersPerMinute  = 10
	lookupsPerSecond = 10 // questions to the store and to ask
)

// What became of a name, as the metrics name it.
const (
	demandServed = "served"
	demandDenied = "denied"
	demandCapped = "capped"
	demandFailed = "failed"
)

// A demand gets certificates for names below wildcard hosts when a client first asks for one. The client waits, ten seconds at most; the order
// goes on without it.
type demand struct {
	auto   *auto
	hosts  hostSet // that may have one without asking
	ask    *url.URL
	client *http.Client
	orders *rate.Limiter
	looks  *rate.Limiter

	mu      sync.Mutex
	flights map[string]chan struct{} // closed when the name has been looked into
	denied  map[string]time.Time     // until when
	served  int
	results map[string]int
}

// newDemand compiles a valid configuration.
func newDemand(c OnDemandConfig, a *auto) *demand {
	d := &demand{
		auto: a, flights: map[string]chan struct{}{}, denied: map[string]time.Time{}, results: map[string]int{},
		orders: rate.NewLimiter(rate.Every(time.Minute/ordersPerMinute), ordersPerMinute),
		looks:  rate.NewLimiter(lookupsPerSecond, 2*lookupsPerSecond),
	}
	d.hosts, _, _ = newHostSet(c.Allow)
	if c.Ask != "" {
		d.ask = outbound.CheckURL(c.Ask, outbound.Loopback, "", func(string, string, ...any) {})
		service := outbound.Service{URL: d.ask, Plain: outbound.Loopback, Timeout: askTimeout, Connections: 4}
		d.client = &http.Client{
			Transport:     service.Transport(),
			Timeout:       askTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return d
}

// certificate waits for the certificate of a name, until ctx ends; nil if there is none by then.
func (d *demand) certificate(ctx context.Context, name string) *tls.Certificate {
	done := d.join(name)
	if done == nil {
		return nil
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil
	}
	if certs := d.auto.index.Load().find(name); len(certs) > 0 {
		return certs[0]
	}
	return nil
}

// join has a name looked into, unless that is under way; nil if it is not to be.
func (d *demand) join(name string) <-chan struct{} {
	now := d.auto.sys.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if done := d.flights[name]; done != nil {
		return done
	}
	if until, ok := d.denied[name]; ok && now.Before(until) {
		return nil
	}
	if !d.hosts.has(name) && d.ask == nil {
		d.deny(name, demandDenied, now) // without a word: that is what random names come to
		return nil
	}
	if len(d.flights) >= maxFlights || d.served >= maxDemanded || !d.looks.AllowN(now, 1) || d.auto.ctx.Err() != nil {
		d.results[demandCapped]++
		return nil
	}
	done := make(chan struct{})
	d.flights[name] = done
	d.auto.wg.Go(func() { d.fly(name, done) })
	return done
}

// deny remembers for a while that a name is not to be had. d.mu is held.
func (d *demand) deny(name, result string, now time.Time) {
	d.results[result]++
	if len(d.denied) >= maxDenied {
		for old := range d.denied { // any: a flood of names leaves no order worth keeping
			delete(d.denied, old)
			break
		}
	}
	d.denied[name] = now.Add(denyFor)
}

// fly looks into a name.
func (d *demand) fly(name string, done chan<- struct{}) {
	result := d.get(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if result == demandServed {
		d.served++
		d.results[result]++
	} else {
		d.deny(name, result, d.auto.sys.now())
		d.auto.notice.say("demand "+result, func() { d.auto.log.Warn("no certificate on demand", "name", name, "result", result) })
	}
	delete(d.flights, name)
	close(done)
}

// get gets the certificate of a name from the store, or by an order, if it may have one.
func (d *demand) get(name string) (result string) {
	if !d.hosts.has(name) && !d.allowed(name) {
		return demandDenied
	}
	a := d.auto
	a.mu.Lock()
	a.names[name] = true // before there is a certificate, so that it is published
	a.mu.Unlock()
	err := a.load(a.ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		if !d.orders.AllowN(a.sys.now(), 1) {
			d.forget(name)
			return demandCapped
		}
		err = a.order(name)
	}
	if err != nil {
		a.problems.count(reasonOf(err))
		a.log.Warn("no certificate on demand", "name", name, "reason", reasonOf(err), "error", brief(err))
		d.forget(name)
		return demandFailed
	}
	return demandServed
}

// forget gives up the management of a name.
func (d *demand) forget(name string) {
	d.auto.mu.Lock()
	defer d.auto.mu.Unlock()
	delete(d.auto.names, name)
}

// allowed asks the operator's service about a name.
func (d *demand) allowed(name string) bool {
	if d.ask == nil {
		return false
	}
	u := *d.ask
	query := u.Query()
	query.Set("domain", name)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(d.auto.ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", outbound.UserAgent)
	response, err := d.client.Do(request)
	if err != nil {
		d.auto.notice.say("ask", func() { d.auto.log.Warn("nobody answers about certificates on demand", "error", outbound.Explain(err)) })
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (d *demand) close() {
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
}

func (d *demand) collect(to chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, result := range []string{demandServed, demandDenied, demandCapped, demandFailed} {
		to <- prometheus.MustNewConstMetric(demandDesc, prometheus.CounterValue, float64(d.results[result]), result)
	}
}
