package proxy

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/upstream"
)

// A plainProxy relays the requests of a route that are not WebSocket
// handshakes: the pages of the application, its long polls and event streams.
// Each has an upstream connection of its own, as every WebSocket has: what a
// server sends behind its answer reaches nobody else.
type plainProxy struct {
	pool  *upstream.Pool
	proxy *httputil.ReverseProxy
}

func newPlainProxy(pool *upstream.Pool) *plainProxy {
	p := &plainProxy{pool: pool}
	p.proxy = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p,
		FlushInterval:  -1, // whatever the upstream sends is sent on at once
		ErrorLog:       log.New(discard{}, "", 0),
		ErrorHandler:   p.failed,
		ModifyResponse: beforeAnswer,
	}
	return p
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// plainRequest is what the proxy's callbacks know of a request.
type plainRequest struct {
	server   *Server
	path     string // canonical
	admitted *policy.Admission
	lease    *upstream.Lease // nil before a server was reached
	refused  *refused        // why none was
	failure  error
	hsts     []string // of the listener, in place of the upstream's
}

type plainKey struct{}

// serve relays one request whose path is canonical. It returns why it could
// not.
func (p *plainProxy) serve(s *Server, w http.ResponseWriter, r *http.Request, path string, a *policy.Admission) *refused {
	state := &plainRequest{server: s, path: path, admitted: a, hsts: w.Header()[hstsField]}
	w.Header().Del(hstsField) // else there were two
	defer func() { state.lease.Release() }()
	r = r.WithContext(context.WithValue(r.Context(), plainKey{}, state))
	body := newPacedBody(w, r)
	if body != nil {
		r.Body = body
	}
	p.proxy.ServeHTTP(w, r)
	if state.failure == nil {
		return nil
	}
	if state.hsts != nil {
		w.Header()[hstsField] = state.hsts
	}
	switch {
	case body.tooSlow():
		return refuse(http.StatusRequestTimeout, resultMalformed, reasonSlow)
	case r.Context().Err() != nil:
		return clientGone()
	case state.refused != nil:
		return state.refused
	}
	if state.lease != nil {
		state.lease.Failed(state.failure, time.Now())
	}
	return refuse(http.StatusBadGateway, resultNoUpstream, reasonNoUpstream).detail(state.failure.Error())
}

// RoundTrip implements http.RoundTripper: it sends a request that rewrite has
// made to the server that is picked for it. Its body is not touched before one
// is reached.
func (p *plainProxy) RoundTrip(out *http.Request) (*http.Response, error) {
	state := out.Context().Value(plainKey{}).(*plainRequest)
	ctx, cancel := context.WithTimeout(out.Context(), upgradeTimeout)
	defer cancel()
	pick := p.pool.Pick(factsOf(out, state.admitted, out.Header, out.URL.RawQuery))
	p.pool.RemoveCookie(out.Header)
	lease, conn, no := state.server.connect(ctx, out, pick, func(c net.Conn) net.Conn { return c })
	if no != nil {
		if out.Body != nil {
			out.Body.Close()
		}
		state.refused = no
		return nil, errors.New(no.Reason)
	}
	state.lease = lease
	resp, err := p.pool.Transport().RoundTrip(out.WithContext(upstream.OnConn(out.Context(), conn)))
	if err != nil {
		conn.Close() // which a transport that has not come to it does not
		return nil, err
	}
	if resp.StatusCode < http.StatusInternalServerError { // else it may be the page or the server: that says nothing
		lease.Succeeded(time.Now())
	}
	stick(resp.Header, pick.SetCookie(lease))
	return resp, nil
}

// rewrite makes the request to the upstream. ReverseProxy has removed the
// hop-by-hop fields and all that claims a forwarding before.
func (p *plainProxy) rewrite(pr *httputil.ProxyRequest) {
	state := pr.In.Context().Value(plainKey{}).(*plainRequest)
	u := *pr.In.URL
	u.Scheme, u.Host, u.User = "http", "upstream.invalid", nil // RoundTrip has its own way there
	u.Path, u.RawPath = canonicalURLPath(state.path)
	u.RawQuery = state.admitted.Query()
	pr.Out.URL = &u
	h := pr.Out.Header
	for name := range h {
		if handshake.OwnField(name) {
			delete(h, name)
		}
	}
	state.admitted.Edit(h)
	fwd := forwarded(pr.In)
	pr.Out.Host = fwd.Host
	h.Set("X-Forwarded-For", fwd.For)
	h.Set("X-Forwarded-Proto", fwd.Proto)
	h.Set("X-Forwarded-Host", fwd.Host)
}

// failed keeps the reason for serve, which answers. Where a body was under way
// ReverseProxy ends the connection itself.
func (p *plainProxy) failed(_ http.ResponseWriter, r *http.Request, err error) {
	r.Context().Value(plainKey{}).(*plainRequest).failure = err
}

// beforeAnswer refuses a 101 that nobody asked for, of which ReverseProxy would
// not close the connection. After a chunked body it says that the connection
// ends (see headConn); what was said before, interim answers have cleared.
func beforeAnswer(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		return errors.New("upstream switches protocols unasked")
	}
	if own := resp.Request.Context().Value(plainKey{}).(*plainRequest).hsts; own != nil {
		resp.Header[hstsField] = own
	}
	if c := headConnOf(resp.Request); c != nil && c.chunked {
		resp.Header.Set("Connection", "close")
	}
	return nil
}
