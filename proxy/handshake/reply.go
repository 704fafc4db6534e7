package handshake

import (
	"bytes"
	"net/http"
)

// Reply is the head of an upstream's answer.
type Reply struct {
	Status     int // 100 to 599
	Header     http.Header
	BodyLength int64 // 0 where the status allows no body, -1 when chunked or until the connection ends
	Chunked    bool
}

// Interim reports whether another head follows: a 1xx other than 101.
func (r *Reply) Interim() bool { return r.Status < 200 && r.Status != http.StatusSwitchingProtocols }

// EndToEnd returns the fields that may be relayed to the client: none that ends at this hop, none that Connection names, no Sec-WebSocket-*, no
// framing. Set-Cookie is among them. The values are shared.
func (r *Reply) EndToEnd() http.Header { return endToEnd(r.Header, keepAll) }

// ScanReply looks for the end of one response head at the start of b, which may be incomplete: n == 0 with a nil refusal means that more is
// needed. Interim answers are returned one at a time; whoever calls counts them. The head has at most MaxHead bytes and MaxFields fields, CRLF
// alone ends a line, and lengths are as strict as in ScanHead. Whatever it accepts http.ReadResponse accepts, and both see the same message.
// Every refusal is a 502.
func ScanReply(b []byte) (reply *Reply, n int, refusal *Refusal) {
	var s ReplyScanner
	return s.Scan(b)
}

// ReplyScanner is ScanReply for a head that arrives in pieces; it looks at each byte once. The zero value is ready; after an end or a refusal it
// must be replaced.
type ReplyScanner struct {
	lines     liner
	reply     *Reply
	minor     byte // '0' or '1'
	fields    int
	hasLength bool
	length    int64
}

// Scan is ScanReply on b, which must be what the call before saw with more bytes behind it.
func (s *ReplyScanner) Scan(b []byte) (reply *Reply, n int, refusal *Refusal) {
	for {
		line, state := s.lines.next(b, MaxHead, classField)
		switch state {
		case lineMore:
			return nil, 0, nil
		case lineBad:
			return nil, 0, badReply("control byte, bare CR or bare LF in the head")
		case lineLong:
			return nil, 0, badReply("head of more than 16 KiB")
		}
		switch {
		case s.reply == nil:
			refusal = s.statusLine(line)
		case len(line) == 0:
			if refusal = s.finish(); refusal == nil {
				return s.reply, s.lines.start, nil
			}
		default:
			refusal = s.field(line)
		}
		if refusal != nil {
			return nil, 0, refusal
		}
	}
}

// statusLine reads `HTTP/1.1 SP 3DIGIT [SP reason]` (RFC 9112 section 4). HTTP/1.0 is taken for final answers only, since simple servers refuse in
// it.
func (s *ReplyScanner) statusLine(line []byte) *Refusal {
	const proto = "HTTP/1."
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte(proto)) || line[8] != ' ' {
		return badReply("malformed status line")
	}
	s.minor = line[len(proto)]
	code, ok := parseLength(line[9:12])
	if !ok || code < 100 || code > 599 || len(line) > 12 && line[12] != ' ' {
		return badReply("malformed status")
	}
	if s.minor != '1' && (s.minor != '0' || code < 200) {
		return badReply("version is not HTTP/1.1")
	}
	s.reply = &Reply{Status: int(code), Header: make(http.Header, 8)}
	return nil
}

func (s *ReplyScanner) field(line []byte) *Refusal {
	if s.fields++; s.fields > MaxFields {
		return badReply("too many fields")
	}
	name, value, ok := cutField(line, classToken)
	if !ok {
		return badReply("malformed field line")
	}
	switch {
	case equalFold(name, "content-length"):
		if s.length, ok = parseLength(value); !ok || s.hasLength || s.reply.Chunked {
			return badReply("Content-Length is not one number, or not alone")
		}
		s.hasLength = true
	case equalFold(name, "transfer-encoding"):
		if !equalFold(value, "chunked") || s.reply.Chunked || s.hasLength || s.minor == '0' {
			return badReply("Transfer-Encoding is not once chunked, or not alone")
		}
		s.reply.Chunked = true
	case equalFold(name, "trailer") && !validTrailer(value):
		return badReply("Trailer names a framing field")
	}
	key := http.CanonicalHeaderKey(string(name))
	s.reply.Header[key] = append(s.reply.Header[key], string(value))
	return nil
}

// finish settles the length of the body (RFC 9112 section 6.3).
func (s *ReplyScanner) finish() *Refusal {
	r := s.reply
	switch {
	case r.Status < 200 || r.Status == http.StatusNoContent:
		if r.Chunked || s.length > 0 {
			return badReply("a body where the status allows none")
		}
	case r.Status == http.StatusNotModified:
		r.Chunked = false // what a 200 would have had
	case s.hasLength:
		r.BodyLength = s.length
	default:
		r.BodyLength = -1
	}
	return nil
}
