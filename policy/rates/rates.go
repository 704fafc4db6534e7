// Package rates is how a policy says how much may be sent in a time, by whom it is counted, and what happens at the limit.
package rates

import (
	"maps"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

// Config limits how many messages, frames or operations one side sends in a time.
type Config struct {
	PerConnection *ratelimit.Rate           `yaml:"per_connection" doc:"For each connection; the short form, a rate alone."`
	PerIP         *ratelimit.Rate           `yaml:"per_ip" doc:"For all connections of a client address; an IPv6 client is its /64."`
	PerUser       *ratelimit.Rate           `yaml:"per_user" doc:"For all connections of a user; clients without one count by their address."`
	PerClaim      map[string]ratelimit.Rate `yaml:"per_claim" min:"1" doc:"For all connections with the same value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute      *ratelimit.Rate           `yaml:"per_route" doc:"For all connections of a route."`
	OnLimit       *Action                   `yaml:"on_limit" doc:"What happens at the limit: close (1008), drop, delay, or {reply: TEXT}. Default: that of the section."`
}

// Bytes is Config for bytes of payload.
type Bytes struct {
	PerConnection *ratelimit.ByteRate           `yaml:"per_connection" doc:"For each connection; the short form, a rate alone."`
	PerIP         *ratelimit.ByteRate           `yaml:"per_ip" doc:"For all connections of a client address; an IPv6 client is its /64."`
	PerUser       *ratelimit.ByteRate           `yaml:"per_user" doc:"For all connections of a user; clients without one count by their address."`
	PerClaim      map[string]ratelimit.ByteRate `yaml:"per_claim" min:"1" doc:"For all connections with the same value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute      *ratelimit.ByteRate           `yaml:"per_route" doc:"For all connections of a route."`
	OnLimit       *Action                       `yaml:"on_limit" doc:"What happens at the limit: close (1008), drop, delay, or {reply: TEXT}. Default: that of the section."`
}

// UnmarshalText reads the short form, the rate of each connection.
func (c *Config) UnmarshalText(text []byte) error {
	c.PerConnection = new(ratelimit.Rate)
	return c.PerConnection.UnmarshalText(text)
}

// Wanted names the short form for error messages.
func (Config) Wanted() string { return ratelimit.Rate{}.Wanted() }

// JSONSchema describes the short form.
func (Config) JSONSchema() map[string]any { return ratelimit.Rate{}.JSONSchema() }

// UnmarshalText reads the short form, the rate of each connection.
func (c *Bytes) UnmarshalText(text []byte) error {
	c.PerConnection = new(ratelimit.ByteRate)
	return c.PerConnection.UnmarshalText(text)
}

// Wanted names the short form for error messages.
func (Bytes) Wanted() string { return ratelimit.ByteRate{}.Wanted() }

// JSONSchema describes the short form.
func (Bytes) JSONSchema() map[string]any { return ratelimit.ByteRate{}.JSONSchema() }

// Key is what a limit counts by.
type Key int

// The keys.
const (
	PerConnection Key = iota
	PerIP
	PerUser
	PerClaim
	PerRoute
)

// Limit is one rate of a Config.
type Limit struct {
	Key   Key
	Claim string // of PerClaim
	Name  string // its place in the Config, such as per_user
	Rate  ratelimit.Rate
}

// Limits lists the rates that are set; a nil Config has none.
func (c *Config) Limits() []Limit {
	if c == nil {
		return nil
	}
	return list(c.PerConnection, c.PerIP, c.PerUser, c.PerRoute, c.PerClaim)
}

// Limits lists the rates that are set, in bytes; a nil Bytes has none.
func (c *Bytes) Limits() []Limit {
	if c == nil {
		return nil
	}
	claims := map[string]ratelimit.Rate{}
	for claim, r := range c.PerClaim {
		claims[claim] = r.Rate()
	}
	return list((*ratelimit.Rate)(c.PerConnection), (*ratelimit.Rate)(c.PerIP), (*ratelimit.Rate)(c.PerUser), (*ratelimit.Rate)(c.PerRoute), claims)
}

func list(connection, ip, user, route *ratelimit.Rate, claims map[string]ratelimit.Rate) (all []Limit) {
	add := func(key Key, name string, rate *ratelimit.Rate) {
		if rate != nil {
			all = append(all, Limit{Key: key, Name: name, Rate: *rate})
		}
	}
	add(PerConnection, "per_connection", connection)
	add(PerIP, "per_ip", ip)
	add(PerUser, "per_user", user)
	for _, claim := range slices.Sorted(maps.Keys(claims)) {
		all = append(all, Limit{PerClaim, claim, strictyaml.Key("per_claim", claim), claims[claim]})
	}
	add(PerRoute, "per_route", route)
	return all
}

// Action is what happens at the limit, as Config has it; nil for none.
func (c *Config) Action() *Action {
	if c == nil {
		return nil
	}
	return c.OnLimit
}

// Action is what happens at the limit, as Bytes has it; nil for none.
func (c *Bytes) Action() *Action {
	if c == nil {
		return nil
	}
	return c.OnLimit
}
