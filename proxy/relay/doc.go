// Package relay is the session: what happens to the bytes of one WebSocket
// connection between a client and an upstream, without any I/O.
//
// A driver feeds it what arrived (Feed, EOF, Gone), the time (Tick) and what
// it wrote (Written, WriteFailed), and after each of these calls drains Next,
// which says what to do: write these bytes, stop reading, half-close, close.
// The session reads no clock, starts no goroutine and keeps no descriptor, so
// every race and every time-out of a connection can be written down as a test
// (testdata/*.txt are such transcripts), and the goroutine driver and the
// reactor behave alike.
//
// # What passes
//
// A frame that is relayed leaves as the bytes that came, header and masking
// key included, in order, once. Consecutive frames of one read leave as one
// span of the buffer that was fed; nothing is copied. Only a frame of at most
// holdSize bytes that arrives in pieces is gathered first, so that a small
// frame is relayed whole or not at all: then whatever goes wrong, a Close can
// still follow. A larger frame streams; if it cannot be completed, the
// connection to its receiver is reset, for inside a half-relayed frame no
// Close may stand (RFC 6455 §5.4). The reset comes behind everything that was
// handed out before, so what a receiver gets does not depend on how the frames
// were cut on their way.
//
// Text is checked to be UTF-8 in place, through its mask, without unmasking.
//
// # Rules
//
// A side's rates are asked at each frame header, before its payload is read: a
// message is refused whole, or not at all. One that cannot be decided on before
// its end is gathered, as it came, in buffers that Limits.Memory bounds for all
// sessions together; control frames that are interleaved with it go on at once.
// A message that an Inspector wants is shown to it as a copy, without mask, when
// it is whole; where it stands whole in one read it is not gathered at all. What
// it passes goes on as it came. A compressed one is inflated before, into a
// buffer that stops at max_message (inflate.go). The rates of the operation that it names are
// asked after that, since nobody could know before.
//
// What a rate delays stays behind with the rest of the read that brought it
// (backlog); its side is not read meanwhile, and not before what left the
// backlog has been written.
//
// What the rules remember of a side (ruling) is made with the first frame that
// they look at, and buffers are borrowed: an idle session has neither.
//
// # Change
//
// Adopt gives a session other limits while it lives. A side comes under them with
// its next message (past remembers what held for the one under way), so no
// message is judged by two sets of rules.
//
// # Clocks
//
// While a receiver has not taken what it was sent, or a rate delays the sender,
// the clocks of the sender stand still: it may not be read, so its silence means
// nothing.
//
// # How it ends
//
// Each cause has one row in the table of cause.go, which says what either side
// is told. Every end, whoever began it, goes through end and settle. A graceful
// one (stopping) first lets the messages under way end; until it has begun the
// sides may still close by themselves.
package relay
