package upstream

import (
	"maps"
	"slices"
	"strings"
)

// order is a balancing strategy at work in one pool: it returns the servers to try for one connection, each exactly once, in a new slice. It is
// called concurrently.
type order func(servers []*Server) []*Server

// strategies lists the values of the key balance. A new strategy is one file and one row.
var strategies = map[string]func() order{
	"round_robin": roundRobin,
}

// strategyNamed looks a strategy up; no name means round_robin.
func strategyNamed(name string, report Report) func() order {
	if name == "" {
		name = "round_robin"
	}
	newOrder, ok := strategies[name]
	if !ok {
		report("balance", "unknown strategy %q, want one of: %s", name, strings.Join(slices.Sorted(maps.Keys(strategies)), ", "))
	}
	return newOrder
}
