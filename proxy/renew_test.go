package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// A token that a client brings over its connection takes the place of the one before: the connection lives on, and the upstream sees nothing of it.
func TestRenew(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		up := wstest.NewRecorder(t, wstest.Echo)
		config := strings.Replace(tokened("ws://"+up.Addr(), driver), "algorithms: [HS256]", "algorithms: [HS256], leeway: 0s, renew: {attempts: 2}", 1)
		g := startGateway(t, config)
		token := func(sub string, in time.Duration) string {
			return signed(t, map[string]any{"sub": sub, "jti": in.String(), "exp": time.Now().Add(in).Unix()})
		}
		first := time.Now().Add(3 * time.Second).Truncate(time.Second)
		c := g.enter(t, "app.example.com", bears(token("alice", 3*time.Second)))
		say := func(token, want string) {
			t.Helper()
			c.Send(wstest.ClientFrame(0x81, fmt.Appendf(nil, `{"type": "framegate.renew", "token": %q}`, token)))
			if f := c.Frame(); f.Opcode() != 1 || !strings.Contains(string(f.Payload), want) {
				t.Errorf("%s: answered %q, want %s", driver, f.Payload, want)
			}
		}
		say(token("bob", time.Hour), `"error":"token of another subject"`)
		lives(t, "before", c)
		say(token("alice", time.Hour), `"exp":`)
		lives(t, `{"type": "other", "text": "framegate.renew"}`, c)
		time.Sleep(time.Until(first.Add(1200 * time.Millisecond)))
		lives(t, "behind the first token's end", c)
		say("S3CRET.S3CRET.S3CRET", `"error":"token malformed"`)
		lives(t, "still", c)
		c.Send(wstest.ClientFrame(0x81, []byte(`{"type": "framegate.renew"}`)))
		if f := c.Frame(); f.Opcode() != 1 || !strings.Contains(string(f.Payload), `"error":"token malformed"`) {
			t.Errorf("%s: answered %q", driver, f.Payload)
		}
		if _, reason := c.ExpectClose(1008); reason != reasonNotRenewed {
			t.Errorf("%s: closed for %q", driver, reason)
		}
		frames, _ := up.Wait("/").Frames()
		for _, f := range frames {
			if strings.Contains(string(f.Payload), `"token"`) {
				t.Errorf("%s: the upstream got a renewal", driver)
			}
		}
		if series := g.metrics.series(t); series["framegate_renewals_total{outcome=admitted,route=app}"] != 1 || series["framegate_renewals_total{outcome=refused,route=app}"] != 3 {
			t.Errorf("%s: the renewals are not counted right", driver)
		}
		// What is revoked of the new token ends the connection too, and it is not taken before.
		d := g.enter(t, "app.example.com", bears(token("carol", time.Minute)))
		d.Send(wstest.ClientFrame(0x81, fmt.Appendf(nil, `{"type":"framegate.renew","token":%q}`, token("carol", time.Hour))))
		if f := d.Frame(); !strings.Contains(string(f.Payload), `"exp":`) {
			t.Errorf("%s: answered %q", driver, f.Payload)
		}
		g.post(t, "/-/revoke", `{"jti": "1h0m0s"}`)
		d.ExpectClose(1008)
		if strings.Contains(g.log.String(), "S3CRET") {
			t.Errorf("%s: the log holds a token", driver)
		}
	}
}

// TestRenewByRequest: a POST with a new token renews all sessions of its subject on the route, and no others; the upstream gets nothing of it.
func TestRenewByRequest(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			up := wstest.NewRecorder(t, wstest.Echo)
			config := strings.Replace(tokened("ws://"+up.Addr(), driver), "algorithms: [HS256]", "algorithms: [HS256], leeway: 0s, renew: {path: /renew}", 1)
			g := startGateway(t, strings.Replace(config, "policies: [o, p]}", "policies: [o, p], http: deny}", 1))
			token := func(sub string, in time.Duration) string {
				return signed(t, map[string]any{"sub": sub, "exp": time.Now().Add(in).Unix()})
			}
			ask := func(method, path, token string, want int, text string) {
				t.Helper()
				c := wstest.Dial(t, g.addr)
				defer c.Close()
				c.Send(wstest.Head(method+" "+path+" HTTP/1.1", "Host: app.example.com", bears(token), "Content-Length: 0"))
				if resp := c.Response(); resp.Status != want || !strings.Contains(string(resp.Body), text) {
					t.Errorf("%s %s: got %d %q, want %d %q", method, path, resp.Status, resp.Body, want, text)
				}
			}
			const life = 6 * time.Second // in which the renewals must come
			one, two := g.enter(t, "app.example.com", bears(token("alice", life))), g.enter(t, "app.example.com", bears(token("alice", life)))
			shadow, other := g.enter(t, "shadow.example.com", bears(token("alice", life))), g.enter(t, "app.example.com", bears(token("bob", life)))
			fresh := token("alice", time.Hour)
			ask("GET", "/renew", fresh, 405, "")
			ask("POST", "/other", fresh, 426, "")
			ask("POST", "/renew", "S3CRET.S3CRET.S3CRET", 401, "")
			ask("POST", "/renew", token("carol", time.Hour), 404, "no session to renew")
			ask("POST", "/renew", fresh, 204, "")
			if _, reason := other.ExpectClose(1008); reason != "token expired" { // so the first tokens of the others have as well
				t.Errorf("closed for %q", reason)
			}
			for _, c := range []*wstest.Client{one, two} {
				lives(t, "behind the first token's end", c)
			}
			lives(t, "where tokens decide nothing", shadow)
			for range renewalRequests.Rate.Burst + 2 { // one of which may have come back
				c := wstest.Dial(t, g.addr)
				c.Send(wstest.Head("POST /renew HTTP/1.1", "Host: app.example.com", bears(fresh), "Content-Length: 0"))
				c.Response()
				c.Close()
			}
			ask("POST", "/renew", fresh, 429, "too many renewals")
			if n := len(up.Conns("/renew")); n != 0 {
				t.Errorf("the upstream got %d renewals", n)
			}
			if series := g.metrics.series(t); series["framegate_renewals_total{outcome=admitted,route=app}"] < 2 || series["framegate_requests_total{result=limit,route=app}"] == 0 {
				t.Errorf("the renewals are not counted right: %v", series["framegate_renewals_total{outcome=admitted,route=app}"])
			}
			if strings.Contains(g.log.String(), "S3CRET") {
				t.Error("the log holds a token")
			}
		})
	}
}

// A path at which nothing would come is an error.
func TestRenewalPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/renew":   "",
		"renew":    `renew.path "renew" of their jwt is not a path`,
		"/a/../b":  `renew.path "/a/../b" of their jwt is not a path`,
		"/renew/*": `renew.path "/renew/*" of their jwt is not a path`,
		"/page":    `renew.path "/page" of their jwt is not among the paths of the route`,
	} {
		config := strings.Replace(tokened("ws://127.0.0.1:1", ""), "algorithms: [HS256]", "algorithms: [HS256], renew: {path: "+fmt.Sprintf("%q", path)+"}", 1)
		config = strings.Replace(config, "policies: [o, p]}", "policies: [o, p], paths: [/renew, /ws/*]}", 1)
		if _, _, err := loadText(t, config); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
