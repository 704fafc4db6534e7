package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy/handshake"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
	"github.com/framegate/framegate/proxy/upstream"
)

// run answers the handshake and relays until both connections are closed. It
// closes both on every way out.
func (s *Server) run(v *visit, w http.ResponseWriter, r *http.Request, rt *route, offer *handshake.Offer, a *policy.Admission, up *upgraded, free func()) {
	stick(up.agreement.Header, up.cookie)
	if c := headConnOf(r); c != nil {
		s.runConn(c, v, w, r, rt, offer, a, up)
		return
	}
	s.runStream(v, w, r, rt, offer, a, up, free)
}

// runConn takes the client's connection from net/http.
func (s *Server) runConn(c *headConn, v *visit, w http.ResponseWriter, r *http.Request, rt *route, offer *handshake.Offer, a *policy.Admission, up *upgraded) {
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.close()
		s.log.Warn("cannot take over the connection", append(requestAttrs(r), "route", rt.name, "error", err.Error())...)
		return
	}
	// What net/http has read ahead comes before what is left in its hands.
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early := append(append([]byte(nil), buffered...), c.rest()...)
	grant := s.grant(rt, a, up)
	conn := newConnection(s, r, rt, a, up, c.free)
	raw.SetDeadline(time.Time{})
	raw.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := raw.Write(offer.AppendAccept(nil, up.agreement)); err != nil {
		c.Conn.Close()
		up.conn.Close()
		conn.ended(relay.Result{Cause: relay.ClientLost, By: relay.Client}, [2]relay.Stats{})
		return
	}
	raw.SetWriteDeadline(time.Time{})
	conn.relay(v, up, c.Conn, grant, [2][]byte{relay.Client: early, relay.Upstream: up.early})
}

// runStream answers on a stream of HTTP/2 (RFC 8441) and relays on it. The
// request ends with the session.
func (s *Server) runStream(v *visit, w http.ResponseWriter, r *http.Request, rt *route, offer *handshake.Offer, a *policy.Admission, up *upgraded, free func()) {
	conn := newConnection(s, r, rt, a, up, free)
	client := newStreamLeg(w, r)
	if err := client.accept(offer, up.agreement); err != nil {
		up.conn.Close()
		conn.ended(relay.Result{Cause: relay.ClientLost, By: relay.Client}, [2]relay.Stats{})
		return
	}
	defer followed(r, conn)()
	conn.drive(v, conn.begin(s.grant(rt, a, up)), client, leg{up.conn}, [2][]byte{relay.Upstream: up.early})
	client.finish()
}

// grant is what the handshake has granted to a session, nil where that is
// nothing.
func (s *Server) grant(rt *route, a *policy.Admission, up *upgraded) *relay.Grant {
	g := &relay.Grant{
		Deflate: up.agreement.Deflate, Until: a.End(), Buckets: rt.buckets(s.shared.policies.Limits, a),
		Inspectors: rt.inspectors(a, up.agreement.Subprotocol),
	}
	if reflect.ValueOf(*g).IsZero() {
		return nil
	}
	return g
}

// A connection is what is kept of an accepted handshake while its session
// lives: a request would hold far more.
type connection struct {
	server *Server
	route  atomic.Pointer[route] // under whose rules its messages are
	lease  *upstream.Lease
	first  netip.AddrPort // of the client, at the handshake
	record policy.Record
	later  atomic.Pointer[later] // what has changed since; nil for nothing
	shown  *shown                // nil where that is what record has
	start  time.Duration         // from the server's
	free   func()                // gives its place at the listener back
	told   [2]uint64             // rules that the log was told of, by side; used by whoever drives the session

	mu    sync.Mutex    // held while it is reviewed
	under *route        // that has admitted it
	held  []policy.Held // what its policies count; to be given back
	over  bool          // it has been given back

	major       uint8 // of the HTTP version
	compression compression

	sacrificed bool          // closed because of an overload; of the lock of sessions
	active     atomic.Uint32 // overload.epoch when a frame was last relayed
}

// later is what of a connection is another than at its handshake.
type later struct {
	client netip.AddrPort
	record *policy.Record // with a token that came later
}

// client is where the client is.
func (c *connection) client() netip.AddrPort {
	if l := c.later.Load(); l != nil {
		return l.client
	}
	return c.first
}

// known is what is kept of the connection's handshake, and of its latest token.
func (c *connection) known() *policy.Record {
	if l := c.later.Load(); l != nil {
		return l.record
	}
	return &c.record
}

// compression is that of a session's messages.
type compression uint8

const (
	uncompressed compression = iota
	compressed               // each by itself
	chained                  // perhaps with reference to those before, so that nobody can begin to read them now
)

// shown is how the log names what a client asked for: as it was sent.
type shown struct{ host, path string }

func newConnection(s *Server, r *http.Request, rt *route, a *policy.Admission, up *upgraded, free func()) *connection {
	// Copies: the request's strings are parts of larger ones, with secrets in.
	c := &connection{
		server: s, under: rt, lease: up.lease, first: hopOf(r).client, major: uint8(r.ProtoMajor), start: time.Since(s.start), free: free,
		held: a.Keep(), record: a.Record(up.agreement.Subprotocol),
	}
	if up.agreement.Deflate {
		if c.compression = compressed; rt.compression == handshake.Pass {
			c.compression = chained
		}
	}
	if host, path := clean(r.Host), clean(r.URL.Path); host != c.record.Host() || path != c.record.Path() {
		c.shown = &shown{strings.Clone(host), strings.Clone(path)}
	}
	c.route.Store(rt)
	c.stir()
	return c
}

// relay runs the session. On return it has ended, or the reactor has it.
func (c *connection) relay(v *visit, up *upgraded, client net.Conn, grant *relay.Grant, early [2][]byte) {
	s, core := c.server, c.begin(grant)
	if s.sessions.enter(c, func() (failer, bool) { return s.driver.take(core, c, client, up.conn, early) }) {
		s.reviewLate(c, v.site)
		return
	}
	c.drive(v, core, leg{client}, leg{up.conn}, early)
}

// begin makes the session.
func (c *connection) begin(grant *relay.Grant) *relay.Session {
	c.bind(grant)
	c.server.tidier.stir()
	c.route.Load().meters.live.Inc()
	c.server.log.Info("admitted", append(c.attrs(), "outcome", policy.OutcomeAdmitted)...)
	return relay.New(c.route.Load().limits, grant, time.Now())
}

// drive runs the session in goroutines, to its end.
func (c *connection) drive(v *visit, core *relay.Session, client, upstream stream.Conn, early [2][]byte) {
	d := stream.New(core, client, upstream, c.Relayed)
	d.OnHit, d.OnPanic = c.Ruled, c.Panicked
	c.server.sessions.enter(c, func() (failer, bool) { return d, true })
	c.server.reviewLate(c, v.site)
	v.leave()
	c.Ended(d.Run(early), [2]relay.Stats{core.Stats(relay.Client), core.Stats(relay.Upstream)})
}

// Relayed implements reactor.Hooks.
func (c *connection) Relayed(from relay.Side, more relay.Stats) {
	c.route.Load().meters.relayed(from, more)
	c.stir()
}

// stir notes that the connection is not idle.
func (c *connection) stir() { c.active.Store(c.server.overload.epoch.Load()) }

// Ruled implements reactor.Hooks.
func (c *connection) Ruled(from relay.Side, hit relay.Hit) {
	rt := c.route.Load()
	r := &rt.rules[from]
	if int(hit.Rule) >= len(r.names) {
		return // of a message that has outlived the numbers of its rules
	}
	name, outcome := r.names[hit.Rule], outcomeOf(hit)
	meter := r.meters[hit.Rule][outcome]
	if meter == nil { // of a rule that is there no more
		meter = c.server.metrics.hits.WithLabelValues(rt.name, from.String(), name.Policy, name.Name, outcome)
	}
	meter.Add(float64(hit.Times))
	// The first time is told, further ones are counted: a flood of messages is
	// no flood of the log.
	if told := uint64(1) << (hit.Rule % 64); c.told[from]&told == 0 {
		c.told[from] |= told
		c.server.log.Info("rule", append(c.attrs(), "from", from.String(), "policy", name.Policy, "rule", name.Name, "outcome", outcome)...)
	}
}

// Panicked implements reactor.Hooks.
func (c *connection) Panicked(_ any, stack []byte) {
	c.server.metrics.panics.Inc()
	c.server.log.Error("fault in a session", "route", c.route.Load().name, "stack", string(stack))
}

// Ended implements reactor.Hooks.
func (c *connection) Ended(result relay.Result, stats [2]relay.Stats) {
	c.server.metrics.closed(result)
	c.ended(result, stats)
	c.route.Load().meters.live.Dec()
	c.server.sessions.leave(c)
}

// ended writes the one line of a connection and gives its place back.
func (c *connection) ended(result relay.Result, stats [2]relay.Stats) {
	attrs := append(c.attrs(), "subprotocol", c.record.Subprotocol(),
		"status", http.StatusSwitchingProtocols, "close_code", int(result.Main()), "close_side", result.By.String(), "cause", result.Cause.String(),
		"messages_client", stats[relay.Client].Messages, "messages_upstream", stats[relay.Upstream].Messages,
		"bytes_client", stats[relay.Client].Bytes, "bytes_upstream", stats[relay.Upstream].Bytes, "duration", (time.Since(c.server.start) - c.start).Seconds())
	if result.Reason != "" {
		attrs = append(attrs, "reason", result.Reason)
	}
	c.server.log.Info("connection", attrs...)
	c.free()
	c.lease.Release()
	c.mu.Lock()
	held := c.held
	c.held, c.over = nil, true
	c.mu.Unlock()
	for _, h := range held {
		h.Release()
	}
}

// protocols are the versions of HTTP by which sessions come, by major number.
var protocols = [...]string{1: "HTTP/1.1", 2: "HTTP/2.0", 3: "HTTP/3.0"}

// attrs are what every log line says of a connection.
func (c *connection) attrs() []any {
	at := shown{c.record.Host(), c.record.Path()}
	if c.shown != nil {
		at = *c.shown
	}
	return []any{"client", addressText(c.client()), "protocol", protocols[c.major], "host", at.host, "path", at.path, "route", c.route.Load().name, "upstream", c.lease.Server().String()}
}
