package handshake

import (
	"net/http"
	"slices"

	"github.com/gobwas/ws/wsflate"
)

// Agreement is what both sides will speak.
type Agreement struct {
	Subprotocol string             // "" for none
	Extensions  string             // the value of Sec-WebSocket-Extensions for the client, "" for none
	Deflate     bool               // permessage-deflate: RSV1 is lawful on the first frame of a message, in both directions
	Params      wsflate.Parameters // of permessage-deflate, as the client is answered
	Header      http.Header        // end-to-end fields of the 101, such as Set-Cookie
}

// Verify holds a 101 against what AppendRequest sent with key (RFC 6455 section 4.1): Upgrade, Connection and Sec-WebSocket-Accept as they must
// be, one of the offered subprotocols or none, extensions that were offered with lawful parameters. Every refusal is a 502, also for another
// status than 101.
func (o *Offer) Verify(key string, r *Reply) (Agreement, *Refusal) {
	if r.Status != http.StatusSwitchingProtocols {
		return Agreement{}, badReply("status is not 101")
	}
	h := r.Header
	if v := h["Upgrade"]; len(v) != 1 || !equalFold(v[0], "websocket") {
		return Agreement{}, badReply("Upgrade is not exactly websocket")
	}
	if has, valid := hasToken(h["Connection"], "upgrade"); !has || !valid {
		return Agreement{}, badReply("Connection does not say upgrade")
	}
	if v := h[fieldAccept]; len(v) != 1 || v[0] != AcceptKey(key) {
		return Agreement{}, badReply("Sec-WebSocket-Accept does not match the key")
	}
	a := Agreement{Header: r.EndToEnd()}
	if v, has := h[fieldProtocol]; has {
		if len(v) != 1 || !slices.Contains(o.Subprotocols, v[0]) {
			return Agreement{}, badReply("a subprotocol that was not offered")
		}
		a.Subprotocol = v[0]
	}
	if v, has := h[fieldExtensions]; has {
		if len(v) != 1 || !o.agree(&a, v) {
			return Agreement{}, badReply("extensions that were not offered, or with unlawful parameters")
		}
	}
	return a, nil
}

// agree accepts exactly one permessage-deflate that answers one of the offers.
func (o *Offer) agree(a *Agreement, values []string) bool {
	answered, ok := ParseExtensions(values)
	if !ok || len(answered) != 1 || answered[0].Name != wsflate.ExtensionName {
		return false
	}
	if a.Params, ok = parseDeflate(answered[0], true); !ok {
		return false
	}
	for _, e := range o.Extensions {
		if offer, ok := parseDeflate(e, false); ok && e.Name == wsflate.ExtensionName && accepts(offer, a.Params) {
			a.Deflate = true
			if o.compression == Inspect {
				answered[0] = withoutContext(answered[0])
				a.Params.ServerNoContextTakeover, a.Params.ClientNoContextTakeover = true, true
			}
			a.Extensions = string(AppendExtensions(nil, answered))
			return true
		}
	}
	return false
}
