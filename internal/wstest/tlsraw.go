package wstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"net"
	"strings"
	"testing"
	"time"
)

// ClientHello returns the TLS record with the ClientHello that crypto/tls would send.
func ClientHello(tb testing.TB, config *tls.Config) []byte {
	tb.Helper()
	capture := &captureConn{}
	err := tls.Client(capture, config).Handshake()
	if len(capture.wrote) < 9 || capture.wrote[0] != 22 {
		tb.Fatalf("no ClientHello: %v", err)
	}
	return capture.wrote
}

// captureConn keeps the first write and fails every read, which ends the handshake.
type captureConn struct {
	net.Conn
	wrote []byte
}

func (c *captureConn) Write(b []byte) (int, error) {
	if c.wrote == nil {
		c.wrote = bytes.Clone(b)
	}
	return len(b), nil
}

func (c *captureConn) Read([]byte) (int, error) {
	return 0, errors.New("only the ClientHello is wanted")
}
func (c *captureConn) Close() error                     { return nil }
func (c *captureConn) SetDeadline(time.Time) error      { return nil }
func (c *captureConn) SetWriteDeadline(time.Time) error { return nil }

// SetSNI replaces the server name of a ClientHello record by any bytes, which crypto/tls would not send.
func SetSNI(tb testing.TB, record []byte, name string) []byte {
	tb.Helper()
	at := 5 + 4 + 2 + 32                                    // record header, handshake header, version, random
	at += 1 + int(record[at])                               // session id
	at += 2 + int(binary.BigEndian.Uint16(record[at:]))     // cipher suites
	at += 1 + int(record[at])                               // compression
	fixed, exts := bytes.Clone(record[5:at]), record[at+2:] // without the record header
	var out []byte
	found := false
	for len(exts) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(exts[2:]))
		ext := exts[:n]
		if binary.BigEndian.Uint16(ext) == 0 {
			found = true
			ext = []byte{0, 0}
			ext = binary.BigEndian.AppendUint16(ext, uint16(len(name)+5))
			ext = binary.BigEndian.AppendUint16(ext, uint16(len(name)+3))
			ext = append(ext, 0)
			ext = binary.BigEndian.AppendUint16(ext, uint16(len(name)))
			ext = append(ext, name...)
		}
		out, exts = append(out, ext...), exts[n:]
	}
	if !found {
		tb.Fatal("the ClientHello has no server name to replace")
	}
	message := append(binary.BigEndian.AppendUint16(fixed, uint16(len(out))), out...)
	size := len(message) - 4
	message[1], message[2], message[3] = byte(size>>16), byte(size>>8), byte(size)
	return append(binary.BigEndian.AppendUint16(bytes.Clone(record[:3]), uint16(len(message))), message...)
}

// SplitHello wraps a connection so that the first flight of a TLS client travels in records of one byte, each in a segment of its
// own.
func SplitHello(conn net.Conn) net.Conn { return &splitConn{Conn: conn} }

type splitConn struct {
	net.Conn
	split bool
}

func (c *splitConn) Write(b []byte) (int, error) {
	if c.split {
		return c.Conn.Write(b)
	}
	c.split = true
	for rest := b; len(rest) >= 5; {
		n := 5 + int(binary.BigEndian.Uint16(rest[3:]))
		for _, octet := range rest[5:n] {
			if _, err := c.Conn.Write([]byte{rest[0], rest[1], rest[2], 0, 1, octet}); err != nil {
				return 0, err
			}
		}
		rest = rest[n:]
	}
	return len(b), nil
}

// Alert reads a TLS alert record and returns its description, -1 if the peer sent something else or ended the connection.
func (c *Client) Alert() int {
	c.arm()
	for {
		head := make([]byte, 5)
		for i := range head {
			b, err := c.r.ReadByte()
			if err != nil {
				return -1
			}
			head[i] = b
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		for i := range body {
			b, err := c.r.ReadByte()
			if err != nil {
				return -1
			}
			body[i] = b
		}
		if head[0] == 21 && len(body) == 2 {
			return int(body[1])
		}
		if head[0] != 22 && head[0] != 20 {
			return -1
		}
	}
}

// RawTLS is a TLS connection whose handshake crypto/tls has done and whose records the test seals itself from then on.
type RawTLS struct {
	*Client // of the TCP connection: reads are of sealed records

	version uint16
	hash    func() hash.Hash
	keySize int
	secret  []byte // TLS 1.3: the client's traffic secret
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
}

// DialRawTLS completes a handshake and takes the connection over. The suite must be one of AES-GCM.
func DialRawTLS(tb testing.TB, addr string, config *tls.Config) *RawTLS {
	tb.Helper()
	var keys bytes.Buffer
	config = config.Clone()
	config.KeyLogWriter = &keys
	c := Dial(tb, addr)
	tap := &tapConn{Conn: c.conn}
	conn := tls.Client(tap, config)
	if err := conn.Handshake(); err != nil {
		tb.Fatalf("TLS handshake with the gateway: %v", err)
	}
	state := conn.ConnectionState()
	r := &RawTLS{Client: c, version: state.Version, hash: sha256.New, keySize: 16}
	switch state.CipherSuite {
	case tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		r.hash, r.keySize = sha512.New384, 32
	default:
		tb.Fatalf("the gateway chose %s, want AES-GCM", tls.CipherSuiteName(state.CipherSuite))
	}
	if r.version == tls.VersionTLS13 {
		_, r.secret = keyLogLine(tb, keys.String(), "CLIENT_TRAFFIC_SECRET_0")
		r.rekey(tb)
		return r
	}
	clientRandom, master := keyLogLine(tb, keys.String(), "CLIENT_RANDOM")
	serverRandom := tap.read[11:43] // record header, handshake header, version
	block := prf12(master, "key expansion", append(bytes.Clone(serverRandom), clientRandom...), 40)
	r.aead, r.iv, r.seq = newGCM(tb, block[:16]), block[32:36], 1 // Finished was record 0
	return r
}

// tapConn keeps what it reads.
type tapConn struct {
	net.Conn
	read []byte
}

func (c *tapConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read = append(c.read, b[:n]...)
	return n, err
}

func keyLogLine(tb testing.TB, log, label string) (random, secret []byte) {
	tb.Helper()
	for line := range strings.SplitSeq(log, "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == label {
			random, _ = hex.DecodeString(f[1])
			secret, _ = hex.DecodeString(f[2])
			return random, secret
		}
	}
	tb.Fatalf("no %s in the key log", label)
	return nil, nil
}

func newGCM(tb testing.TB, key []byte) cipher.AEAD {
	tb.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return aead
}

// rekey derives key and IV from the traffic secret (RFC 8446 §7.3).
func (r *RawTLS) rekey(tb testing.TB) {
	tb.Helper()
	r.aead = newGCM(tb, r.expand(tb, "key", r.keySize))
	r.iv, r.seq = r.expand(tb, "iv", 12), 0
}

func (r *RawTLS) expand(tb testing.TB, label string, n int) []byte {
	tb.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(6+len(label))), "tls13 "+label...)
	out, err := hkdf.Expand(r.hash, r.secret, string(append(info, 0)), n)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// NextSecret moves on to the traffic secret after a KeyUpdate (RFC 8446 §7.2).
func (r *RawTLS) NextSecret(tb testing.TB) {
	tb.Helper()
	r.secret = r.expand(tb, "traffic upd", len(r.secret))
	r.rekey(tb)
}

// Seal returns one protected record of the given content type.
func (r *RawTLS) Seal(content byte, payload []byte) []byte {
	defer func() { r.seq++ }()
	counter := binary.BigEndian.AppendUint64(nil, r.seq)
	if r.version == tls.VersionTLS13 {
		nonce := bytes.Clone(r.iv)
		for i, b := range counter {
			nonce[4+i] ^= b
		}
		size := len(payload) + 1 + r.aead.Overhead()
		head := []byte{23, 3, 3, byte(size >> 8), byte(size)}
		return r.aead.Seal(bytes.Clone(head), nonce, append(bytes.Clone(payload), content), head)
	}
	nonce := append(bytes.Clone(r.iv), counter...)
	aad := binary.BigEndian.AppendUint16(append(bytes.Clone(counter), content, 3, 3), uint16(len(payload)))
	size := 8 + len(payload) + r.aead.Overhead()
	head := append([]byte{content, 3, 3, byte(size >> 8), byte(size)}, counter...)
	return r.aead.Seal(head, nonce, payload, aad)
}

// prf12 is the PRF of TLS 1.2 with SHA-256 (RFC 5246 §5).
func prf12(secret []byte, label string, seed []byte, n int) []byte {
	sum := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}
