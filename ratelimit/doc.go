// Package ratelimit limits how fast and how much at a time: token buckets over golang.org/x/time/rate, and counts of what is in use.
//
// A Bucket and a Count are for one purpose. A Store keeps many by limit and key, such as an address or a user: bounded in number, and known
// again after a reload.
//
// Nothing here reads a clock, starts a goroutine or does I/O. Whoever asks a Bucket says what time it is, which a caller reads once per
// wake-up. All methods may be called at the same time.
//
// A limit that was never set, or that cannot be one, admits nothing: a mistake in the code that makes limits closes the door, it does not
// open it.
package ratelimit
