package upstream

import "sync"

// roundRobin takes turns: in any run of turns each server has its weight's share of them, spread evenly (smooth weighted round robin). Each
// turn gives every candidate a credit of its share; who has most is chosen, and pays what was given out.
func roundRobin(*settings) chooser {
	var mu sync.Mutex
	credits := map[int]float64{} // by the server's index in its set
	return func(_ *Facts, from []candidate) int {
		mu.Lock()
		defer mu.Unlock()
		best, given := 0, 0.0
		for i := range from {
			credits[from[i].index] += from[i].share
			given += from[i].share
			if credits[from[i].index] > credits[from[best].index] {
				best = i
			}
		}
		credits[from[best].index] -= given
		return best
	}
}
