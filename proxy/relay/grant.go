package relay

import "time"

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
}

var noGrant = new(Grant)
