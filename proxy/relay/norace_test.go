//go:build !race

package relay_test

const pooledAllocs = 0
