package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// ratedGateway is a gateway whose clients are under the given section client.
func ratedGateway(t *testing.T, up *wstest.Recorder, driver, mode, client string) *gateway {
	t.Helper()
	return startGateway(t, oneRoute("ws://"+up.Addr(), ", policies: [rated]")+"policies: {rated: {mode: "+mode+", client: "+client+"}}\n"+driver+"\n")
}

// sendMany sends numbered messages from first on.
func sendMany(c *wstest.Client, first, n int) {
	var all [][]byte
	for i := range n {
		all = append(all, wstest.ClientFrame(0x81, fmt.Appendf(nil, "message %d", first+i)))
	}
	c.Send(all...)
}

// expectMany demands the echoes of numbered messages, in order.
func expectMany(c *wstest.Client, first, n int) {
	for i := range n {
		c.ExpectFrame(0x81, fmt.Appendf(nil, "message %d", first+i))
	}
}

// Each action at a limit, with either driver: what it lets pass arrives whole and in order, and it is counted and told once (row R-14).
func TestActionsAtALimit(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	for _, driver := range drivers {
		t.Run(driver+"/close", func(t *testing.T) {
			g := ratedGateway(t, up, driver, "enforce", "{messages: 1/h burst 200}")
			c, u := g.open(t, up, "/close")
			sendMany(c, 0, 201)
			if _, reason := c.ExpectClose(1008); reason != "too many messages" {
				t.Errorf("the Close says %q", reason)
			}
			u.WaitClose(wstest.Patience)
			frames, _ := u.Frames()
			for i, f := range frames[:len(frames)-1] {
				if string(f.Payload) != fmt.Sprintf("message %d", i) {
					t.Fatalf("frame %d is %q", i, f.Payload)
				}
			}
			if len(frames) != 201 {
				t.Errorf("the upstream got %d messages before its Close, want 200", len(frames)-1)
			}
			g.wantHits(t, "outcome=close,policy=rated,route=app,rule=client.messages.per_connection", 1)
		})
		t.Run(driver+"/drop", func(t *testing.T) {
			g := ratedGateway(t, up, driver, "enforce", "{messages: 1/h burst 5, on_limit: drop}")
			c, _ := g.open(t, up, "/drop")
			sendMany(c, 0, 9)
			expectMany(c, 0, 5)
			c.Send(wstest.ClientFrame(0x89, []byte("alive")))
			c.ExpectFrame(0x8a, []byte("alive"))
			g.wantHits(t, "outcome=drop,policy=rated,route=app,rule=client.messages.per_connection", 4)
		})
		t.Run(driver+"/delay", func(t *testing.T) {
			g := ratedGateway(t, up, driver, "enforce", "{messages: 20/s burst 5, on_limit: delay}")
			c, _ := g.open(t, up, "/delay")
			start := time.Now()
			sendMany(c, 0, 15)
			expectMany(c, 0, 15)
			if took := time.Since(start); took < 450*time.Millisecond {
				t.Errorf("15 messages took %v at 20/s, burst 5", took)
			}
		})
		t.Run(driver+"/reply", func(t *testing.T) {
			g := ratedGateway(t, up, driver, "enforce", `{messages: {per_connection: 1/h burst 2, on_limit: {reply: '{"error":"slow down"}'}}}`)
			c, _ := g.open(t, up, "/reply")
			sendMany(c, 0, 2)
			expectMany(c, 0, 2)
			sendMany(c, 2, 1)
			c.ExpectFrame(0x81, []byte(`{"error":"slow down"}`))
			g.wantHits(t, "outcome=reply,policy=rated,route=app,rule=client.messages.per_connection", 1)
		})
		t.Run(driver+"/shadow", func(t *testing.T) {
			g := ratedGateway(t, up, driver, "shadow", "{messages: 1/h burst 2}")
			c, _ := g.open(t, up, "/shadow")
			sendMany(c, 0, 6)
			expectMany(c, 0, 6)
			g.wantHits(t, "outcome=would_close,policy=rated,route=app,rule=client.messages.per_connection", 4)
		})
	}
}

// wantHits demands what a rule about messages of clients was counted, and that the log was told of it once.
func (g *gateway) wantHits(t *testing.T, labels string, want float64) {
	t.Helper()
	name := "framegate_message_rules_total{from=client," + labels + "}"
	waitFor(t, name, func() bool { return g.metrics.series(t)[name] == want })
	if lines := g.log.lines(t, "rule"); len(lines) != 1 || lines[0]["policy"] != "rated" || lines[0]["from"] != "client" {
		t.Errorf("the log says %v", lines)
	}
}

// Connections of one address share what is limited by address; a bucket is forgotten with the last of them.
func TestLimitOverConnections(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := ratedGateway(t, up, drivers[0], "enforce", "{bytes: {per_ip: 1B/h burst 20B}, on_limit: drop}")
	one, _ := g.open(t, up, "/one")
	two, _ := g.open(t, up, "/two")
	sendMany(one, 0, 1) // 9 bytes
	expectMany(one, 0, 1)
	sendMany(two, 1, 1)
	expectMany(two, 1, 1)
	sendMany(one, 2, 1) // 27 of 20
	sendMany(two, 3, 1)
	name := "framegate_message_rules_total{from=client,outcome=drop,policy=rated,route=app,rule=client.bytes.per_ip}"
	waitFor(t, name, func() bool { return g.metrics.series(t)[name] == 2 })
}

// Rules about content see whole messages, in both directions: what they refuse goes no further, all else arrives as it was sent.
func TestContentRules(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	for i, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			g := ratedGateway(t, up, driver, "enforce", `{json: strict, operations: {from: {json: /type}, deny: [admin*], on_match: drop}, deny: [{name: secret, pattern: 'pass\s*word', on_match: {reply: no}}]}`)
			c, u := g.open(t, up, fmt.Sprint("/content/", i))
			whole := wstest.ClientFrame(0x81, []byte(`{"type":"chat"}`))
			parts := [][]byte{wstest.ClientFrame(0x01, []byte(`{"ty`)), wstest.ClientFrame(0x00, nil), wstest.ClientFrame(0x80, []byte(`pe":"chat"}`))}
			c.Send(whole, wstest.ClientFrame(0x81, []byte(`{"type":"admin.kick"}`)))
			c.Send(parts...)
			for _, want := range []string{`{"type":"chat"}`, `{"ty`, ``, `pe":"chat"}`} {
				if f := c.Frame(); string(f.Payload) != want {
					t.Fatalf("got %v, want %s", f, want)
				}
			}
			c.Send(wstest.ClientFrame(0x81, []byte(`{"type":"chat","text":"my pass word"}`)))
			c.ExpectFrame(0x81, []byte("no"))
			wantUpstream(t, u, append([][]byte{whole}, parts...))
			c.Send(wstest.ClientFrame(0x81, []byte(`{"type":"a","type":"admin"}`)))
			if _, reason := c.ExpectClose(1008); reason == "" {
				t.Error("a Close without a reason")
			}
			s := g.metrics.series(t)
			for labels, want := range map[string]float64{
				"outcome=drop,policy=rated,route=app,rule=client.operations": 1,
				"outcome=reply,policy=rated,route=app,rule=client.secret":    1,
				"outcome=close,policy=rated,route=app,rule=client.json":      1,
			} {
				if got := s["framegate_message_rules_total{from=client,"+labels+"}"]; got != want {
					t.Errorf("%s is %v, want %v", labels, got, want)
				}
			}
		})
	}
}

// What a policy in shadow would refuse passes, and is counted.
func TestContentRulesInShadow(t *testing.T) {
	t.Parallel()
	up := wstest.NewRecorder(t, wstest.Echo)
	g := ratedGateway(t, up, drivers[0], "shadow", "{json: strict}")
	c, _ := g.open(t, up, "/shadow")
	c.Send(wstest.ClientFrame(0x81, []byte("{")))
	c.ExpectFrame(0x81, []byte("{"))
	g.wantHits(t, "outcome=would_close,policy=rated,route=app,rule=client.json", 1)
}
