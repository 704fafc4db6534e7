package upstream

import "math/rand/v2"

// leastConnections takes the server that would have the fewest connections for its weight with one more: as many as there are, from all
// configurations. Among equal ones chance decides, else several gateways would all begin at the same one.
func leastConnections(*settings) chooser {
	return func(_ *Facts, from []candidate) int {
		best, equal := 0, 1
		for i := 1; i < len(from); i++ {
			switch a, b := from[i].load(), from[best].load(); {
			case a < b:
				best, equal = i, 1
			case a == b:
				if equal++; rand.IntN(equal) == 0 {
					best = i
				}
			}
		}
		return best
	}
}

// load is the number of connections for the share, were there one more.
func (c *candidate) load() float64 { return float64(c.live+1) / c.share }
