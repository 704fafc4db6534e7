// Package revocation knows which tokens, subjects and sessions may not connect any more, although their tokens are good: until a time,
// since a token that has expired need not be revoked. Several gateways share what they know through Redis.
//
// It holds no identifier, only hashes of them (Name).
package revocation

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"math"
	"strings"
	"time"
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

// A Revocation is of what has a name: of all of its tokens, or of those that were issued before a time, so that who is revoked can come back
// with a new one. A token that does not say when it was issued counts as old.
type Revocation struct {
	Name   Name
	Before int64 // seconds since 1970, All for every token
}

// All is the Before of what revokes every token, whenever it was issued.
const All = math.MaxInt64

// Names are those by each of which a connection can be revoked, one after the other, each with when its token was issued.
type Names string

const issuedSize = 8

// NamesOf returns those of a token of an issuer. issued is zero where it does not say when that was. get returns its claim of a kind, if it has one.
func NamesOf(issuer string, issued time.Time, get func(claim string) (string, bool)) Names {
	var at [issuedSize]byte
	if !issued.IsZero() {
		binary.BigEndian.PutUint64(at[:], uint64(max(issued.Unix(), 0)))
	}
	var b strings.Builder
	for _, kind := range Kinds() {
		if id, ok := get(string(kind)); ok && id != "" {
			for _, of := range []string{"", issuer} {
				n := NameOf(kind, of, id)
				b.Write(n[:])
				b.Write(at[:])
			}
		}
	}
	return Names(b.String())
}

// all yields them, and when the token was issued, in seconds since 1970.
func (names Names) all() iter.Seq2[Name, int64] {
	return func(yield func(Name, int64) bool) {
		const size = nameSize + issuedSize
		for len(names) >= size && yield(Name([]byte(names[:nameSize])), int64(binary.BigEndian.Uint64([]byte(names[nameSize:size])))) {
			names = names[size:]
		}
	}
}

// A Group is several revocations: by name the latest Before.
type Group map[Name]int64

// Add adds one.
func (g Group) Add(r Revocation) {
	if old, ok := g[r.Name]; !ok || r.Before > old {
		g[r.Name] = r.Before
	}
}

// Meets reports whether one of them is of one of the names.
func (g Group) Meets(names Names) bool {
	for n, issued := range names.all() {
		if before, ok := g[n]; ok && issued < before {
			return true
		}
	}
	return false
}
