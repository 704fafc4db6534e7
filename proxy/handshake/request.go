package handshake

import "net/http"

// Forwarded is what the gateway tells the upstream about the client's hop. Empty fields are left out.
type Forwarded struct {
	For   string // X-Forwarded-For: the client's address, after those that trusted proxies named
	Proto string // X-Forwarded-Proto: "https" or "http"
	Host  string // X-Forwarded-Host
}

// AppendRequest appends the handshake that the gateway makes in its own name: a GET of the same path and authority with the key given, what the
// client offered, its end-to-end fields sorted by name, and fwd last. Fields that o.Header should not hold are passed over, and control bytes
// in values become spaces. With compression Off o.Extensions becomes nil, so that Verify refuses what was not asked for; with Inspect it becomes
// what is offered in its place, and Verify answers the client likewise.
func (o *Offer) AppendRequest(dst []byte, key string, fwd Forwarded, compression Compression) []byte {
	switch o.compression = compression; compression {
	case Off:
		o.Extensions = nil
	case Inspect:
		offers := make([]Extension, 0, len(o.Extensions))
		for _, e := range o.Extensions {
			offers = append(offers, withoutContext(e))
		}
		o.Extensions = offers
	}
	dst = append(dst, "GET "...)
	dst = appendTarget(dst, o.Path)
	if o.RawQuery != "" {
		dst = append(dst, '?')
		dst = appendTarget(dst, o.RawQuery)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendField(dst, "Host", o.Authority)
	dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"...)
	dst = appendField(dst, "Sec-WebSocket-Key", key)
	dst = appendList(dst, "Sec-WebSocket-Protocol", o.Subprotocols)
	if len(o.Extensions) > 0 {
		dst = append(dst, "Sec-WebSocket-Extensions: "...)
		dst = append(AppendExtensions(dst, o.Extensions), "\r\n"...)
	}
	dst = appendHeader(dst, o.Header, func(name string) bool { return !consists(name, className) || claimsOrigin(name) })
	for _, f := range [...][2]string{
		{"X-Forwarded-For", fwd.For},
		{"X-Forwarded-Proto", fwd.Proto},
		{"X-Forwarded-Host", fwd.Host},
	} {
		if f[1] != "" {
			dst = appendField(dst, f[0], f[1])
		}
	}
	return append(dst, "\r\n"...)
}

// appendTarget leaves out what may not stand in a request-target; ParseOffer lets nothing of the kind in.
func appendTarget(dst []byte, s string) []byte {
	if consists(s, classTarget) {
		return append(dst, s...)
	}
	for i := range len(s) {
		if classes[s[i]]&classTarget != 0 {
			dst = append(dst, s[i])
		}
	}
	return dst
}

// AppendAccept appends the gateway's own 101 to a client on HTTP/1.1 (RFC 6455 section 4.2.2).
func (o *Offer) AppendAccept(dst []byte, a Agreement) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	dst = appendField(dst, "Sec-WebSocket-Accept", AcceptKey(o.Key))
	if a.Subprotocol != "" {
		dst = appendField(dst, "Sec-WebSocket-Protocol", a.Subprotocol)
	}
	if a.Extensions != "" {
		dst = appendField(dst, "Sec-WebSocket-Extensions", a.Extensions)
	}
	dst = appendHeader(dst, a.Header, keepAll)
	return append(dst, "\r\n"...)
}

// SetAccept sets in h, which is empty, the fields of the 200 that answers an extended CONNECT (RFC 8441 section 5, RFC 9220 section 3).
func (o *Offer) SetAccept(h http.Header, a Agreement) {
	for name, values := range a.Header {
		if consists(name, classToken) && !hopByHop(name) {
			h[name] = values
		}
	}
	if a.Subprotocol != "" {
		h.Set(fieldProtocol, a.Subprotocol)
	}
	if a.Extensions != "" {
		h.Set(fieldExtensions, a.Extensions)
	}
}
