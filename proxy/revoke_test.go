package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/framegate/framegate/internal/wstest"
)

const tokenKey = "0123456789abcdef0123456789abcdef"

// signed is a token that the policies of these tests admit, with further claims.
func signed(t *testing.T, more map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": "https://id.example.com", "aud": "app", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, more)
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, []byte(tokenKey))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// tokened is a configuration with an admin listener, whose routes demand tokens: that of app.example.com, and in shadow that of
// shadow.example.com.
func tokened(server, more string) string {
	return fmt.Sprintf(`version: 1
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}}]
routes:
  - {name: app, hosts: [app.example.com], upstream: app, policies: [o, p]}
  - {name: shadow, hosts: [shadow.example.com], upstream: app, policies: [o, s]}
upstreams: {app: {servers: ["%s"]}}
policies:
  o: {origin: {allow: ["https://app.example.com"]}}
  p: {jwt: &jwt {issuer: "https://id.example.com", audience: app, secret: "%s", algorithms: [HS256]}}
  s: {mode: shadow, jwt: *jwt}
admin: {address: "127.0.0.1:0"}
%s
`, server, tokenKey, more)
}

// post sends JSON to the admin listener.
func (g *gateway) post(t *testing.T, path, body string) (status int, text string) {
	t.Helper()
	resp, err := http.Post("http://"+g.admin.ln.Addr().String()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(b.String(), "\r\n\r\n")
	return resp.StatusCode, text
}

// bears is the field by which a client sends a token.
func bears(token string) string { return "Authorization: Bearer " + token }

// statusOf is the answer to a handshake with a token.
func (g *gateway) statusOf(t *testing.T, token string) int {
	t.Helper()
	c := wstest.Dial(t, g.addr)
	c.Send(wstest.HS0("/").With("Host", "app.example.com").Add(bears(token)).Bytes())
	defer c.Close()
	return c.Head().Status
}

// TestRevoke: what is revoked closes at once with 1008 and cannot come back; others are not touched, nor is who a policy in shadow has let in.
func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		for kind, row := range map[string]struct{ order, other string }{
			"jti": {`{"jti": "t1-S3CRET"}`, `{"jti": "t2", "ttl": "1h"}`},
			"sub": {`{"sub": "alice-S3CRET", "ttl": "1h"}`, `{"sub": "alice-S3CRET", "iss": "https://other.example.com"}`},
			"sid": {`{"sid": "s1-S3CRET", "iss": "https://id.example.com"}`, `{"sid": "t1-S3CRET"}`},
		} {
			t.Run(kind+", "+driver, func(t *testing.T) {
				t.Parallel()
				up := wstest.NewRecorder(t, wstest.Echo)
				g := startGateway(t, tokened("ws://"+up.Addr(), driver))
				mine := signed(t, map[string]any{"jti": "t1-S3CRET", "sub": "alice-S3CRET", "sid": "s1-S3CRET"})
				others := signed(t, map[string]any{"jti": "t3", "sub": "bob", "sid": "s3"})
				revoked, other, shadow := g.enter(t, "app.example.com", bears(mine)), g.enter(t, "app.example.com", bears(others)), g.enter(t, "shadow.example.com", bears(mine))
				if status, text := g.post(t, "/-/revoke", row.other); status != 200 {
					t.Fatalf("got %d %s", status, text)
				}
				lives(t, "still", revoked)
				status, text := g.post(t, "/-/revoke", row.order)
				if status != 200 || !strings.Contains(text, `"gateways":"this"`) {
					t.Errorf("got %d %s", status, text)
				}
				if _, reason := revoked.ExpectClose(1008); reason != "revoked" {
					t.Errorf("closed for %q, want revoked", reason)
				}
				lives(t, "other", other)
				lives(t, "shadow", shadow)
				if a, b := g.statusOf(t, mine), g.statusOf(t, others); a != 401 || b != 101 {
					t.Errorf("the revoked token gets %d, the other one %d", a, b)
				}
				waitFor(t, "the close", func() bool {
					return g.metrics.series(t)["framegate_closes_total{cause=revoked,code=1008,side=gateway}"] == 1
				})
				if n := g.metrics.series(t)["framegate_revocations{}"]; n != 2 {
					t.Errorf("%v revocations, want 2", n)
				}
				if lines := g.log.lines(t, "revoked"); len(lines) != 2 || strings.Contains(g.log.String(), "S3CRET") {
					t.Errorf("got the log %s", g.log)
				}
			})
		}
	}
}

// Who is revoked up to a time can come back with a token that is newer, also over the connection that there is, and from another gateway's word.
func TestRevokeIssuedBefore(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	up := wstest.NewRecorder(t, wstest.Echo)
	config := tokened("ws://"+up.Addr(), fmt.Sprintf("redis: {url: \"redis://%s\", timeout: 1s}", store.Addr()))
	one, two := startGateway(t, config), startGateway(t, config)
	for _, g := range []*gateway{one, two} {
		waitFor(t, "redis", func() bool { return g.metrics.series(t)["framegate_revocation_redis_up{}"] == 1 })
	}
	now := time.Now().Truncate(time.Second)
	issued := func(ago time.Duration) string {
		return signed(t, map[string]any{"sub": "alice", "iat": now.Add(-ago).Unix()})
	}
	silent := signed(t, map[string]any{"sub": "alice"})
	old, fresh, unsaid, elsewhere := one.enter(t, "app.example.com", bears(issued(time.Hour))), one.enter(t, "app.example.com", bears(issued(time.Minute))),
		one.enter(t, "app.example.com", bears(silent)), two.enter(t, "app.example.com", bears(issued(time.Hour)))
	if status, text := one.post(t, "/-/revoke", fmt.Sprintf(`{"sub": "alice", "issued_before": %d}`, now.Add(-time.Minute).Unix())); status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	for _, c := range []*wstest.Client{old, unsaid, elsewhere} {
		c.ExpectClose(1008)
	}
	lives(t, "issued then", fresh)
	for _, g := range []*gateway{one, two} {
		for token, want := range map[string]int{issued(time.Hour): 401, issued(61 * time.Second): 401, issued(time.Minute): 101, silent: 401} {
			if got := g.statusOf(t, token); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}
	}
	if lines := one.log.lines(t, "revoked"); len(lines) != 1 || lines[0]["issued_before"] != now.Add(-time.Minute).UTC().Format(time.RFC3339) {
		t.Errorf("got the log %v", lines)
	}
}

// What is revoked while its handshake is under way, behind its admission, is closed as soon as it is there.
func TestRevokeLate(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		up := wstest.NewRecorder(t, wstest.Echo)
		slow, err := net.Listen("tcp", "127.0.0.1:0") // in front of the upstream
		if err != nil {
			t.Fatal(err)
		}
		g := startGateway(t, tokened("ws://"+slow.Addr().String(), driver))
		done := make(chan struct{})
		go func() {
			defer close(done)
			from, err := slow.Accept()
			if err != nil {
				return
			}
			defer from.Close()
			if status, text := g.post(t, "/-/revoke", `{"sub": "alice"}`); status != 200 {
				t.Errorf("got %d %s", status, text)
			}
			to, err := net.Dial("tcp", up.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer to.Close()
			go io.Copy(to, from)
			io.Copy(from, to)
		}()
		c := wstest.Dial(t, g.addr)
		c.Upgrade(wstest.HS0("/").With("Host", "app.example.com").Add(bears(signed(t, map[string]any{"sub": "alice"}))))
		c.ExpectClose(1008)
		c.Close()
		slow.Close()
		<-done
	}
}

func TestRevokeOrders(t *testing.T) {
	t.Parallel()
	g := startGateway(t, tokened("ws://127.0.0.1:9", "revocation: {ttl: 2h, max: 1}"))
	for body, want := range map[string]int{
		``: 400, `{}`: 400, `[]`: 400, `{"jti": ""}`: 400, `{"jti": 7}`: 400, `{"jti": "a", "sub": "b"}`: 400, `{"iss": "a"}`: 400, `{"jit": "a"}`: 400,
		`{"jti": "a"} {}`: 400, `{"jti": "a", "ttl": "3h"}`: 400, `{"jti": "a", "ttl": "-1s"}`: 400, `{"jti": "a", "ttl": "soon"}`: 400, `{"jti": "a", "until": 1}`: 400,
		`{"jti": "a", "until": 1e300}`: 400, `{"jti": "a", "issued_before": 1}`: 400, `{"sub": "a", "issued_before": 0}`: 400, `{"sub": "a", "issued_before": -1}`: 400,
		`{"sub": "a", "issued_before": "now"}`: 400, `{"sub": "a", "issued_before": 1e300}`: 400, fmt.Sprintf(`{"sub": "a", "issued_before": %d}`, time.Now().Add(time.Hour).Unix()): 400, fmt.Sprintf(`{"jti": "a", "ttl": "1h", "until": %d}`, time.Now().Add(time.Hour).Unix()): 400,
	} {
		if status, text := g.post(t, "/-/revoke", body); status != want {
			t.Errorf("%s: got %d %s, want %d", body, status, text, want)
		}
	}
	if status, text := g.post(t, "/-/revoke", fmt.Sprintf(`{"sid": "a", "until": %d}`, time.Now().Add(time.Hour).Unix())); status != 200 {
		t.Errorf("got %d %s", status, text)
	}
	if status, text := g.post(t, "/-/revoke", `{"sid": "b"}`); status != 507 || !strings.Contains(text, "revocation.max") {
		t.Errorf("one too many: got %d %s", status, text)
	}
	if n := g.metrics.series(t)["framegate_revocations_total{}"]; n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
}

// Gateways with the same Redis revoke together. While it is away each revokes alone and says so; what was missed is made up for.
func TestRevokeTogether(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	up := wstest.NewRecorder(t, wstest.Echo)
	config := tokened("ws://"+up.Addr(), fmt.Sprintf("redis: {url: \"redis://%s\", timeout: 1s}", store.Addr()))
	one, two := startGateway(t, config), startGateway(t, config)
	shares := func(g *gateway, want float64) {
		t.Helper()
		waitFor(t, "redis", func() bool { return g.metrics.series(t)["framegate_revocation_redis_up{}"] == want })
	}
	shares(one, 1)
	shares(two, 1)
	alice, bob := signed(t, map[string]any{"sub": "alice"}), signed(t, map[string]any{"sub": "bob"})
	a, b := two.enter(t, "app.example.com", bears(alice)), two.enter(t, "app.example.com", bears(bob))
	if status, text := one.post(t, "/-/revoke", `{"sub": "alice"}`); status != 200 || !strings.Contains(text, `"gateways":"all"`) {
		t.Errorf("got %d %s", status, text)
	}
	a.ExpectClose(1008)
	if status := two.statusOf(t, alice); status != 401 {
		t.Errorf("the other gateway answers %d", status)
	}
	late := startGateway(t, config) // reads what was before it
	waitFor(t, "what was revoked before", func() bool { return late.statusOf(t, alice) == 401 })

	store.Close()
	shares(one, 0)
	shares(two, 0)
	if status, text := one.post(t, "/-/revoke", `{"sub": "bob"}`); status != 202 || !strings.Contains(text, `"gateways":"this"`) {
		t.Errorf("while redis is away: got %d %s", status, text)
	}
	if here, there := one.statusOf(t, bob), two.statusOf(t, bob); here != 401 || there != 101 {
		t.Errorf("while redis is away: %d here and %d there", here, there)
	}
	if len(one.log.lines(t, "redis is away: revocations made elsewhere are not known here, nor ours there, until it is back")) != 1 {
		t.Errorf("the log does not say that redis is away: %s", one.log)
	}
	if status := one.statusOf(t, alice); status != 401 {
		t.Errorf("while redis is away what was revoked before gets %d", status)
	}
	store.FlushAll() // it comes back without its memory
	if err := store.Restart(); err != nil {
		t.Fatal(err)
	}
	b.ExpectClose(1008)
	last := startGateway(t, config)
	waitFor(t, "both", func() bool { return last.statusOf(t, alice) == 401 && last.statusOf(t, bob) == 401 })
}
