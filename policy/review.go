package policy

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"
	"unique"
)

// liveness says what becomes of a rule where a live connection is reviewed, which a policy that has changed concerns.
type liveness int

const (
	asItKnows    liveness = iota // rule.again is asked, and where the rule has none it cannot be decided
	askedAgain                   // the rule needs nothing but what a Record has
	ofHandshakes                 // it is about handshakes alone
)

// reasonUndecided tells a client to come back: then there is a request again that the rule can judge.
const reasonUndecided = "policy changed, connect again"

func undecided() *Refusal { return &Refusal{Status: http.StatusForbidden, Reason: reasonUndecided} }

// review is what a policy needs to judge a live connection.
type review struct {
	record *Record
	was    *Policy // that admitted it
	before []Held  // what it holds
	kept   []bool  // of which the new policy needs these
}

// Review judges a live connection of an address, of which record was kept, by a policy that has taken the place of was. A rule that was, as it is, among those
// that admitted it is not asked. held is what the connection has; after an admission Keep returns what it has from now on, and Dropped what
// has to be given back. After a refusal it has what it had, and must give that back at once: a limit may count it as gone.
func (p *Policy) Review(record *Record, address netip.Addr, route string, was *Policy, held []Held, now time.Time) *Admission {
	return p.review(record, address, route, &review{was: was, before: held}, now)
}

// Move judges a live connection, as Review does, whose client has come to another address: what addresses decide is asked again, and all else
// stands.
func (p *Policy) Move(record *Record, address netip.Addr, route string, held []Held, now time.Time) *Admission {
	was := p.without(func(r rule) bool { return r.located })
	return p.review(record, address, route, &review{was: was, before: held}, now)
}

// without is the policy as it would be without some of its rules: these are asked again in a review that has it for was.
func (p *Policy) without(some func(rule) bool) *Policy {
	return &Policy{rules: slices.DeleteFunc(slices.Clone(p.rules), some)}
}

func (p *Policy) review(record *Record, address netip.Addr, route string, live *review, now time.Time) *Admission {
	r := record.request()
	r.Now, r.Address, r.Route = now, address, route
	live.record, live.kept = record, make([]bool, len(live.before))
	a := &Admission{Request: r, managed: p.managed, reads: record.more().reads, refused: -1, live: live}
	p.ask(context.Background(), a, false)
	return a
}

// stands reports whether a rule has admitted the connection already.
func (a *Admission) stands(ctx context.Context, r *rule) bool {
	if checks[r.check].live == ofHandshakes {
		return true
	}
	if !slices.ContainsFunc(a.live.was.rules, r.same) {
		return false
	}
	limit := unique.Make(r.limitName())
	for i, h := range a.live.before {
		if r.of != nil && h.limit == limit {
			a.live.kept[i] = true
		}
	}
	if r.recall != nil {
		r.recall(ctx, a)
	}
	return true
}

// limitName is the name of the rule's limit, if it is one.
func (r *rule) limitName() string { return r.policy + "/" + r.name }

// same reports whether another rule has judged, and judged by, the same.
func (r *rule) same(o rule) bool {
	switch {
	case r.policy != o.policy || r.name != o.name || r.check != o.check || o.shadow && !r.shadow || (r.of == nil) != (o.of == nil):
		return false
	case r.of == o.of:
		return true
	}
	section := checks[r.check].section
	return reflect.DeepEqual(section(&r.of.config), section(&o.of.config)) && maps.Equal(r.of.files[r.check], o.of.files[r.check])
}

// again asks a rule about a live connection.
func (a *Admission) again(ctx context.Context, r *rule) *Refusal {
	if r.again == nil {
		return undecided()
	}
	return r.again(ctx, a)
}

// settle parts what the connection has had.
func (a *Admission) settle() (keep, drop []Held) {
	for i, h := range a.live.before {
		if a.live.kept[i] {
			keep = append(keep, h)
		} else {
			drop = append(drop, h)
		}
	}
	return keep, drop
}

// Dropped returns what a reviewed connection has had, and needs no more.
func (a *Admission) Dropped() []Held {
	_, drop := a.settle()
	return drop
}

// fileSums are the contents of files, by their paths in the configuration.
type fileSums map[string][sha256.Size]byte

func (s fileSums) add(path string, content []byte) {
	if s != nil {
		s[path] = sha256.Sum256(content)
	}
}

// Reuse takes over from a Set that is in use the policies that say the same, in files that say the same: what they keep, such as connections to a
// service, goes on. It is called before Route, and not where Compile has reported a mistake.
func (s *Set) Reuse(from *Set) {
	for name, p := range s.policies {
		if o := from.policies[name]; o != nil && !p.failed && o.says(p) {
			p.close()
			o.sets.Add(1)
			s.policies[name] = o
		}
	}
}

// says reports whether two policies are the same.
func (p *compiled) says(o *compiled) bool {
	return reflect.DeepEqual(p.config, o.config) && slices.EqualFunc(p.files, o.files, maps.Equal[fileSums, fileSums])
}

// Same reports whether two policies of routes are made of the same ones.
func (p *Policy) Same(o *Policy) bool { return slices.Equal(p.parts, o.parts) }
