// Package discovery finds the addresses behind a name, again and again.
//
// [Resolver] asks. [Set] is the pure part: it is told the answers, keeps the last good one when an answer is missing, empty or refused, and says
// when to ask again. Whoever owns a Set asks for it and serialises the calls.
package discovery
