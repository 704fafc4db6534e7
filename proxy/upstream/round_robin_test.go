package upstream

import (
	"strings"
	"testing"
)

// firsts are the first choices of n picks, without the port 80.
func firsts(p *Pool, n int) string {
	var list []string
	for range n {
		lease := p.Pick(&Facts{}).Next()
		list = append(list, strings.TrimSuffix(lease.Server().String(), ":80"))
		lease.Release()
	}
	return strings.Join(list, " ")
}

func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	for want, servers := range map[string][]ServerConfig{
		"a a a":           urls("ws://a"),
		"a b c a b c a":   urls("ws://a", "ws://b", "ws://c"),
		"a a b a c a a a": {{URL: "ws://a", Weight: 5}, {URL: "ws://b"}, {URL: "ws://c"}},
	} {
		p := mustCompile(t, Config{Servers: servers})
		if got := firsts(p, strings.Count(want, " ")+1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// In every run of turns each server has its share, whatever the weights.
func TestRoundRobinKeepsWeights(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: []ServerConfig{{URL: "ws://a", Weight: 7}, {URL: "ws://b", Weight: 2}, {URL: "ws://c", Weight: 3}}})
	got := firsts(p, 120)
	for server, want := range map[string]int{"a": 70, "b": 20, "c": 30} {
		if n := strings.Count(got, server); n != want {
			t.Errorf("%s came first %d times of 120, want %d", server, n, want)
		}
	}
	if strings.Contains(got, "b b") || strings.Contains(got, "c c") {
		t.Errorf("turns are not spread: %q", got)
	}
}

// The connections of a server that is down are spread over the others.
func TestRoundRobinWithoutOne(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, Config{Servers: urls("ws://a", "ws://b", "ws://c")})
	p.Servers()[1].Mark(Unhealthy)
	if got := firsts(p, 6); got != "a c a c a c" {
		t.Errorf("got %q", got)
	}
}
