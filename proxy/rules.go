package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/policy/rates"
	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/ratelimit"
)

// messageRules are the rules of a route about what one side sends. Their places
// are the numbers by which the relay knows them.
type messageRules struct {
	names   []policy.Rule
	rates   []policy.MessageRate // the first of them
	numbers map[string]uint16    // of those about content, by POLICY/RULE
	meters  []map[string]prometheus.Counter
}

// compileRules numbers the rules of both sides and puts their rates into l.
func compileRules(p *policy.Policy, l *relay.Limits) (all [2]messageRules) {
	for side := range all {
		r := &all[side]
		r.rates = p.Rates(relay.Side(side) == relay.Client)
		for i := range r.rates {
			rate := compileRate(&r.rates[i], uint16(i))
			l.From[side].Rates = append(l.From[side].Rates, rate)
			r.names = append(r.names, r.rates[i].Rule)
		}
		r.numbers = map[string]uint16{}
		for _, rule := range p.ContentRules(relay.Side(side) == relay.Client) {
			r.numbers[rule.Policy+"/"+rule.Name] = uint16(len(r.names))
			rule.Name = relay.Side(side).String() + "." + rule.Name
			r.names = append(r.names, rule)
		}
	}
	return all
}

func compileRate(m *policy.MessageRate, number uint16) relay.Rate {
	return relay.Rate{
		Of:        [...]relay.Unit{policy.Messages: relay.Messages, policy.Bytes: relay.Bytes, policy.Frames: relay.Frames}[m.Of],
		PerSecond: m.Rate.PerSecond,
		Burst:     m.Rate.Burst,
		Action:    map[string]relay.Action{rates.Close: relay.ActClose, rates.Drop: relay.ActDrop, rates.Delay: relay.ActDelay, rates.Reply: relay.ActReply}[m.Action],
		Shadow:    m.Shadow,
		Rule:      number,
		Reply:     m.Reply,
		Operation: m.Operation,
		Reason:    m.Reason(),
	}
}

// prepare makes the series of the rules, of each what it may do: a rate one
// thing, and close what would never have room or cannot be left out; a rule
// about content several.
func (r *messageRules) prepare(m *metrics, route string, from relay.Side, rates []relay.Rate) {
	for i, name := range r.names {
		meters := map[string]prometheus.Counter{}
		actions := []relay.Action{relay.ActClose, relay.ActDrop, relay.ActReply}
		if i < len(rates) {
			actions = []relay.Action{rates[i].Action}
			if rates[i].Action != relay.ActClose && !name.Shadow {
				actions = append(actions, relay.ActClose)
			}
		}
		for _, action := range actions {
			outcome := outcomeOf(relay.Hit{Action: action, Shadow: name.Shadow})
			meters[outcome] = m.hits.WithLabelValues(route, from.String(), name.Policy, name.Name, outcome)
		}
		r.meters = append(r.meters, meters)
	}
}

// outcomeOf names what a rule did with a message, or would have done.
func outcomeOf(hit relay.Hit) string {
	if hit.Shadow {
		return "would_" + hit.Action.String()
	}
	return hit.Action.String()
}

// buckets returns those that a session shares with others, in the form in
// which the relay takes them, and has them released at the connection's end.
func (rt *route) buckets(store ratelimit.Store, a *policy.Admission) (all [2][]relay.Bucket) {
	for side := range rt.rules {
		rates := rt.rules[side].rates
		for i := range rates {
			b := rates[i].Bucket(store, a)
			if b == nil {
				continue
			}
			if all[side] == nil {
				all[side] = make([]relay.Bucket, len(rates))
			}
			all[side][i] = b
			a.Hold(b.Release)
		}
	}
	return all
}
