package handshake

import (
	"crypto/sha1" // fixed by RFC 6455 section 1.3; nothing rests on its strength
	"encoding/base64"
	"fmt"
	"io"
)

// keyGUID is appended to a key before it is hashed (RFC 6455 section 1.3).
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// NewKey returns a Sec-WebSocket-Key for the upstream: 16 bytes of random in base64 (RFC 6455 section 4.1). The error is that of random.
func NewKey(random io.Reader) (string, error) {
	var nonce [16]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return "", fmt.Errorf("making a handshake key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(nonce[:]), nil
}

// AcceptKey returns the Sec-WebSocket-Accept that answers key (RFC 6455 section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// validKey reports whether key is base64 of 16 bytes. Bits that the encoding leaves unused may have any value, as browsers' own checks allow.
func validKey(key string) bool {
	var nonce [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) || indexByte(key, '\n') >= 0 || indexByte(key, '\r') >= 0 {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == 16
}
