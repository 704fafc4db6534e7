package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512

	"github.com/go-jose/go-jose/v4"
)

// algorithm is the value of a header's alg (RFC 7518, section 3.1; RFC 8037, section 3.1).
type algorithm = jose.SignatureAlgorithm

// family is a kind of keys, and of what is done with them.
type family int

const (
	familySecret family = iota + 1
	familyRSA           // PKCS #1 v1.5
	familyPSS
	familyECDSA
	familyEd25519
)

// algorithms lists what a token may be signed with. There is no "none", and whatever is not here is refused.
var algorithms = map[algorithm]struct {
	family family
	hash   crypto.Hash
	curve  elliptic.Curve
}{
	jose.HS256: {familySecret, crypto.SHA256, nil},
	jose.HS384: {familySecret, crypto.SHA384, nil},
	jose.HS512: {familySecret, crypto.SHA512, nil},
	jose.RS256: {familyRSA, crypto.SHA256, nil},
	jose.RS384: {familyRSA, crypto.SHA384, nil},
	jose.RS512: {familyRSA, crypto.SHA512, nil},
	jose.PS256: {familyPSS, crypto.SHA256, nil},
	jose.PS384: {familyPSS, crypto.SHA384, nil},
	jose.PS512: {familyPSS, crypto.SHA512, nil},
	jose.ES256: {familyECDSA, crypto.SHA256, elliptic.P256()},
	jose.ES384: {familyECDSA, crypto.SHA384, elliptic.P384()},
	jose.ES512: {familyECDSA, crypto.SHA512, elliptic.P521()},
	jose.EdDSA: {familyEd25519, 0, nil},
}

// fits says whether alg can be used with a key: *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or, for a secret, []byte.
func fits(alg algorithm, material any) bool {
	a := algorithms[alg]
	switch material := material.(type) {
	case []byte:
		return a.family == familySecret && len(material) >= a.hash.Size() // RFC 7518, section 3.2
	case *rsa.PublicKey:
		return a.family == familyRSA || a.family == familyPSS
	case *ecdsa.PublicKey:
		return a.family == familyECDSA && a.curve == material.Curve
	case ed25519.PublicKey:
		return a.family == familyEd25519
	}
	return false
}

// pssKey verifies RSASSA-PSS for go-jose, which by itself takes salts of any length.
type pssKey struct{ public *rsa.PublicKey }

// VerifyPayload demands a salt as long as the hash (RFC 7518, section 3.5).
func (k pssKey) VerifyPayload(payload, signature []byte, alg algorithm) error {
	hash := algorithms[alg].hash
	h := hash.New()
	h.Write(payload)
	return rsa.VerifyPSS(k.public, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}
