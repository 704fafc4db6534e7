package upstream

import (
	"net/netip"
	"slices"
	"time"

	"github.com/framegate/framegate/proxy/upstream/discovery"
)

// nameKey names what is looked up over all configurations.
type nameKey struct{ pool, name string }

// found is what is known of a name. It is under Registry.mu.
type found struct {
	lists int // pools that have the name
	asked bool
	set   discovery.Set
	due   time.Time // of the next lookup
	wrong string    // the problem of the last answer

	answered, failed uint64
}

// known returns what is known of a pool's name.
func (r *Registry) known(pool string, sp spec) *found {
	key := nameKey{pool, sp.target.String()}
	f := r.names[key]
	if f == nil {
		f = &found{}
		r.names[key] = f
	}
	return f
}

// hold tells that a pool has names, or with -1 that it has not any more.
func (r *Registry) hold(pool string, listed []spec, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sp := range listed {
		if sp.target.find.Host == "" {
			continue
		}
		f := r.known(pool, sp)
		if f.lists += by; f.lists == 0 {
			delete(r.names, nameKey{pool, sp.target.String()})
		}
	}
}

// specs returns the servers that the pool has by what is known now: those of the configuration, and those that its names have led to.
func (p *Pool) specs() []spec {
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	var all []spec
	seen := map[string]bool{}
	add := func(sp spec) {
		if key := sp.target.String(); !seen[key] {
			seen[key] = true
			all = append(all, sp)
		}
	}
	for _, sp := range p.listed {
		if sp.target.find.Host == "" {
			add(sp)
		}
	}
	for _, sp := range p.listed {
		if sp.target.find.Host != "" {
			for _, each := range sp.servers(p.registry.known(p.name, sp).set.Servers()) {
				add(each)
			}
		}
	}
	return all
}

// servers makes the servers at the addresses that were found for a name. A priority is a rank among those there are, and a weight of an SRV record
// multiplies the configured one; the weight 0 is the least there is.
func (sp spec) servers(all []discovery.Found) []spec {
	var specs []spec
	for i, f := range all {
		each := sp
		each.target = sp.target.at(f.Address)
		each.weight *= max(int(f.Weight), 1)
		if i > 0 {
			each.rank = specs[i-1].rank
			if f.Priority != all[i-1].Priority {
				each.rank++
			}
		}
		specs = append(specs, each)
	}
	return specs
}

// findLoop looks a name up now and then, until the pool is detached.
func (p *Pool) findLoop(sp spec) {
	for wait := p.registry.untilLookup(p.name, sp, time.Now()); sleep(p.watch.ctx, wait); {
		answer, err := p.settings.lookup(p.watch.ctx, sp.target.find)
		if p.watch.ctx.Err() != nil {
			return
		}
		now := time.Now()
		wait = p.registry.answered(p, sp, answer, err, now)
		p.refresh(now)
	}
}

// untilLookup returns when a name is due again: at once where it was never looked up.
func (r *Registry) untilLookup(pool string, sp spec, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.known(pool, sp).due.Sub(now), 0)
}

// answered takes the answer of a lookup, logs what is new about it, and returns the time to the next one.
func (r *Registry) answered(p *Pool, sp spec, answer []discovery.Found, failure error, now time.Time) time.Duration {
	guard := sp.target.guard(p.settings.allowed)
	r.mu.Lock()
	f := r.known(p.name, sp)
	before := slices.Clone(f.set.Servers())
	changed, problem := f.set.Answered(p.settings.find, answer, failure, func(a netip.Addr) error {
		if bad := guard.check(a); bad != nil {
			return bad
		}
		return nil
	})
	f.asked = true
	wait := f.set.Next(p.settings.find, random())
	f.due = now.Add(wait)
	if failure != nil {
		f.failed++
	} else {
		f.answered++
	}
	wrong := ""
	if problem != nil {
		wrong = problem.Error()
	}
	news := wrong != f.wrong
	f.wrong = wrong
	after := f.set.Servers()
	r.mu.Unlock()

	attrs := []any{"upstream", p.name, "name", sp.target.String(), "servers", len(after)}
	if changed {
		r.log.Info("servers found", append(attrs, "added", addresses(after, before), "removed", addresses(before, after))...)
	}
	if news && problem != nil {
		r.log.Warn("lookup of servers", append(attrs, "problem", wrong)...)
	} else if news && !changed {
		r.log.Info("lookup of servers", append(attrs, "problem", "none any more")...)
	}
	return wait
}

// addresses lists those of all that are not in others.
func addresses(all, others []discovery.Found) []string {
	list := []string{}
	for _, f := range all {
		if !slices.ContainsFunc(others, func(o discovery.Found) bool { return o.Address == f.Address }) {
			list = append(list, f.Address.String())
		}
	}
	return list
}

// Lists reports whether the pool still has a server, which may have been another pool's; also where that is not known, since a name has not been
// looked up yet.
func (p *Pool) Lists(s *Server) bool {
	if slices.ContainsFunc(p.Servers(), func(o *Server) bool { return o.String() == s.String() }) {
		return true
	}
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	return slices.ContainsFunc(p.listed, func(sp spec) bool { return sp.target.find.Host != "" && !p.registry.known(p.name, sp).asked })
}
