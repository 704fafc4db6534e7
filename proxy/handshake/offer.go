package handshake

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	protoHTTP1 = "HTTP/1.1"
	protoHTTP2 = "HTTP/2.0"
	protoHTTP3 = "HTTP/3.0"
)

// An Offer is a well-formed WebSocket handshake of a client, over HTTP/1.1 (RFC 6455 section 4.2.1), HTTP/2 (RFC 8441) or HTTP/3 (RFC 9220).
// It holds nothing of the request but shared strings.
type Offer struct {
	Host      string // canonical, see CanonicalHost
	Port      string // as sent with Host, "" when none was
	Authority string // Host with its port: what the upstream gets as Host
	Path      string // canonical, see CanonicalPath
	RawQuery  string // as sent, without "?"
	Proto     string // "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0"

	Origin    string
	HasOrigin bool

	Key          string      // Sec-WebSocket-Key on HTTP/1.1, else ""
	Subprotocols []string    // in the client's order
	Extensions   []Extension // permessage-deflate offers with lawful parameters, in the client's order
	compression  Compression // that AppendRequest was told
	Header       http.Header // the end-to-end fields, Origin and Cookie among them; no Host, Sec-WebSocket-*, Forwarded, X-Forwarded-*
}

// IsUpgrade reports whether r asks for another protocol, in a valid way or not: any Upgrade or HTTP2-Settings field, the fields of a WebSocket
// handshake, CONNECT of any kind. Such a request is never proxied as a plain one. Connection: upgrade alone does not count, since some proxies
// add it to every request.
func IsUpgrade(r *http.Request) bool {
	for _, name := range [...]string{"Upgrade", fieldH2Settings, fieldKey, fieldVersion, pseudoProtocol} {
		if _, has := r.Header[name]; has {
			return true
		}
	}
	return r.Method == http.MethodConnect
}

// ParseOffer makes an Offer of a request that net/http has parsed, or refuses it. On HTTP/1.1 the head must have passed ScanHead.
func ParseOffer(r *http.Request) (*Offer, *Refusal) {
	proto, refusal := recognise(r)
	if refusal != nil {
		return nil, refusal
	}
	checkHop := checkConnection
	if proto != protoHTTP1 {
		checkHop = checkNoConnection
	}
	for _, check := range [...]func(*http.Request) *Refusal{checkFields, checkEmpty, checkVersionField, checkHop} {
		if refusal := check(r); refusal != nil {
			return nil, refusal
		}
	}
	o := &Offer{Proto: proto, Header: endToEnd(r.Header, claimsOrigin)}
	if proto == protoHTTP1 {
		o.Key = r.Header[fieldKey][0]
	}
	if origins, has := r.Header["Origin"]; has {
		o.Origin, o.HasOrigin = origins[0], true
	}
	if refusal := o.setTarget(r); refusal != nil {
		return nil, refusal
	}
	if refusal := o.setOffered(r.Header); refusal != nil {
		return nil, refusal
	}
	return o, nil
}

// recognise tells by which mechanism r asks for a WebSocket. This is the one place where the versions of HTTP differ.
func recognise(r *http.Request) (proto string, refusal *Refusal) {
	tokens, has := r.Header[pseudoProtocol]
	switch {
	case r.ProtoMajor == 2 && has && r.Method == http.MethodConnect:
		if len(tokens) == 1 {
			return protoHTTP2, checkProtocol(tokens[0])
		}
		return "", badHandshake(":protocol twice")
	case has:
		return "", badHandshake(":protocol outside of an extended CONNECT")
	case r.ProtoMajor == 3 && r.Method == http.MethodConnect && r.Proto != protoHTTP3:
		return protoHTTP3, checkProtocol(r.Proto)
	case r.Method == http.MethodConnect:
		return "", methodNotAllowed("CONNECT without :protocol")
	case r.ProtoMajor >= 2:
		return "", badHandshake("upgrade of HTTP/1.1 on a later version")
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return "", badHandshake("version " + quote(r.Proto) + " cannot upgrade")
	case r.Method != http.MethodGet:
		return "", methodNotAllowed("upgrade with another method than GET")
	}
	return protoHTTP1, checkUpgrade(r.Header)
}

// checkProtocol accepts the upgrade token of RFC 8441 section 5; others exist (connect-udp), and are answered as RFC 9220 section 3 says.
func checkProtocol(token string) *Refusal {
	if equalFold(token, "websocket") {
		return nil
	}
	return refuse(http.StatusNotImplemented, reasonProtocol, ":protocol is not websocket")
}

func checkUpgrade(h http.Header) *Refusal {
	if _, has := h[fieldH2Settings]; has {
		return badHandshake("HTTP2-Settings")
	}
	if v := h["Upgrade"]; len(v) != 1 || !equalFold(trimOWS(v[0]), "websocket") {
		return badHandshake("Upgrade is not exactly websocket")
	}
	return nil
}

// checkFields looks at names and counts, and at fields that two readers could pick differently when they come twice.
func checkFields(r *http.Request) *Refusal {
	count := 0
	for name, values := range r.Header {
		if count += len(values); count > MaxFields {
			return refuse(http.StatusRequestHeaderFieldsTooLarge, reasonFields, "too many fields")
		}
		if name != pseudoProtocol && !consists(name, className) {
			return malformed("field name " + quote(name) + " has other characters than letters, digits and hyphens")
		}
	}
	for _, name := range [...]string{"Origin", "Authorization"} {
		if len(r.Header[name]) > 1 {
			return malformed(name + " twice")
		}
	}
	return nil
}

// checkEmpty refuses a handshake that announces a body or waits for a 100: what follows the head belongs to the new protocol.
func checkEmpty(r *http.Request) *Refusal {
	h := r.Header
	length := h["Content-Length"]
	switch {
	case len(length) > 1 || len(length) == 1 && length[0] != "0":
		return badHandshake("handshake with a body")
	case len(r.TransferEncoding) > 0 || h["Transfer-Encoding"] != nil:
		return badHandshake("handshake with Transfer-Encoding")
	case r.ProtoMajor == 1 && r.ContentLength != 0:
		return badHandshake("handshake with a body")
	case len(r.Trailer) > 0 || h["Trailer"] != nil:
		return badHandshake("handshake with trailers")
	case h["Expect"] != nil:
		return refuse(http.StatusExpectationFailed, reasonExpectation, "handshake with Expect")
	case h["Early-Data"] != nil: // any value counts as 1 (RFC 8470 section 5.1)
		return refuse(http.StatusTooEarly, reasonEarly, "handshake in early data")
	}
	return nil
}

// checkVersionField wants version 13; another single version gets the answer of RFC 6455 section 4.4.
func checkVersionField(r *http.Request) *Refusal {
	v := r.Header[fieldVersion]
	if len(v) != 1 || v[0] == "" || strings.ContainsRune(v[0], ',') {
		return badHandshake("Sec-WebSocket-Version is absent, a list or there twice")
	}
	if v[0] == "13" {
		return nil
	}
	refusal := refuse(http.StatusUpgradeRequired, reasonVersion, "Sec-WebSocket-Version is not 13")
	refusal.Header = [][2]string{{"Sec-WebSocket-Version", "13"}}
	if r.ProtoMajor == 1 {
		refusal.Header = append(refusal.Header, [2]string{"Upgrade", "websocket"}) // RFC 9110 section 15.5.22
	}
	return refusal
}

// checkConnection wants what makes an upgrade on HTTP/1.1: the option upgrade among tokens, none that names a field which the gateway or the
// upstream decides on, and a key.
func checkConnection(r *http.Request) *Refusal {
	values := r.Header["Connection"]
	if has, valid := hasToken(values, "upgrade"); !has || !valid {
		return badHandshake("Connection is not a list of tokens with upgrade among them")
	}
	if !eachElement(values, func(name string) bool { return !protected(strings.ToLower(name)) }) {
		return badHandshake("Connection names an end-to-end field")
	}
	if v := r.Header[fieldKey]; len(v) != 1 || !validKey(v[0]) {
		return badHandshake("Sec-WebSocket-Key is not once base64 of 16 bytes")
	}
	return nil
}

// checkNoConnection refuses on HTTP/2 and HTTP/3 what speaks of a connection (RFC 9113 section 8.2.2).
func checkNoConnection(r *http.Request) *Refusal {
	for _, name := range [...]string{"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", fieldH2Settings} {
		if r.Header[name] != nil {
			return badHandshake(name + " on HTTP/2 or HTTP/3")
		}
	}
	if te := r.Header["Te"]; len(te) > 1 || len(te) == 1 && !equalFold(te[0], "trailers") {
		return badHandshake("TE other than trailers")
	}
	return nil
}

// setTarget takes authority, path and query in their one form.
func (o *Offer) setTarget(r *http.Request) *Refusal {
	var ok bool
	if o.Host, o.Port, ok = CanonicalAuthority(r.Host); !ok {
		return refuse(http.StatusBadRequest, reasonHost, "malformed host")
	}
	if o.Authority = o.Host; o.Port != "" {
		o.Authority += ":" + o.Port
	}
	// HTTP/2 and HTTP/3 carry the host as :authority; a Host field beside it must say the same (RFC 9113 section 8.3.1).
	for _, sent := range r.Header["Host"] {
		if host, port, ok := CanonicalAuthority(sent); !ok || host != o.Host || port != o.Port {
			return refuse(http.StatusBadRequest, reasonHost, "Host differs from the authority")
		}
	}
	// net/http takes the host of an absolute-form target as r.Host; as a :path such a target contradicts :authority.
	if r.URL.User != nil || r.URL.Host != "" && r.URL.Host != r.Host {
		return refuse(http.StatusBadRequest, reasonHost, "userinfo or another host in the target")
	}
	var refusal *Refusal
	if o.Path, refusal = CanonicalPath(r.URL); refusal != nil {
		return refusal
	}
	return o.setQuery(r.URL)
}

func (o *Offer) setQuery(u *url.URL) *Refusal {
	o.RawQuery = u.RawQuery
	if o.RawQuery != "" && (!consists(o.RawQuery, classTarget) || strings.ContainsRune(o.RawQuery, '#')) {
		return refuse(http.StatusBadRequest, reasonPath, "space, fragment, control or non-ASCII byte in the query")
	}
	if len(o.Path)+len(o.RawQuery) >= MaxTarget {
		return refuse(http.StatusRequestURITooLong, reasonTarget, "request target too long")
	}
	return nil
}

// setOffered takes what the client would like to speak. Values are not quoted: tokens travel as subprotocols.
func (o *Offer) setOffered(h http.Header) *Refusal {
	var ok bool
	if o.Subprotocols, ok = parseSubprotocols(h[fieldProtocol]); !ok {
		return badHandshake("Sec-WebSocket-Protocol is not a list of different tokens")
	}
	if values := h[fieldExtensions]; len(values) > 0 {
		extensions, ok := ParseExtensions(values)
		if !ok {
			return badHandshake("Sec-WebSocket-Extensions is not a list of at most 16 extensions")
		}
		o.Extensions = offerable(extensions)
	}
	return nil
}
