package relay_test

import "math/rand/v2"

// seeds returns programs for the fuzzers, made at random but the same each
// time: a test run without fuzzing plays them all.
func seeds() (all [][]byte) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		b := make([]byte, 20+random.IntN(400))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		all = append(all, b)
	}
	return all
}
