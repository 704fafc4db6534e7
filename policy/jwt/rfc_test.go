package jwt

import (
	"context"
	"testing"
)

// The examples of the RFCs. Their claims have no aud and expired in 2011, so that it is the signature that is verified.

const (
	joe    = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	joeRaw = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
)

// examples are those of RFC 7515, appendix A (of which A.1 is that of RFC 7519, section 3.1), and of RFC 8037, appendix A.
var examples = []struct{ name, key, token, payload string }{
	{
		"RFC 7515 A.1",
		`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", joeRaw,
	},
	{
		"RFC 7515 A.2",
		`{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2` +
			`lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZ` +
			`lxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`,
		"eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJd" +
			"bF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEs" +
			"qtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw", joeRaw,
	},
	{
		"RFC 7515 A.3",
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		"eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", joeRaw,
	},
	{
		"RFC 7515 A.4",
		`{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",` +
			`"y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`,
		"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZ" +
			"goXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn", "Payload",
	},
	{
		"RFC 8037 A.4",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_" +
			"MuM0KAg", "Example of Ed25519 signing",
	},
}

// keyOf parses one JWK, also a symmetric one.
func keyOf(t testing.TB, raw string) *KeySet {
	t.Helper()
	members, err := decodeObject([]byte(raw), len(raw))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parseKey([]byte(raw), members)
	if err != nil {
		t.Fatal(err)
	}
	return &KeySet{[]key{k}}
}

// TestExamples verifies each example with its own key, and with no other one.
func TestExamples(t *testing.T) {
	for i, example := range examples {
		for j, other := range examples {
			payload, err := verifyJWS(example.token, keyOf(t, other.key))
			if i != j && err == nil {
				t.Errorf("%s was verified with the key of %s", example.name, other.name)
			}
			if i == j && (err != nil || string(payload) != example.payload) {
				t.Errorf("%s: %q, %v, want %q", example.name, payload, err, example.payload)
			}
		}
	}
}

// TestExampleClaims reads the claims of RFC 7519, section 3.1.
func TestExampleClaims(t *testing.T) {
	all, err := decodeObject([]byte(joeRaw), len(joeRaw))
	if err != nil {
		t.Fatal(err)
	}
	if all["iss"] != "joe" || all["exp"] != int64(1300819380) || all["http://example.com/is_root"] != true || len(all) != 3 {
		t.Errorf("claims %v", all)
	}
	if _, err := parseClaims([]byte(joeRaw)); err != ErrClaimMissing {
		t.Errorf("claims without aud: %v, want %v", err, ErrClaimMissing)
	}
}

// TestUnsecured shows that the unsecured tokens of RFC 7515, A.5, and RFC 7519, section 6.1, are none.
func TestUnsecured(t *testing.T) {
	i := issuer(t, keySet(t, jwk(t, &pairs().p256.PublicKey, nil)), config())
	for _, token := range []string{
		"eyJhbGciOiJub25lIn0." + joe + ".",                              // as it is there
		"eyJhbGciOiJub25lIn0." + joe + ".AA",                            // with something for a signature
		b64([]byte(`{"alg":"None"}`)) + "." + joe + ".AA",               // and other spellings
		b64([]byte(`{"alg":""}`)) + "." + joe + ".AA",                   //
		b64([]byte(`{"typ":"JWT"}`)) + "." + joe + ".AA",                //
		b64([]byte(`{"alg":"none","alg":"ES256"}`)) + "." + joe + ".AA", //
	} {
		if c, err := i.Verify(context.Background(), token, now); err != ErrMalformed && err != ErrAlgorithm {
			t.Errorf("%.40s...: %v, %v", token, c, err)
		}
	}
}
