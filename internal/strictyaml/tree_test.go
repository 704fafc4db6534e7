package strictyaml

import (
	"fmt"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	s, doc := decode(t, `
version: 1
upstreams:
  a: &a
    servers: &servers [ws://1, ws://2]
  b: *a
  c: {servers: *servers, weights: [&n 5, *n]}
labels: {&key x: *key}
`)
	same(t, "upstreams", s.Upstreams, map[string]*sampleUpstream{
		"a": {Servers: []string{"ws://1", "ws://2"}},
		"b": {Servers: []string{"ws://1", "ws://2"}},
		"c": {Servers: []string{"ws://1", "ws://2"}, Weights: []int{5, 5}},
	})
	same(t, "labels", s.Labels, map[string]string{"x": "x"})
	s.Upstreams["a"].Servers[0] = "changed"
	same(t, "no sharing", s.Upstreams["b"].Servers[0], "ws://1")
	for path, want := range map[string]Position{
		"upstreams.a": {4, 6}, "upstreams.b": {6, 6}, "upstreams.b.servers": {5, 14}, "upstreams.b.servers[1]": {5, 32},
		"upstreams.c.servers": {7, 16}, "upstreams.c.weights[1]": {7, 42},
	} {
		same(t, path, doc.At(path), want)
	}
}

func TestAliasMistakes(t *testing.T) {
	for text, want := range map[string]string{
		// a wrong value stands where the alias is, a wrong part of it where it is written
		"version: &v 1\nlisteners: *v\n": `f:2:12: listeners: want a list, not "1"`,
		"version: 1\nlabels: &l {a: [b]}\nlog: *l\n": "f:2:16: labels.a: want text, not a list\n" +
			"f:2:13: log.a: unknown key, want one of level, format",
		"version: 1\ntree: &t {sub: [*t]}\n":           "f:2:17: tree.sub[0]: the alias *t stands inside of what it refers to",
		"version: 1\ntree: &t\n  leaf: *t\n":           "f:3:9: tree.leaf: the alias *t stands inside of what it refers to",
		"version: 1\nlog: &l {level: info}\n*l : 5\n":  "f:3:1: an alias cannot be a key",
		"version: &v !!int 1\nlabels: {a: *v}\n":       `f:1:10: version: explicit types such as "!!int" are not supported`,
		"version: 1\nversion: &v 2\nlabels: {a: *v}\n": "f:2:1: version: duplicate key, the first one is in line 1",
		"version: 1\nlabels: {? [&k a] : b, c: *k}\n":  "f:2:12: labels: a key must be text",
	} {
		got := strings.Split(mistakes(text), "\n")
		for _, line := range strings.Split(want, "\n") {
			if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), line) {
				t.Errorf("%s\n got %s\nwant %s", text, strings.Join(got, "\n"), line)
			}
		}
		same(t, "number of mistakes in "+text, len(got), strings.Count(want, "\n")+1)
	}
}

// A file that grows to billions of values is refused at the alias that takes it over the bound, whether or not a struct
// would have decoded it, and without building any of them.
func TestBillionLaughs(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 8), i-1)
	}
	got := mistakes(b.String())
	want := "f:6:10: a4[0]: the aliases of this file stand for more than 10000 values"
	if strings.Count(got, "the aliases") != 1 || !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	flat := "version: 1\nlabels: {a: &a x}\nupstreams: {u: {servers: [" + strings.Repeat("*a, ", maxAliased) + "*a]}}\n"
	same(t, "flat", mistakes(flat), fmt.Sprintf(
		"f:3:%d: upstreams.u.servers[10000]: the aliases of this file stand for more than 10000 values", 27+4*maxAliased))
}

func TestDepth(t *testing.T) {
	tree := func(levels int) string {
		return "version: 1\ntree: " + strings.Repeat("{sub: [", levels) + strings.Repeat("]}", levels)
	}
	same(t, "deep enough", mistakes(tree(31)), "")
	path := "tree" + strings.Repeat(".sub[0]", 31) + ".sub"
	same(t, "too deep", mistakes(tree(32)), "f:2:230: "+path+": nested deeper than 64 levels")

	// Aliases build depth as well: each of these lists is one level deeper than the one before.
	var b strings.Builder
	b.WriteString("version: 1\nx0: &x0 [a]\n")
	for i := 1; i < 100; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [*x%d]\n", i, i, i-1)
	}
	if got := mistakes(b.String()); !strings.Contains(got, "f:64:12: x62[0]: nested deeper than 64 levels") {
		t.Error(got)
	}
}
