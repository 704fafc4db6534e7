package handshake

import (
	"net/http"
	"slices"
	"strings"
)

// The fields of the handshake as http.Header spells them.
const (
	fieldAccept     = "Sec-Websocket-Accept"
	fieldKey        = "Sec-Websocket-Key"
	fieldVersion    = "Sec-Websocket-Version"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldExtensions = "Sec-Websocket-Extensions"
	fieldH2Settings = "Http2-Settings"

	// pseudoProtocol is where net/http puts the protocol of an extended CONNECT on HTTP/2.
	pseudoProtocol = ":protocol"
)

// hopByHop reports whether a field, in canonical spelling, ends at this hop whatever Connection says (RFC 9110 section 7.6.1), or describes the
// framing, which each hop makes anew. Proxy is no field of HTTP: as HTTP_PROXY it redirects CGI programs.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Expect", fieldH2Settings, "Host", "Keep-Alive", "Proxy", "Proxy-Authenticate",
		"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return handshakeField(name)
}

func handshakeField(name string) bool { return hasPrefixFold(name, "sec-websocket-") }

// claimsOrigin reports whether a request's field makes a claim about the hops before this one, or about the real target; the gateway makes
// such claims itself.
func claimsOrigin(name string) bool {
	switch name {
	case "Forwarded", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url":
		return true
	}
	return hasPrefixFold(name, "x-forwarded-")
}

// OwnField reports whether a request's field, in canonical spelling, is for this hop or claims something about the hops before it: none of
// these may be taken over into a request to an upstream, whatever Connection says. A plain request keeps its framing and its Te: trailers.
func OwnField(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Te", "Trailer":
		return false
	}
	return hopByHop(name) || claimsOrigin(name) || name == "Early-Data"
}

// protected reports whether Connection may not name a field, in lower case: removing it would hide from the upstream what the gateway decided
// on, or change the framing.
func protected(lower string) bool {
	switch lower {
	case "authorization", "content-length", "cookie", "forwarded", "host", "origin", "x-real-ip":
		return true
	}
	return hasPrefixFold(lower, "sec-websocket-") || hasPrefixFold(lower, "x-forwarded-")
}

// endToEnd copies the fields of h that pass this hop, without those for which drop is true and without those that Connection names. The values
// are shared.
func endToEnd(h http.Header, drop func(name string) bool) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if !hopByHop(name) && !drop(name) && name[0] != ':' {
			out[name] = slices.Clip(values)
		}
	}
	eachElement(h["Connection"], func(name string) bool {
		delete(out, http.CanonicalHeaderKey(name))
		return true
	})
	return out
}

// appendField appends one field line. Control bytes, which net/http and the scanners never let in, become spaces: a value that some other code
// wrote cannot end the line.
func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = appendClean(dst, value)
	return append(dst, "\r\n"...)
}

func appendClean(dst []byte, value string) []byte {
	if consists(value, classField) {
		return append(dst, value...)
	}
	for i := range len(value) {
		if c := value[i]; classes[c]&classField != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, ' ')
		}
	}
	return dst
}

// appendHeader appends the fields of h sorted by name, so that the same input gives the same bytes. Names that are malformed or for which drop
// is true are passed over.
func appendHeader(dst []byte, h http.Header, drop func(name string) bool) []byte {
	var few [32]string
	names := few[:0]
	for name := range h {
		if consists(name, classToken) && !hopByHop(http.CanonicalHeaderKey(name)) && !drop(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			dst = appendField(dst, name, value)
		}
	}
	return dst
}

// keepAll drops nothing.
func keepAll(string) bool { return false }

// appendList appends a field whose value is a list, or nothing for an empty list.
func appendList(dst []byte, name string, elements []string) []byte {
	if len(elements) == 0 {
		return dst
	}
	return appendField(dst, name, strings.Join(elements, ", "))
}
