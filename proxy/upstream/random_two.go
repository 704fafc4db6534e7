package upstream

import "math/rand/v2"

// randomTwo draws two servers by their weights and takes the one with fewer connections for its weight. That comes close to leastConnections,
// and gateways that know nothing of each other's connections do not all run to the same server.
func randomTwo(*settings) chooser {
	return func(_ *Facts, from []candidate) int {
		if len(from) == 1 {
			return 0
		}
		a := draw(from, -1)
		b := draw(from, a)
		if from[b].load() < from[a].load() {
			return b
		}
		return a
	}
}

// draw returns the index of a candidate by chance, each as likely as its weight says. It is not the index without, which may be -1.
func draw(from []candidate, without int) int {
	total := 0.0
	for i := range from {
		if i != without {
			total += from[i].share
		}
	}
	rest, last := rand.Float64()*total, 0
	for i := range from {
		if i == without {
			continue
		}
		if rest -= from[i].share; rest < 0 {
			return i
		}
		last = i
	}
	return last // by rounding
}
