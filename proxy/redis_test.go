package proxy

import (
	"fmt"
	"net/http"
	"strings"
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
