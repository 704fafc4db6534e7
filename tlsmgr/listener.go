package tlsmgr

import (
	"crypto/tls"
	"fmt"
	"slices"
)

// alpnNames maps the protocols of a listener's configuration to their ALPN identifiers (RFC 7301, RFC 9112 §9.2).
var alpnNames = map[string]string{
	"h1": "http/1.1",
	"h2": "h2",
	"h3": "", // has no place in TLS over TCP
}

// getCertificate is the type of tls.Config.GetCertificate.
type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// serverConfig makes the tls.Config of a listener. Its Certificates are empty, so that crypto/tls answers unrecognized_name (112) when get
// returns nothing.
func serverConfig(get getCertificate, protocols []string) (*tls.Config, error) {
	if len(protocols) == 0 {
		protocols = []string{"h1"}
	}
	config := &tls.Config{
		GetCertificate:   get,
		MinVersion:       tls.VersionTLS12,
		MaxVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		// Of TLS 1.2 only; those of 1.3 are all AEAD and cannot be chosen.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Records of one write leave in one syscall; small first records help a page's first byte, not messages.
		DynamicRecordSizingDisabled: true,
	}
	for _, protocol := range protocols {
		name, ok := alpnNames[protocol]
		if !ok {
			return nil, fmt.Errorf("unknown protocol %q, wanted h1, h2 or h3", protocol)
		}
		if name != "" {
			config.NextProtos = append(config.NextProtos, name)
		}
	}
	slices.Sort(config.NextProtos) // the later version is chosen, where the client has both: "h2" sorts before "http/1.1"
	bindTickets(config)
	return config, nil
}

// ticketName marks the server name among the extra data of a session.
const ticketName = "framegate server name:"

// bindTickets makes a session resume only under the server name that its ticket was issued for. crypto/tls makes and rotates the keys.
func bindTickets(config *tls.Config) {
	config.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, []byte(ticketName+cs.ServerName))
		return config.EncryptTicket(cs, session)
	}
	config.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := config.DecryptTicket(ticket, cs)
		if session == nil || err != nil {
			return nil, err
		}
		issued := slices.ContainsFunc(session.Extra, func(extra []byte) bool { return string(extra) == ticketName+cs.ServerName })
		if !issued {
			return nil, nil // a full handshake follows, with its look-up of the name
		}
		return session, nil
	}
}
