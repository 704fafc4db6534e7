package jwt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxKeySet is the size of the largest key set that is read, in bytes.
	MaxKeySet = 256 << 10

	maxKeys = 64 // in one set
)

// ParseKeySet reads a JWK Set (RFC 7517, section 5) of public keys. The keys are decoded one by one, and each one that cannot be used is an
// error that says why and is left out: one of an unknown type or curve, for another purpose or algorithm, too weak, private, symmetric (what a
// server publishes is no secret), or called like another key of the set. The set is nil if the document as a whole is refused, and may be
// empty. The errors quote nothing but key ids.
func ParseKeySet(data []byte) (*KeySet, []error) {
	if len(data) > MaxKeySet {
		return nil, []error{fmt.Errorf("key set of %d bytes, want at most %d", len(data), MaxKeySet)}
	}
	// Strictness is left to each key, so that no key fails the others.
	d := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if !openKeys(d) {
		return nil, []error{errKeySet}
	}
	s := &KeySet{}
	var errs []error
	for i := 0; d.PeekKind() != ']'; i++ {
		raw, err := d.ReadValue()
		if err != nil {
			return nil, []error{errKeySet}
		}
		if i == maxKeys {
			return nil, []error{fmt.Errorf("key set of more than %d keys", maxKeys)}
		}
		k, err := parsePublicKey(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("keys[%d] (kid %.64q): %w", i, k.kid, err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	if !closeKeys(d) {
		return nil, []error{errKeySet}
	}
	return s, append(errs, s.dropDuplicates()...)
}

var errKeySet = errors.New(`malformed key set, want a JSON object with one member "keys", a list`)

// openKeys reads up to the first element of the member keys.
func openKeys(d *jsontext.Decoder) bool {
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return false
		}
		if name.String() == "keys" {
			t, err := d.ReadToken()
			return err == nil && t.Kind() == '['
		}
		if d.SkipValue() != nil {
			return false
		}
	}
}

// closeKeys reads from the end of the member keys to that of the document, where no second one may stand.
func closeKeys(d *jsontext.Decoder) bool {
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for {
		name, err := d.ReadToken()
		switch {
		case err != nil:
			return false
		case name.Kind() == '}':
			_, err := d.ReadToken()
			return err == io.EOF
		case name.String() == "keys" || d.SkipValue() != nil:
			return false
		}
	}
}

// dropDuplicates drops all keys of a kid that several have: which of them is meant, nobody can say.
func (s *KeySet) dropDuplicates() []error {
	count := make(map[string]int)
	for _, k := range s.keys {
		count[k.kid]++
	}
	delete(count, "")
	var errs []error
	s.keys = slices.DeleteFunc(s.keys, func(k key) bool {
		if count[k.kid] > 1 {
			errs = append(errs, fmt.Errorf("kid %.64q: several keys are called so", k.kid))
		}
		return count[k.kid] > 1
	})
	return errs
}

// Why a key is not used.
var (
	errKeyMalformed = errors.New("malformed key")
	errKeyMembers   = errors.New("its members make no key, want RSA of up to 4096 bits, EC on P-256, P-384 or P-521, or OKP on Ed25519")
	errKeyType      = errors.New("unknown key type, want RSA, EC or OKP")
	errKeyPurpose   = errors.New("not a key for signatures, want use sig and key_ops with verify where they are given")
	errKeySymmetric = errors.New("a symmetric key, want public keys only")
	errKeyPrivate   = errors.New("a private key has been published, and must be replaced")
)

// parsePublicKey parses one element of a set. The key has its kid even if there is an error, if it can be had.
func parsePublicKey(raw []byte) (key, error) {
	members, err := decodeObject(raw, len(raw))
	if err != nil {
		return key{}, errKeyMalformed
	}
	switch kid, _ := text(members, "kid"); members["kty"] {
	case "oct":
		return key{kid: kid}, errKeySymmetric
	case "RSA", "EC", "OKP":
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := members[private]; there {
				return key{kid: kid}, errKeyPrivate
			}
		}
		return parseKey(raw, members)
	default:
		return key{kid: kid}, errKeyType
	}
}

// parseKey parses a JWK (RFC 7517, section 4), also a symmetric one. The members are those of raw.
func parseKey(raw []byte, members map[string]any) (key, error) {
	kid, goodKid := text(members, "kid")
	k := key{kid: kid}
	alg, goodAlg := text(members, "alg")
	if !goodKid || !goodAlg {
		return k, errKeyMalformed
	}
	if !verifies(members) {
		return k, errKeyPurpose
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(raw) != nil {
		return k, errKeyMembers
	}
	if err := checkMaterial(jwk.Key); err != nil {
		return k, err
	}
	if _, there := members["alg"]; there && !fits(algorithm(alg), jwk.Key) {
		return k, fmt.Errorf("its alg is %.16q, which such a key cannot have", alg)
	}
	k.alg, k.material = algorithm(alg), jwk.Key
	return k, nil
}

// verifies says whether a key is meant for signatures, by its use and its key_ops as far as they are there (RFC 7517, sections 4.2 and 4.3).
func verifies(members map[string]any) bool {
	if use, there := members["use"]; there && use != "sig" {
		return false
	}
	ops, there := members["key_ops"]
	list, _ := ops.([]any)
	return !there || slices.Contains(list, any("verify"))
}
