package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/framegate/framegate/internal/wstest"
)

// Two gateways count together where they have the same Redis: connections at once.
func TestGatewaysCountTogether(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	up := wstest.NewRecorder(t, wstest.Echo)
	config := oneRoute("ws://"+up.Addr(), ", policies: [few]") + fmt.Sprintf(`policies: {few: {connections: {per_ip: 3}}}
redis: {url: "redis://%s", nodes: 2, timeout: 1s}
`, store.Addr())
	one, two := startGateway(t, config), startGateway(t, config)
	for _, g := range []*gateway{one, two} {
		waitFor(t, "redis", func() bool { return g.metrics.series(t)["framegate_redis_up{}"] == 1 })
	}
	one.open(t, up, "/1")
	one.open(t, up, "/2")
	last, _ := two.open(t, up, "/3")
	refused := func(g *gateway) bool {
		c := wstest.Dial(t, g.addr)
		c.Send(wstest.HS0("/over").Without("Origin").Bytes())
		return c.Head().Status == http.StatusTooManyRequests
	}
	if !refused(one) || !refused(two) {
		t.Error("a fourth connection of one address is admitted")
	}
	last.Close()
	waitFor(t, "a place", func() bool { return !refused(one) })
}

// Where gateways that count together reload at the same time, those connections go that are too many, and no others.
func TestGatewaysReviewTogether(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	up := wstest.NewRecorder(t, wstest.Echo)
	config := func(most int) string {
		return oneRoute("ws://"+up.Addr(), ", policies: [few]") + fmt.Sprintf(`policies: {few: {connections: {per_ip: %d}}}
redis: {url: "redis://%s", nodes: 2, timeout: 1s}
`, most, store.Addr())
	}
	gateways := [2]*gateway{startGateway(t, config(4)), startGateway(t, config(4))}
	var clients []*wstest.Client
	for i, g := range gateways {
		waitFor(t, "redis", func() bool { return g.metrics.series(t)["framegate_redis_up{}"] == 1 })
		for k := range 2 - i {
			client, _ := g.open(t, up, fmt.Sprintf("/%d/%d", i, k))
			clients = append(clients, client)
		}
	}
	outcomes := func(g *gateway) (adopted, refused float64) {
		all := g.metrics.series(t)
		return all[`framegate_reviews_total{outcome=adopted}`], all[`framegate_reviews_total{outcome=refused}`]
	}
	count := func(g *gateway) float64 {
		adopted, refused := outcomes(g)
		return adopted + refused
	}
	reviewed := func(most int) {
		t.Helper()
		var before [2]float64
		var reloads sync.WaitGroup
		for i, g := range gateways {
			before[i] = count(g)
			reloads.Go(func() {
				if err := g.reload(t, config(most)); err != nil {
					t.Error(err)
				}
			})
		}
		reloads.Wait()
		for i, g := range gateways {
			waitFor(t, "the review", func() bool { return count(g) == before[i]+float64(2-i) })
		}
	}
	for i := range 20 { // three connections, of which there may always be as many
		reviewed(3 + i%2)
	}
	for i, client := range clients {
		payload := []byte{byte(i)}
		client.Send(wstest.ClientFrame(0x82, payload))
		client.ExpectFrame(0x82, payload)
	}
	reviewed(2)
	_, one := outcomes(gateways[0])
	_, two := outcomes(gateways[1])
	if refused := one + two; refused != 1 {
		t.Errorf("%v of three connections were refused, of which there may be two", refused)
	}
}

func TestRedisMistakes(t *testing.T) {
	t.Parallel()
	_, _, err := loadText(t, oneRoute("ws://127.0.0.1:9", "")+`redis: {url: "redis://redis.example.com:6379", nodes: 0, perfix: x}
`)
	for _, want := range []string{"redis.nodes: ", "redis.perfix: unknown key", `did you mean "prefix"?`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, _, err = loadText(t, oneRoute("ws://127.0.0.1:9", "")+`redis: {url: "redis://redis.example.com:6379"}
`)
	if err == nil || !strings.Contains(err.Error(), "redis.url: ") {
		t.Errorf("plain text to another machine: got %v", err)
	}
}
