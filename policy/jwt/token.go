package jwt

import (
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	// MaxToken is the size of the largest token that is looked at, in bytes.
	MaxToken = 8 << 10

	// These bound what is parsed before the signature is checked: bytes of JSON, and values in it.
	maxHeader       = 2 << 10
	maxHeaderValues = 32
)

// refusedMembers are the names that no header may have: they bring a key or say where one is (RFC 7515, sections 4.1.2, 4.1.3, 4.1.5 and
// 4.1.6), change what is signed (RFC 7797), demand what nobody here understands (section 4.1.11), or belong to encryption (RFC 7516).
var refusedMembers = []string{"jku", "jwk", "x5u", "x5c", "b64", "crit", "enc", "zip", "epk"}

// token is one whose form is good. Nothing in it is to be believed before verify has found a key for it.
type token struct {
	alg      algorithm
	kid, typ string // empty if absent
	jws      *jose.JSONWebSignature
	text     string // as it was sent
}

// parse reads the form of a token and its header: exactly three parts, each in the one spelling that base64url has for it.
func parse(compact string) (*token, error) {
	parts, ok := split(compact)
	if !ok {
		return nil, ErrMalformed
	}
	header, err := parseHeader(parts[0])
	if err != nil {
		return nil, err
	}
	if _, known := algorithms[header.alg]; !known {
		return nil, ErrAlgorithm
	}
	if header.jws, err = jose.ParseSignedCompact(compact, []algorithm{header.alg}); err != nil {
		return nil, ErrMalformed
	}
	return header, nil
}

// split cuts a token into header, payload and signature. It allocates nothing.
func split(compact string) (parts [3]string, ok bool) {
	if len(compact) > MaxToken || strings.Count(compact, ".") != 2 {
		return parts, false
	}
	parts[0], compact, _ = strings.Cut(compact, ".")
	parts[1], parts[2], _ = strings.Cut(compact, ".")
	return parts, parts[0] != "" && parts[2] != "" && isCanonical(parts[0]) && isCanonical(parts[1]) && isCanonical(parts[2])
}

// isCanonical says whether text is what base64url without padding (RFC 7515, section 2) makes of some bytes: no other letter, no white space,
// and nothing in the bits of the last letter that stand for no byte. Go's decoder passes over line ends even when it is strict.
func isCanonical(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c|0x20 < 'a' || 'z' < c|0x20 {
			if (c < '0' || '9' < c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	rest := text[len(text)-len(text)%4:]
	var last [3]byte
	_, err := base64.RawURLEncoding.Strict().Decode(last[:], []byte(rest))
	return err == nil
}

func parseHeader(part string) (*token, error) {
	if base64.RawURLEncoding.DecodedLen(len(part)) > maxHeader {
		return nil, ErrMalformed
	}
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil, ErrMalformed
	}
	members, err := decodeObject(data, maxHeaderValues)
	if err != nil {
		return nil, ErrMalformed
	}
	for _, name := range refusedMembers {
		if _, there := members[name]; there {
			return nil, ErrMalformed
		}
	}
	alg, hasAlg := members["alg"].(string)
	kid, goodKid := text(members, "kid")
	typ, goodType := text(members, "typ")
	if !hasAlg || !goodKid || !goodType {
		return nil, ErrMalformed
	}
	return &token{alg: algorithm(alg), kid: kid, typ: typ}, nil
}

// text returns a member that is a string, or "" if there is none.
func text(members map[string]any, name string) (value string, ok bool) {
	v, there := members[name]
	if !there {
		return "", true
	}
	value, ok = v.(string)
	return value, ok
}
