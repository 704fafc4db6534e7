package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// weakRSA returns a public key of so many bits, which nobody can sign with.
func weakRSA(bits uint, e int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(91)), E: e}
}

// TestParseKeySet holds single keys against the rules for keys.
func TestParseKeySet(t *testing.T) {
	p := pairs()
	ec, public := &p.p256.PublicKey, &p.rsa.PublicKey
	edPublic := p.ed25519.Public().(ed25519.PublicKey)
	type members = map[string]any
	tests := []struct {
		name string
		key  members
		want string // of the error; "" for a usable key
	}{
		{"RSA", jwk(t, public, nil), ""},
		{"EC", jwk(t, ec, nil), ""},
		{"P-384", jwk(t, &p.p384.PublicKey, nil), ""},
		{"P-521", jwk(t, &p.p521.PublicKey, nil), ""},
		{"Ed25519", jwk(t, edPublic, nil), ""},
		{"all of its members", jwk(t, ec, members{"kid": "a", "alg": "ES256", "use": "sig", "key_ops": []string{"verify"}, "ext": true}), ""},
		{"key_ops with others", jwk(t, ec, members{"key_ops": []string{"sign", "verify"}}), ""},
		{"unknown members", jwk(t, ec, members{"issued": 1, "x": jwk(t, ec, nil)["x"]}), ""},
		{"alg of another RSA scheme", jwk(t, public, members{"alg": "PS512"}), ""},

		{"use enc", jwk(t, ec, members{"use": "enc"}), "not a key for signatures"},
		{"use in capitals", jwk(t, ec, members{"use": "SIG"}), "not a key for signatures"},
		{"use not text", jwk(t, ec, members{"use": []string{"sig"}}), "not a key for signatures"},
		{"use empty", jwk(t, ec, members{"use": ""}), "not a key for signatures"},
		{"key_ops sign", jwk(t, ec, members{"key_ops": []string{"sign"}}), "not a key for signatures"},
		{"key_ops empty", jwk(t, ec, members{"key_ops": []string{}}), "not a key for signatures"},
		{"key_ops text", jwk(t, ec, members{"key_ops": "verify"}), "not a key for signatures"},
		{"use sig, key_ops wrapKey", jwk(t, ec, members{"use": "sig", "key_ops": []string{"wrapKey"}}), "not a key for signatures"},
		{"use enc, key_ops verify", jwk(t, ec, members{"use": "enc", "key_ops": []string{"verify"}}), "not a key for signatures"},

		{"alg of another curve", jwk(t, ec, members{"alg": "ES384"}), `its alg is "ES384"`},
		{"alg of another type", jwk(t, ec, members{"alg": "RS256"}), `its alg is "RS256"`},
		{"alg HS256 of RSA", jwk(t, public, members{"alg": "HS256"}), `its alg is "HS256"`},
		{"alg for encryption", jwk(t, public, members{"alg": "RSA-OAEP"}), `its alg is "RSA-OAEP"`},
		{"alg unknown", jwk(t, &p.p521.PublicKey, members{"alg": "ES521"}), `its alg is "ES521"`},
		{"alg none", jwk(t, ec, members{"alg": "none"}), `its alg is "none"`},
		{"alg empty", jwk(t, ec, members{"alg": ""}), `its alg is ""`},
		{"alg long", jwk(t, ec, members{"alg": strings.Repeat("x", 1000)}), `its alg is "xxxxxxxxxxxxxxxx"`},
		{"alg not text", jwk(t, ec, members{"alg": 1}), "malformed key"},
		{"kid not text", jwk(t, ec, members{"kid": 1}), "malformed key"},

		{"kty unknown", jwk(t, ec, members{"kty": "AKP"}), "unknown key type"},
		{"kty in small letters", jwk(t, ec, members{"kty": "ec"}), "unknown key type"},
		{"kty missing", jwk(t, ec, members{"kty": nil}), "unknown key type"},
		{"kty of another key", jwk(t, ec, members{"kty": "RSA"}), "members make no key"},
		{"crv of another key", jwk(t, ec, members{"crv": "P-384"}), "members make no key"},
		{"crv unknown", jwk(t, ec, members{"crv": "secp256k1"}), "members make no key"},
		{"X25519", jwk(t, edPublic, members{"crv": "X25519"}), "members make no key"},
		{"point not on the curve", jwk(t, ec, members{"x": jwk(t, &p.another.PublicKey, nil)["x"]}), "members make no key"},
		{"point not base64url", jwk(t, ec, members{"x": "+/=="}), "members make no key"},
		{"point missing", jwk(t, ec, members{"y": nil}), "members make no key"},
		{"Ed25519 too short", jwk(t, edPublic, members{"x": b64(edPublic[:31])}), "members make no key"},
		{"Ed25519 too long", jwk(t, edPublic, members{"x": b64(append(edPublic[:32:32], 0))}), "members make no key"},

		{"symmetric", members{"kty": "oct", "kid": "a", "k": b64(p.secret)}, "symmetric key"},
		{"private EC", jwk(t, p.p256, nil), "private key has been published"},
		{"private RSA", jwk(t, p.rsa, nil), "private key has been published"},
		{"private Ed25519", jwk(t, p.ed25519, nil), "private key has been published"},
		{"a prime of RSA", jwk(t, public, members{"p": "AQAB"}), "private key has been published"},
		{"k beside EC", jwk(t, ec, members{"k": "AQAB"}), "private key has been published"},

		{"RSA of 1024 bits", jwk(t, weakRSA(1024, 65537), nil), "RSA key of 1024 bits"},
		{"RSA of 2047 bits", jwk(t, weakRSA(2047, 65537), nil), "RSA key of 2047 bits"},
		{"RSA of 2048 bits", jwk(t, weakRSA(2048, 65537), nil), ""},
		{"RSA of 4096 bits", jwk(t, weakRSA(4096, 65537), nil), ""},
		{"RSA of 4097 bits", jwk(t, weakRSA(4097, 65537), nil), "members make no key"},
		{"RSA, exponent 3", jwk(t, weakRSA(2048, 3), nil), ""},
		{"RSA, exponent 1", jwk(t, public, members{"e": "AQ"}), "members make no key"},
		{"RSA, exponent 0", jwk(t, public, members{"e": "AA"}), "members make no key"},
		{"RSA, even exponent", jwk(t, public, members{"e": "AQAA"}), "bad exponent"},
		{"RSA, huge exponent", jwk(t, public, members{"e": "gAAAAAE"}), "bad exponent"},
		{"RSA, even modulus", jwk(t, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}, nil), "even modulus"},
	}
	for _, test := range tests {
		data, _ := json.Marshal(members{"keys": []members{test.key, jwk(t, &p.another.PublicKey, members{"kid": "good"})}})
		set, errs := ParseKeySet(data)
		switch {
		case set == nil || !set.Has("good"):
			t.Errorf("%s: the other key is lost: %v", test.name, errs)
		case test.want == "" && (len(errs) > 0 || set.Len() != 2):
			t.Errorf("%s: %d keys, %v", test.name, set.Len(), errs)
		case test.want != "" && (len(errs) != 1 || set.Len() != 1 || !strings.Contains(errs[0].Error(), test.want)):
			t.Errorf("%s: %d keys, %v, want one and %q", test.name, set.Len(), errs, test.want)
		case len(errs) > 0 && !strings.HasPrefix(errs[0].Error(), "keys[0] (kid "):
			t.Errorf("%s: %v, want it to name the key", test.name, errs)
		}
	}
}

// TestParseKeySetDocument holds whole documents against the rules for sets. The text KEY stands for a good key.
func TestParseKeySetDocument(t *testing.T) {
	good := jwkText(t, &pairs().p256.PublicKey)
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat(good+",", n), ",") }
	const malformed = "malformed key set"
	tests := []struct {
		name, text string
		keys       int // -1 if the set is refused
		want       string
	}{
		{"good", `{"keys":[KEY]}`, 1, ""},
		{"empty", `{"keys":[]}`, 0, ""},
		{"others beside", `{"a":{"keys":[]},"keys":[KEY],"b":[1]}`, 1, ""},
		{"64 keys", `{"keys":[` + list(64) + `]}`, 64, ""},
		{"65 keys", `{"keys":[` + list(65) + `]}`, -1, "more than 64 keys"},
		{"256 KiB", `{"keys":[KEY],"a":"` + strings.Repeat("a", MaxKeySet-18-len(good)) + `"}`, 1, ""},
		{"more", `{"keys":[KEY],"a":"` + strings.Repeat("a", MaxKeySet-17-len(good)) + `"}`, -1, "want at most 262144"},
		{"a key that is none", `{"keys":[1,KEY,"x",null,[]]}`, 1, "keys[0] (kid \"\"): malformed key"},
		{"a key with a name twice", `{"keys":[{"kty":"EC","\u006bty":"RSA"},KEY]}`, 1, "malformed key"},
		{"a key that is no UTF-8", "{\"keys\":[{\"kid\":\"\xff\"},KEY]}", 1, "malformed key"},
		{"a key that is deep", `{"keys":[{"a":` + nested(5000) + `},KEY]}`, 1, "malformed key"},
		{"one key", `KEY`, -1, malformed},
		{"a list", `[KEY]`, -1, malformed},
		{"no list", `{"keys":KEY}`, -1, malformed},
		{"null", `{"keys":null}`, -1, malformed},
		{"other case", `{"Keys":[KEY]}`, -1, malformed},
		{"without keys", `{}`, -1, malformed},
		{"nothing", ``, -1, malformed},
		{"HTML", `<html>`, -1, malformed},
		{"keys twice", `{"keys":[KEY],"keys":[]}`, -1, malformed},
		{"keys twice, escaped", `{"keys":[KEY],"\u006beys":[]}`, -1, malformed},
		{"cut off", `{"keys":[KEY]`, -1, malformed},
		{"cut off in a key", `{"keys":[KEY,{"kty":`, -1, malformed},
		{"cut off before", `{"a":`, -1, malformed},
		{"cut off behind", `{"keys":[KEY],"a":`, -1, malformed},
		{"more behind", `{"keys":[KEY]}{}`, -1, malformed},
		{"too deep", `{"keys":[` + strings.Repeat("[", 100_000), -1, malformed},
		{"too deep before", `{"a":` + strings.Repeat("[", 100_000), -1, malformed},
	}
	for _, test := range tests {
		set, errs := ParseKeySet([]byte(strings.Replace(test.text, "KEY", good, 1)))
		if (set == nil) != (test.keys < 0) || set != nil && set.Len() != test.keys {
			t.Errorf("%s: set %v, want %d keys (%v)", test.name, set, test.keys, errs)
		}
		if (len(errs) == 0) != (test.want == "") || test.want != "" && !strings.Contains(errs[0].Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, errs, test.want)
		}
	}
}

// TestDuplicateKeyIDs shows that of keys that are called alike none is used, and that those which cannot be used do not count.
func TestDuplicateKeyIDs(t *testing.T) {
	p := pairs()
	type members = map[string]any
	data, _ := json.Marshal(members{"keys": []members{
		jwk(t, &p.p256.PublicKey, members{"kid": "a"}),
		jwk(t, &p.rsa.PublicKey, members{"kid": "b"}),
		jwk(t, &p.p384.PublicKey, members{"kid": "a"}),
		jwk(t, &p.rsa.PublicKey, members{"kid": "b", "use": "enc"}),
		jwk(t, &p.p521.PublicKey, nil),
		jwk(t, p.ed25519.Public(), nil),
	}})
	set, errs := ParseKeySet(data)
	if len(errs) != 3 || !strings.Contains(fmt.Sprint(errs), `kid "a": several keys`) {
		t.Errorf("errors %v, want one for the encryption key and two for the kid a", errs)
	}
	if set.Len() != 3 || set.Has("a") || !set.Has("b") || set.Has("") {
		t.Errorf("%d keys, a %v, b %v, \"\" %v", set.Len(), set.Has("a"), set.Has("b"), set.Has(""))
	}
}

// TestCandidates shows how many keys a token is tried with.
func TestCandidates(t *testing.T) {
	type members = map[string]any
	fresh := func(kid any) members {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return jwk(t, &private.PublicKey, members{"kid": kid})
	}
	own := jwk(t, &pairs().p256.PublicKey, members{"kid": "own"})
	var many []members
	for n := range maxTried - 1 {
		many = append(many, fresh(fmt.Sprint(n)))
	}
	eight := keySet(t, append(many, own)...)
	nine := keySet(t, append(many, own, fresh("another"))...)
	nameless := keySet(t, jwk(t, &pairs().p256.PublicKey, nil))
	tests := []struct {
		name, header string
		set          *KeySet
		want         error
	}{
		{"its own key among eight", `{"alg":"ES256","kid":"own"}`, eight, nil},
		{"its own key among nine", `{"alg":"ES256","kid":"own"}`, nine, nil},
		{"another key's name", `{"alg":"ES256","kid":"1"}`, eight, ErrSignature},
		{"nobody's name", `{"alg":"ES256","kid":"x"}`, eight, ErrUnknownKey},
		{"no name among eight", `{"alg":"ES256"}`, eight, nil},
		{"no name among nine", `{"alg":"ES256"}`, nine, ErrUnknownKey},
		{"an empty name is none", `{"alg":"ES256","kid":""}`, eight, nil},
		{"a name, of a key without one", `{"alg":"ES256","kid":"x"}`, nameless, nil},
		{"another algorithm", `{"alg":"ES384","kid":"own"}`, eight, ErrAlgorithm},
		{"no keys", `{"alg":"ES256"}`, &KeySet{}, ErrUnknownKey},
	}
	for _, test := range tests {
		token := sign(t, "ES256", pairs().p256, test.header, "{}")
		if _, err := verifyJWS(token, test.set); err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}
