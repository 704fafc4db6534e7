package handshake

import (
	"bytes"
	"net/http"
)

// Limits of a request head, in bytes and fields. Over MaxTarget is a 414, over the others a 431.
const (
	MaxHead   = 16 << 10 // the whole head with its last CRLF
	MaxLine   = 8 << 10  // one field line without CRLF
	MaxTarget = 8 << 10  // the request-target
	MaxFields = 100      // field lines
	maxMethod = 32

	maxRequestLine = maxMethod + len(" ") + MaxTarget + len(" HTTP/1.1")
)

// Head is what ScanHead learnt. The byte slices alias the scanned buffer.
type Head struct {
	Method []byte
	Target []byte
	Host   []byte // as sent: the authority of an absolute-form target, else the Host field (RFC 9112 section 3.2.2)

	Upgrade    bool  // there is an Upgrade field, valid or not
	BodyLength int64 // of Content-Length; 0 without one, or when Chunked
	Chunked    bool
}

// ScanHead looks for the end of one HTTP/1.1 request head at the start of b, which may be incomplete: n == 0 with a nil refusal means that
// more is needed. n is the length of the head with its empty line.
//
// It is stricter than net/http and than RFC 9112 in what a recipient may forgive: CRLF only, no bare CR, NUL or other control byte, no
// obs-fold, no empty line before the request, names of letters, digits and hyphens without space before the colon, exactly one Host, at most
// one Content-Length of digits, at most one Transfer-Encoding that says chunked, never both. Whatever it accepts http.ReadRequest accepts, and
// both see the same message.
//
// Where bytes dribble in, use a [HeadScanner]: it looks at each byte once.
func ScanHead(b []byte) (h Head, n int, refusal *Refusal) {
	var s HeadScanner
	return s.Scan(b)
}

// HeadScanner is ScanHead for a head that arrives in pieces. The zero value is ready; after an end or a refusal it must be replaced.
type HeadScanner struct {
	lines  liner
	method span
	target span
	host   span
	length int64
	fields int

	started   bool // the request line was read
	absolute  bool // host is of the target, which wins over the field
	hasHost   bool
	hasLength bool
	chunked   bool
	upgrade   bool
}

// span is a part of the scanned buffer; offsets, since the buffer may move while it grows.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to:s.to] }

// Scan is ScanHead on b, which must be what the call before saw with more bytes behind it.
func (s *HeadScanner) Scan(b []byte) (h Head, n int, refusal *Refusal) {
	for {
		limit, allowed := maxRequestLine+2, classLine
		if s.started {
			limit, allowed = min(s.lines.start+MaxLine+2, MaxHead), classField
		}
		at := s.lines.start
		line, state := s.lines.next(b, limit, allowed)
		switch state {
		case lineMore:
			return Head{}, 0, nil
		case lineBad:
			return Head{}, 0, malformed("control byte, bare CR or bare LF in the request head")
		case lineLong:
			return Head{}, 0, s.tooLong()
		}
		switch {
		case !s.started:
			refusal = s.requestLine(line)
		case len(line) == 0:
			return s.finish(b)
		default:
			refusal = s.field(line, at)
		}
		if refusal != nil {
			return Head{}, 0, refusal
		}
	}
}

func (s *HeadScanner) tooLong() *Refusal {
	if !s.started {
		return refuse(http.StatusRequestURITooLong, reasonTarget, "request line too long")
	}
	return refuse(http.StatusRequestHeaderFieldsTooLarge, reasonFields, "field line or head too long")
}

// finish checks what only the whole head shows.
func (s *HeadScanner) finish(b []byte) (Head, int, *Refusal) {
	if !s.hasHost {
		return Head{}, 0, refuse(http.StatusBadRequest, reasonHost, "no Host")
	}
	return Head{
		Method:     s.method.of(b),
		Target:     s.target.of(b),
		Host:       s.host.of(b),
		Upgrade:    s.upgrade,
		BodyLength: s.length,
		Chunked:    s.chunked,
	}, s.lines.start, nil
}

// requestLine reads exactly `METHOD SP target SP HTTP/1.1` (RFC 9112 section 3).
func (s *HeadScanner) requestLine(line []byte) *Refusal {
	s.started = true
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 || first == last || !consists(line[first+1:last], classTarget) {
		return malformed("request line is not METHOD SP target SP HTTP/1.1")
	}
	s.method, s.target = span{0, first}, span{first + 1, last}
	method, target := line[:first], line[first+1:last]
	if len(method) > maxMethod || !consists(method, classToken) {
		return malformed("malformed method")
	}
	if refusal := checkVersion(line[last+1:]); refusal != nil {
		return refusal
	}
	if len(target) > MaxTarget {
		return refuse(http.StatusRequestURITooLong, reasonTarget, "request target too long")
	}
	if string(method) == http.MethodConnect {
		return methodNotAllowed("CONNECT")
	}
	return s.checkTarget(method, target)
}

// checkVersion accepts HTTP/1.1 alone. HTTP/1.0 has no Host and no upgrade, and is a 400 like everything that is no version.
func checkVersion(v []byte) *Refusal {
	if string(v) == "HTTP/1.1" {
		return nil
	}
	if len(v) == 8 && string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]) &&
		(v[5] >= '2' || v[5] == '1' && v[7] > '1') {
		return refuse(http.StatusHTTPVersionNotSupported, reasonHTTPVersion, "HTTP version other than 1.1")
	}
	return malformed("malformed or old HTTP version")
}

// checkTarget accepts origin-form, absolute-form and, for OPTIONS, asterisk-form (RFC 9112 section 3.2).
func (s *HeadScanner) checkTarget(method, target []byte) *Refusal {
	if string(target) == "*" && string(method) == http.MethodOptions {
		return nil
	}
	path := target
	if target[0] != '/' {
		from, to, ok := authoritySpan(target)
		if !ok || !validAuthority(target[from:to]) {
			return malformed("request target is neither a path nor a URL of this gateway")
		}
		s.absolute = true
		s.host = span{s.target.from + from, s.target.from + to}
		path = target[to:]
	}
	if bytes.IndexByte(path, '#') >= 0 {
		return malformed("fragment in the request target")
	}
	if q := bytes.IndexByte(path, '?'); q >= 0 {
		path = path[:q]
	}
	if !validEscapes(path) {
		return malformed("malformed percent-encoding in the path")
	}
	return nil
}

// authoritySpan finds the authority in an absolute-form target; the scheme must be one that the gateway could serve.
func authoritySpan(target []byte) (from, to int, ok bool) {
	for _, scheme := range [...]string{"http://", "https://", "ws://", "wss://"} {
		if !hasPrefixFold(target, scheme) {
			continue
		}
		from = len(scheme)
		for to = from; to < len(target) && target[to] != '/' && target[to] != '?'; to++ {
		}
		return from, to, true
	}
	return 0, 0, false
}

// field reads one field line that begins at the index at, and keeps what decides about framing.
func (s *HeadScanner) field(line []byte, at int) *Refusal {
	if s.fields++; s.fields > MaxFields {
		return refuse(http.StatusRequestHeaderFieldsTooLarge, reasonFields, "too many fields")
	}
	name, value, ok := cutField(line, className)
	if !ok {
		return malformed("malformed field line")
	}
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			from := at + len(line) - len(skipOWS(line[len("host:"):]))
			return s.hostField(value, span{from, from + len(value)})
		}
	case len("expect"):
		if equalFold(name, "expect") && !equalFold(value, "100-continue") { // net/http would refuse it too, but tell nobody
			return refuse(http.StatusExpectationFailed, reasonExpectation, "Expect other than 100-continue")
		}
	case len("upgrade"), len("content-length"), len("transfer-encoding"):
		return s.framing(name, value)
	}
	return nil
}

func (s *HeadScanner) hostField(value []byte, where span) *Refusal {
	if s.hasHost {
		return refuse(http.StatusBadRequest, reasonHost, "two Host fields")
	}
	if !validAuthority(value) {
		return refuse(http.StatusBadRequest, reasonHost, "malformed Host")
	}
	s.hasHost = true
	if !s.absolute {
		s.host = where
	}
	return nil
}

// framing keeps the fields that say where the message ends and what follows it.
func (s *HeadScanner) framing(name, value []byte) *Refusal {
	switch {
	case equalFold(name, "upgrade"):
		s.upgrade = true
	case equalFold(name, "trailer"):
		if !validTrailer(value) {
			return malformed("Trailer names a framing field")
		}
	case equalFold(name, "content-length"):
		n, ok := parseLength(value)
		if !ok || s.hasLength || s.chunked {
			return malformed("Content-Length is not one number, or not alone")
		}
		s.hasLength, s.length = true, n
	case equalFold(name, "transfer-encoding"):
		if s.chunked || s.hasLength {
			return malformed("Transfer-Encoding twice, or with Content-Length")
		}
		if !equalFold(value, "chunked") {
			return refuse(http.StatusNotImplemented, reasonCoding, "Transfer-Encoding is not chunked")
		}
		s.chunked = true
	}
	return nil
}

// validTrailer refuses a Trailer field that announces a field which would change the framing (RFC 9110 section 6.5.1).
func validTrailer(value []byte) bool {
	for {
		name, rest, more := bytes.Cut(value, []byte(","))
		name = trimOWS(name)
		if equalFold(name, "trailer") || equalFold(name, "content-length") || equalFold(name, "transfer-encoding") {
			return false
		}
		if !more {
			return true
		}
		value = rest
	}
}
