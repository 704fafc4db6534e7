package relay

import "github.com/framegate/framegate/proxy/frame"

// A Cause says why a session ended. The names are those of the configuration
// key close_codes, of logs and of metrics.
type Cause uint8

// The causes. None is a session that has not ended.
const (
	None         Cause = iota
	PeerClosed         // a side sent Close
	ClientLost         // the client ended or reset its connection without Close
	UpstreamLost       // so did the upstream
	Protocol           // a side broke RFC 6455 or RFC 7692
	InvalidData        // text or a close reason was not UTF-8
	TooBig             // a frame, a message or its number of fragments was over the limit
	WrongType          // a message of a type that the policy does not allow
	Policy             // a rate or content rule
	TokenExpired       // the token that admitted the client has expired
	Revoked            // so it was, or its subject or session, by the operator
	Slow               // a frame or a message made too little progress
	Idle               // no message for too long
	Lifetime           // the connection reached its greatest age
	NoPong             // a side did not answer a ping
	Stalled            // a side did not take what was written to it
	Drain              // the gateway drains
	Removed            // the route was removed
	Overload           // the gateway is short of memory or descriptors
	Internal           // a fault of the gateway in this session
	numCauses
)

// A row of the table of causes: the code for the side at fault, for a client
// and for an upstream that did nothing wrong (or where nobody did), and the
// reason on the wire. Where offender is 0 nobody is at fault.
type row struct {
	name                       string
	offender, client, upstream frame.StatusCode
	reason                     string
	graceful                   bool // waits for the end of the messages under way
}

var rows = [numCauses]row{
	None:         {name: "none"},
	PeerClosed:   {name: "peer_closed", client: 1000, upstream: 1000},
	ClientLost:   {name: "client_lost", upstream: 1001, reason: "client is gone"},
	UpstreamLost: {name: "upstream_lost", client: 1011, reason: "upstream is gone"},
	Protocol:     {name: "protocol", offender: 1002, client: 1011, upstream: 1001, reason: "peer broke the protocol"},
	InvalidData:  {name: "invalid_data", offender: 1007, client: 1011, upstream: 1001, reason: "peer sent invalid data"},
	TooBig:       {name: "too_big", offender: 1009, client: 1011, upstream: 1001, reason: "peer sent too much"},
	WrongType:    {name: "type", offender: 1003, client: 1011, upstream: 1001, reason: "peer sent a type that is not allowed"},
	Policy:       {name: "policy", offender: 1008, client: 1011, upstream: 1001, reason: "refused by policy"},
	TokenExpired: {name: "token_expired", client: 1008, upstream: 1001, reason: "token expired"},
	Revoked:      {name: "revoked", client: 1008, upstream: 1001, reason: "revoked"},
	Slow:         {name: "slow", offender: 1008, client: 1011, upstream: 1001, reason: "peer is too slow"},
	Idle:         {name: "idle", client: 1001, upstream: 1001, reason: "idle for too long", graceful: true},
	Lifetime:     {name: "lifetime", client: 1001, upstream: 1001, reason: "connection reached its lifetime", graceful: true},
	NoPong:       {name: "no_pong", client: 1001, upstream: 1001, reason: "no pong in time"},
	Stalled:      {name: "stalled", client: 1011, upstream: 1001, reason: "peer does not read"},
	Drain:        {name: "drain", client: 1001, upstream: 1001, reason: "going away", graceful: true},
	Removed:      {name: "removed", client: 1001, upstream: 1001, reason: "going away", graceful: true},
	Overload:     {name: "overload", client: 1013, upstream: 1001, reason: "try again later", graceful: true},
	Internal:     {name: "internal", client: 1011, upstream: 1011, reason: "internal error"},
}

// String returns the cause's name.
func (c Cause) String() string { return rows[c].name }

// Causes returns all causes that can end a session.
func Causes() []Cause {
	all := make([]Cause, 0, numCauses-1)
	for c := PeerClosed; c < numCauses; c++ {
		all = append(all, c)
	}
	return all
}

// Codes overrides the close codes of the table: by cause, then by the side
// that is told. 0 keeps the table's.
type Codes [numCauses][2]frame.StatusCode

// Blamed returns who can be the closer or at fault where a session ends by c.
func Blamed(c Cause) []Side {
	switch {
	case c == ClientLost:
		return []Side{Client}
	case c == UpstreamLost:
		return []Side{Upstream}
	case rows[c].offender != 0, c == PeerClosed, c == NoPong, c == Stalled:
		return []Side{Client, Upstream}
	}
	return []Side{Gateway}
}

// Code returns what side is told when the session ends by c through the fault
// of by.
func (t *Codes) Code(c Cause, by, side Side) frame.StatusCode {
	if own := t[c][side]; own != 0 {
		return own
	}
	r := &rows[c]
	switch {
	case side == by && r.offender != 0:
		return r.offender
	case side == Client:
		return r.client
	default:
		return r.upstream
	}
}

// causeOf is the cause that a violation belongs to.
func causeOf(v *frame.Violation) Cause {
	switch v.Code {
	case 1003:
		return WrongType
	case 1007:
		return InvalidData
	case 1008:
		return Policy
	case 1009:
		return TooBig
	}
	return Protocol
}

// The limits that a side can go over.
var (
	errFrameSize    = &frame.Violation{Code: 1009, Reason: "frame is too big"}
	errMessageSize  = &frame.Violation{Code: 1009, Reason: "message is too big"}
	errFragments    = &frame.Violation{Code: 1009, Reason: "message has too many fragments"}
	errText         = &frame.Violation{Code: 1003, Reason: "text messages are not allowed"}
	errBinary       = &frame.Violation{Code: 1003, Reason: "binary messages are not allowed"}
	errDeflate      = &frame.Violation{Code: 1007, Reason: "message is not valid DEFLATE data"}
	errInflated     = &frame.Violation{Code: 1009, Reason: "message is too big when inflated"}
	errNoRoom       = &frame.Violation{Code: 1008, Reason: "message is too big for its rate"}
	errMemory       = &frame.Violation{Code: 1013, Reason: "try again later"}
	errControlRate  = &frame.Violation{Code: 1008, Reason: "too many control frames"}
	reasonSlowFrame = "frame is too slow"
	reasonSlowMsg   = "message is too slow"
)
