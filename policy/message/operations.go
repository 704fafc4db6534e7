package message

import (
	"cmp"
	"maps"
	"slices"

	"github.com/framegate/framegate/policy/operation"
	"github.com/framegate/framegate/policy/pattern"
)

// The bounds of one section's lists.
const (
	maxPatterns = 256
	maxLimits   = 64
)

// Other is the name of operations that the configuration does not name.
const Other = "other"

// operations are the compiled rules about operations.
type operations struct {
	reaction
	source      operation.Source
	hasAllow    bool
	allow, deny []pattern.Glob
	allowNone   bool // messages without an operation may pass
	passBinary  bool
	max         int
	limits      []limit
	schemas     []pattern.Glob // of the schemas for operations, in their order
	labels      []pattern.Glob // all patterns, the longest first
	known       map[string]ruling
	other       ruling // any that no pattern matches
}

// ruling is what the rules say about one name.
type ruling struct {
	label   []string // exactly one; not to be changed
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
	unique := map[string]pattern.Glob{}
	for _, g := range all {
		unique[g.String()] = g
	}
	o.labels = slices.SortedFunc(maps.Values(unique), func(a, b pattern.Glob) int {
		return cmp.Or(cmp.Compare(len(b.String()), len(a.String())), cmp.Compare(a.String(), b.String()))
	})
	o.known = map[string]ruling{}
	for _, g := range o.labels {
		if g.Literal() {
			op := o.match(g.String())
			op.label = []string{g.String()}
			o.known[g.String()] = op
		}
	}
	o.labels = slices.DeleteFunc(o.labels, pattern.Glob.Literal)
	o.other = ruling{label: []string{Other}, allowed: !o.hasAllow}
}

// find returns what is said about a name.
func (o *operations) find(name []byte) ruling {
	if op, ok := o.known[string(name)]; ok {
		return op
	}
	if len(o.labels) == 0 {
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
	label := Other
	if k := slices.IndexFunc(o.labels, matches); k >= 0 && o.labels[k].String() != "*" {
		label = o.labels[k].String()
	}
	op.label = []string{label}
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

// checkOperations holds the operations of the message against the lists, and then against the limits.
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
	var counts [maxLimits]int
	for k, c := range r.Calls {
		switch {
		case c.State == operation.Unnamed && !o.allowNone:
			return refusal{reaction: o.reaction, reason: "message has no operation"}, false
		case c.State == operation.Named && !in.rulings[k].allowed:
			return refusal{reaction: o.reaction, reason: "operation not allowed", operation: c.Name}, false
		}
		for l := range o.limits {
			counts[l] += int(in.rulings[k].limits >> l & 1)
		}
	}
	return in.checkLimits(p, counts[:len(o.limits)])
}

// labels are the names under which the operations of a message are counted.
func (in *inspection) labels() []string {
	if len(in.rulings) == 1 {
		return in.rulings[0].label
	}
	var labels []string
	for _, r := range in.rulings {
		labels = append(labels, r.label...)
	}
	return labels
}

// Operations lists every name that a Verdict has for operations: those that the configuration spells out, its patterns, and Other.
func (i *Inspector) Operations() []string {
	if i == nil {
		return nil
	}
	names := map[string]struct{}{}
	for k := range i.parts {
		o := i.parts[k].operations
		if o == nil {
			continue
		}
		names[Other] = struct{}{}
		for _, g := range o.labels {
			if g.String() != "*" {
				names[g.String()] = struct{}{}
			}
		}
		for name := range o.known {
			names[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
