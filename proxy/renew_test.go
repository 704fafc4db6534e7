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
