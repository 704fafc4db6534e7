package wstest

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
)

// HS0Key and HS0Accept are the example of RFC 6455 §1.3, the key of the fixture HS0 of security.md.
const (
	HS0Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	HS0Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// AcceptOf computes the Sec-WebSocket-Accept of a key (RFC 6455 §4.2.2).
func AcceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Request is a request head as text: a test changes lines of it without anything that would correct them.
type Request struct {
	Line   string   // the request line
	Fields []string // header lines without their line ends
	Tail   string   // what follows the empty line
}

// HS0 is the opening handshake of security.md, for the given path.
func HS0(path string) *Request {
	return &Request{
		Line: "GET " + path + " HTTP/1.1",
		Fields: []string{
			"Host: app.example.com",
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Key: " + HS0Key,
			"Sec-WebSocket-Version: 13",
			"Origin: https://app.example.com",
		},
	}
}

// Plain is an ordinary GET of the same host.
func Plain(path string) *Request {
	return &Request{Line: "GET " + path + " HTTP/1.1", Fields: []string{"Host: app.example.com"}}
}

// Target replaces the request target.
func (r *Request) Target(target string) *Request {
	r.Line = "GET " + target + " HTTP/1.1"
	return r
}

// Without removes every field of the given name.
func (r *Request) Without(name string) *Request {
	r.Fields = slices.DeleteFunc(r.Fields, func(line string) bool {
		return len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(line[:len(name)], name)
	})
	return r
}

// With sets one field, in the place of those of the same name.
func (r *Request) With(name, value string) *Request {
	at := slices.IndexFunc(r.Fields, func(line string) bool {
		return len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(line[:len(name)], name)
	})
	r.Without(name)
	if at < 0 {
		at = len(r.Fields)
	}
	r.Fields = slices.Insert(r.Fields, min(at, len(r.Fields)), name+": "+value)
	return r
}

// Add appends header lines as they are.
func (r *Request) Add(lines ...string) *Request {
	r.Fields = append(r.Fields, lines...)
	return r
}

// Then sets what follows the head in the same segment.
func (r *Request) Then(tail string) *Request {
	r.Tail = tail
	return r
}

// Bytes returns the request with CR LF line ends.
func (r *Request) Bytes() []byte { return r.Lines("\r\n") }

// Lines returns the request with the given line end throughout its head.
func (r *Request) Lines(end string) []byte {
	var b strings.Builder
	b.WriteString(r.Line + end)
	for _, line := range r.Fields {
		b.WriteString(line + end)
	}
	b.WriteString(end + r.Tail)
	return []byte(b.String())
}
