package proxy

import (
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
)

const reasonNoUpstream = "upstream is not reachable"

// serve is where each request of each listener begins. It takes the
// configuration once; the request keeps it to its end.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer s.contain(r)
	announce(w, r)
	v := s.enter()
	defer v.leave()
	v.disclaim(r)
	r = withHop(v.site, r)
	if s.entered(v.site, w, r) {
		return
	}
	if handshake.IsUpgrade(r) {
		s.upgrade(v, w, r)
		return
	}
	s.plain(v.site, w, r)
}

// contain keeps a fault in one request from ending more than its connection.
// net/http would do so too, but tell nobody.
func (s *Server) contain(r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault != http.ErrAbortHandler {
		s.metrics.panics.Inc()
		s.log.Error("fault in a request", append(requestAttrs(r), "stack", string(debug.Stack()))...)
		if c := headConnOf(r); c != nil {
			c.Close() // net/http does not, where a session has taken it
		}
	}
	panic(http.ErrAbortHandler)
}

// plain serves a request that is no handshake.
func (s *Server) plain(st *site, w http.ResponseWriter, r *http.Request) {
	rt, path, no := st.routePlain(r)
	if no == nil {
		no = s.drained(rt)
	}
	switch {
	case no != nil:
	case path == rt.renewalPath():
		no = s.renewByRequest(st, rt, w, r, path)
	case rt.denyHTTP:
		no = httpDenied()
	default:
		no = s.admitPlain(st, rt, w, r, path)
	}
	if no == nil {
		s.metrics.requests.WithLabelValues(rt.name, resultAccepted).Inc()
		s.log.Debug("request", append(requestAttrs(r), "route", rt.name, "method", clean(r.Method))...)
		return
	}
	name := routeName(rt)
	s.metrics.requests.WithLabelValues(name, no.result).Inc()
	s.logRefused(r, name, no)
	no.write(w, r)
}

// httpDenied answers plain requests where only handshakes are wanted.
func httpDenied() *refused {
	return refuse(http.StatusUpgradeRequired, resultNotHTTP, "a WebSocket handshake is wanted here").with("Upgrade", "websocket")
}

// admitPlain has the policies of the route judge a plain request, by what they
// have for such: who may not open a WebSocket may not reach the application in
// this way either. The Origin is left to the application.
func (s *Server) admitPlain(st *site, rt *route, w http.ResponseWriter, r *http.Request, path string) *refused {
	a, no := s.decide(st, rt, r, plainRequestOf(r, path))
	if no != nil {
		return no
	}
	defer a.Release()
	return s.relayPlain(rt, w, r, path, a)
}

// relayPlain has a request relayed. Where an answer is cut on its way,
// ReverseProxy panics, by which net/http ends the connection: that is counted
// in passing.
func (s *Server) relayPlain(rt *route, w http.ResponseWriter, r *http.Request, path string, a *policy.Admission) *refused {
	cut := true
	defer func() {
		if !cut {
			return
		}
		no := refuse(http.StatusBadGateway, resultBadReply, "answer was cut")
		if r.Context().Err() != nil {
			no.result = resultClientGone
		}
		s.metrics.requests.WithLabelValues(rt.name, no.result).Inc()
		s.logRefused(r, rt.name, no)
	}()
	no := rt.plain.serve(s, w, r, path, a)
	cut = false
	return no
}

// routePlain finds the route and the canonical path of a plain request.
func (st *site) routePlain(r *http.Request) (*route, string, *refused) {
	host, path, no := readPlain(r)
	if no != nil {
		return nil, "", no
	}
	rt, no := st.route(peerOf(r), host, path)
	return rt, path, no
}

// plainRequestOf is what policies see of a plain request that readPlain has
// passed: of its fields those that go on to the upstream, as with handshakes.
func plainRequestOf(r *http.Request, path string) *policy.Request {
	host, port, _ := handshake.CanonicalAuthority(r.Host)
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		if !handshake.OwnField(name) {
			header[name] = values
		}
	}
	return &policy.Request{Plain: true, Method: r.Method, Host: host, Port: port, Path: path, RawQuery: r.URL.RawQuery, Header: header}
}

// readPlain returns the canonical host and path of a plain request.
func readPlain(r *http.Request) (host, path string, no *refused) {
	if r.Method == http.MethodTrace {
		return "", "", refuse(http.StatusMethodNotAllowed, resultMalformed, "method not allowed").with("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	for name := range r.Header {
		if strings.ContainsAny(name, "_") {
			return "", "", refuse(http.StatusBadRequest, resultMalformed, "malformed request")
		}
	}
	if r.Header["Early-Data"] != nil { // any value counts as 1 (RFC 8470 section 5.1)
		return "", "", refuse(http.StatusTooEarly, resultMalformed, "early data not accepted")
	}
	host, ok := handshake.CanonicalHost(r.Host)
	if !ok {
		return "", "", refuse(http.StatusBadRequest, resultMalformed, "malformed host")
	}
	path, refusal := handshake.CanonicalPath(r.URL)
	if refusal != nil {
		return "", "", &refused{Refusal: refusal, result: resultMalformed}
	}
	return host, path, nil
}

// route finds the route of a canonical host and path. On TLS the name that the
// certificate was chosen by must be the host (RFC 9110 §7.4): else a request
// could borrow the admission of another site.
func (st *site) route(c *peer, host, path string) (*route, *refused) {
	if c.secure && !strings.EqualFold(strings.TrimSuffix(c.tls, "."), host) {
		return nil, refuse(http.StatusMisdirectedRequest, resultMisdirect, "misdirected request")
	}
	rt := st.router.find(host, path)
	if rt == nil {
		return nil, refuse(http.StatusNotFound, resultNoRoute, "not found")
	}
	if !c.passed(st.authOf(c, host)) {
		return rt, refuse(http.StatusMisdirectedRequest, resultMisdirect, "misdirected request").detail("the connection has not passed the client_auth of this host")
	}
	return rt, nil
}

func routeName(rt *route) string {
	if rt == nil {
		return noRoute
	}
	return rt.name
}

// canonicalURLPath splits a canonical path into what net/url wants, so that it
// is sent as it was matched.
func canonicalURLPath(path string) (decoded, raw string) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return path, "" // a canonical path is always well-formed
	}
	return decoded, path
}

// logRefused writes the one line of a refusal.
func (s *Server) logRefused(r *http.Request, route string, no *refused) {
	attrs := append(requestAttrs(r), "route", route, "status", no.Status, "reason", no.Reason, "result", no.result)
	if no.rule != "" {
		attrs = append(attrs, "policy", no.policy, "rule", no.rule, "mode", "enforce", "outcome", policy.OutcomeRefused)
	}
	if no.Detail != "" {
		attrs = append(attrs, "detail", clean(no.Detail))
	}
	s.log.Info("refused", attrs...)
}
