package proxy

import (
	"net"
	"net/http"
	"time"

	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
)

// run takes the client's connection from net/http, answers the handshake and
// relays until both connections are closed. It closes both on every way out.
func (s *Server) run(w http.ResponseWriter, r *http.Request, rt *route, offer *handshake.Offer, up *upgraded) {
	c := clientOf(r)
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.conn.Close()
		s.log.Warn("cannot take over the connection", append(requestAttrs(r), "route", rt.name, "error", err.Error())...)
		return
	}
	// What net/http has read ahead comes before what is left in its hands.
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early := append(append([]byte(nil), buffered...), c.rest()...)
	raw.SetDeadline(time.Time{})
	raw.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := raw.Write(offer.AppendAccept(nil, up.agreement)); err != nil {
		raw.Close()
		up.conn.Close()
		s.logSession(r, rt, up, relay.Result{Cause: relay.ClientLost, By: relay.Client}, [2]relay.Stats{}, 0)
		return
	}
	raw.SetWriteDeadline(time.Time{})
	s.relay(r, rt, up, c.Conn, [2][]byte{relay.Client: early, relay.Upstream: up.early})
}

// relay runs the session of an accepted handshake.
func (s *Server) relay(r *http.Request, rt *route, up *upgraded, client net.Conn, early [2][]byte) {
	start := time.Now()
	session := relay.New(rt.limits, up.agreement.Deflate, start)
	d := stream.New(session, leg{client}, leg{up.conn}, rt.meters.relayed)
	d.OnPanic = func(fault any, stack []byte) {
		s.metrics.panics.Inc()
		s.log.Error("fault in a session", "route", rt.name, "stack", string(stack))
	}
	leave := s.sessions.enter(d)
	rt.meters.live.Inc()
	s.log.Debug("opened", append(requestAttrs(r), "route", rt.name, "upstream", up.server.String())...)
	result := d.Run(early)
	rt.meters.live.Dec()
	leave()
	s.metrics.closed(result)
	s.logSession(r, rt, up, result, [2]relay.Stats{session.Stats(relay.Client), session.Stats(relay.Upstream)}, time.Since(start))
}

// logSession writes the one line of a connection.
func (s *Server) logSession(r *http.Request, rt *route, up *upgraded, result relay.Result, stats [2]relay.Stats, d time.Duration) {
	attrs := append(requestAttrs(r), "route", rt.name, "upstream", up.server.String(), "subprotocol", up.agreement.Subprotocol,
		"status", http.StatusSwitchingProtocols, "close_code", int(result.Main()), "close_side", result.By.String(), "cause", result.Cause.String(),
		"messages_client", stats[relay.Client].Messages, "messages_upstream", stats[relay.Upstream].Messages,
		"bytes_client", stats[relay.Client].Bytes, "bytes_upstream", stats[relay.Upstream].Bytes, "duration", d.Seconds())
	if result.Reason != "" {
		attrs = append(attrs, "reason", result.Reason)
	}
	s.log.Info("connection", attrs...)
}
