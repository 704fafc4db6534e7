package handshake

import "github.com/gobwas/ws/wsflate"

// Compression says what may become of permessage-deflate between a client and an upstream.
type Compression uint8

const (
	// Off declines it.
	Off Compression = iota
	// Pass lets the two agree on what they like.
	Pass
	// Inspect has both of them agree to keep no context from one message to the next, so that each can be inflated by itself.
	Inspect
)

// The parameters of permessage-deflate (RFC 7692 section 7.1).
const (
	serverNoContextTakeover = "server_no_context_takeover"
	clientNoContextTakeover = "client_no_context_takeover"
	serverMaxWindowBits     = "server_max_window_bits"
	clientMaxWindowBits     = "client_max_window_bits"
)

// anyWindow is how wsflate.Parameters says client_max_window_bits without a value.
const anyWindow wsflate.WindowBits = 1

// parseDeflate reads the parameters of a permessage-deflate offer, or of the answer to one. Not ok are unknown and doubled parameters, missing
// and superfluous values, and window bits other than 8 to 15 without leading zero: such an offer is declined (section 7.1), such an answer fails
// the connection (section 5.1).
func parseDeflate(e Extension, answer bool) (p wsflate.Parameters, ok bool) {
	seen := 0
	for _, param := range e.Params {
		bit := 0
		switch param.Name {
		case serverNoContextTakeover:
			bit, ok, p.ServerNoContextTakeover = 1, !param.HasValue, true
		case clientNoContextTakeover:
			bit, ok, p.ClientNoContextTakeover = 2, !param.HasValue, true
		case serverMaxWindowBits:
			bit = 4
			p.ServerMaxWindowBits, ok = windowBits(param.Value)
		case clientMaxWindowBits:
			bit = 8
			if p.ClientMaxWindowBits, ok = windowBits(param.Value); !param.HasValue && !answer {
				p.ClientMaxWindowBits, ok = anyWindow, true
			}
		default:
			ok = false
		}
		if !ok || seen&bit != 0 {
			return wsflate.Parameters{}, false
		}
		seen |= bit
	}
	return p, true
}

func windowBits(s string) (wsflate.WindowBits, bool) {
	switch {
	case len(s) == 1 && (s[0] == '8' || s[0] == '9'):
		return wsflate.WindowBits(s[0] - '0'), true
	case len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5':
		return wsflate.WindowBits(10 + s[1] - '0'), true
	}
	return 0, false
}

// accepts reports whether answer is a lawful acceptance of offer (RFC 7692 section 7.1): a server may always promise more than it was asked
// for its own side; about the client it may only use what the client can do.
func accepts(offer, answer wsflate.Parameters) bool {
	if offer.ServerNoContextTakeover && !answer.ServerNoContextTakeover { // section 7.1.1.1
		return false
	}
	if offer.ServerMaxWindowBits.Defined() && // section 7.1.2.1
		(!answer.ServerMaxWindowBits.Defined() || answer.ServerMaxWindowBits > offer.ServerMaxWindowBits) {
		return false
	}
	if !answer.ClientMaxWindowBits.Defined() { // section 7.1.2.2, also for the rest
		return true
	}
	return offer.ClientMaxWindowBits == anyWindow || answer.ClientMaxWindowBits <= offer.ClientMaxWindowBits
}

// withoutContext returns e with both no_context_takeover parameters. In an offer they bind the server and announce what the client will be told
// to do; a server may put both into its answer whatever it was offered (RFC 7692 sections 7.1.1.1 and 7.1.1.2). Windows stay as they are: who
// inflates a copy with the largest one reads them all (section 7.1.2).
func withoutContext(e Extension) Extension {
	kept := Extension{Name: e.Name, Params: make([]Param, 0, len(e.Params)+2)}
	for _, p := range e.Params {
		if p.Name != serverNoContextTakeover && p.Name != clientNoContextTakeover {
			kept.Params = append(kept.Params, p)
		}
	}
	kept.Params = append(kept.Params, Param{Name: serverNoContextTakeover}, Param{Name: clientNoContextTakeover})
	return kept
}

// offerable keeps the extensions that the gateway can relay: permessage-deflate with lawful parameters. The others are declined by silence.
func offerable(offered []Extension) []Extension {
	kept := offered[:0]
	for _, e := range offered {
		if e.Name != wsflate.ExtensionName {
			continue
		}
		if _, ok := parseDeflate(e, false); ok {
			kept = append(kept, e)
		}
	}
	return kept
}
