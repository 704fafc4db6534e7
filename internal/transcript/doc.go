// Package transcript plays sessions that are written down as text, and writes
// down what comes out of them.
//
// A transcript is a golden file. Its lines are the inputs; the indented lines
// behind an input are what came out because of it, what each side got and then
// which rules refused something, and are written by the player. The last line
// of a session says how it ended and what was relayed.
// The same files are played against the bare session of package relay
// and against every driver, and must come out alike.
//
//	# A comment. Settings come first.
//	limits max_message=100 client.max_frame=50 pings=answer deflate
//
//	client: text "hi"
//	  upstream< text key=01020304 "hi"
//	client: text nofin "he" | ping | cont "llo"
//	tick 5s
//	  +5s client< ping "\xf0\x00\x00\x01"
//	  client! rule 0: drop, 2 times
//
// # Inputs
//
//	client: FRAME | FRAME      frames that arrive from the client in one piece; likewise upstream:
//	client: eof                it sends no more
//	client: reset              it resets its connection
//	tick DURATION              time passes
//	stall client               it takes no more bytes, until unstall client
//	break client               whatever is written to it fails; what it sent can still be read
//	fail CAUSE                 the gateway ends the session, for a cause of package relay
//	abort                      the gateway resets both connections
//
// A FRAME is an opcode (text, binary, cont, close, ping, pong, op=3), for close
// perhaps a code, and any of: "payload" and size=N (N bytes of filler), in
// order; nofin; rsv1, rsv2, rsv3; key=HEX, masked, unmasked (a client's frames
// have the key 01020304, an upstream's none); zeros=N (what N zeros compress
// to); split=N (the message in N fragments); len16, len64 (a length form that
// need not be minimal), len=N (a declared length that is not that of the
// payload); cut=N (only the first N bytes of the frame). Or it is
//
//	raw 81 80 00000000         bytes
//	rest                       what was cut of the frame before; rest cut=N, its first N bytes
//
// # Settings
//
//	session TITLE              what follows is another session, with settings of its own
//	limits KEY=VALUE ...       see limits.go and rules.go; times as Go writes them
//	nochop WHY                 the outcome depends on how the input is cut, for this reason
package transcript
