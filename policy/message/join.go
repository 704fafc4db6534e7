package message

import (
	"slices"
	"sync"

	"github.com/framegate/framegate/policy/operation"
)

// Part is one policy among those of a route.
type Part struct {
	Policy    string
	Shadow    bool       // its refusals are only noted
	Inspector *Inspector // of its section, nil if it has none
}

// Join makes one inspector of the policies of a route, so that a message is read once for all of them. Each must let it pass. The names of
// rules get that of the policy before them, as in "members/scripts". It returns nil if no policy reads payloads.
func Join(parts ...Part) *Inspector {
	var all []part
	for _, one := range parts {
		if one.Inspector == nil {
			continue
		}
		for _, p := range one.Inspector.parts {
			p = p.clone()
			p.shadow = p.shadow || one.Shadow
			p.each(func(r *reaction) { r.rule = one.Policy + "/" + r.rule })
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return assemble(all)
}

// clone copies what each visits.
func (p part) clone() part {
	if p.json != nil {
		p.json = new(*p.json)
		if p.json.schemas != nil {
			p.json.schemas = new(*p.json.schemas)
		}
	}
	if p.operations != nil {
		p.operations = new(*p.operations)
	}
	p.deny, p.conditions = slices.Clone(p.deny), slices.Clone(p.conditions)
	return p
}

// assemble makes an inspector of compiled policies and gives each the source that it shares with the others.
func assemble(parts []part) *Inspector {
	i := &Inspector{parts: parts}
	i.scratch = &sync.Pool{New: i.newInspection}
	for k := range i.parts {
		p := &i.parts[k]
		if p.operations == nil {
			continue
		}
		p.operations.index()
		p.source, p.firstLimit = i.sourceOf(p.operations.source), len(i.limits)
		i.limits = append(i.limits, p.operations.limits...)
	}
	for k := range i.parts {
		p := &i.parts[k]
		i.binary = i.binary || p.readsBinary()
		if p.operations == nil && p.readsJSON() {
			p.source = i.wholeJSON()
		}
		if p.source >= 0 {
			p.raise(&i.bounds[p.source])
		}
	}
	return i
}

// raise makes bounds what the policy needs.
func (p *part) raise(b *operation.Bounds) {
	b.Build = b.Build || p.needsValue()
	if p.operations != nil {
		b.Calls = max(b.Calls, p.operations.max)
	}
	if p.json != nil {
		b.Depth = max(b.Depth, p.json.maxDepth)
	}
}

// sourceOf returns the row of a source, which policies that have the same one share.
func (i *Inspector) sourceOf(s operation.Source) int {
	for k, known := range i.sources {
		if known.String() == s.String() {
			return k
		}
	}
	i.streams = i.streams || s.Binary()
	i.sources = append(i.sources, s)
	i.bounds = append(i.bounds, operation.Bounds{Calls: 1, Depth: defaultMaxDepth})
	return len(i.sources) - 1
}

// wholeJSON returns the row of a source that reads all of a message as JSON, for a policy that looks for no operations.
func (i *Inspector) wholeJSON() int {
	for k, s := range i.sources {
		if _, whole := s.JSON(); whole {
			return k
		}
	}
	return i.sourceOf(operation.None())
}

func (p *part) readsBinary() bool {
	return len(p.conditions) > 0 || p.json != nil && !p.json.passBinary || p.operations != nil && !p.operations.passBinary ||
		slices.ContainsFunc(p.deny, func(d denyRule) bool { return d.binary })
}

func (p *part) readsJSON() bool {
	return p.json != nil || slices.ContainsFunc(p.conditions, func(c conditionRule) bool { return c.readsJSON })
}

func (p *part) needsValue() bool {
	return p.json != nil && p.json.schemas != nil || slices.ContainsFunc(p.conditions, func(c conditionRule) bool { return c.readsJSON })
}
