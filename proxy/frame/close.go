package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// MaxReason is the longest close reason in bytes: a control frame's payload
// less the code (RFC 6455 §5.5).
const MaxReason = MaxControl - 2

// NoCode stands for a Close frame without a payload. It is never on the wire
// (RFC 6455 §7.1.5 calls it 1005 towards applications).
const NoCode StatusCode = 0

// ValidCode reports whether code may be on the wire in a Close frame: the
// codes of RFC 6455 §7.4.1 and of the IANA registry (1012 to 1014) that are
// not reserved for local use, and the ranges for libraries and applications.
func ValidCode(code StatusCode) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// ParseClose reads the unmasked payload of a Close frame (RFC 6455 §5.5.1). An
// empty one has NoCode. reason is a part of p.
func ParseClose(p []byte) (code StatusCode, reason []byte, v *Violation) {
	switch len(p) {
	case 0:
		return NoCode, nil, nil
	case 1:
		return NoCode, nil, ErrCloseSize
	}
	code, reason = StatusCode(binary.BigEndian.Uint16(p)), p[2:]
	if !ValidCode(code) {
		return NoCode, nil, ErrCloseCode
	}
	if !utf8.Valid(reason) {
		return NoCode, nil, ErrCloseUTF8
	}
	return code, reason, nil
}

// AppendClose appends a whole Close frame to dst, masked where key is given.
// NoCode makes an empty one; a long reason is cut at a rune's edge to MaxReason
// bytes.
func AppendClose(dst []byte, code StatusCode, reason string, key *[4]byte) []byte {
	if code == NoCode {
		return Append(dst, OpClose, nil, key)
	}
	var p [MaxControl]byte
	binary.BigEndian.PutUint16(p[:], uint16(code))
	n := 2 + copy(p[2:], CutReason(reason))
	return Append(dst, OpClose, p[:n], key)
}

// CutReason cuts a valid UTF-8 text to at most MaxReason bytes at a rune's
// edge.
func CutReason(reason string) string {
	if len(reason) <= MaxReason {
		return reason
	}
	n := MaxReason
	for n > 0 && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}
