package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/upstream"
)

const (
	upgradeTimeout = 15 * time.Second // from the request's head to our 101
	replyTimeout   = 5 * time.Second  // for an upstream to answer the handshake
	maxRefusalBody = 64 << 10         // of an upstream's refusal that is relayed
)

// upgrade takes a handshake through its journey (see doc.go). Until the
// upstream's 101 is verified nothing is hijacked and no byte of the client is
// sent on: whatever fails is answered as HTTP.
func (s *Server) upgrade(v *visit, w http.ResponseWriter, r *http.Request) {
	rt, offer, a, no := s.admit(v.site, r)
	defer a.Release()
	if no == nil && !s.sessions.hold() {
		no = goingAway()
	} else if no == nil {
		defer s.sessions.release()
	}
	name := routeName(rt)
	var up *upgraded
	var free func()
	if no == nil {
		free, no = room(r)
	}
	if no == nil {
		if up, no = s.dial(r, rt, offer, a); flooded(r) {
			no = tooEarly()
		}
		if no != nil {
			free()
		}
		if no != nil && up != nil {
			up.close()
		}
	}
	switch {
	case no != nil:
		s.metrics.handshakes.WithLabelValues(name, no.result).Inc()
		s.logRefused(r, name, no)
		no.write(w, r)
	case up.refusal != nil:
		s.metrics.handshakes.WithLabelValues(name, resultRefused).Inc()
		s.log.Info("refused", append(requestAttrs(r), "route", name, "status", up.refusal.Status, "reason", "refused by the upstream",
			"result", resultRefused, "upstream", up.lease.Server().String())...)
		free()
		up.relayRefusal(w, r)
	default:
		s.metrics.handshakes.WithLabelValues(name, resultAccepted).Inc()
		s.run(v, w, r, rt, offer, a, up, free)
	}
}

// admit decides whether a client may connect, without asking the upstream. What
// it admits holds places that count, until the admission is released.
func (s *Server) admit(st *site, r *http.Request) (*route, *handshake.Offer, *policy.Admission, *refused) {
	if s.draining.Load() {
		return nil, nil, nil, goingAway()
	}
	if s.overload.refuses(time.Now()) {
		return nil, nil, nil, refuse(http.StatusServiceUnavailable, resultOverload, "overloaded").after(retryAfter)
	}
	if c := headConnOf(r); c != nil && c.early > maxEarly {
		return nil, nil, nil, tooEarly()
	}
	if ok, wait := s.handshakes.TakeN(time.Now(), 1); !ok {
		return nil, nil, nil, refuse(http.StatusServiceUnavailable, resultLimit, "too many handshakes").after(wait)
	}
	offer, refusal := handshake.ParseOffer(r)
	if refusal != nil {
		return nil, nil, nil, &refused{Refusal: refusal, result: resultMalformed}
	}
	rt, no := st.route(peerOf(r), offer.Host, offer.Path)
	if no == nil {
		no = s.drained(rt)
	}
	if no != nil {
		return rt, nil, nil, no
	}
	a, no := s.decide(st, rt, r, requestOf(offer))
	if no != nil {
		return rt, nil, nil, no
	}
	a.Edit(offer.Header)
	offer.RawQuery, offer.Subprotocols = a.Query(), a.Offered()
	return rt, offer, a, nil
}

// requestOf is what policies see of a handshake.
func requestOf(o *handshake.Offer) *policy.Request {
	return &policy.Request{
		Method: http.MethodGet, Host: o.Host, Port: o.Port, Path: o.Path, RawQuery: o.RawQuery,
		Origin: o.Origin, HasOrigin: o.HasOrigin, Header: o.Header, Subprotocols: o.Subprotocols,
	}
}

// room takes the place of a session at its listener: each stream of a
// connection needs one. On HTTP/1.1 the connection has it already, and leaves it
// to its session.
func room(r *http.Request) (free func(), no *refused) {
	if headConnOf(r) != nil {
		return func() {}, nil
	}
	free, ok := peerOf(r).listener.place()
	if !ok {
		return nil, tooMany()
	}
	return free, nil
}

// tooMany is the refusal of a connection over the limits of connections.
func tooMany() *refused {
	return refuse(http.StatusServiceUnavailable, resultLimit, "too many connections").after(5 * time.Second)
}

func goingAway() *refused {
	return refuse(http.StatusServiceUnavailable, resultDraining, "going away").with("Retry-After", "1")
}

// flooded reports that a client of HTTP/1.1 has sent too much before its
// handshake was answered. Later versions have a window for that.
func flooded(r *http.Request) bool {
	c := headConnOf(r)
	return c != nil && c.flooded.Load()
}

func tooEarly() *refused {
	return refuse(http.StatusBadRequest, resultMalformed, errFlooded.Error())
}

// An upgraded is the upstream's side of a handshake.
type upgraded struct {
	lease     *upstream.Lease
	conn      net.Conn
	agreement handshake.Agreement
	early     []byte // what the upstream sent behind its 101
	cookie    string // Set-Cookie for the client; empty for none

	refusal *handshake.Reply // instead: the upstream said no
	head    []byte           // of the refusal, with what was read behind it
}

// close ends the connection of what becomes no session.
func (up *upgraded) close() {
	up.conn.Close()
	up.lease.Release()
}

// maxAsked is how many servers are sent a client's handshake. One that gives no
// answer which could be relayed leaves the client waiting, who has seen nothing
// yet, and a handshake is a GET without a body; but it may have cost that server
// something, so it is repeated once and not at every server.
const maxAsked = 2

// dial opens a fresh connection to the first server that can be reached and
// shakes hands with it. What cannot be reached costs nothing but time, so the
// next server is tried while there is some; see maxAsked for those that can.
func (s *Server) dial(r *http.Request, rt *route, offer *handshake.Offer, a *policy.Admission) (*upgraded, *refused) {
	ctx, cancel := context.WithTimeout(r.Context(), upgradeTimeout)
	defer cancel()
	pick := rt.pool.Pick(factsOf(r, a, offer.Header, offer.RawQuery))
	rt.pool.RemoveCookie(offer.Header)
	var bad *refused // of a server that was asked
	for range maxAsked {
		lease, conn, no := s.connect(ctx, r, pick, s.driver.wrap)
		if no != nil && (bad == nil || no.result == resultClientGone) {
			return nil, no
		}
		if no != nil {
			return nil, bad
		}
		up, no := shake(ctx, lease, conn, r, rt, offer)
		switch {
		case no == nil && up.refusal != nil && up.refusal.Status >= http.StatusInternalServerError:
			lease.Failed(fmt.Errorf("answered %d", up.refusal.Status), time.Now())
			return up, nil
		case no == nil:
			lease.Succeeded(time.Now())
			up.cookie = pick.SetCookie(lease)
			return up, nil
		}
		if no.result != resultClientGone {
			lease.Failed(errors.New(no.Detail), time.Now())
		}
		lease.Release()
		if bad = no; no.result == resultClientGone {
			break
		}
	}
	return nil, bad
}

// shake sends the gateway's own handshake on conn and verifies the answer. The
// connection is closed unless it is returned.
func shake(ctx context.Context, lease *upstream.Lease, conn net.Conn, r *http.Request, rt *route, offer *handshake.Offer) (*upgraded, *refused) {
	// A client that leaves ends the wait.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	up, no := exchange(lease, conn, r, rt, offer)
	if !stop() && no == nil && up.refusal == nil {
		no = clientGone()
	}
	if no != nil {
		conn.Close()
		if r.Context().Err() != nil {
			no.result = resultClientGone
		}
		return nil, no
	}
	conn.SetDeadline(time.Time{})
	return up, nil
}

// exchange writes the request and reads the head of the answer.
func exchange(lease *upstream.Lease, conn net.Conn, r *http.Request, rt *route, offer *handshake.Offer) (*upgraded, *refused) {
	key, err := handshake.NewKey(rand.Reader)
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, resultBadReply, "internal error").detail(err.Error())
	}
	conn.SetDeadline(time.Now().Add(replyTimeout))
	if _, err := conn.Write(offer.AppendRequest(nil, key, forwarded(r), rt.compression)); err != nil {
		return nil, refuse(http.StatusBadGateway, resultNoUpstream, reasonNoUpstream).detail("writing the handshake: " + err.Error())
	}
	reply, head, n, refusal := handshake.ReadReply(conn)
	if refusal != nil {
		return nil, &refused{Refusal: refusal, result: resultBadReply}
	}
	up := &upgraded{lease: lease, conn: conn}
	if reply.Status != http.StatusSwitchingProtocols {
		up.refusal, up.head = reply, head
		return up, nil
	}
	a, refusal := offer.Verify(key, reply)
	if refusal != nil {
		return nil, &refused{Refusal: refusal, result: resultBadReply}
	}
	up.agreement, up.early = a, head[n:]
	return up, nil
}

// relayRefusal passes the upstream's answer on: its status, its end-to-end
// fields and the start of its body.
func (up *upgraded) relayRefusal(w http.ResponseWriter, r *http.Request) {
	defer up.close()
	// A client that leaves ends the reading.
	defer context.AfterFunc(r.Context(), func() { up.conn.SetDeadline(time.Unix(1, 0)) })()
	h := w.Header()
	own := h[hstsField] // of the listener
	for name, values := range up.refusal.EndToEnd() {
		h[name] = values
	}
	stick(h, up.cookie)
	if own != nil {
		h[hstsField] = own
	}
	h.Del("Content-Length")
	endWithAnswer(h, r)
	up.conn.SetDeadline(time.Now().Add(replyTimeout))
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(up.head), up.conn)), nil)
	if err != nil {
		w.WriteHeader(up.refusal.Status)
		return
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBody))
	if err != nil && len(body) == 0 {
		body = nil
	}
	w.WriteHeader(up.refusal.Status)
	w.Write(body)
}
