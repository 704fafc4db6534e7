package message

import (
	"slices"

	"github.com/framegate/framegate/policy/operation"
	"github.com/framegate/framegate/policy/pattern"
)

// The bounds of one section's lists.
const (
	maxPatterns = 256
	maxLimits   = 64
)

// operations are the compiled rules about operations.
type operations struct {
	reaction
	source      operation.Source
	hasAllow    bool
	allow, deny []pattern.Glob
	allowNone   bool // messages without an operation may pass
	passBinary  bool
	max         int
	limits      []Limit
	schemas     []pattern.Glob // of the schemas for operations, in their order
	known       map[string]ruling
	hasPatterns bool   // some name is a pattern
	other       ruling // any that no name or pattern matches
}

// ruling is what the rules say about one name.
type ruling struct {
	allowed bool
	limits  uint64 // bits, by row of limits
	schemas uint64 // bits, by row of schemas
}

// index precomputes what is said about the names that the configuration spells out.
func (o *operations) index() {
	all := slices.Concat(o.allow, o.deny, o.schemas)
	for _, l := range o.limits {
		all = append(all, l.operations)
	}
	o.known = map[string]ruling{}
	for _, g := range all {
		if g.Literal() {
			o.known[g.String()] = o.match(g.String())
		}
		o.hasPatterns = o.hasPatterns || !g.Literal()
	}
	o.other = ruling{allowed: !o.hasAllow}
}

// find returns what is said about a name.
func (o *operations) find(name []byte) ruling {
	if op, ok := o.known[string(name)]; ok {
		return op
	}
	if !o.hasPatterns {
		return o.other
	}
	return o.match(string(name))
}

func (o *operations) match(name string) ruling {
	matches := func(g pattern.Glob) bool { return g.Match(name) }
	op := ruling{allowed: (!o.hasAllow || slices.ContainsFunc(o.allow, matches)) && !slices.ContainsFunc(o.deny, matches)}
	for k, l := range o.limits {
		if l.operations.Match(name) {
			op.limits |= 1 << k
		}
	}
	for k, g := range o.schemas {
		if g.Match(name) {
			op.schemas |= 1 << k
		}
	}
	return op
}

// rule finds what is said about each call of a message; of one without name, nothing.
func (in *inspection) rule(o *operations, calls []operation.Call) {
	for _, c := range calls {
		r := ruling{}
		if c.State == operation.Named {
			r = o.find(c.Name)
		}
		in.rulings = append(in.rulings, r)
	}
}

// checkOperations holds the operations of the message against the lists, and counts those that are limited.
func (in *inspection) checkOperations(p *part, r *operation.Reader) (refusal, bool) {
	o := p.operations
	if o == nil || o.passBinary && !in.message.Text {
		return refusal{}, true
	}
	problem := r.Problem
	if problem == operation.Sound && len(r.Calls) > o.max {
		problem = operation.TooMany
	}
	if problem != operation.Sound {
		return refusal{reaction: o.reaction, reason: string(problem)}, false
	}
	in.rule(o, r.Calls)
	for k, c := range r.Calls {
		switch {
		case c.State == operation.Unnamed && !o.allowNone:
			return refusal{reaction: o.reaction, reason: "message has no operation"}, false
		case c.State == operation.Named && !in.rulings[k].allowed:
			return refusal{reaction: o.reaction, reason: "operation not allowed", operation: c.Name}, false
		}
	}
	for _, r := range in.rulings {
		for l := range o.limits {
			in.memory.counts[p.firstLimit+l] += int(r.limits >> l & 1)
		}
	}
	return refusal{}, true
}
