package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// metrics are the series of one server. All label sets are bounded and made
// when the configuration is loaded, so that a rate over a series that has not
// happened yet is 0 and not missing.
type metrics struct {
	registry    *prometheus.Registry
	handshakes  *prometheus.CounterVec // route, result
	renewals    *prometheus.CounterVec // route, outcome
	moves       *prometheus.CounterVec // outcome
	live        *prometheus.GaugeVec   // route
	frames      *prometheus.CounterVec // route, from
	messages    *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	hits        *prometheus.CounterVec // route, from, policy, rule, outcome
	requests    *prometheus.CounterVec // route, result
	closes      *prometheus.CounterVec // code, side, cause
	decisions   *prometheus.CounterVec // route, policy, rule, outcome
	http2Ended  *prometheus.CounterVec // reason
	http2Errors *prometheus.CounterVec // kind
	tlsErrors   prometheus.Counter
	proxyErrors *prometheus.CounterVec // reason
	panics      prometheus.Counter
}

// noRoute labels what was refused before a route was found.
const noRoute = "-"

func newMetrics(version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framegate_" + name, Help: help}, labels)
	}
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		renewals:    counter("renewals_total", "New tokens that clients have brought over their connections.", "route", "outcome"),
		moves:       counter("moves_total", "Live connections of HTTP/3 whose client has come to another address, by what became of them.", "outcome"),
		handshakes:  counter("handshakes_total", "WebSocket handshakes by result.", "route", "result"),
		requests:    counter("requests_total", "Plain HTTP requests by result.", "route", "result"),
		frames:      counter("frames_total", "Frames relayed whole, by the side that sent them.", "route", "from"),
		messages:    counter("messages_total", "Messages relayed whole, by the side that sent them.", "route", "from"),
		bytes:       counter("payload_bytes_total", "Payload bytes of the frames relayed whole, by the side that sent them.", "route", "from"),
		decisions:   counter("decisions_total", "What the rules of policies said of requests.", "route", "policy", "rule", "outcome"),
		hits:        counter("message_rules_total", "Messages and frames that a rule about them refused or, in shadow, would have refused, by the side that sent them.", "route", "from", "policy", "rule", "outcome"),
		closes:      counter("closes_total", "Ended sessions by close code, the side that closed or is at fault, and cause.", "code", "side", "cause"),
		live:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "framegate_connections", Help: "Live WebSocket connections."}, []string{"route"}),
		http2Ended:  counter("http2_ended_total", "Connections of HTTP/2 that the gateway ended: flood, for frames that move nothing, or slow.", "reason"),
		http2Errors: counter("http2_errors_total", "Errors of HTTP/2 connections and streams, by net/http's names.", "kind"),
		tlsErrors:   prometheus.NewCounter(prometheus.CounterOpts{Name: "framegate_tls_errors_total", Help: "TLS handshakes that failed."}),
		proxyErrors: counter("proxy_protocol_errors_total", "Connections without the PROXY header that they must begin with: malformed, or slow.", "reason"),
		panics:      prometheus.NewCounter(prometheus.CounterOpts{Name: "framegate_panics_total", Help: "Faults of the gateway that ended one session."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "framegate_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.handshakes, m.renewals, m.moves, m.requests, m.decisions, m.frames, m.messages, m.bytes, m.hits, m.closes, m.live, m.http2Ended, m.http2Errors, m.tlsErrors, m.proxyErrors, m.panics, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.moves.WithLabelValues(policy.OutcomeAdmitted)
	m.moves.WithLabelValues(policy.OutcomeRefused)
	m.http2Ended.WithLabelValues(h2Flood)
	m.http2Ended.WithLabelValues(h2Slow)
	m.proxyErrors.WithLabelValues(proxyMalformed)
	m.proxyErrors.WithLabelValues(proxySlow)
	for _, result := range results() {
		m.handshakes.WithLabelValues(noRoute, result)
		m.requests.WithLabelValues(noRoute, result)
	}
	peers := []frame.StatusCode{frame.NoCode, 3000, 4000}
	for code := range frame.StatusCode(1016) {
		if frame.ValidCode(code) {
			peers = append(peers, code)
		}
	}
	for _, code := range peers {
		for _, by := range relay.Blamed(relay.PeerClosed) {
			m.closesOf(relay.Result{Cause: relay.PeerClosed, By: by, Closed: code})
		}
	}
	return m
}

// prepareCloses makes the series of every way in which the gateway ends a
// session of a route: with the codes that it has for that, or with none where
// nothing could be said.
func (m *metrics) prepareCloses(codes *relay.Codes) {
	for _, c := range relay.Causes() {
		for _, by := range relay.Blamed(c) {
			r := relay.Result{Cause: c, By: by}
			m.closesOf(r)
			r.Told = [2]frame.StatusCode{codes.Code(c, by, relay.Client), codes.Code(c, by, relay.Upstream)}
			m.closesOf(r)
		}
	}
}

// closesOf returns the counter of an end.
func (m *metrics) closesOf(r relay.Result) prometheus.Counter {
	return m.closes.WithLabelValues(codeLabel(r.Main()), r.By.String(), r.Cause.String())
}

// closed counts an ended session.
func (m *metrics) closed(r relay.Result) { m.closesOf(r).Inc() }

// codeLabel keeps the label set small: the registered codes stand for
// themselves, those of libraries and applications for their thousand.
func codeLabel(code frame.StatusCode) string {
	switch {
	case code == frame.NoCode:
		return "none"
	case code < 3000:
		return strconv.Itoa(int(code))
	case code < 4000:
		return "3xxx"
	}
	return "4xxx"
}

// routeMeters are the series of one route, looked up once.
type routeMeters struct {
	metrics *metrics
	name    string
	live    prometheus.Gauge
	from    [2]sideMeters
	rules   []ruleMeters // by the number of the rule
}

type sideMeters struct{ frames, messages, bytes prometheus.Counter }

// ruleMeters count the two outcomes that a rule can have: one in shadow mode
// would refuse, any other one refuses.
type ruleMeters struct{ admitted, refused prometheus.Counter }

// route returns the meters of a route and makes its series.
func (m *metrics) route(rt *route) *routeMeters {
	name := rt.name
	r := &routeMeters{metrics: m, name: name, live: m.live.WithLabelValues(name)}
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		r.from[from] = sideMeters{
			frames:   m.frames.WithLabelValues(name, from.String()),
			messages: m.messages.WithLabelValues(name, from.String()),
			bytes:    m.bytes.WithLabelValues(name, from.String()),
		}
		rt.rules[from].prepare(m, name, from, rt.limits.From[from].Rates)
	}
	for _, result := range results() {
		m.handshakes.WithLabelValues(name, result)
		m.requests.WithLabelValues(name, result)
	}
	m.prepareCloses(&rt.limits.Codes)
	if rt.policy == nil {
		return r // a mistake was reported
	}
	if rt.policy.Renewal() != nil {
		m.renewals.WithLabelValues(name, policy.OutcomeAdmitted)
		m.renewals.WithLabelValues(name, policy.OutcomeRefused)
	}
	for _, rule := range rt.policy.Rules() {
		refused := policy.Decision{Shadow: rule.Shadow, Refusal: &policy.Refusal{}}
		r.rules = append(r.rules, ruleMeters{
			admitted: m.decisions.WithLabelValues(name, rule.Policy, rule.Name, policy.OutcomeAdmitted),
			refused:  m.decisions.WithLabelValues(name, rule.Policy, rule.Name, refused.Outcome()),
		})
	}
	return r
}

// decided counts what a rule said.
func (r *routeMeters) decided(d *policy.Decision) {
	if d.Refusal == nil {
		r.rules[d.Rule].admitted.Inc()
	} else {
		r.rules[d.Rule].refused.Inc()
	}
}

// relayed counts what a session relayed.
func (r *routeMeters) relayed(from relay.Side, more relay.Stats) {
	m := &r.from[from]
	m.frames.Add(float64(more.Frames))
	m.messages.Add(float64(more.Messages))
	m.bytes.Add(float64(more.Bytes))
}
