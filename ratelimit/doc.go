// Package ratelimit limits how fast and how much at a time: token buckets over golang.org/x/time/rate, and counts of what is in use.
//
// A Bucket and a Count are for one purpose. A Store keeps many by limit and key, such as an address or a user: bounded in number, and known
// again after a reload.
//
// But for Redis, nothing here reads a clock, starts a goroutine or does I/O. Whoever takes something says what time it is, which a caller reads
// once per wake-up. All methods may be called at the same time.
//
// A limit that was never set, or that cannot be one, admits nothing: a mistake in the code that makes limits closes the door, it does not
// open it.
//
// # Over several gateways
//
// A Redis is a Store that gateways share. No message waits for it: a gateway leases tokens ahead of need, and where the answer is not there yet, or
// Redis is away, it admits its own share of the limit and tells Redis of it later. Of a limit of R per second with burst B and N gateways,
//
//	share = B / nodes                       rounded up, gained again at R / nodes
//	batch = share * lease_percent / 100     at least 1, at least the largest message (where the limit is on bytes)
//
// all gateways together admit in any time t at most
//
//	R*(t + 2*timeout) + B + N*(share + batch)
//
// and one B more for each time in t that Redis was away or lost its memory. That is a bound for the worst case, a client that changes gateways at
// the worst moments; a client of one gateway gets R*t + B and no more than a batch beyond. A message larger than the share is refused while Redis is
// away, so a burst of bytes should be nodes times the largest message.
//
// A number at once is counted in Redis before it is admitted, for which a handshake waits, up to the timeout. Without an answer a gateway admits
// while its own number is at most max/nodes, or 1: all together at most Max + N*max(Max/nodes, 1), and Max more if Redis lost its memory, until
// the gateways have told it again, which they do every 10 s. A gateway that dies holds its places for 30 s.
package ratelimit
