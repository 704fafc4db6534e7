package upstream

import "sync/atomic"

// roundRobin starts each connection at the server after the one where the last connection started. The servers that follow keep their order,
// so the connections of a server that is down all go to its neighbour.
func roundRobin() order {
	var next atomic.Uint64
	return func(servers []*Server) []*Server {
		first := int((next.Add(1) - 1) % uint64(len(servers)))
		rotated := make([]*Server, len(servers))
		copy(rotated[copy(rotated, servers[first:]):], servers[:first])
		return rotated
	}
}
