package handshake

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsflate"
)

func TestVerify(t *testing.T) {
	o := mustTravel(t, with(t, "Sec-WebSocket-Protocol: chat, v2",
		"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits"))
	for _, tc := range []struct {
		name string
		r    *Reply
		want Agreement
	}{
		{"bare", reply(t), Agreement{}},
		{"capitals", scanned(t, strings.NewReplacer("Upgrade: websocket", "UPGRADE: WebSocket", "Connection: Upgrade", "connection: keep-alive, upgrade").
			Replace(accepted)+"\r\n"), Agreement{}},
		{"subprotocol", reply(t, "Sec-WebSocket-Protocol: v2"), Agreement{Subprotocol: "v2"}},
		{"deflate by the second offer", reply(t, "Sec-WebSocket-Extensions: permessage-deflate"),
			Agreement{Extensions: "permessage-deflate", Deflate: true}},
		{"deflate by the first offer", reply(t, "Sec-WebSocket-Extensions: permessage-deflate;server_max_window_bits=9"),
			Agreement{Extensions: "permessage-deflate; server_max_window_bits=9", Deflate: true, Params: wsflate.Parameters{ServerMaxWindowBits: 9}}},
		{"deflate with all", reply(t, "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=\"8\""),
			Agreement{Extensions: "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=8", Deflate: true,
				Params: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ClientMaxWindowBits: 8}}},
		{"fields", reply(t, "Set-Cookie: a=1", "Set-Cookie: b=2", "Connection: X-Hop", "X-Hop: 1", "Sec-WebSocket-Version: 13", "Server: x", "Keep-Alive: 5"),
			Agreement{Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "Server": {"x"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, refusal := o.Verify(sampleKey, tc.r)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if tc.want.Header == nil {
				tc.want.Header = http.Header{}
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			checkAccept(t, o, got)
		})
	}
}

// checkAccept states the law of the gateway's own 101: what it says to the client is what was agreed, and would itself pass verification.
func checkAccept(t testing.TB, o *Offer, a Agreement) {
	t.Helper()
	raw := o.AppendAccept(nil, a)
	r, n, refusal := ScanReply(raw)
	if refusal != nil || n != len(raw) {
		t.Fatalf("own 101 refused with %v: %q", refusal, raw)
	}
	again, refusal := o.Verify(o.Key, r)
	if refusal != nil || !reflect.DeepEqual(again, a) {
		t.Errorf("got %+v, %v; want %+v", again, refusal, a)
	}
}

func TestVerifyRefuses(t *testing.T) {
	replace := func(from, to string) string {
		if !strings.Contains(accepted, from) {
			t.Fatalf("no %q", from)
		}
		return strings.Replace(accepted, from, to, 1) + "\r\n"
	}
	and := func(lines ...string) string { return accepted + strings.Join(lines, "\r\n") + "\r\n\r\n" }
	const ext = "Sec-WebSocket-Extensions: "
	for _, tc := range []struct{ name, raw string }{
		{"status", replace("101 Switching Protocols", "200 OK")},
		{"interim", replace("101 Switching Protocols", "100 Continue")},
		{"no Upgrade", replace("Upgrade: websocket\r\n", "")},
		{"Upgrade twice", and("Upgrade: websocket")},
		{"Upgrade list", replace("Upgrade: websocket", "Upgrade: websocket, h2c")},
		{"S-20 Upgrade h2c", replace("Upgrade: websocket", "Upgrade: h2c")},
		{"no Connection", replace("Connection: Upgrade\r\n", "")},
		{"Connection close", replace("Connection: Upgrade", "Connection: close")},
		{"Connection malformed", replace("Connection: Upgrade", "Connection: upgrade, \"")},
		{"no accept", replace("Sec-WebSocket-Accept: "+sampleAccept+"\r\n", "")},
		{"empty accept", replace(sampleAccept, "")},
		{"accept of another key", replace(sampleAccept, AcceptKey("AAAAAAAAAAAAAAAAAAAAAA=="))},
		{"accept in other case", replace(sampleAccept, strings.ToLower(sampleAccept))},
		{"accept with more", replace(sampleAccept, sampleAccept+", x")},
		{"accept is the key", replace(sampleAccept, sampleKey)},
		{"accept twice", and("Sec-WebSocket-Accept: " + sampleAccept)},
		{"H-16 subprotocol", and("Sec-WebSocket-Protocol: other")},
		{"H-16 subprotocol in other case", and("Sec-WebSocket-Protocol: CHAT")},
		{"H-16 subprotocol empty", and("Sec-WebSocket-Protocol:")},
		{"H-16 two subprotocols", and("Sec-WebSocket-Protocol: chat, v2")},
		{"H-16 subprotocol twice", and("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat")},
		{"Z-08 extension", and(ext + "x-webkit-deflate-frame")},
		{"Z-08 unknown", and(ext + "foo")},
		{"Z-08 one more", and(ext + "permessage-deflate; server_max_window_bits=10, foo")},
		{"Z-08 empty", and(ext)},
		{"Z-08 malformed", and(ext + "permessage-deflate;")},
		{"Z-08 twice in a list", and(ext + "permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=10")},
		{"Z-08 twice", and(ext+"permessage-deflate; server_max_window_bits=10", ext+"permessage-deflate; server_max_window_bits=10")},
		{"Z-08 bits 16", and(ext + "permessage-deflate; server_max_window_bits=16")},
		{"Z-08 bits 7", and(ext + "permessage-deflate; server_max_window_bits=7")},
		{"Z-08 bits 08", and(ext + "permessage-deflate; server_max_window_bits=08")},
		{"Z-08 bits over the offer", and(ext + "permessage-deflate; server_max_window_bits=11")},
		{"Z-08 bits missing", and(ext + "permessage-deflate")},
		{"Z-08 client bits not offered", and(ext + "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10")},
		{"Z-08 client bits without value", and(ext + "permessage-deflate; server_max_window_bits=10; client_max_window_bits")},
		{"Z-08 doubled parameter", and(ext + "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10")},
		{"Z-08 doubled flag", and(ext + "permessage-deflate; server_max_window_bits=10; server_no_context_takeover; server_no_context_takeover")},
		{"Z-08 unknown parameter", and(ext + "permessage-deflate; server_max_window_bits=10; x")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := mustTravel(t, with(t, "Sec-WebSocket-Protocol: chat, v2", ext+"permessage-deflate; server_max_window_bits=10, foo"))
			a, refusal := o.Verify(sampleKey, scanned(t, tc.raw))
			checkStatus(t, refusal, http.StatusBadGateway)
			if !reflect.DeepEqual(a, Agreement{}) || refusal.Reason != reasonUpstreamReply {
				t.Errorf("%+v with reason %q", a, refusal.Reason)
			}
		})
	}
	bare := mustTravel(t, hs0)
	for _, line := range []string{"Sec-WebSocket-Protocol: chat", ext + "permessage-deflate", "Sec-WebSocket-Protocol:", ext} {
		_, refusal := bare.Verify(sampleKey, reply(t, line))
		checkStatus(t, refusal, http.StatusBadGateway)
	}
	_, refusal := bare.Verify("another key", reply(t))
	checkStatus(t, refusal, http.StatusBadGateway)
}
