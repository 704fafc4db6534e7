package reactor

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/framegate/framegate/proxy/relay"
)

// The content types and handshake messages of RFC 8446 that a sealer writes.
const (
	alertRecord       = 21
	handshakeRecord   = 22
	dataRecord        = 23
	ticketMessage     = 4
	keyUpdateMessage  = 24
	updateRequested   = 1
	closeNotifyAlert  = 0
	warningAlertLevel = 1
)

// A sealer writes the TLS 1.3 records of a peer in its stead: those that
// crypto/tls never sends, cut as it never cuts them. The peer's tls.Conn goes
// on reading.
type sealer struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newSealer takes over from a peer that has sent nothing since its handshake.
func newSealer(p *peer) *sealer {
	p.t.Helper()
	label := "CLIENT_TRAFFIC_SECRET_0"
	if p.side == relay.Upstream {
		label = "SERVER_TRAFFIC_SECRET_0"
	}
	if suite := p.tls.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		p.t.Fatalf("the connection has %s, want AES-128-GCM", tls.CipherSuiteName(suite))
	}
	for line := range bytes.Lines(p.keys.Bytes()) {
		if words := bytes.Fields(line); string(words[0]) == label {
			secret, err := hex.DecodeString(string(words[2]))
			if err != nil {
				p.t.Fatal(err)
			}
			s := &sealer{t: p.t}
			s.use(secret)
			return s
		}
	}
	p.t.Fatalf("no %s in the key log", label)
	return nil
}

// use makes the keys of a traffic secret the present ones (RFC 8446 §7.3).
func (s *sealer) use(secret []byte) {
	block, err := aes.NewCipher(s.expand(secret, "key", 16))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		s.t.Fatal(err)
	}
	s.secret, s.iv, s.seq = secret, s.expand(secret, "iv", 12), 0
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func (s *sealer) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// record returns one record with some zeros of padding (RFC 8446 §5.2).
func (s *sealer) record(kind byte, content []byte, padding int) []byte {
	inner := append(append(append([]byte(nil), content...), kind), make([]byte, padding)...)
	header := binary.BigEndian.AppendUint16([]byte{dataRecord, 3, 3}, uint16(len(inner)+s.aead.Overhead()))
	nonce := append([]byte(nil), s.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^s.seq)
	s.seq++
	return s.aead.Seal(header, nonce, inner, header)
}

func (s *sealer) data(p []byte) []byte { return s.record(dataRecord, p, 0) }

// keyUpdate changes the keys of what follows, and perhaps requests the same of
// the gateway (RFC 8446 §4.6.3).
func (s *sealer) keyUpdate(request byte) []byte {
	b := s.record(handshakeRecord, []byte{keyUpdateMessage, 0, 0, 1, request}, 0)
	s.use(s.expand(s.secret, "traffic upd", sha256.Size))
	return b
}

// ticket is a NewSessionTicket of a server, in records of n bytes
// (RFC 8446 §4.6.1).
func (s *sealer) ticket(n int) (records []byte) {
	body := binary.BigEndian.AppendUint32(nil, 7200) // lifetime
	body = append(body, 1, 2, 3, 4, 1, 0, 0, 100)    // age_add, a nonce of one byte, the length of the ticket
	body = append(append(body, make([]byte, 100)...), 0, 0)
	message := append([]byte{ticketMessage, 0, 0, byte(len(body))}, body...)
	for len(message) > 0 {
		k := min(n, len(message))
		records = append(records, s.record(handshakeRecord, message[:k], 0)...)
		message = message[k:]
	}
	return records
}

// closeNotify ends what the peer sends (RFC 8446 §6.1).
func (s *sealer) closeNotify() []byte {
	return s.record(alertRecord, []byte{warningAlertLevel, closeNotifyAlert}, 0)
}
