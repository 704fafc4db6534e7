package jwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	minRSABits   = 2048 // RFC 7518, sections 3.3 and 3.5
	maxRSABits   = 4096 // go-jose takes no more
	minSecretLen = 32   // of HS256: RFC 7518, section 3.2
)

// checkMaterial says why a key is too weak or of a kind that no algorithm fits, whatever form it came in.
func checkMaterial(material any) error {
	switch material := material.(type) {
	case *rsa.PublicKey:
		return checkRSA(material)
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, material.Curve) {
			return errors.New("an EC key on an unknown curve, want P-256, P-384 or P-521")
		}
		return nil
	case ed25519.PublicKey:
		if len(material) != ed25519.PublicKeySize {
			return errKeyMalformed
		}
		return nil
	case []byte:
		if len(material) < minSecretLen {
			return fmt.Errorf("a secret of %d bytes, want %d or more", len(material), minSecretLen)
		}
		return nil
	}
	return errKeyType
}

func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("an RSA key of %d bits, want %d to %d", bits, minRSABits, maxRSABits)
	case k.N.Bit(0) == 0:
		return errors.New("an RSA key with an even modulus")
	case k.E < 3 || k.E&1 == 0 || k.E > math.MaxInt32:
		return errors.New("an RSA key with a bad exponent, want an odd one from 3 to 2^31-1")
	case isROCA(k.N):
		return errors.New("an RSA key that can be factored (CVE-2017-15361), and must be replaced")
	}
	return nil
}

// ParsePEM reads public keys and certificates. Of a certificate only the key counts: it is pinned, nobody checks its dates or who signed it.
// The keys have no kid, so that a token is tried with each of them, which is why there may be no more than 8.
func ParsePEM(data []byte) (*KeySet, error) {
	if len(data) > MaxKeySet {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(data), MaxKeySet)
	}
	s := &KeySet{}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		material, err := parseBlock(block)
		if err == nil {
			err = checkMaterial(material)
		}
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(s.keys)+1, err)
		}
		s.keys, data = append(s.keys, key{material: material}), rest
	}
	switch {
	case bytes.Contains(data, []byte("-----BEGIN")):
		return nil, fmt.Errorf("PEM block %d is malformed", len(s.keys)+1)
	case len(s.keys) == 0:
		return nil, errors.New("no PEM block, want public keys or certificates")
	case len(s.keys) > maxTried:
		return nil, fmt.Errorf("%d keys, want at most %d (or a key set, in which keys have names)", len(s.keys), maxTried)
	}
	return s, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return nil, fmt.Errorf("a %.40q, want a PUBLIC KEY or CERTIFICATE", block.Type)
}

// ParseSecret makes a set of the one secret of an issuer that signs with HMAC: 32 bytes or more. With HS384 and HS512 it verifies only if it
// is as long as their hash, 48 and 64 bytes (RFC 7518, section 3.2). The error does not quote it.
func ParseSecret(secret []byte) (*KeySet, error) {
	if bytes.Contains(secret, []byte("-----BEGIN")) {
		return nil, errors.New("the secret is a PEM file, and who verifies with a public key as secret lets everybody sign")
	}
	if err := checkMaterial(secret); err != nil {
		return nil, err
	}
	return &KeySet{[]key{{material: bytes.Clone(secret)}}}, nil
}
