package proxy

import (
	"slices"

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

// maxOldRules bounds what is remembered of the numbers of rules before.
const maxOldRules = 1000

// compileRules numbers the rules of both sides and puts their rates into l. What
// had a number in the route before keeps it: a message that was under way when
// rules changed is reported by the old one.
func compileRules(p *policy.Policy, l *relay.Limits, before *route) (all [2]messageRules) {
	for side := range all {
		r := &all[side]
		if before != nil && len(before.rules[side].names) < maxOldRules {
			r.names = slices.Clip(before.rules[side].names)
		}
		r.rates = p.Rates(relay.Side(side) == relay.Client)
		for i := range r.rates {
			l.From[side].Rates = append(l.From[side].Rates, compileRate(&r.rates[i], r.number(r.rates[i].Rule)))
		}
		r.numbers = map[string]uint16{}
		for _, rule := range p.ContentRules(relay.Side(side) == relay.Client) {
			key := rule.Policy + "/" + rule.Name
			rule.Name = relay.Side(side).String() + "." + rule.Name
			r.numbers[key] = r.number(rule)
		}
	}
	return all
}

// number returns that of a rule, which may be new.
func (r *messageRules) number(rule policy.Rule) uint16 {
	if i := slices.Index(r.names, rule); i >= 0 {
		return uint16(i)
	}
	r.names = append(r.names, rule)
	return uint16(len(r.names) - 1)
}

func compileRate(m *policy.MessageRate, number uint16) relay.Rate {
	return relay.Rate{
		Name:      m.Policy + "/" + m.Name,
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
		if k := slices.IndexFunc(rates, func(rate relay.Rate) bool { return int(rate.Rule) == i }); k >= 0 {
			actions = []relay.Action{rates[k].Action}
			if rates[k].Action != relay.ActClose && !name.Shadow {
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
