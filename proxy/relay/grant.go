package relay

import (
	"math"
	"time"

	"github.com/framegate/framegate/proxy/frame"
)

// A Grant is what one session was granted at its handshake. Where sessions
// were granted the same they may share one.
type Grant struct {
	Deflate bool // permessage-deflate was agreed
	// Until is when the session ends (TokenExpired), by the wall clock: what
	// admitted the client, a token, says so. Zero is never.
	Until time.Time
	// Buckets are those that a session shares with others, by Side and parallel
	// to Shape.Rates. Where one is nil or missing the session makes its own.
	Buckets [2][]Bucket
	// Inspectors look at what each Side sends; nil looks at nothing.
	Inspectors [2]Inspector
}

// bare are the grants of most sessions, that differ in Until alone, without it
// and with Deflate.
var bare, bareDeflate = new(Grant), &Grant{Deflate: true}

// unixEnd is the last time that fits into ns since 1970, in the year 2262.
var unixEnd = time.Unix(0, math.MaxInt64)

// hold makes a grant the session's. Nothing is kept of one that only says
// Until.
func (s *Session) hold(g *Grant) {
	switch {
	case g == nil:
		s.grant, s.until = bare, 0
		return
	case g.Buckets[Client] != nil || g.Buckets[Upstream] != nil || g.Inspectors != [2]Inspector{}:
		s.grant = g
	case g.Deflate:
		s.grant = bareDeflate
	default:
		s.grant = bare
	}
	switch {
	case g.Until.IsZero():
		s.until = 0
	case g.Until.Before(unixEnd):
		s.until = max(g.Until.UnixNano(), 1)
	default:
		s.until = unixEnd.UnixNano()
	}
}

// An Inspector decides on the content of whole messages of one side. Sessions
// may share one if it may be asked by several at once.
type Inspector interface {
	// Wants reports whether messages of a kind, OpText or OpBinary, are to be
	// inspected. Others go on as they come.
	Wants(kind frame.OpCode) bool
	// Inspect decides on a message. It must not block.
	Inspect(m Message) Verdict
}

// A Message is what an Inspector sees.
type Message struct {
	Kind    frame.OpCode // OpText or OpBinary
	Payload []byte       // without mask, inflated; text is UTF-8; only valid during the call
	Now     time.Time
}

// A Verdict is what an Inspector says about a message. The zero value lets it
// pass. Its slices are valid until the next call.
type Verdict struct {
	Action Action // any but ActDelay, which is for rates
	Rule   uint16 // that refuses the message
	Cause  Cause  // of ActClose: Policy (which is None, too), InvalidData, WrongType or TooBig
	Reason string // of ActClose: constant text; "" is that of the cause. Of ActTake: ends the session
	Reply  string // of ActReply, and of ActTake where it is not ""
	// Operations says how often a message that passes holds each of the
	// operations to which rates are bound: Operations[0] that of Rate.Operation 1.
	Operations []int
	// Firm says that others build on the message: it may be late, but not be left
	// out. A rate with ActDrop or ActReply that has no room ends the session.
	Firm   bool
	Shadow []Hit // rules that would have refused it
}

// violation is what a verdict of ActClose means.
func (v *Verdict) violation() *frame.Violation {
	cause := v.Cause
	if rows[cause].offender == 0 {
		cause = Policy
	}
	reason := v.Reason
	if reason == "" {
		reason = rows[cause].reason
	}
	return &frame.Violation{Code: rows[cause].offender, Reason: reason}
}
