package relay

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/framegate/framegate/proxy/frame"
)

// A Side is one of the two peers of a session.
type Side uint8

// The sides. Gateway is at fault where neither peer is.
const (
	Client Side = iota
	Upstream
	Gateway
)

// Other returns the opposite peer.
func (s Side) Other() Side { return 1 - s }

// String returns "client", "upstream" or "gateway".
func (s Side) String() string { return [...]string{"client", "upstream", "gateway"}[s] }

// OpKind says what an Op asks of the driver.
type OpKind uint8

// The operations.
const (
	Write     OpKind = iota + 1 // write Data to Side, after everything before it
	Pause                       // stop reading Side
	Resume                      // read Side again
	HalfClose                   // end the writing direction of Side; all that was written has been taken
	Close                       // close the connection to Side
	Abort                       // reset the connection to Side; what was not written is lost
	Report                      // Hit has happened to what Side sent
)

// An Op is one thing that the driver must do.
type Op struct {
	Kind OpKind
	Side Side
	Hit  Hit    // of Report
	Data []byte // of Write: valid until it was reported as Written, and no longer than until the next Feed of the other side
}

// Stats counts what was relayed from one side.
type Stats struct {
	Frames   uint64 // data frames and control frames
	Messages uint64
	Bytes    uint64 // payload
	Dropped  uint64 // control frames that were answered, expected or not wanted here

	DroppedMessages uint64        // by rules
	Delayed         time.Duration // for which rates kept it from being read
	Inspected       uint64        // payload bytes that inspectors saw
}

// A Result says how a session ended.
type Result struct {
	Cause  Cause
	By     Side             // who sent Close or is at fault
	Closed frame.StatusCode // what that side sent, where it sent Close
	Reason string           // the gateway's own, constant; empty where a peer closed
	Told   [2]frame.StatusCode
}

// Main is the code by which the end is known: what the closer sent, what a
// side at fault was told, and else what the client was told. 0 is none.
func (r Result) Main() frame.StatusCode {
	switch {
	case r.Cause == PeerClosed:
		return r.Closed
	case r.Cause == ClientLost, r.By == Upstream && rows[r.Cause].offender != 0:
		return r.Told[Upstream]
	}
	return r.Told[Client]
}

// phase is what becomes of a side's input.
type phase uint8

const (
	relaying   phase = iota
	awaiting         // frames are skipped until its Close
	discarding       // bytes are thrown away until it ends
)

// A half is one side of a session: as a sender, and as a receiver. The fields
// are in an order that leaves few gaps: an idle session is mostly these.
type half struct {
	// As a sender.
	header    frame.Header // of the current frame
	left      int64        // payload bytes of the current frame, streamed or skipped
	hold      *buffer      // the current frame, gathered
	spent     *buffer      // what was handed out of buffers, and perhaps is not written yet
	rules     *ruling      // nil where rules remember nothing of a message
	controls  *controls    // nil until it has sent a control frame that is limited
	size      uint64       // payload of the current message so far
	frameAt   time.Duration
	messageAt time.Duration
	stuckAt   time.Duration // since when the receiver has not taken what it was sent
	quietAt   time.Duration // since when it is silent, or was pinged
	stats     counts

	parser     frame.Parser
	sequence   frame.Sequence
	text       frame.UTF8
	phase      phase
	streaming  bool // the current frame is partly relayed
	torn       bool // a walk that began inside a frame is under way, or was interrupted by a fault
	compressed bool // the current message
	paused     bool
	eof        bool // it sends no more bytes
	gotClose   bool
	pinged     bool  // by the gateway, and silent since
	asked      bool  // has not sent the pong for that
	pings      uint8 // relayed to it and not answered
	message    frame.OpCode
	closeCode  frame.StatusCode // that it sent
	fragments  uint32

	// As a receiver.
	told      frame.StatusCode
	ping      [4]byte // payload of the gateway's latest ping
	sentClose bool
	shut      bool // half-closed
	broken    bool // nothing can be written to it any more
	closed    bool
	then      OpKind // 0, or how the connection ends once all that was handed out is written
	pending   int    // bytes handed out and not written
	wroteAt   time.Duration
	endAt     time.Duration // 0, or when its part of the close must be done
}

// counts are the part of Stats that is counted without rules.
type counts struct{ frames, messages, bytes, dropped uint64 }

// controls is what is remembered of the control frames that a side has sent.
type controls struct {
	limit *rate.Limiter
	owed  bool                   // a pong
	size  uint8                  // of ping
	ping  [frame.MaxControl]byte // that is not answered yet; the latest only (RFC 6455 §5.5.3)
}

// A Session relays one connection. It is not safe for concurrent use.
type Session struct {
	limits   *Limits
	past     *past
	grant    *Grant
	until    int64         // of the grant, in ns since 1970, or 0 for never
	expires  time.Duration // when that is expected to come, or never
	start    time.Time
	now      time.Duration // since start, as are all times of a session
	busyAt   time.Duration // of the latest relayed frame
	cause    Cause
	by       Side
	stopping Cause   // a graceful end that waits for the messages under way
	ending   *ending // nil until then
	half     [2]half
	paces    *[2]pace // nil until rules have looked at a frame
	ops      *opQueue // nil where there are none
}

// An ending is what a session needs that has begun to end.
type ending struct {
	stopBy time.Duration // of a graceful end
	reason string        // constant text for the side at fault; empty where a peer closed
}

// An opQueue is what a session asks for. It is borrowed only as long as that is
// something, so an idle session has none.
type opQueue struct {
	ops  []Op
	next int
}

var opQueues = sync.Pool{New: func() any { return new(opQueue) }}

// New returns the session of a connection whose handshake is done. limits and
// grant must not change afterwards (but see Adopt); a nil grant grants nothing.
func New(limits *Limits, grant *Grant, now time.Time) *Session {
	s := &Session{limits: limits, start: now, by: Gateway}
	s.hold(grant)
	s.expect(now)
	return s
}

// Start returns the time that New was told.
func (s *Session) Start() time.Time { return s.start }

// clock is the session's time as others know it.
func (s *Session) clock() time.Time { return s.start.Add(s.now) }

// advance sets the session's time. A clock that steps back stands still.
func (s *Session) advance(now time.Time) {
	s.now = max(s.now, now.Sub(s.start))
}

// Feed takes bytes that arrived from a side.
func (s *Session) Feed(from Side, p []byte, now time.Time) {
	s.advance(now)
	h := &s.half[from]
	h.quietAt, h.pinged = s.now, false
	if h.behind() {
		s.early(from, p)
		s.settle()
		return
	}
	free(&h.spent)
	if h.phase == relaying {
		p = p[s.walk(from, p):]
	}
	if h.phase == awaiting {
		h.skip(p)
	}
	s.settle()
}

// EOF says that a side sends no more bytes; it may still read.
func (s *Session) EOF(side Side, now time.Time) {
	s.advance(now)
	if h := &s.half[side]; h.waits() {
		h.rules.backlog.eof = true
	} else {
		s.ended(side)
	}
	s.settle()
}

// ended takes note that all that a side sent has been looked at.
func (s *Session) ended(side Side) {
	h := &s.half[side]
	h.eof, h.pinged = true, false
	if !h.gotClose {
		s.end(lost(side), side, "")
	}
}

// Gone says that the connection to a side is broken: it was reset. What rates
// delay of it is still relayed, for CloseTimeout at most.
func (s *Session) Gone(side Side, now time.Time) {
	s.advance(now)
	if h := &s.half[side]; h.waits() {
		h.rules.backlog.eof = true
		s.writeFailed(side)
	} else {
		s.close(side, Close)
		s.end(lost(side), side, "")
	}
	s.settle()
}

// WriteFailed says that nothing can be written to a side any more. What it
// sent before is still relayed, for CloseTimeout at most: its Close may be
// among it, and then says better why the session ends.
func (s *Session) WriteFailed(to Side, now time.Time) {
	s.advance(now)
	s.writeFailed(to)
	s.settle()
}

func (s *Session) writeFailed(to Side) {
	h := &s.half[to]
	if h.closed || h.broken {
		return
	}
	h.broken = true
	s.taken(to, h.pending)
	if h.endAt == 0 {
		h.endAt = s.patience(h)
	}
}

// Fail ends the session from outside: a drain, a revoked permission, a fault.
// Where the cause is a graceful one, the messages under way are completed
// first, for CloseTimeout at most. A cause that has an offender blames the
// client: it is the one who was admitted.
func (s *Session) Fail(c Cause, now time.Time) {
	s.advance(now)
	s.fail(c)
	s.settle()
}

// Refuse ends the session by a rule that does not admit it any more: as Fail
// with the cause Policy, but behind the messages under way, and with the rule's
// reason, constant text, for the client.
func (s *Session) Refuse(reason string, now time.Time) {
	s.advance(now)
	if s.cause == None && s.stopping == None {
		s.stop(Policy, reason)
	}
	s.settle()
}

// Say sends a side a text message of the gateway, between two others. Where
// several wait, the latest is sent.
func (s *Session) Say(to Side, text string, now time.Time) {
	s.advance(now)
	if s.cause == None {
		s.ruling(to).owed = text
		s.answer(to)
	}
	s.settle()
}

// Grant returns what the session is granted now, but for Until.
func (s *Session) Grant() *Grant { return s.grant }

// Written says that the driver has written n bytes to a side.
func (s *Session) Written(to Side, n int, now time.Time) {
	s.advance(now)
	if h := &s.half[to]; h.closed || h.broken {
		return
	}
	s.taken(to, n)
	s.settle()
}

// taken notes that n bytes less wait to be written to a side.
func (s *Session) taken(to Side, n int) {
	h, from := &s.half[to], &s.half[to.Other()]
	h.pending -= n
	h.wroteAt = s.now
	if h.pending == 0 {
		free(&from.spent)
		if from.rules != nil {
			from.rules.backlog.lent = false
		}
		from.unstick(from.stuckAt, s.now)
		h.endAt = min(h.endAt, s.patience(h))
	}
	if s.owes(to) {
		s.answer(to)
	}
	s.readOn(to.Other())
}

// Next returns the next operation. Every call that changes the session is
// followed by calling Next until it returns false.
func (s *Session) Next() (Op, bool) {
	q := s.ops
	if q == nil {
		return Op{}, false
	}
	if q.next == len(q.ops) {
		clear(q.ops) // what they pointed to is let go
		q.ops, q.next = q.ops[:0], 0
		s.ops = nil
		opQueues.Put(q)
		return Op{}, false
	}
	op := q.ops[q.next]
	q.next++
	return op, true
}

// ask adds an operation.
func (s *Session) ask(op Op) {
	if s.ops == nil {
		s.ops = opQueues.Get().(*opQueue)
	}
	s.ops.ops = append(s.ops.ops, op)
}

// Done reports that both connections are closed.
func (s *Session) Done() bool { return s.half[Client].closed && s.half[Upstream].closed }

// Ended reports that the session has begun to end.
func (s *Session) Ended() bool { return s.cause != None }

// Paused reports that a side is not being read.
func (s *Session) Paused(side Side) bool { return s.half[side].paused }

// Stats returns what was relayed from a side so far.
func (s *Session) Stats(from Side) Stats {
	h := &s.half[from]
	stats := Stats{Frames: h.stats.frames, Messages: h.stats.messages, Bytes: h.stats.bytes, Dropped: h.stats.dropped}
	if s.paces != nil {
		p := &s.paces[from]
		stats.DroppedMessages, stats.Delayed, stats.Inspected = p.dropped, p.delayed, p.inspected
	}
	return stats
}

// Result returns how the session ended.
func (s *Session) Result() Result {
	r := Result{Cause: s.cause, By: s.by, Reason: s.reason(), Told: [2]frame.StatusCode{s.half[Client].told, s.half[Upstream].told}}
	if s.cause == PeerClosed {
		r.Closed = s.half[s.by].closeCode
	}
	return r
}

// write hands p out to be written to a side, unless no byte may follow there.
func (s *Session) write(to Side, p []byte) {
	h, from := &s.half[to], &s.half[to.Other()]
	if len(p) == 0 || h.sentClose || h.then != 0 || h.broken || h.closed {
		return
	}
	if h.pending == 0 {
		h.wroteAt, from.stuckAt = s.now, s.now
	}
	h.pending += len(p)
	s.ask(Op{Kind: Write, Side: to, Data: p})
	if h.pending > s.limits.HighWater {
		s.pause(to.Other())
	}
}

// report tells of a rule that refused something of a side, or would have.
func (s *Session) report(from Side, hit Hit) {
	hit.Times = 1
	if q := s.ops; q != nil && q.next < len(q.ops) {
		last := &q.ops[len(q.ops)-1]
		same := hit
		same.Times = last.Hit.Times
		if last.Kind == Report && last.Side == from && last.Hit == same && same.Times < math.MaxUint16 {
			last.Hit.Times++
			return
		}
	}
	s.ask(Op{Kind: Report, Side: from, Hit: hit})
}

// key returns the masking key for a frame that the gateway makes, or nil
// towards a client (RFC 6455 §5.1).
func (s *Session) key(to Side) *[4]byte {
	if to == Client {
		return nil
	}
	k := s.limits.Random()
	return &k
}

// Add returns the sum of both.
func (s Stats) Add(more Stats) Stats {
	return Stats{
		s.Frames + more.Frames, s.Messages + more.Messages, s.Bytes + more.Bytes, s.Dropped + more.Dropped,
		s.DroppedMessages + more.DroppedMessages, s.Delayed + more.Delayed, s.Inspected + more.Inspected,
	}
}

// Sub returns what was relayed since an earlier reading.
func (s Stats) Sub(before Stats) Stats {
	return Stats{
		s.Frames - before.Frames, s.Messages - before.Messages, s.Bytes - before.Bytes, s.Dropped - before.Dropped,
		s.DroppedMessages - before.DroppedMessages, s.Delayed - before.Delayed, s.Inspected - before.Inspected,
	}
}
