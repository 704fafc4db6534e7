package policy

import (
	"context"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"time"
	"unique"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

// ConnectionsConfig limits how many connections there may be at once. Each limit counts for all routes of the policy together.
type ConnectionsConfig struct {
	PerIP       int            `yaml:"per_ip" min:"1" doc:"For each client address; an IPv6 client is its /64."`
	PerUser     int            `yaml:"per_user" min:"1" doc:"For each user that a rule of the route has found; clients without one count by their address."`
	PerClaim    map[string]int `yaml:"per_claim" min:"1" doc:"For each value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute    int            `yaml:"per_route" min:"1" doc:"For each route."`
	PerListener int            `yaml:"per_listener" min:"1" doc:"For each listener."`
	Total       int            `yaml:"total" min:"1" doc:"In all."`
}

// HandshakesConfig limits how many handshakes there may be in a time.
type HandshakesConfig struct {
	PerIP       *ratelimit.Rate           `yaml:"per_ip" doc:"For each client address; an IPv6 client is its /64."`
	PerUser     *ratelimit.Rate           `yaml:"per_user" doc:"For each user that a rule of the route has found; clients without one count by their address."`
	PerClaim    map[string]ratelimit.Rate `yaml:"per_claim" min:"1" doc:"For each value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute    *ratelimit.Rate           `yaml:"per_route" doc:"For each route."`
	PerListener *ratelimit.Rate           `yaml:"per_listener" doc:"For each listener."`
	Total       *ratelimit.Rate           `yaml:"total" doc:"In all."`
}

// limitKey is what limits count by.
type limitKey struct {
	name    string
	late    bool // known only once the client is
	busy    bool // a limit on the gateway's side: 503 and not 429
	located bool // it depends on the client's address
	of      func(a *Admission) string
}

// The keys of limits, but for claims. A new one is one row here and one field of the Configs.
var (
	keyIP       = limitKey{name: "per_ip", located: true, of: func(a *Admission) string { return ratelimit.AddressKey(a.Address) }}
	keyUser     = limitKey{name: "per_user", late: true, located: true, of: func(a *Admission) string { return orAddress(a, a.User) }}
	keyRoute    = limitKey{name: "per_route", busy: true, of: func(a *Admission) string { return a.Route }}
	keyListener = limitKey{name: "per_listener", busy: true, of: func(a *Admission) string { return a.Listener }}
	keyTotal    = limitKey{name: "total", busy: true, of: func(*Admission) string { return "" }}
)

// keyClaim counts by the value of a claim.
func keyClaim(claim string) limitKey {
	return limitKey{name: strictyaml.Key("per_claim", claim), late: true, located: true, of: func(a *Admission) string {
		value, _ := a.claim(claim)
		return orAddress(a, value)
	}}
}

// orAddress is the key of who is unknown: no client has no key at all. Names and addresses cannot be taken for each other.
func orAddress(a *Admission, name string) string {
	if name == "" {
		return "address " + ratelimit.AddressKey(a.Address)
	}
	return "name " + name
}

// limit is one limit of a policy.
type limit struct {
	key limitKey
	ratelimit.Limit
	handle unique.Handle[string] // of its name
}

// limits lists those that are set, those of claims in the order of their names.
func (c *ConnectionsConfig) limits() (all []limit) {
	add := func(key limitKey, max int) {
		if max > 0 {
			all = append(all, limit{key: key, Limit: ratelimit.Limit{Max: int64(max)}})
		}
	}
	add(keyIP, c.PerIP)
	add(keyRoute, c.PerRoute)
	add(keyListener, c.PerListener)
	add(keyTotal, c.Total)
	add(keyUser, c.PerUser)
	for _, claim := range slices.Sorted(maps.Keys(c.PerClaim)) {
		add(keyClaim(claim), c.PerClaim[claim])
	}
	return all
}

func (c *HandshakesConfig) limits() (all []limit) {
	add := func(key limitKey, rate *ratelimit.Rate) {
		if rate != nil {
			all = append(all, limit{key: key, Limit: ratelimit.Limit{Rate: *rate}})
		}
	}
	add(keyIP, c.PerIP)
	add(keyRoute, c.PerRoute)
	add(keyListener, c.PerListener)
	add(keyTotal, c.Total)
	add(keyUser, c.PerUser)
	for _, claim := range slices.Sorted(maps.Keys(c.PerClaim)) {
		rate := c.PerClaim[claim]
		add(keyClaim(claim), &rate)
	}
	return all
}

// Rates lists the rates of all keys.
func (c *HandshakesConfig) Rates() (all []ratelimit.Rate) {
	if c == nil {
		return nil
	}
	for _, l := range c.limits() {
		all = append(all, l.Rate)
	}
	return all
}

// compileConnections makes the rules of the limits whose keys are known early, or of the others.
func compileConnections(late bool) func(place, *Config, Report) []rule {
	return func(p place, c *Config, report Report) []rule {
		if c.Connections == nil {
			return nil
		}
		for claim, max := range c.Connections.PerClaim {
			if max < 1 {
				report(strictyaml.Join("connections", strictyaml.Key("per_claim", claim)), "%d is no number of connections, want one above zero", max)
			}
		}
		return p.limitRules("connections", late, c.Connections.limits(), judgePlace)
	}
}

// compileHandshakes is compileConnections for rates.
func compileHandshakes(late bool) func(place, *Config, Report) []rule {
	return func(p place, c *Config, _ Report) []rule {
		if c.Handshakes == nil {
			return nil
		}
		return p.limitRules("handshakes", late, c.Handshakes.limits(), judgeRate)
	}
}

func (p place) limitRules(section string, late bool, all []limit, judgeOf func(ratelimit.Store, *limit) judge) (rules []rule) {
	for i := range all {
		if l := &all[i]; l.key.late == late {
			name := section + "." + l.key.name
			l.Name = p.policy + "/" + name
			l.handle = unique.Make(l.Name)
			r := rule{name: name, judge: judgeOf(p.env.Limits, l), located: l.key.located}
			if section == "connections" {
				r.again = judgePlaceAgain(p.env.Limits, l)
			}
			rules = append(rules, r)
		}
	}
	return rules
}

// placeWait is after what time it may be worth looking for a place again: how long others keep theirs is not known.
const placeWait = 5 * time.Second

func judgePlace(store ratelimit.Store, l *limit) judge {
	return func(_ context.Context, a *Admission) *Refusal {
		return l.acquire(store, a, l.key.of(a))
	}
}

// acquire takes a place.
func (l *limit) acquire(store ratelimit.Store, a *Admission, key string) *Refusal {
	release, ok := store.Acquire(&l.Limit, key, a.Now)
	if !ok {
		return l.refuse("too many connections", placeWait)
	}
	a.held = append(a.held, Held{l.handle, hashOf(key), release})
	return nil
}

// judgePlaceAgain has a connection keep its place under a limit that has changed; where that is less now than there are connections, those who are
// asked first go. One that is counted by another key now, or was not, needs a place.
func judgePlaceAgain(store ratelimit.Store, l *limit) judge {
	return func(_ context.Context, a *Admission) *Refusal {
		key := l.key.of(a)
		had := slices.IndexFunc(a.live.before, func(h Held) bool { return h.limit == l.handle && h.key == hashOf(key) })
		switch {
		case had < 0:
			return l.acquire(store, a, key)
		case !store.Keep(&l.Limit, key, a.Now):
			return l.refuse("too many connections", placeWait)
		}
		a.live.kept[had] = true
		return nil
	}
}

var keySeed = maphash.MakeSeed()

// hashOf is what is kept of a key.
func hashOf(key string) uint64 { return maphash.String(keySeed, key) }

func judgeRate(store ratelimit.Store, l *limit) judge {
	return func(_ context.Context, a *Admission) *Refusal {
		ok, wait := store.Take(&l.Limit, l.key.of(a), 1, a.Now)
		if !ok {
			return l.refuse("too many handshakes", wait)
		}
		return nil
	}
}

// refuse tells a client that it is too many (429, RFC 6585 section 4), or that there are too many clients (503).
func (l *limit) refuse(reason string, wait time.Duration) *Refusal {
	status := http.StatusTooManyRequests
	if l.key.busy {
		status = http.StatusServiceUnavailable
	}
	return &Refusal{Status: status, Reason: reason, RetryAfter: max(wait, time.Millisecond)}
}
