package main_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

// What one user may send over all gateways, and what the gateways know of each other.
const (
	sharedRate  = 100 // per second
	sharedBurst = 60
	sharedNodes = 3
	sharedShare = sharedBurst / sharedNodes
	sharedBatch = 5 // a quarter of the share
	sharedLate  = 50 * time.Millisecond
)

// sharedBound is by how much more than R*t all gateways together may admit in any time t (ratelimit/doc.go).
func sharedBound(outages int) float64 {
	return sharedRate*2*sharedLate.Seconds() + sharedBurst*float64(1+outages) + sharedNodes*(sharedShare+sharedBatch)
}

// passage is a message that was admitted, at some time between the two.
type passage struct{ sent, echoed time.Time }

// What a gateway logs about Redis.
const (
	redisThere = "redis is there: limits hold over all gateways together"
	redisAway  = "redis is away: each gateway admits its own share of a limit"
)

// A sharedUser is on all gateways at once and sends ten times what it may.
type sharedUser struct {
	t        *testing.T
	gateways []*wstest.Process
	clients  []*wstest.Client
	mu       sync.Mutex
	sent     []time.Time // of each message, by its number
	passed   []passage
	readers  sync.WaitGroup
}

func (u *sharedUser) join(p *wstest.Process, token string) {
	c := wstest.Dial(u.t, p.Addr)
	c.Within = time.Minute
	c.Upgrade(wstest.HS0("/").Add("Authorization: Bearer " + token))
	u.gateways, u.clients = append(u.gateways, p), append(u.clients, c)
	u.readers.Go(func() { u.read(c) })
}

func (u *sharedUser) read(c *wstest.Client) {
	defer c.Close()
	for {
		f, err := c.ReadFrame()
		now := time.Now()
		var n int
		if err != nil || f.IsClose() {
			return
		}
		if f.Opcode() == 9 {
			continue
		}
		if _, err := fmt.Sscanf(string(f.Payload), "%d", &n); err != nil {
			u.t.Errorf("got %v", f)
			return
		}
		u.mu.Lock()
		u.passed = append(u.passed, passage{u.sent[n], now})
		u.mu.Unlock()
	}
}

// flood sends for a time, and then holds what has come through in any time so far against the bound: Redis was away so often, or
// has lost its memory. On a busy machine it may have been too slow more often; the gateways say so.
func (u *sharedUser) flood(what string, d time.Duration, outages int) {
	u.t.Helper()
	u.mu.Lock()
	before := len(u.passed)
	u.mu.Unlock()
	start := time.Now()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for time.Since(start) < d {
		for _, c := range u.clients {
			var b []byte
			u.mu.Lock()
			for range sharedRate * 10 * 30 / 1000 / sharedNodes {
				b = append(b, wstest.ClientFrame(0x81, fmt.Append(nil, len(u.sent)))...)
				u.sent = append(u.sent, time.Now())
			}
			u.mu.Unlock()
			c.Send(b)
		}
		<-tick.C
	}
	span := time.Since(start)
	told := min(outages, 2) // a loss of memory alone is not noticed
	for _, p := range u.gateways {
		outages += max(0, len(p.Logs(redisAway))-told)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	got, excess, most := len(u.passed)-before, worstExcess(u.passed), sharedBound(outages)
	u.t.Logf("%s: %d in %v; in any time so far at most %.0f more than the rate, bound %.0f", what, got, span.Round(time.Millisecond), excess, most)
	if excess > most {
		u.t.Errorf("%s: %.0f more than the rate, want at most %.0f", what, excess, most)
	}
	if float64(got) < 0.4*sharedRate*span.Seconds() {
		u.t.Errorf("%s: only %d in %v", what, got, span)
	}
}

// worstExcess is by how much more than the rate was certainly admitted in some time: what was sent after its begin and echoed
// before its end.
func worstExcess(all []passage) (worst float64) {
	byEnd := slices.SortedFunc(slices.Values(all), func(a, b passage) int { return a.echoed.Compare(b.echoed) })
	for _, first := range all {
		n := 0
		for _, p := range byEnd {
			if !p.sent.Before(first.sent) {
				n++
				worst = max(worst, float64(n)-sharedRate*p.echoed.Sub(first.sent).Seconds())
			}
		}
	}
	return worst
}

// waitSeries waits until a series of every gateway is as it should be.
func waitSeries(t *testing.T, all []*wstest.Process, name string, want func(float64) bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(wstest.Patience); ; <-poll.C {
		var got []float64
		for _, p := range all {
			got = append(got, p.Metrics()[name])
		}
		if !slices.ContainsFunc(got, func(v float64) bool { return !want(v) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v", name, got)
		}
	}
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

// TestRowsThreeGateways is row X-04 with the limits of messages: three gateways, one real Redis, and one user on all of them who
// sends ten times the limit. What gets through stays within the bound of ratelimit/doc.go while Redis is there, five seconds
// late, killed, and back without its memory; metrics and log tell of it.
func TestRowsThreeGateways(t *testing.T) {
	t.Parallel()
	server := wstest.StartRedis(t)
	link := wstest.NewDetour(t, server.Addr)
	up := wstest.NewRecorder(t, wstest.Echo)
	const secret = wstest.Canary + "0123456789abcdef0123456789abcdef"
	config := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0", tls: {certificates: "off"}, protocols: [h1]}]
routes: [{name: chat, hosts: [app.example.com], upstream: app, policies: [users]}]
upstreams: {app: {servers: ["ws://%s"]}}
policies:
  users:
    origin: {allow: ["https://app.example.com"]}
    jwt: {issuer: "https://id.example.com", audience: chat, secret: %s}
    client: {messages: {per_user: %d/s burst %d, on_limit: drop}}
redis: {url: "redis://%s", nodes: %d, timeout: %v, lease_percent: 25}
`, up.Addr(), secret, sharedRate, sharedBurst, link.Addr(), sharedNodes, sharedLate)
	now := time.Now().Unix()
	token := hs256(`{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"https://id.example.com","aud":"chat","sub":"alice","iat":%d,"exp":%d}`, now, now+3600), []byte(secret))
	user := &sharedUser{t: t}
	var gateways []*wstest.Process
	for range sharedNodes {
		gateways = append(gateways, wstest.Start(t, config))
	}
	const upSeries, alone = "framegate_redis_up", "framegate_redis_fallbacks_total"
	waitSeries(t, gateways, upSeries, is(1))
	for _, p := range gateways {
		user.join(p, token)
	}
	user.flood("Redis is there", 2*time.Second, 0)

	link.Late(5 * time.Second)
	user.flood("Redis is 5 s late", 3*time.Second, 1)
	waitSeries(t, gateways, upSeries, is(0))
	waitSeries(t, gateways, alone, func(v float64) bool { return v > 0 })
	link.Late(0)
	waitSeries(t, gateways, upSeries, is(1))
	user.flood("Redis is fast again", time.Second, 1)

	server.Kill()
	user.flood("Redis is killed", 2*time.Second, 2)
	waitSeries(t, gateways, upSeries, is(0))
	server.Restart()
	waitSeries(t, gateways, upSeries, is(1))
	user.flood("Redis is back, and empty", 2*time.Second, 3)

	for i, p := range gateways {
		user.clients[i].Send(wstest.ClientFrame(0x88, wstest.CloseFrame(1000, "")))
		p.WaitLogs("connection", 1)
		// On a busy machine Redis may have been too slow more often.
		if there, away := len(p.Logs(redisThere)), len(p.Logs(redisAway)); there < 3 || away < 2 {
			t.Errorf("gateway %d says %d times that Redis is there, %d times that it is away; want at least 3 and 2", i, there, away)
		}
		if v := p.Metrics()["framegate_redis_errors_total"]; v == 0 {
			t.Errorf("gateway %d has counted no errors of Redis", i)
		}
		wstest.CheckSecrets(t, p)
	}
	user.readers.Wait()
	if dropped := len(user.sent) - len(user.passed); dropped < len(user.sent)/2 {
		t.Errorf("%d of %d messages were dropped", dropped, len(user.sent))
	}
}
