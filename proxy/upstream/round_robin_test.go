package upstream

import (
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestRoundRobinRotates(t *testing.T) {
	p := mustCompile(t, Config{Servers: []string{"ws://a", "ws://b", "ws://c"}})
	for _, want := range []string{"a b c", "b c a", "c a b", "a b c"} {
		got := strings.ReplaceAll(strings.Join(names(p.Order()), " "), ":80", "")
		if got != want {
			t.Errorf("got order %q, want %q", got, want)
		}
	}
}

func TestRoundRobinOneServer(t *testing.T) {
	p := mustCompile(t, Config{Servers: []string{"ws://a"}})
	for range 3 {
		if got := names(p.Order()); !reflect.DeepEqual(got, []string{"a:80"}) {
			t.Errorf("got order %q", got)
		}
	}
}

// Pools do not share their turn, and a caller may do what it likes with its slice.
func TestOrderIsTheCallersOwn(t *testing.T) {
	c := Config{Servers: []string{"ws://a", "ws://b"}}
	p, q := mustCompile(t, c), mustCompile(t, c)
	clear(p.Order())
	if got := names(p.Order()); !reflect.DeepEqual(got, []string{"b:80", "a:80"}) {
		t.Errorf("got order %q", got)
	}
	if got := names(q.Order()); !reflect.DeepEqual(got, []string{"a:80", "b:80"}) {
		t.Errorf("got order %q of another pool", got)
	}
}

func TestRoundRobinIsFair(t *testing.T) {
	p := mustCompile(t, Config{Servers: []string{"ws://a", "ws://b", "ws://c"}})
	var mu sync.Mutex
	first := make(map[string]int)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 500 {
				name := p.Order()[0].String()
				mu.Lock()
				first[name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, n := range first {
		if n != 1000 {
			t.Errorf("%s came first %d times of 3000, want 1000", name, n)
		}
	}
}

func TestOrderAllocatesOnlyTheSlice(t *testing.T) {
	p := mustCompile(t, Config{Servers: []string{"ws://a", "ws://b", "ws://c"}})
	if n := testing.AllocsPerRun(100, func() { p.Order() }); n > 1 {
		t.Errorf("Order allocates %v times, want 1", n)
	}
}
