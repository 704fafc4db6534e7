package main_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// revoke posts an order to a gateway and returns the status and the answer.
func revoke(t *testing.T, p *wstest.Process, order string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+p.Admin+"/-/revoke", "application/json", strings.NewReader(order))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// asked is the answer of a gateway to a handshake with a token.
func asked(t *testing.T, p *wstest.Process, token string) int {
	t.Helper()
	c := wstest.Dial(t, p.Addr)
	defer c.Close()
	c.Send(bearer(token).Bytes())
	return c.Head().Status
}

// TestRowsRevoke: two gateways with one real Redis revoke together, also for clients that only receive; a Redis that is killed and comes back empty
// loses nothing, and a gateway that starts later knows it all. No identifier leaves the gateways.
func TestRowsRevoke(t *testing.T) {
	t.Parallel()
	server, up := wstest.StartRedis(t), wstest.NewRecorder(t, wstest.Echo)
	const secret = wstest.Canary + "0123456789abcdef0123456789abcdef"
	config := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}]
routes: [{name: chat, hosts: [app.example.com], upstream: app, policies: [users]}]
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  users:
    origin: {allow: ["https://app.example.com"]}
    jwt: {issuer: "https://id.example.com", audience: chat, secret: %s}
redis: {url: "redis://%s", timeout: 1s}
`, up.Addr(), secret, server.Addr)
	token := func(id string) string {
		now := time.Now().Unix()
		return hs256(`{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"https://id.example.com","aud":"chat","sub":"%s%s","jti":"%[2]s-1","iat":%d,"exp":%d}`, wstest.Canary, id, now, now+3600), []byte(secret))
	}
	subject := func(id string) string { return fmt.Sprintf(`{"sub": "%s%s", "ttl": "1h"}`, wstest.Canary, id) }
	gateways := []*wstest.Process{wstest.Start(t, config), wstest.Start(t, config)}
	one, two := gateways[0], gateways[1]
	const shares = "framegate_revocation_redis_up"
	waitSeries(t, gateways, shares, is(1))

	open := func(id string) *wstest.Client {
		c := wstest.Dial(t, two.Addr)
		c.Upgrade(bearer(token(id)))
		return c
	}
	alice, bob, carol := open("alice"), open("bob"), open("carol") // none of them sends anything
	if status, text := revoke(t, one, subject("alice")); status != 200 || !strings.Contains(text, `"all"`) {
		t.Errorf("got %d %s", status, text)
	}
	if _, reason := alice.ExpectClose(1008); reason != "revoked" {
		t.Errorf("closed for %q, want revoked", reason)
	}
	for i, p := range gateways {
		if status := asked(t, p, token("alice")); status != 401 {
			t.Errorf("gateway %d answers %d, want 401", i, status)
		}
	}
	if text := server.Ask("XRANGE %s - +", "framegate:{revoked}"); !strings.HasPrefix(text, "*1\r\n") || strings.Contains(text, "alice") || strings.Contains(text, wstest.Canary) {
		t.Errorf("redis has %q, want one revocation and no identifier", text)
	}

	server.Kill()
	waitSeries(t, gateways, shares, is(0))
	if status, text := revoke(t, one, subject("bob")); status != 202 || !strings.Contains(text, `"this"`) {
		t.Errorf("without redis: got %d %s", status, text)
	}
	if here, there, before := asked(t, one, token("bob")), asked(t, two, token("bob")), asked(t, two, token("alice")); here != 401 || there != 101 || before != 401 {
		t.Errorf("without redis: %d here, %d there, %d for what was revoked before", here, there, before)
	}
	server.Restart()
	bob.ExpectClose(1008)
	late := wstest.Start(t, config)
	waitSeries(t, []*wstest.Process{late}, shares, is(1))
	for _, id := range []string{"alice", "bob"} {
		if status := asked(t, late, token(id)); status != 401 {
			t.Errorf("a gateway that starts later answers %s with %d, want 401", id, status)
		}
	}
	carol.Send(wstest.ClientFrame(0x81, []byte("still there")))
	carol.ExpectFrame(0x81, []byte("still there"))
	for i, p := range append(gateways, late) {
		if strings.Contains(p.Stderr(), wstest.Canary) {
			t.Errorf("gateway %d logs an identifier", i)
		}
	}
}

// TestRowsJWTRenewal (J-29): a session lives beyond the end of its first token where the client has brought another one, and ends with that.
func TestRowsJWTRenewal(t *testing.T) {
	t.Parallel()
	m := newMinter(t, "one")
	g := startRows(t, rowSetup{policy: jwtPolicy("jwks_file: "+writeKeys(t, keySet(t, m))+", leeway: 0s", ", renew: {type: renew, reply: renewed}")})
	c := wstest.Dial(t, g.Addr)
	now := time.Unix(time.Now().Unix(), 0)
	first, second := now.Add(3*time.Second), now.Add(5*time.Second)
	c.Upgrade(wstest.HS0("/ws/renewal").Add("Authorization: Bearer " + m.with("exp", first.Unix())))
	u := g.up.Wait("/ws/renewal")
	c.Send(wstest.ClientFrame(0x81, fmt.Appendf(nil, `{"type":"renew","token":%q}`, m.with("exp", second.Unix()))))
	c.ExpectFrame(0x81, fmt.Appendf(nil, `{"exp":%d,"type":"renewed"}`, second.Unix()))
	c.Send(wstest.ClientFrame(0x81, []byte("after")))
	c.ExpectFrame(0x81, []byte("after"))
	if _, reason := c.ExpectClose(1008); reason != "token expired" {
		t.Errorf("closed for %q, want token expired", reason)
	}
	if late := time.Since(second); late < 0 || late > 2*time.Second {
		t.Errorf("closed %v after the end of the second token", late)
	}
	if code, _ := u.WaitClose(wstest.Patience); code != 1001 {
		t.Errorf("the upstream got %d, want 1001", code)
	}
	if frames, _ := u.Frames(); string(frames[0].Payload) != "after" {
		t.Errorf("the upstream got %v first, want what is its own", frames[0])
	}
}
