//go:build race

package relay_test

// pooledAllocs is how often a message may allocate. The race detector empties
// pools at random; make test runs this without it, too.
const pooledAllocs = 3
