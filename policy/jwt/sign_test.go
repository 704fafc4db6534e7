package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// pairs returns key pairs of every kind, the same during one run.
var pairs = sync.OnceValue(func() (p struct {
	rsa                       *rsa.PrivateKey
	p256, p384, p521, another *ecdsa.PrivateKey
	ed25519                   ed25519.PrivateKey
	secret                    []byte
},
) {
	p.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p.p521, _ = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	p.another, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, p.ed25519, _ = ed25519.GenerateKey(rand.Reader)
	p.secret = make([]byte, 64)
	rand.Read(p.secret)
	return p
})

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// sign makes a token of exactly this header and payload, whatever they say, in the way of alg.
func sign(t testing.TB, alg algorithm, private any, header, payload string) string {
	t.Helper()
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := signature(alg, private, []byte(input))
	if err != nil {
		t.Fatalf("signing with %s: %v", alg, err)
	}
	return input + "." + b64(signature)
}

func signature(alg algorithm, private any, input []byte) ([]byte, error) {
	a := algorithms[alg]
	digest := input
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch private := private.(type) {
	case []byte:
		mac := hmac.New(a.hash.New, private)
		mac.Write(input)
		return mac.Sum(nil), nil
	case *rsa.PrivateKey:
		if a.family == familyPSS {
			return rsa.SignPSS(rand.Reader, private, a.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, private, a.hash, digest)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		size := (private.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), err
	case ed25519.PrivateKey:
		return private.Sign(nil, input, crypto.Hash(0))
	}
	return nil, fmt.Errorf("no way to sign with %T", private)
}

// jwk returns the JWK of a public key, with more members or others; a nil value takes a member away.
func jwk(t testing.TB, public any, more map[string]any) map[string]any {
	t.Helper()
	data, err := jose.JSONWebKey{Key: public}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	members := make(map[string]any)
	json.Unmarshal(data, &members)
	maps.Copy(members, more)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	return members
}

// keySet parses the set of these JWKs, none of which may be refused.
func keySet(t testing.TB, jwks ...map[string]any) *KeySet {
	t.Helper()
	data, _ := json.Marshal(map[string]any{"keys": jwks})
	set, errs := ParseKeySet(data)
	if len(errs) > 0 {
		t.Fatalf("parsing a key set: %v", errs)
	}
	return set
}

// now is the time of the tests, in the middle of a second.
var now = time.Unix(1_800_000_000, 500e6)

// stamp is a NumericDate that is this many seconds after the whole second of now.
func stamp(seconds int64) string { return big.NewInt(now.Unix() + seconds).String() }

// jwkText is the text of a JWK.
func jwkText(t testing.TB, public any) string {
	t.Helper()
	data, _ := json.Marshal(jwk(t, public, nil))
	return string(data)
}
