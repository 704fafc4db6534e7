package jwt

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestForm holds tokens against the rules for their form. Each but the first is signed well, as far as it can be.
func TestForm(t *testing.T) {
	i := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config())
	good := sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, claims())
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	tests := []struct {
		name, token string
		want        error
	}{
		{"good", good, nil},
		{"empty", "", ErrMalformed},
		{"J-13 9 KiB", sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, claims("x", `"`+strings.Repeat("x", 6700)+`"`)), ErrMalformed},
		{"8 KiB", sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, claims("x", `"`+strings.Repeat("x", 5870)+`"`)), nil},
		{"J-13 16k dots", strings.Repeat(".", 16<<10), ErrMalformed},
		{"dots", strings.Repeat(".", 8<<10), ErrMalformed},
		{"J-13 one part", header, ErrMalformed},
		{"J-13 two parts", header + "." + payload, ErrMalformed},
		{"J-13 four parts", good + "." + payload, ErrMalformed},
		{"a dot before", "." + good, ErrMalformed},
		{"a dot behind", good + ".", ErrMalformed},
		{"J-13 padding", good + "=", ErrMalformed},
		{"padding of the header", header + "=." + rest, ErrMalformed},
		{"padding of the payload", header + "." + payload + "=." + signature, ErrMalformed},
		{"J-13 a space", header + " ." + rest, ErrMalformed},
		{"a space before", " " + good, ErrMalformed},
		{"a line end behind", good + "\n", ErrMalformed},
		{"a line end inside", header + ".\r\n" + rest, ErrMalformed},
		{"a tab", header + "." + payload + "\t." + signature, ErrMalformed},
		{"standard base64", header + "." + strings.Repeat("+/", 8) + "." + signature, ErrMalformed},
		{"a NUL", header + "." + payload + "." + signature + "\x00", ErrMalformed},
		{"no ASCII", header + "." + payload + "." + signature + "é", ErrMalformed},
		{"no signature", header + "." + payload + ".", ErrMalformed},
		{"no header", "." + payload + "." + signature, ErrMalformed},
		{"another payload", header + "." + b64([]byte(claims("sub", `"bob"`))) + "." + signature, ErrSignature},
		{"a shorter signature", header + "." + payload + "." + b64(make([]byte, 63)), ErrSignature},
		{"no payload", header + ".." + signature, ErrSignature},
		{"an empty payload, signed", sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, ""), ErrClaims},
		{"J-14 a JWE", strings.Join([]string{b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000,"p2s":"AA","zip":"DEF"}`)), "AA", "AA", "AA", "AA"}, "."), ErrMalformed},
		{"its header on a token", sign(t, jose.ES256, pairs().p256, `{"alg":"ES256","enc":"A128GCM"}`, claims()), ErrMalformed},
		{"the JSON serialization", `{"protected":"` + header + `","payload":"` + payload + `","signature":"` + signature + `"}`, ErrMalformed},
	}
	for _, test := range tests {
		if c, err := i.Verify(context.Background(), test.token, now); err != test.want || (err == nil) != (c != nil) {
			t.Errorf("%s: %v, %v, want %v", test.name, c, err, test.want)
		}
	}
}

// TestUnusedBits is J-27: of the letters that decode to the same signature only one will do.
func TestUnusedBits(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config())
	good := sign(t, jose.ES256, pairs().p256, `{"alg":"ES256"}`, claims())
	before, last := good[:len(good)-1], good[len(good)-1:]
	for _, letter := range strings.Split(letters, "") {
		_, err := i.Verify(context.Background(), before+letter, now)
		if (err == nil) != (letter == last) {
			t.Errorf("last letter %s instead of %s: %v", letter, last, err)
		}
	}
}

// TestCanonical compares with the naive way: what is decoded and encoded again must be the same.
func TestCanonical(t *testing.T) {
	naive := func(text string) bool {
		data, err := base64.RawURLEncoding.DecodeString(text)
		return err == nil && b64(data) == text
	}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 20_000 {
		text := make([]byte, random.IntN(7))
		for n := range text {
			text[n] = "AAQwg-_09zZ+/=\r\n .{\xff"[random.IntN(20)]
		}
		got := isCanonical(string(text))
		if got != naive(string(text)) {
			t.Fatalf("%q: %v", text, got)
		}
		seen[got]++
	}
	if seen[true] < 1000 || seen[false] < 1000 {
		t.Errorf("tried %v", seen)
	}
}

// TestHeader verifies well signed tokens with all kinds of headers.
func TestHeader(t *testing.T) {
	public := &pairs().p256.PublicKey
	i := issuer(t, keySet(t, jwk(t, public, map[string]any{"kid": "a"})), config())
	tests := []struct {
		header string
		want   error
	}{
		{`{"alg":"ES256"}`, nil},
		{`{"alg":"ES256","kid":"a","typ":"JWT","cty":"x","x5t":"AAAA","private":{"a":[1,null]}}`, nil},
		{" {\n\"alg\" : \"ES256\" }\t", nil},
		{`{"\u0061lg":"E\u005326"}`, ErrAlgorithm},
		{`{"\u0061lg":"E\u00532\u00356"}`, nil},
		{`{"alg":"ES256","kid":"b"}`, ErrUnknownKey},
		{`{"alg":"ES256","kid":"A"}`, ErrUnknownKey},
		{`{"alg":"ES256","kid":1}`, ErrMalformed},
		{`{"alg":"ES256","kid":null}`, ErrMalformed},
		{`{"alg":"ES256","typ":["JWT"]}`, ErrMalformed},
		{`{"alg":["ES256"]}`, ErrMalformed},
		{`{"ALG":"ES256"}`, ErrMalformed},
		{`{"alg":"es256"}`, ErrAlgorithm},
		{`{"alg":"ES384"}`, ErrAlgorithm},
		{`{"alg":"RS256"}`, ErrAlgorithm},
		{`{"alg":"HS256"}`, ErrAlgorithm},
		{`{"alg":"RSA-OAEP"}`, ErrAlgorithm},

		{`{"alg":"ES256","jku":"https://evil.example/keys"}`, ErrMalformed},       // J-10
		{`{"alg":"ES256","x5u":"https://evil.example/x509"}`, ErrMalformed},       // J-10
		{`{"alg":"ES256","jwk":` + jwkText(t, public) + `}`, ErrMalformed},        // J-11
		{`{"alg":"ES256","x5c":["MIIB"]}`, ErrMalformed},                          // J-11
		{`{"alg":"ES256","\u006aku":"https://evil.example"}`, ErrMalformed},       // escaped
		{`{"alg":"ES256","crit":["exp"]}`, ErrMalformed},                          // not understood,
		{`{"alg":"ES256","crit":[]}`, ErrMalformed},                               // nor when it is empty
		{`{"alg":"ES256","crit":["b64"],"b64":false}`, ErrMalformed},              // RFC 7797
		{`{"alg":"ES256","b64":true}`, ErrMalformed},                              //
		{`{"alg":"ES256","zip":"DEF"}`, ErrMalformed},                             //
		{`{"alg":"ES256","jwk":null}`, ErrMalformed},                              //
		{`{"alg":"ES256","alg":"ES256"}`, ErrMalformed},                           // J-16
		{`{"alg":"none","\u0061lg":"ES256"}`, ErrMalformed},                       // J-16
		{`{"alg":"ES256","kid":"\ud800"}`, ErrMalformed},                          // J-16
		{"{\"alg\":\"ES256\",\"kid\":\"\xff\"}", ErrMalformed},                    // no UTF-8
		{`{"alg":"ES256"}{}`, ErrMalformed},                                       //
		{`{"alg":"ES256"`, ErrMalformed},                                          //
		{`["alg","ES256"]`, ErrMalformed},                                         //
		{`"ES256"`, ErrMalformed},                                                 //
		{``, ErrMalformed},                                                        //
		{`{}`, ErrMalformed},                                                      //
		{`null`, ErrMalformed},                                                    //
		{"\ufeff" + `{"alg":"ES256"}`, ErrMalformed},                              // a byte order mark
		{`{"alg":"ES256","x":` + nested(15) + `}`, nil},                           // 16 deep
		{`{"alg":"ES256","x":` + nested(16) + `}`, ErrMalformed},                  // 17 deep
		{`{"alg":"ES256","x":"` + strings.Repeat("x", 2020) + `"}`, nil},          // 2 KiB
		{`{"alg":"ES256","x":"` + strings.Repeat("x", 2030) + `"}`, ErrMalformed}, // more
	}
	for _, test := range tests {
		token := sign(t, jose.ES256, pairs().p256, test.header, claims())
		if c, err := i.Verify(context.Background(), token, now); err != test.want {
			t.Errorf("header %.80q: %v, %v, want %v", test.header, c, err, test.want)
		}
	}
}

// nested is a value that is so many arrays deep.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// TestCheap is J-13, J-14 and J-15: what nobody has signed costs little, however it is made.
func TestCheap(t *testing.T) {
	keys := keySet(t, jwk(t, &pairs().p256.PublicKey, nil))
	i := issuer(t, keys, config())
	header := b64([]byte(`{"alg":"ES256"}`))
	fill := func(before, unit, after string) string {
		room := (8<<10)*3/4 - len(header) - len(before) - len(after) - 100
		return before + strings.Repeat(unit, room/len(unit)) + after
	}
	narrow := func(before, unit, after string) string {
		return before + strings.Repeat(unit, (maxHeader-len(before)-len(after)-2)/len(unit)) + after
	}
	full := `{"alg":"ES256"`
	for n := range maxHeaderValues/2 - 1 {
		full += fmt.Sprintf(`,"%020d":{"":"%020d"}`, n, n)
	}
	full += "}"
	noise := b64(make([]byte, 64))
	tests := []struct{ name, token string }{
		{"9 KiB", header + "." + strings.Repeat("A", 9<<10) + "." + noise},
		{"16k dots", strings.Repeat(".", 16<<10)},
		{"8k dots", strings.Repeat(".", 8<<10)},
		{"a JWE", b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000}`)) + ".AA.AA." + strings.Repeat("A", 8000) + ".AA"},
		{"nested claims", header + "." + b64([]byte(fill("", `{"a":`, ""))) + "." + noise},
		{"brackets", header + "." + b64([]byte(fill("", "[", ""))) + "." + noise},
		{"brackets as header", b64([]byte(narrow("", "[", ""))) + ".AA." + noise},
		{"objects in the header", b64([]byte(narrow(`{"a":[{}`, ",{}", "]}"))) + ".AA." + noise},
		{"names in the header", b64([]byte(narrow(`{"alg":"ES256","a":[{}`, `,{"":0}`, "]}"))) + "." + b64([]byte("x")) + "." + noise},
		{"a full header", b64([]byte(full)) + "." + b64([]byte("x")) + "." + noise},
		{"big claims", header + "." + b64([]byte(fill(`{"a":[0`, ",0", "]}"))) + "." + noise},
	}
	for _, test := range tests {
		if len(test.token) > 16<<10 || strings.HasPrefix(test.name, "big") && len(test.token) < 8000 {
			t.Fatalf("%s has %d bytes", test.name, len(test.token))
		}
		verify := func() {
			if _, err := i.Verify(context.Background(), test.token, now); err == nil {
				t.Errorf("%s was admitted", test.name)
			}
		}
		verify()
		var before, after runtime.MemStats
		const runs = 20
		fastest := time.Hour
		runtime.ReadMemStats(&before)
		for range runs {
			began := time.Now()
			verify()
			fastest = min(fastest, time.Since(began))
		}
		runtime.ReadMemStats(&after)
		// The row says 1 ms; the race detector, under which this runs too, takes three times as long.
		if bytes := (after.TotalAlloc - before.TotalAlloc) / runs; bytes >= 64<<10 || fastest >= 3*time.Millisecond {
			t.Errorf("%s: %d bytes allocated in %v, want less than 64 KiB and 3 ms", test.name, bytes, fastest)
		}
	}
}
