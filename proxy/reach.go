package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/upstream"
)

// factsOf is what the choice of a server goes by: the client, and the fields and
// the query of the request as the server will get them.
func factsOf(r *http.Request, a *policy.Admission, header http.Header, query string) *upstream.Facts {
	f := &upstream.Facts{Now: time.Now(), Address: hopOf(r).client.Addr(), Header: header, Query: query}
	if a.Claims != nil {
		f.Claim = a.Claims.Get
	}
	return f
}

// introduction is what servers are told of the client of r by the PROXY protocol.
func introduction(r *http.Request) upstream.Hop {
	p := peerOf(r)
	h := upstream.Hop{Client: hopOf(r).client, Local: p.local}
	if h.Client == p.client { // and not somebody behind it
		h.TLVs = p.tlvs
	}
	return h
}

// connect opens a connection for r to the first server of a pick that can be
// reached. The lease is to be released at the connection's end. ctx bounds all
// tries.
func (s *Server) connect(ctx context.Context, r *http.Request, pick *upstream.Pick, wrap func(net.Conn) net.Conn) (*upstream.Lease, net.Conn, *refused) {
	failure := errors.New("no further server")
	for lease := pick.Next(); lease != nil; lease = pick.Next() {
		conn, err := lease.Dial(ctx, introduction(r), wrap)
		if err == nil {
			return lease, conn, nil
		}
		lease.Release()
		failure = err
		s.log.Debug("server cannot be reached", "upstream", lease.Server().String(), "error", err.Error())
		if ctx.Err() != nil {
			break
		}
	}
	if r.Context().Err() != nil {
		return nil, nil, clientGone()
	}
	return nil, nil, unreachable(pick, failure)
}

// stickyKey sees to it that pools whose cookies have no key in the configuration
// have one: that of this installation, which other gateways do not have.
func (s *Server) stickyKey(st *site) {
	own := slices.ContainsFunc(slices.Collect(maps.Values(st.pools)), (*upstream.Pool).OwnKey)
	if !own || s.upstreams.HasKey() {
		return
	}
	key, err := st.cfg.TLS.Storage.Secret("sticky.key")
	if err != nil {
		key = make([]byte, 32)
		rand.Read(key) // never fails: crypto/rand ends the process instead
		s.log.Warn("sticky cookies will not survive a restart, and hold for this gateway alone: set sticky.cookie.key", "error", err.Error())
	} else {
		s.log.Info("sticky cookies hold for this installation alone: several gateways need sticky.cookie.key")
	}
	s.upstreams.SetKey(key)
}

// hasCookie tells whether a request carries a cookie, by which a page of another
// site could act as its user. The gateway's own tells nobody who somebody is.
func (rt *route) hasCookie(h http.Header) bool {
	only := http.Header{"Cookie": h["Cookie"]}
	if rt.pool != nil {
		rt.pool.RemoveCookie(only)
	}
	return only["Cookie"] != nil
}

// retryUpstream is when clients may come back whose upstream has no server for
// them.
const retryUpstream = 2 * time.Second

// unreachable is the answer where no server was reached, or none could be tried.
func unreachable(pick *upstream.Pick, failure error) *refused {
	err := pick.Err()
	switch {
	case err == nil:
		return refuse(http.StatusBadGateway, resultNoUpstream, reasonNoUpstream).detail(failure.Error())
	case errors.Is(err, upstream.ErrFull):
		return refuse(http.StatusServiceUnavailable, resultFull, "upstream is full").detail(err.Error()).after(retryUpstream)
	}
	return refuse(http.StatusServiceUnavailable, resultDown, "upstream is down").detail(err.Error()).after(retryUpstream)
}

func clientGone() *refused {
	return refuse(http.StatusBadGateway, resultClientGone, "client is gone")
}

// stick gives a client the cookie by which it comes back to its server. An
// answer that caches may keep for everybody is not one client's: with a cookie
// in it, all would come to that server.
func stick(h http.Header, cookie string) {
	if cookie == "" {
		return
	}
	for _, field := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(field, ",") {
			name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			if name == "public" || name == "s-maxage" {
				return
			}
		}
	}
	h["Set-Cookie"] = append(slices.Clip(h["Set-Cookie"]), cookie)
}
