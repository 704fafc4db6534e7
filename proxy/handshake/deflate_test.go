package handshake

import (
	"strings"
	"testing"

	"github.com/gobwas/ws/wsflate"
)

func TestParseDeflate(t *testing.T) {
	all := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 8, ClientMaxWindowBits: 15}
	for _, tc := range []struct {
		in            string
		offer, answer bool // lawful as such
		want          wsflate.Parameters
	}{
		{"", true, true, wsflate.Parameters{}},
		{"; server_no_context_takeover", true, true, wsflate.Parameters{ServerNoContextTakeover: true}},
		{"; client_no_context_takeover", true, true, wsflate.Parameters{ClientNoContextTakeover: true}},
		{"; server_max_window_bits=8", true, true, wsflate.Parameters{ServerMaxWindowBits: 8}},
		{"; server_max_window_bits=9", true, true, wsflate.Parameters{ServerMaxWindowBits: 9}},
		{"; server_max_window_bits=10", true, true, wsflate.Parameters{ServerMaxWindowBits: 10}},
		{`; server_max_window_bits="15"`, true, true, wsflate.Parameters{ServerMaxWindowBits: 15}},
		{"; client_max_window_bits=11", true, true, wsflate.Parameters{ClientMaxWindowBits: 11}},
		{"; client_max_window_bits", true, false, wsflate.Parameters{ClientMaxWindowBits: anyWindow}},
		{"; client_max_window_bits=15; client_no_context_takeover; server_max_window_bits=8; server_no_context_takeover", true, true, all},
		{in: "; server_max_window_bits"},
		{in: "; server_max_window_bits="},
		{in: `; server_max_window_bits=""`},
		{in: "; server_max_window_bits=7"},
		{in: "; server_max_window_bits=16"},
		{in: "; server_max_window_bits=08"},
		{in: "; server_max_window_bits=8.0"},
		{in: "; server_max_window_bits=+8"},
		{in: "; server_max_window_bits=1"},
		{in: "; server_max_window_bits=0"},
		{in: "; server_max_window_bits=100"},
		{in: "; server_max_window_bits=20"},
		{in: "; server_max_window_bits=a"},
		{in: "; client_max_window_bits="},
		{in: "; client_max_window_bits=7"},
		{in: "; client_max_window_bits=16"},
		{in: "; client_max_window_bits=08"},
		{in: "; client_max_window_bits=8.0"},
		{in: "; server_no_context_takeover=1"},
		{in: "; server_no_context_takeover="},
		{in: "; client_no_context_takeover=true"},
		{in: `; client_no_context_takeover=""`},
		{in: "; server_no_context_takeover; server_no_context_takeover"},
		{in: "; client_no_context_takeover; client_no_context_takeover"},
		{in: "; server_max_window_bits=10; server_max_window_bits=10"},
		{in: "; client_max_window_bits; client_max_window_bits"},
		{in: "; client_max_window_bits=10; client_max_window_bits"},
		{in: "; foo"},
		{in: "; Server_no_context_takeover"},
		{in: "; client_max_window_bits; mem_level=9"},
	} {
		parsed, ok := ParseExtensions([]string{"permessage-deflate" + tc.in})
		if !ok || len(parsed) != 1 {
			t.Fatalf("%q does not parse", tc.in)
		}
		for _, answer := range []bool{false, true} {
			want := tc.offer
			if answer {
				want = tc.answer
			}
			got, ok := parseDeflate(parsed[0], answer)
			if ok != want || ok && got != tc.want || !ok && got != (wsflate.Parameters{}) {
				t.Errorf("%q, answer %v: got %+v, %v; want %+v, %v", tc.in, answer, got, ok, tc.want, want)
			}
		}
	}
}

// TestAccepts is RFC 7692 section 7.1, sentence by sentence.
func TestAccepts(t *testing.T) {
	const (
		snct = "; server_no_context_takeover"
		cnct = "; client_no_context_takeover"
	)
	for _, tc := range []struct {
		offer, answer string
		want          bool
	}{
		{"", "", true},
		{"", snct, true}, // 7.1.1.1: a server may add it
		{snct, snct, true},
		{snct, "", false},
		{"", cnct, true}, // 7.1.1.2: likewise, and clients must take it
		{cnct, "", true},
		{cnct, cnct, true},
		{"", "; server_max_window_bits=10", true}, // 7.1.2.1
		{"; server_max_window_bits=10", "", false},
		{"; server_max_window_bits=10", "; server_max_window_bits=10", true},
		{"; server_max_window_bits=10", "; server_max_window_bits=9", true},
		{"; server_max_window_bits=10", "; server_max_window_bits=11", false},
		{"", "; client_max_window_bits=10", false}, // 7.1.2.2
		{"", "; client_max_window_bits=15", false},
		{"; client_max_window_bits", "; client_max_window_bits=8", true},
		{"; client_max_window_bits", "; client_max_window_bits=15", true},
		{"; client_max_window_bits", "", true},
		{"; client_max_window_bits=10", "; client_max_window_bits=10", true},
		{"; client_max_window_bits=10", "; client_max_window_bits=8", true},
		{"; client_max_window_bits=10", "; client_max_window_bits=11", false},
		{"; client_max_window_bits=10", "", true},
	} {
		parse := func(params string, answer bool) wsflate.Parameters {
			parsed, _ := ParseExtensions([]string{"permessage-deflate" + params})
			p, ok := parseDeflate(parsed[0], answer)
			if !ok {
				t.Fatalf("%q does not parse", params)
			}
			return p
		}
		if got := accepts(parse(tc.offer, false), parse(tc.answer, true)); got != tc.want {
			t.Errorf("offer %q, answer %q: %v, want %v", tc.offer, tc.answer, got, tc.want)
		}
	}
}

// TestInspect is compression: inspect. Whatever a client offers, the upstream is offered the same without contexts, and the client is answered
// so; what the upstream says of windows stays.
func TestInspect(t *testing.T) {
	const both = "; server_no_context_takeover; client_no_context_takeover"
	for _, tc := range []struct{ offer, sent, answer, accepted string }{
		{"permessage-deflate", "permessage-deflate" + both, "permessage-deflate; server_no_context_takeover", "permessage-deflate" + both},
		{"permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits" + both,
			"permessage-deflate; server_no_context_takeover; client_max_window_bits=12", "permessage-deflate; client_max_window_bits=12" + both},
		{"permessage-deflate; client_no_context_takeover; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10" + both,
			"permessage-deflate; server_max_window_bits=9; client_no_context_takeover; server_no_context_takeover", "permessage-deflate; server_max_window_bits=9" + both},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; server_max_window_bits=10" + both + ", permessage-deflate" + both,
			"permessage-deflate" + both, "permessage-deflate" + both},
		{"permessage-deflate", "permessage-deflate" + both, "", ""},
		{"permessage-deflate", "permessage-deflate" + both, "permessage-deflate", "refused"}, // the server keeps a context
		{"permessage-deflate", "permessage-deflate" + both, "permessage-deflate; client_max_window_bits=10; server_no_context_takeover", "refused"},
		{"permessage-deflate; server_max_window_bits=16", "", "", ""}, // Z-07
		{"permessage-deflate; server_max_window_bits=16", "", "permessage-deflate; server_no_context_takeover", "refused"},
	} {
		o := mustTravel(t, with(t, "Sec-WebSocket-Extensions: "+tc.offer))
		for range 2 { // the next server is offered no more
			sent := string(o.AppendRequest(nil, sampleKey, Forwarded{}, Inspect))
			if _, got, _ := strings.Cut(sent, "Sec-WebSocket-Extensions: "); tc.sent == "" && got != "" || tc.sent != "" && !strings.HasPrefix(got, tc.sent+"\r\n") {
				t.Errorf("%s: sent %q, want %q", tc.offer, sent, tc.sent)
			}
		}
		var lines []string
		if tc.answer != "" {
			lines = append(lines, "Sec-WebSocket-Extensions: "+tc.answer)
		}
		a, refusal := o.Verify(sampleKey, reply(t, lines...))
		if refused := tc.accepted == "refused"; refused != (refusal != nil) {
			t.Errorf("%s, answered %s: %v", tc.offer, tc.answer, refusal)
		} else if !refused && (a.Extensions != tc.accepted || a.Deflate != (tc.accepted != "")) {
			t.Errorf("%s, answered %s: the client is told %q, want %q", tc.offer, tc.answer, a.Extensions, tc.accepted)
		}
		if a.Deflate && !(a.Params.ServerNoContextTakeover && a.Params.ClientNoContextTakeover) {
			t.Errorf("%s, answered %s: agreed on %+v", tc.offer, tc.answer, a.Params)
		}
	}
}
