package upstream

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// overload is how many times its fair share of the connections a server may have before a hash leads elsewhere.
const overload = 1.25

// consistentHash takes the same server for the same value of the request, unless that has more than its share of the connections (consistent
// hashing with bounded loads: Mirrokni, Thorup, Zadimoghaddam 2018). Where a request lacks the value, randomTwo decides.
//
// The order in which a value likes the servers is that of rendezvous hashing with weights (Thaler, Ravishankar 1998): it depends on nothing but
// the value, the server's address and its weight. So gateways agree on it, a server that goes moves only its own values, and one that comes
// takes only its own share, from all others alike.
func consistentHash(common *settings) chooser {
	fallback := randomTwo(common)
	return func(f *Facts, from []candidate) int {
		value, ok := common.hash(f)
		if !ok {
			return fallback(f, from)
		}
		return liked(digest(value), from, bounded(from))
	}
}

// liked returns the candidate that a value likes most among those for which may is true, of which there is one.
func liked(value uint64, from []candidate, may func(*candidate) bool) int {
	best, least := 0, math.Inf(1)
	for i := range from {
		if cost := from[i].cost(value); cost < least && may(&from[i]) {
			best, least = i, cost
		}
	}
	return best
}

// cost is exponentially distributed over the values, with the weight as its rate: the chance that a server's is the least is its share of the
// weights. The weight is that of the configuration: gateways that have known a server for different times must agree.
func (s *Server) cost(value uint64) float64 {
	u := (float64(mix(value^s.seed)>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -math.Log(u) / float64(s.weight)
}

// bounded tells which candidates may have one more connection. Their bounds sum up to more than there are connections, so there is one.
func bounded(from []candidate) func(*candidate) bool {
	live, weight := 1.0, 0.0
	for i := range from {
		live += float64(from[i].live)
		weight += float64(from[i].weight)
	}
	return func(c *candidate) bool {
		return float64(c.live+1) <= math.Ceil(overload*live*float64(c.weight)/weight)
	}
}

// digest is the same for the same text everywhere. Who chooses the text cannot cheaply choose the digest's server for many texts at once that
// look different, and the bound holds whatever they choose.
func digest(text string) uint64 {
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:])
}

// mix is the finalizer of SplitMix64: each bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
