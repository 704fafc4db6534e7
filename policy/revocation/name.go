// Package revocation knows which tokens, subjects and sessions may not connect any more, although their tokens are good: until a time,
// since a token that has expired need not be revoked. Several gateways share what they know through Redis.
//
// It holds no identifier, only hashes of them (Name).
package revocation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"iter"
	"strings"
)

// A Kind is what an identifier is of.
type Kind string

// The kinds, by the claims that have them (RFC 7519, sections 4.1.2 and 4.1.7; sid is of OpenID Connect Front-Channel Logout, section 3).
const (
	Token   Kind = "jti"
	Subject Kind = "sub"
	Session Kind = "sid"
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Token, Subject, Session} }

const nameSize = 16

// A Name stands for one identifier, of one issuer or of any: a part of a SHA-256.
type Name [nameSize]byte

// NameOf returns that of an identifier. An empty issuer is any.
func NameOf(kind Kind, issuer, id string) (n Name) {
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + hashed(issuer) + hashed(id)))
	copy(n[:], sum[:])
	return n
}

// hashed has one length for texts of all lengths, so that no two pairs of them are written alike.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

// String returns the name in hex.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

var errName = errors.New("not the hash of an identifier")

// parseName reads what String has written.
func parseName(text string) (n Name, err error) {
	if len(text) != hex.EncodedLen(nameSize) {
		return n, errName
	}
	if _, err = hex.Decode(n[:], []byte(text)); err != nil {
		return n, errName
	}
	return n, nil
}

// Names are those by each of which a connection can be revoked, one after the other.
type Names string

// NamesOf returns those of a token of an issuer. get returns its claim of a kind, if it has one.
func NamesOf(issuer string, get func(claim string) (string, bool)) Names {
	var b strings.Builder
	for _, kind := range Kinds() {
		if id, ok := get(string(kind)); ok && id != "" {
			for _, of := range []string{"", issuer} {
				n := NameOf(kind, of, id)
				b.Write(n[:])
			}
		}
	}
	return Names(b.String())
}

// all yields them.
func (names Names) all() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for len(names) >= nameSize && yield(Name([]byte(names[:nameSize]))) {
			names = names[nameSize:]
		}
	}
}

// Any reports whether one of them is in a set.
func (names Names) Any(of map[Name]bool) bool {
	for n := range names.all() {
		if of[n] {
			return true
		}
	}
	return false
}
