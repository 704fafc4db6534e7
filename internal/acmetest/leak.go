package acmetest

import "go.uber.org/goleak"

// Leftovers are the goroutines that outlive a CA and what has asked it: Pebble's checker and certmagic's limiter of orders, one for each CA,
// have no end, and connections to a CA are kept for a while.
func Leftovers() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	}
}
