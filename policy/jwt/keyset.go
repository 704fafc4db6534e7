package jwt

import (
	"context"
	"crypto/rsa"
	"slices"
)

// maxTried bounds the keys of one set that a token is tried with. A set with more than one key should name them, and a token its key (RFC 7515,
// section 4.1.4), so that more is only reached by a token without a kid.
const maxTried = 8

// KeySet is an immutable set of usable verification keys. Those it was made without are forgotten.
type KeySet struct {
	keys []key
}

// key is one that is strong enough, and may be used to verify.
type key struct {
	kid      string    // empty for a key that has none
	alg      algorithm // the only one it may be used with; empty for each that fits
	material any       // see fits
}

// Len returns the number of keys.
func (s *KeySet) Len() int { return len(s.keys) }

// Has says whether one of the keys is called kid. No key is called "".
func (s *KeySet) Has(kid string) bool {
	return kid != "" && slices.ContainsFunc(s.keys, func(k key) bool { return k.kid == kid })
}

// Keys returns the set itself, for the interface. Of a nil set no keys can be had.
func (s *KeySet) Keys(context.Context, string) (*KeySet, error) {
	if s == nil {
		return nil, ErrUnavailable
	}
	return s, nil
}

func (k key) fits(alg algorithm) bool { return (k.alg == "" || k.alg == alg) && fits(alg, k.material) }

// verifier returns the key as go-jose wants it.
func (k key) verifier(alg algorithm) any {
	if public, ok := k.material.(*rsa.PublicKey); ok && algorithms[alg].family == familyPSS {
		return pssKey{public}
	}
	return k.material
}

// candidates returns the keys that a token may have been signed with: of its kid, if it and the key have one, and fit for its algorithm.
func (s *KeySet) candidates(t *token) ([]key, error) {
	var found []key
	err := ErrUnknownKey
	for _, k := range s.keys {
		switch {
		case k.kid != "" && t.kid != "" && k.kid != t.kid:
		case k.fits(t.alg):
			found = append(found, k)
		default:
			err = ErrAlgorithm
		}
	}
	if len(found) > maxTried {
		return nil, ErrUnknownKey
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// verify returns the payload of t if one of the keys has signed it, and the key.
func (s *KeySet) verify(t *token) (payload []byte, by any, err error) {
	found, err := s.candidates(t)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range found {
		if payload, err := t.jws.Verify(k.verifier(t.alg)); err == nil {
			return payload, k.material, nil
		}
	}
	return nil, nil, ErrSignature
}
