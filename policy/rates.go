package policy

import (
	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/message"
	"github.com/framegate/framegate/policy/rates"
	"github.com/framegate/framegate/ratelimit"
)

// Unit is what a MessageRate counts.
type Unit int

// The units.
const (
	Messages Unit = iota
	Bytes         // of payload
	Frames        // control frames too
)

// MessageRate is one limit on how much a side sends in a time.
type MessageRate struct {
	Rule
	Of        Unit
	Operation int // which operation of messages it counts, by their order in Verdict.Operations of the content, from 1; 0 counts all messages
	Rate      ratelimit.Rate
	Action    string // one of package rates
	Reply     string // text of rates.Reply

	limit ratelimit.Limit
	key   *limitKey // nil where each connection has its own bucket
}

// IsShared says whether connections share its bucket.
func (r *MessageRate) IsShared() bool { return r.key != nil }

// Reason is what the client reads where the rate ends the connection; empty for what its unit says.
func (r *MessageRate) Reason() string {
	if r.Operation > 0 {
		return "operation rate exceeded"
	}
	return ""
}

// Bucket returns the bucket that a connection shares with others, or nil where it has its own. It must be released.
func (r *MessageRate) Bucket(store ratelimit.Store, a *Admission) *ratelimit.Shared {
	if r.key == nil {
		return nil
	}
	return store.Bucket(&r.limit, r.key.of(a), a.Now)
}

// rateKey is what a rate counts by, nil for each connection.
func rateKey(l rates.Limit) *limitKey {
	switch l.Key {
	case rates.PerIP:
		return &keyIP
	case rates.PerUser:
		return &keyUser
	case rates.PerClaim:
		key := keyClaim(l.Claim)
		return &key
	case rates.PerRoute:
		return &keyRoute
	}
	return nil
}

// ratesOf makes the rates of one side of one policy. The rules get their names from the side's key in the policy.
type ratesOf struct {
	policy, side string
	shadow       bool
}

// make makes the rates that stand at a path of the side's section.
func (o ratesOf) make(path string, of Unit, limits []rates.Limit, action *rates.Action) (all []MessageRate) {
	for _, l := range limits {
		m := MessageRate{
			Rule: Rule{o.policy, o.side + "." + path + "." + l.Name, o.shadow}, Of: of, Rate: l.Rate,
			Action: action.Name(), Reply: action.Text(), key: rateKey(l),
		}
		m.limit = ratelimit.Limit{Name: o.policy + "/" + m.Name, Rate: l.Rate}
		all = append(all, m)
	}
	return all
}

// compileRates makes the rates of messages, bytes and frames. The section may be nil.
func (c *ShapeConfig) compileRates(o ratesOf, report Report) (all []MessageRate) {
	if c == nil {
		return nil
	}
	check := func(path string, a *rates.Action) {
		if err := a.Check(); err != nil {
			report(strictyaml.Join(o.side, path+".reply"), "%v", err)
		}
	}
	check("on_limit", c.OnLimit)
	for _, row := range []struct {
		key    string
		of     Unit
		limits []rates.Limit
		own    *rates.Action
	}{
		{"messages", Messages, c.Messages.Limits(), c.Messages.Action()},
		{"bytes", Bytes, c.Bytes.Limits(), c.Bytes.Action()},
		{"frames", Frames, c.Frames.Limits(), c.Frames.Action()},
	} {
		action, at := c.OnLimit, "on_limit"
		if row.own != nil {
			action, at = row.own, row.key+".on_limit"
			check(at, action)
		}
		if name := action.Name(); len(row.limits) > 0 && row.of == Frames && (name == rates.Drop || name == rates.Reply) {
			report(strictyaml.Join(o.side, at), "frames cannot be left out, which would split messages, want close or delay (as frames.on_limit)")
		}
		all = append(all, o.make(row.key, row.of, row.limits, action)...)
	}
	return all
}

// compileOperations makes the rates of the operations that the content of one policy finds.
func (o ratesOf) compileOperations(content *message.Inspector) (all []MessageRate) {
	for i, l := range content.Limits() {
		made := o.make(l.Rule, Messages, l.Rates.Limits(), l.Action)
		for k := range made {
			made[k].Operation = i + 1
		}
		all = append(all, made...)
	}
	return all
}
