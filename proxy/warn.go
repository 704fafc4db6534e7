package proxy

import (
	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/ratelimit"
)

// warnOfRates tells of rates of bytes that have no room for messages which are
// not too large: never, or not while Redis is away and each gateway admits its
// share. p is nil where the policy of a route has mistakes.
func warnOfRates(p *policy.Policy, redis *ratelimit.RedisConfig, warn Report) {
	if p == nil {
		return
	}
	nodes := int64(1)
	if redis != nil {
		nodes = int64(redis.Nodes)
	}
	for _, fromClient := range []bool{true, false} {
		largest := p.Shape(fromClient).MaxMessage
		for _, r := range p.Rates(fromClient) {
			at := strictyaml.Join(strictyaml.Key("policies", r.Policy), r.Name)
			burst := int64(r.Rate.Burst)
			switch share := (burst + nodes - 1) / nodes; {
			case r.Of != policy.Bytes:
			case burst < largest:
				warn(at, "a message of max_message (%v) in one frame never has room in a burst of %v, want one of at least %[1]v, or a smaller max_message",
					strictyaml.Size(largest), strictyaml.Size(burst))
			case r.IsShared() && share < largest:
				warn(at, "while Redis is away each of %d gateways has a share of %v of this burst: a message of max_message (%v) has no room, want a burst of at least %v, or a smaller max_message",
					nodes, strictyaml.Size(share), strictyaml.Size(largest), strictyaml.Size(nodes*largest))
			}
		}
	}
}
