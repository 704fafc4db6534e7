// Package handshake decides about WebSocket opening handshakes without doing any I/O: it starts no goroutine and reads no clock.
//
// The order in which a gateway uses it:
//
//  1. [HeadScanner] (or [ScanHead]) looks at the raw bytes of each HTTP/1.1 request head before net/http parses them, and refuses what two
//     parsers could read in two ways (RFC 9112).
//  2. [IsUpgrade] tells a handshake from a plain request; [ParseOffer] makes an [Offer] of it, or a [Refusal]. HTTP/1.1 (RFC 6455 section 4),
//     HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) differ only inside ParseOffer. Plain requests share [CanonicalHost] and [CanonicalPath].
//  3. [Offer.AppendRequest] writes a new request with a key of its own ([NewKey]) for the upstream. Nothing hop-by-hop survives.
//  4. [ReplyScanner] (or [ScanReply]) parses the upstream's answer, [Offer.Verify] holds it against the offer and gives an [Agreement].
//  5. [Offer.AppendAccept] writes the gateway's own 101 to the client, or [Refusal.AppendHTTP1] the refusal.
//
// Extensions are parsed here and not by github.com/gobwas/httphead, since that parser takes "a b" for "b", drops a trailing ";", and ends a
// quoted string too late after an escaped backslash; and wsflate.Parameters.Parse takes "08" for 8 and misses a doubled
// client_max_window_bits. The vocabulary (wsflate.Parameters) is theirs. Only permessage-deflate is ever offered to an upstream: any other
// extension would change frames in ways that the gateway cannot police, so it is declined, as RFC 6455 section 9.1 lets a server do.
package handshake
