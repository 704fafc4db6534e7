package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A minter signs tokens, well-formed or not, as the issuer of the JWT rows.
type minter struct {
	key *ecdsa.PrivateKey
	kid string
}

const (
	rowIssuer   = "https://id.example.com"
	rowAudience = "ours"
)

func newMinter(t *testing.T, kid string) *minter {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &minter{key, kid}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public key as a member of a JSON Web Key Set.
func (m *minter) jwk(t *testing.T) map[string]string {
	t.Helper()
	point, err := m.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": m.kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

// pem is the public key in PEM.
func (m *minter) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&m.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// keySet is a JSON Web Key Set of the minters' keys.
func keySet(t *testing.T, minters ...*minter) []byte {
	t.Helper()
	keys := []map[string]string{}
	for _, m := range minters {
		keys = append(keys, m.jwk(t))
	}
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// raw signs a header and a payload that are given as text.
func (m *minter) raw(header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, m.key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature)
}

// header is that of a good token.
func (m *minter) header() string { return fmt.Sprintf(`{"alg":"ES256","kid":%q}`, m.kid) }

// claims are those of a good token with changes: a nil value leaves one out.
func claims(changes map[string]any) string {
	now := time.Now().Unix()
	all := map[string]any{"iss": rowIssuer, "aud": rowAudience, "sub": "alice", "iat": now, "exp": now + 300, "jti": wstest.Canary + "jti"}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// mint makes a good token with changed claims.
func (m *minter) mint(changes map[string]any) string { return m.raw(m.header(), claims(changes)) }

// with is mint with one changed claim.
func (m *minter) with(name string, value any) string { return m.mint(map[string]any{name: value}) }

// hs256 signs with a secret, whatever that is.
func hs256(header, payload string, secret []byte) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// bearer is a handshake with a token in its Authorization field.
func bearer(token string) *wstest.Request {
	return wstest.HS0("/ws").Add("Authorization: Bearer " + token)
}

// writeKeys puts a key set into a file.
func writeKeys(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// jwtPolicy is the policy of the JWT rows.
func jwtPolicy(keys, more string) string {
	return fmt.Sprintf(`%s, jwt: {issuer: %s, audience: %s, %s, from: [header, subprotocol, {cookie: session}, {query: access_token}], claims_to_headers: {sub: X-Auth-Sub, role: X-Auth-Role}%s}`,
		originPolicy, rowIssuer, rowAudience, keys, more)
}

// startJWT starts a gateway for the JWT rows.
func startJWT(t *testing.T, m *minter) *rowGate {
	t.Helper()
	return startRows(t, rowSetup{policy: jwtPolicy("jwks_file: "+writeKeys(t, keySet(t, m)), "")})
}

// TestRowsJWTPlaces is about where a token stands: exactly one must be found, and it goes no further than the gateway.
func TestRowsJWTPlaces(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	g := startJWT(t, m)
	good := m.mint(nil)
	g.refuseAll(t, []refusal{
		{"J-03/two fields", bearer(good).Add("Authorization: Bearer " + good), status(400)},
		{"J-03/header and subprotocol", bearer(good).Add("Sec-WebSocket-Protocol: bearer, " + good + ", chat"), status(400)},
		{"J-03/header and cookie", bearer(good).Add("Cookie: session=" + good), status(400)},
		{"J-03/header and query", bearer(good).Target("/ws?access_token=" + good), status(400)},
		{"J-03/two cookies", wstest.HS0("/ws").Add("Cookie: session=" + good + "; session=" + good), status(400)},
		{"J-03/two parameters", wstest.HS0("/ws?access_token=" + good + "&access_token=" + good), status(400)},
	})
	for _, row := range []refusal{
		{"J-02/none", wstest.HS0("/ws"), nil},
		{"J-02/empty Bearer", wstest.HS0("/ws").Add("Authorization: Bearer "), nil},
		{"J-02/Bearer without a space", wstest.HS0("/ws").Add("Authorization: Bearer"), nil},
		{"J-02/Basic", wstest.HS0("/ws").Add("Authorization: Basic dXNlcjpwYXNz"), nil},
		{"J-02/another parameter", wstest.HS0("/ws?Access_Token=" + good), nil},
		{"J-02/another cookie", wstest.HS0("/ws").Add("Cookie: Session=" + good), nil},
		{"J-02/bearer without a token", wstest.HS0("/ws").Add("Sec-WebSocket-Protocol: bearer"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if resp := g.refuse(t, row.request.Bytes(), 401); !strings.HasPrefix(resp.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("WWW-Authenticate is %q", resp.Get("WWW-Authenticate"))
			}
		})
	}
	for name, request := range map[string]*wstest.Request{
		"header":              bearer(good),
		"scheme in lower":     wstest.HS0("/ws").Add("Authorization: bearer " + good),
		"subprotocol":         wstest.HS0("/ws").Add("Sec-WebSocket-Protocol: chat, bearer, " + good),
		"kubernetes spelling": wstest.HS0("/ws").Add("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + b64([]byte(good)) + ", chat"),
		"cookie":              wstest.HS0("/ws").Add("Cookie: a=1; session=" + good + "; b=2"),
		"query":               wstest.HS0("/ws?a=1&access_token=" + good + "&b=2").Add("Referer: https://app.example.com/?access_token=" + good),
	} {
		t.Run("admitted/"+name, func(t *testing.T) {
			_, u := g.admit(t, request.Add("X-Auth-Sub: root", "x-auth-role: admin"))
			if strings.Contains(u.Head(), good) || strings.Contains(u.Head(), b64([]byte(good))) {
				t.Errorf("the upstream got the token: %q", u.Head())
			}
			if got := u.Values("X-Auth-Sub"); len(got) != 1 || got[0] != "alice" {
				t.Errorf("X-Auth-Sub is %q", got)
			}
			if got := u.Values("X-Auth-Role"); len(got) != 0 {
				t.Errorf("a client's X-Auth-Role %q reached the upstream", got)
			}
			if strings.Contains(request.Line, "a=1") && u.Target() != "/ws?a=1&b=2" {
				t.Errorf("the upstream was asked for %q", u.Target())
			}
		})
	}
	if strings.Contains(g.Stderr(), good[:20]) {
		t.Error("the log holds a token")
	}
}

// TestRowsJWTForms is about tokens that are none, or are not signed by the issuer.
func TestRowsJWTForms(t *testing.T) {
	t.Parallel()
	m, other := newMinter(t, "one"), newMinter(t, "one")
	g := startJWT(t, m)
	outbound, calls := deadEnd(t)
	good, head, body := m.mint(nil), m.header(), claims(nil)
	parts := strings.Split(good, ".")
	public := m.pem(t)
	jwk, _ := json.Marshal(m.jwk(t))
	embedded, _ := json.Marshal(other.jwk(t))
	none := b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	hs := `{"alg":"HS256","kid":"one"}`
	var rows []refusal
	add := func(name, token string) { rows = append(rows, refusal{name, bearer(token), status(401)}) }
	add("J-01/none", none)
	add("J-01/None", b64([]byte(`{"alg":"None"}`))+"."+parts[1]+"."+parts[2])
	add("J-01/no signature", parts[0]+"."+parts[1]+".")
	add("J-04/another key", other.mint(nil))
	for name, secret := range map[string][]byte{"PEM": public, "PEM without its newline": bytes.TrimSpace(public), "PEM after a space": append([]byte(" "), public...), "JWK": jwk, "empty": {}} {
		add("J-05/HS256 keyed with "+name, hs256(hs, body, secret))
	}
	add("J-10/jku", other.raw(fmt.Sprintf(`{"alg":"ES256","kid":"one","jku":"http://%s/keys"}`, outbound), body))
	add("J-10/x5u", other.raw(fmt.Sprintf(`{"alg":"ES256","kid":"one","x5u":"http://%s/cert"}`, outbound), body))
	add("J-11/jwk", other.raw(fmt.Sprintf(`{"alg":"ES256","kid":"one","jwk":%s}`, embedded), body))
	add("J-11/x5c", other.raw(`{"alg":"ES256","kid":"one","x5c":["MIIB"]}`, body))
	add("J-12/crit", m.raw(`{"alg":"ES256","kid":"one","crit":["exp"]}`, body))
	add("J-12/b64", m.raw(`{"alg":"ES256","kid":"one","b64":false,"crit":["b64"]}`, body))
	add("J-13/two parts", parts[0]+"."+parts[1])
	add("J-13/four parts", good+".x")
	add("J-13/dots", strings.Repeat(".", 4000))
	add("J-13/padding", good+"=")
	add("J-13/space inside", parts[0]+". "+parts[1]+"."+parts[2])
	add("J-13/standard alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(m.with("sub", "???>>>~~~"))+"+/")
	add("J-14/JWE", strings.Join([]string{b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000,"p2s":"c2FsdA","zip":"DEF"}`)), "AA", "AA", "AA", "AA"}, "."))
	add("J-15/claims nested deep, unsigned", parts[0]+"."+b64([]byte(`{"a":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`))+"."+parts[2])
	add("J-15/brackets", parts[0]+"."+b64([]byte(strings.Repeat("[", 4000)))+"."+parts[2])
	add("J-15/header of brackets", b64([]byte(strings.Repeat("[", 4000)))+"."+parts[1]+"."+parts[2])
	add("J-16/alg twice", m.raw(`{"alg":"ES256","kid":"one","alg":"none"}`, body))
	add("J-16/sub twice", m.raw(head, strings.Replace(body, `"sub":`, `"sub":"root","sub":`, 1)))
	add("J-16/sub twice, escaped", m.raw(head, strings.Replace(body, `"sub":`, `"\u0073ub":"root","sub":`, 1)))
	add("J-16/lone surrogate", m.raw(head, strings.Replace(body, `"alice"`, `"\ud800"`, 1)))
	add("J-16/behind the claims", m.raw(head, body+"{}"))
	add("J-24/ES384 by the header", m.raw(`{"alg":"ES384","kid":"one"}`, body))
	add("J-24/no alg", m.raw(`{"kid":"one"}`, body))
	add("J-25/kid is a number", m.raw(`{"alg":"ES256","kid":1}`, body))
	add("J-25/kid is a path", m.raw(`{"alg":"ES256","kid":"../../etc/passwd"}`, body))
	add("J-27/unused bits", flipUnusedBits(good))
	add("J-28/signature of zeros", parts[0]+"."+parts[1]+"."+b64(make([]byte, 64)))
	add("J-28/signature in DER", parts[0]+"."+parts[1]+"."+derOf(t, parts[2]))
	add("J-28/signature cut", good[:len(good)-4])
	g.refuseAll(t, rows)
	t.Run("J-13/9 KiB", func(t *testing.T) { // over the limit of a token, or of a field line
		g.refuse(t, bearer(m.with("x", strings.Repeat("x", 6500))).Bytes(), 401, 431)
	})
	if n := calls.Load(); n != 0 {
		t.Errorf("%d connections to an address that a token named", n)
	}
}

// TestRowsJWTClaims is about what a token that the issuer has signed says.
func TestRowsJWTClaims(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	g := startJWT(t, m)
	now := time.Now().Unix()
	var rows []refusal
	add := func(name, token string) { rows = append(rows, refusal{name, bearer(token), status(401)}) }
	rawExp := func(value string) string {
		return m.raw(m.header(), strings.Replace(claims(map[string]any{"exp": nil}), "{", `{"exp":`+value+",", 1))
	}
	add("J-17/expired 40 s ago", m.with("exp", now-40))
	add("J-18/exp absent", m.with("exp", nil))
	for _, value := range []string{`"9999999999"`, "1e400", "-1", "9223372036854775808", "null", "true", "[1]", "{}"} {
		add("J-18/exp "+value, rawExp(value))
	}
	add("J-19/nbf in an hour", m.with("nbf", now+3600))
	add("J-19/iat in an hour", m.with("iat", now+3600))
	for name, aud := range map[string]any{"others": []string{"x"}, "absent": nil, "longer": "ours.evil", "object": map[string]any{}, "empty list": []string{}, "upper case": "OURS", "number in a list": []any{"ours", 1}} {
		add("J-20/aud "+name, m.with("aud", aud))
	}
	for name, iss := range map[string]any{"slash": rowIssuer + "/", "case": "https://ID.example.com", "absent": nil, "list": []string{rowIssuer}, "http": "http://id.example.com", "space": rowIssuer + " "} {
		add("J-21/iss "+name, m.with("iss", iss))
	}
	add("J-22/ten years", m.mint(map[string]any{"iat": now, "exp": now + 10*365*86400}))
	add("J-22/25 hours", m.mint(map[string]any{"iat": now, "exp": now + 25*3600}))
	add("J-22/ten years without iat", m.mint(map[string]any{"iat": nil, "exp": now + 10*365*86400}))
	add("J-26/claims are a list", m.raw(m.header(), "[]"))
	add("J-26/claims are empty", m.raw(m.header(), ""))
	g.refuseAll(t, rows)
	for name, token := range map[string]string{
		"J-17/expired 20 s ago":          m.with("exp", now-20),
		"J-20/aud among others":          m.with("aud", []string{"x", rowAudience}),
		"J-19/nbf in 20 s":               m.with("nbf", now+20),
		"J-18/exp with a fraction":       rawExp(fmt.Sprintf("%d.5", now+100)),
		"J-16/SUB is another claim":      m.with("SUB", "root"),
		"J-22/an hour without iat":       m.mint(map[string]any{"iat": nil, "exp": now + 3600}),
		"J-25/no kid, and only one key":  m.raw(`{"alg":"ES256"}`, claims(nil)),
		"J-25/typ that nobody asked for": m.raw(`{"alg":"ES256","kid":"one","typ":"at+jwt"}`, claims(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, u := g.admit(t, bearer(token)); u.Value("X-Auth-Sub") != "alice" {
				t.Errorf("X-Auth-Sub is %q", u.Value("X-Auth-Sub"))
			}
		})
	}
}

// TestRowsJWTDemands is about what a policy demands beyond the usual: typ, and claims by value, set and scope.
func TestRowsJWTDemands(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	keys := "jwks_file: " + writeKeys(t, keySet(t, m))
	g := startRows(t, rowSetup{policy: jwtPolicy(keys, `, typ: at+jwt, require: {tenant: [red, blue], role: admin, scope: "chat:write"}`)})
	head := `{"alg":"ES256","kid":"one","typ":"at+jwt"}`
	good := map[string]any{"tenant": "red", "role": []string{"user", "admin"}, "scope": "chat:read chat:write"}
	but := func(name string, value any) string {
		changed := map[string]any{name: value}
		for n, v := range good {
			if n != name {
				changed[n] = v
			}
		}
		return m.raw(head, claims(changed))
	}
	g.refuseAll(t, []refusal{
		{"J-22/typ id", bearer(m.raw(`{"alg":"ES256","kid":"one","typ":"id"}`, claims(good))), status(401)},
		{"J-22/no typ", bearer(m.raw(m.header(), claims(good))), status(401)},
		{"tenant of another", bearer(but("tenant", "green")), status(403)},
		{"tenant absent", bearer(but("tenant", nil)), status(403)},
		{"role of another", bearer(but("role", "adminx")), status(403)},
		{"scope as a part of a name", bearer(but("scope", "chat:writer xchat:write")), status(403)},
	})
	for name, typ := range map[string]string{"as it is": "at+jwt", "as a media type": "application/at+jwt", "in another case": "AT+JWT"} {
		t.Run("admitted/typ "+name, func(t *testing.T) {
			g.admit(t, bearer(m.raw(fmt.Sprintf(`{"alg":"ES256","kid":"one","typ":%q}`, typ), claims(good))))
		})
	}
}

// TestRowsJWTPlain: what may not open a WebSocket may not reach the application by a plain request either.
func TestRowsJWTPlain(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	g := startRows(t, rowSetup{policy: jwtPolicy("jwks_file: "+writeKeys(t, keySet(t, m)), ""), upstream: wstest.Page("page")})
	g.refuse(t, wstest.Plain("/page").Bytes(), 401)
	c := wstest.Dial(t, g.Addr)
	c.Send(wstest.Plain("/page").Add("Authorization: Bearer "+m.mint(nil), "X-Auth-Sub: root").Bytes())
	if resp := c.Response(); resp.Status != 200 {
		t.Errorf("got %q", resp.Line)
	}
	if u := g.up.Wait("/page"); u.Value("X-Auth-Sub") != "alice" || len(u.Values("X-Auth-Sub")) != 1 {
		t.Errorf("X-Auth-Sub is %q", u.Values("X-Auth-Sub"))
	}
}

// deadEnd is an address that a token may name, and how often anybody came there.
func deadEnd(t *testing.T) (addr string, calls *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	calls = &atomic.Int64{}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			c.Close()
		}
	}()
	return ln.Addr().String(), calls
}

// flipUnusedBits changes the last character of a token in the bits that stand for no byte.
func flipUnusedBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

// derOf is a signature of two numbers in the form that X.509 has for it.
func derOf(t *testing.T, signature string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	der := []byte{}
	for _, half := range [][]byte{b[:32], b[32:]} {
		n := new(big.Int).SetBytes(half).Bytes()
		if n[0] >= 0x80 {
			n = append([]byte{0}, n...)
		}
		der = append(append(der, 2, byte(len(n))), n...)
	}
	return b64(append([]byte{0x30, byte(len(der))}, der...))
}
