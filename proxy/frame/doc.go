// Package frame is the WebSocket wire layer as values: the frame header, the
// rules that a sequence of frames must obey, masking, UTF-8 and close codes.
//
// Everything here is pure: no I/O, no clock, no goroutine, and no allocation
// that a peer's declared length could cause. The vocabulary (Header, OpCode,
// StatusCode) and the masking kernel are those of github.com/gobwas/ws; what
// this package adds is incremental, because a proxy sees a stream in whatever
// pieces the network makes of it.
package frame

import "github.com/gobwas/ws"

// Aliases of the wire vocabulary, so that the packages above need one import.
type (
	// Header is one frame header (RFC 6455 §5.2). Rsv holds RSV1 to RSV3 as the
	// bits 4, 2 and 1.
	Header = ws.Header
	// OpCode says what a frame is (RFC 6455 §11.8).
	OpCode = ws.OpCode
	// StatusCode is the code of a Close frame (RFC 6455 §7.4).
	StatusCode = ws.StatusCode
)

// The opcodes of RFC 6455 §11.8.
const (
	OpContinuation = ws.OpContinuation
	OpText         = ws.OpText
	OpBinary       = ws.OpBinary
	OpClose        = ws.OpClose
	OpPing         = ws.OpPing
	OpPong         = ws.OpPong
)

// A Violation is a rule of the protocol that a peer broke, or a limit that it
// went over. All of them are declared below, so a refusal allocates nothing.
type Violation struct {
	Code   StatusCode // what the offender is told
	Reason string     // constant text, at most 123 bytes
}

// Error implements error.
func (v *Violation) Error() string { return v.Reason }

// The rules of RFC 6455 and RFC 7692 that a frame can break.
var (
	ErrUnmasked     = &Violation{1002, "client frame is not masked"}                  // RFC 6455 §5.1
	ErrMasked       = &Violation{1002, "server frame is masked"}                      // RFC 6455 §5.1
	ErrReservedBits = &Violation{1002, "reserved bit without extension"}              // RFC 6455 §5.2
	ErrOpCode       = &Violation{1002, "reserved opcode"}                             // RFC 6455 §5.2
	ErrLength       = &Violation{1002, "payload length is not minimal"}               // RFC 6455 §5.2
	ErrHugeLength   = &Violation{1002, "payload length has its top bit set"}          // RFC 6455 §5.2
	ErrControlSize  = &Violation{1002, "control frame over 125 bytes"}                // RFC 6455 §5.5
	ErrControlFin   = &Violation{1002, "fragmented control frame"}                    // RFC 6455 §5.5
	ErrContinuation = &Violation{1002, "continuation without a message"}              // RFC 6455 §5.4
	ErrInterleaved  = &Violation{1002, "new message inside a fragmented one"}         // RFC 6455 §5.4
	ErrCompressed   = &Violation{1002, "compression bit on a frame that has no such"} // RFC 7692 §6.1
	ErrUTF8         = &Violation{1007, "text is not valid UTF-8"}                     // RFC 6455 §8.1
	ErrCloseSize    = &Violation{1002, "close frame with one byte of payload"}        // RFC 6455 §5.5.1
	ErrCloseCode    = &Violation{1002, "close code may not be sent"}                  // RFC 6455 §7.4.2
	ErrCloseUTF8    = &Violation{1007, "close reason is not valid UTF-8"}             // RFC 6455 §5.5.1
)
