package upstream

import (
	"maps"
	"slices"
	"strings"
)

// A chooser is a balancing strategy at work on one set: it returns the index of one of the candidates, of which there is at least one. A
// connection that fails there asks again, with the candidates that are left. It is called concurrently.
type chooser func(f *Facts, from []candidate) int

// strategies lists the values of the key balance. A new strategy is one file and one row.
var strategies = map[string]func(*settings) chooser{
	"round_robin":       roundRobin,
	"random_two":        randomTwo,
	"least_connections": leastConnections,
	"consistent_hash":   consistentHash,
}

// strategyNamed looks a strategy up; no name means round_robin.
func strategyNamed(name string, report Report) func(*settings) chooser {
	if name == "" {
		name = "round_robin"
	}
	newChooser, ok := strategies[name]
	if !ok {
		report("balance", "unknown strategy %q, want one of: %s", name, strings.Join(slices.Sorted(maps.Keys(strategies)), ", "))
	}
	return newChooser
}
