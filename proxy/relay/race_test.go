//go:build race

package relay_test

// pooledAllocs is how often a message allocates that is gathered. The race
// detector empties pools at random.
const pooledAllocs = 3
