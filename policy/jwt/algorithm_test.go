package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signers lists each algorithm with the pair that fits it.
func signers() []struct {
	alg     algorithm
	private any
	set     *KeySet
} {
	p := pairs()
	one := func(material any) *KeySet { return &KeySet{[]key{{material: material}}} }
	return []struct {
		alg     algorithm
		private any
		set     *KeySet
	}{
		{jose.HS256, p.secret, one(p.secret)},
		{jose.HS384, p.secret, one(p.secret)},
		{jose.HS512, p.secret, one(p.secret)},
		{jose.RS256, p.rsa, one(&p.rsa.PublicKey)},
		{jose.RS384, p.rsa, one(&p.rsa.PublicKey)},
		{jose.RS512, p.rsa, one(&p.rsa.PublicKey)},
		{jose.PS256, p.rsa, one(&p.rsa.PublicKey)},
		{jose.PS384, p.rsa, one(&p.rsa.PublicKey)},
		{jose.PS512, p.rsa, one(&p.rsa.PublicKey)},
		{jose.ES256, p.p256, one(&p.p256.PublicKey)},
		{jose.ES384, p.p384, one(&p.p384.PublicKey)},
		{jose.ES512, p.p521, one(&p.p521.PublicKey)},
		{jose.EdDSA, p.ed25519, one(p.ed25519.Public())},
	}
}

// TestAlgorithms signs by each algorithm, and says in the header that it was by each other one.
func TestAlgorithms(t *testing.T) {
	if len(signers()) != len(algorithms) {
		t.Errorf("%d algorithms are tested, want %d", len(signers()), len(algorithms))
	}
	for _, signer := range signers() {
		for _, claimed := range signers() {
			token := sign(t, signer.alg, signer.private, `{"alg":"`+string(claimed.alg)+`"}`, "x")
			for _, verifier := range signers() {
				fitting := fits(signer.alg, verifier.set.keys[0].material) && signer.alg == claimed.alg
				if _, err := verifyJWS(token, verifier.set); (err == nil) != fitting {
					t.Errorf("signed by %s, claimed to be %s, verified with the key of %s: %v", signer.alg, claimed.alg, verifier.alg, err)
				}
			}
		}
	}
}

// TestBoundKeys shows that a key whose alg is given is used with no other algorithm, which it would fit.
func TestBoundKeys(t *testing.T) {
	bound := keySet(t, jwk(t, &pairs().rsa.PublicKey, map[string]any{"alg": "PS256"}))
	for alg, want := range map[algorithm]error{jose.PS256: nil, jose.PS384: ErrAlgorithm, jose.RS256: ErrAlgorithm} {
		token := sign(t, alg, pairs().rsa, `{"alg":"`+string(alg)+`"}`, "x")
		if _, err := verifyJWS(token, bound); err != want {
			t.Errorf("%s with a key for PS256: %v, want %v", alg, err, want)
		}
	}
}

// TestShortSecrets is RFC 7518, section 3.2: no secret is shorter than the hash.
func TestShortSecrets(t *testing.T) {
	for _, test := range []struct {
		alg   algorithm
		bytes int
		want  error
	}{
		{jose.HS256, 31, ErrAlgorithm},
		{jose.HS256, 32, nil},
		{jose.HS384, 47, ErrAlgorithm},
		{jose.HS384, 48, nil},
		{jose.HS512, 63, ErrAlgorithm},
		{jose.HS512, 64, nil},
	} {
		secret := pairs().secret[:test.bytes]
		token := sign(t, test.alg, secret, `{"alg":"`+string(test.alg)+`"}`, "x")
		if _, err := verifyJWS(token, &KeySet{[]key{{material: secret}}}); err != test.want {
			t.Errorf("%s with %d bytes: %v, want %v", test.alg, test.bytes, err, test.want)
		}
	}
}

// TestSalt is RFC 7518, section 3.5: the salt of PSS is as long as the hash.
func TestSalt(t *testing.T) {
	input := b64([]byte(`{"alg":"PS256"}`)) + "." + b64([]byte("x"))
	digest := sha256.Sum256([]byte(input))
	set := keySet(t, jwk(t, &pairs().rsa.PublicKey, nil))
	for length, want := range map[int]error{1: ErrSignature, 20: ErrSignature, 31: ErrSignature, 32: nil, 33: ErrSignature, 64: ErrSignature} {
		signature, err := rsa.SignPSS(zeros{}, pairs().rsa, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: length})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyJWS(input+"."+b64(signature), set); err != want {
			t.Errorf("a salt of %d bytes: %v, want %v", length, err, want)
		}
	}
}

// zeros yields zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestECDSAForms shows that a signature is r and s in full length, and no ASN.1 (RFC 7518, section 3.4).
func TestECDSAForms(t *testing.T) {
	input := b64([]byte(`{"alg":"ES256"}`)) + "." + b64([]byte("x"))
	digest := sha256.Sum256([]byte(input))
	der, err := pairs().p256.Sign(zeros{}, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, jwk(t, &pairs().p256.PublicKey, nil))
	order := pairs().p256.Params().N.Bytes()
	for name, signature := range map[string][]byte{
		"ASN.1": der, "nothing": make([]byte, 64), "the order": append(append([]byte{}, order...), order...), "too long": make([]byte, 65),
	} {
		if _, err := verifyJWS(input+"."+b64(signature), set); err != ErrSignature {
			t.Errorf("%s as signature: %v, want %v", name, err, ErrSignature)
		}
	}
}

// TestConfusion is J-05: what is public is no secret, in whatever form somebody takes it for one.
func TestConfusion(t *testing.T) {
	p := pairs()
	for _, public := range []any{&p.rsa.PublicKey, &p.p256.PublicKey, p.ed25519.Public().(ed25519.PublicKey)} {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		forms := []string{text, text[:len(text)-1], text + "\n", " " + text, string(der), jwkText(t, public), b64(der)}
		switch public := public.(type) {
		case *rsa.PublicKey:
			forms = append(forms, string(x509.MarshalPKCS1PublicKey(public)), string(public.N.Bytes()))
		case *ecdsa.PublicKey:
			point, _ := public.Bytes()
			forms = append(forms, string(point))
		case ed25519.PublicKey:
			forms = append(forms, string(public))
		}
		fetched := keySet(t, jwk(t, public, nil))
		pinned, err := ParsePEM([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for n, form := range forms {
			for _, alg := range []algorithm{jose.HS256, jose.HS384, jose.HS512} {
				token := sign(t, alg, []byte(form), `{"alg":"`+string(alg)+`"}`, claims())
				for name, set := range map[string]*KeySet{"fetched": fetched, "pinned": pinned} {
					if _, err := verifyJWS(token, set); err != ErrAlgorithm {
						t.Errorf("%s with form %d of a %s %T as secret: %v", alg, n, name, public, err)
					}
				}
			}
		}
	}
}
