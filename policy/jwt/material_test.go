package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// publicPEM is a public key in its usual form.
func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// certificatePEM is a certificate of a key that expired long ago.
func certificatePEM(t testing.TB, private *ecdsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestParsePEM(t *testing.T) {
	p := pairs()
	privateDER, _ := x509.MarshalPKCS8PrivateKey(p.p256)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}))
	old := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&p.rsa.PublicKey)}))
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	ec := publicPEM(t, &p.p256.PublicKey)
	tests := []struct {
		name, text string
		keys       int
		want       string
	}{
		{"EC", ec, 1, ""},
		{"RSA", publicPEM(t, &p.rsa.PublicKey), 1, ""},
		{"RSA in the old form", old, 1, ""},
		{"Ed25519", publicPEM(t, p.ed25519.Public()), 1, ""},
		{"a certificate", certificatePEM(t, p.p384), 1, ""},
		{"several", ec + "and a comment\n" + old + certificatePEM(t, p.p256), 3, ""},
		{"without the last line end", strings.TrimSpace(ec), 1, ""},
		{"eight", strings.Repeat(ec, 8), 8, ""},
		{"nine", strings.Repeat(ec, 9), 0, "9 keys, want at most 8"},
		{"a private key", private, 0, `PEM block 1: a "PRIVATE KEY", want a PUBLIC KEY or CERTIFICATE`},
		{"a private key behind", ec + private, 0, "PEM block 2: "},
		{"nothing", "", 0, "no PEM block"},
		{"no PEM", "hello", 0, "no PEM block"},
		{"a JWK", jwkText(t, &p.p256.PublicKey), 0, "no PEM block"},
		{"cut off", ec[:len(ec)-10], 0, "PEM block 1 is malformed"},
		{"the second cut off", ec + ec[:len(ec)-10], 0, "PEM block 2 is malformed"},
		{"no DER", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), 0, "PEM block 1: "},
		{"no certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), 0, "PEM block 1: "},
		{"RSA of 1024 bits", publicPEM(t, weakRSA(1024, 65537)), 0, "RSA key of 1024 bits"},
		{"RSA of 8192 bits", publicPEM(t, weakRSA(8192, 65537)), 0, "RSA key of 8192 bits"},
		{"P-224", publicPEM(t, &p224.PublicKey), 0, "EC key on an unknown curve"},
		{"too much", strings.Repeat(" ", MaxKeySet+1), 0, "want at most 262144"},
	}
	for _, test := range tests {
		set, err := ParsePEM([]byte(test.text))
		if (err == nil) != (test.want == "") || err == nil && set.Len() != test.keys || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v, want %d keys, %q", test.name, set, err, test.keys, test.want)
		}
	}
}

// TestPinned verifies with keys from PEM, which have no names, whatever the token calls its key.
func TestPinned(t *testing.T) {
	p := pairs()
	set, err := ParsePEM([]byte(publicPEM(t, &p.rsa.PublicKey) + certificatePEM(t, p.another) + certificatePEM(t, p.p256)))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{`{"alg":"ES256"}`, `{"alg":"ES256","kid":"x"}`} {
		if _, err := verifyJWS(sign(t, jose.ES256, p.p256, header, "x"), set); err != nil {
			t.Errorf("header %s: %v", header, err)
		}
	}
	if _, err := verifyJWS(sign(t, jose.RS256, p.rsa, `{"alg":"RS256"}`, "x"), set); err != nil {
		t.Errorf("RS256: %v", err)
	}
	if set.Has("x") || set.Has("") {
		t.Error("a key from PEM has a name")
	}
}

func TestParseSecret(t *testing.T) {
	for secret, want := range map[string]string{
		strings.Repeat("s", 32):               "",
		strings.Repeat("\x00", 64):            "",
		strings.Repeat("s", 31):               "a secret of 31 bytes, want 32 or more",
		"":                                    "a secret of 0 bytes",
		publicPEM(t, &pairs().p256.PublicKey): "PEM file",
		" " + publicPEM(t, &pairs().p256.PublicKey): "PEM file",
	} {
		set, err := ParseSecret([]byte(secret))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || secret != "" && strings.Contains(err.Error(), secret)) {
			t.Errorf("%.20q: %v, want %q", secret, err, want)
		}
		if err == nil && set.Len() != 1 {
			t.Errorf("%.20q: %d keys", secret, set.Len())
		}
	}
}

// TestParseSecretCopies shows that who overwrites the secret does not change the key.
func TestParseSecretCopies(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	token := sign(t, jose.HS256, secret, `{"alg":"HS256"}`, "x")
	set, err := ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	if _, err := verifyJWS(token, set); err != nil {
		t.Error(err)
	}
}

// TestROCA knows the weak key of the Wycheproof vectors, and takes no good one for such.
func TestROCA(t *testing.T) {
	weak := 0
	for _, group := range readVectors(t, "json_web_crypto_test.json") {
		var public struct{ Kty, N string }
		json.Unmarshal(group.Public, &public)
		if public.Kty != "RSA" || public.N == "" {
			continue
		}
		n, err := base64.RawURLEncoding.DecodeString(public.N)
		if err != nil {
			t.Fatal(err)
		}
		isWeak := group.Comment == "jws_rsa_roca_key"
		if isROCA(new(big.Int).SetBytes(n)) != isWeak {
			t.Errorf("%s: weak is not %v", group.Comment, isWeak)
		}
		if isWeak {
			weak++
		}
	}
	if weak != 1 {
		t.Errorf("%d weak keys among the vectors, want 1", weak)
	}
	if isROCA(pairs().rsa.N) {
		t.Error("a fresh key is taken for weak")
	}
	// Any power of 65537 has the fingerprint, whatever it is modulo larger primes.
	if !isROCA(new(big.Int).Exp(big.NewInt(65537), big.NewInt(123), nil)) {
		t.Error("the fingerprint is not seen")
	}
	if err := checkRSA(&rsa.PublicKey{N: new(big.Int).Exp(big.NewInt(65537), big.NewInt(130), nil), E: 65537}); err == nil ||
		!strings.Contains(err.Error(), "CVE-2017-15361") {
		t.Errorf("a key with the fingerprint: %v", err)
	}
}
