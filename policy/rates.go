package policy

import (
	"errors"
	"maps"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

// RatesConfig limits how many messages or frames one side sends in a time.
type RatesConfig struct {
	PerConnection *ratelimit.Rate           `yaml:"per_connection" doc:"For each connection; the short form, a rate alone."`
	PerIP         *ratelimit.Rate           `yaml:"per_ip" doc:"For all connections of a client address; an IPv6 client is its /64."`
	PerUser       *ratelimit.Rate           `yaml:"per_user" doc:"For all connections of a user; clients without one count by their address."`
	PerClaim      map[string]ratelimit.Rate `yaml:"per_claim" min:"1" doc:"For all connections with the same value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute      *ratelimit.Rate           `yaml:"per_route" doc:"For all connections of a route."`
	OnLimit       *LimitAction              `yaml:"on_limit" doc:"What happens at the limit: close (1008), drop, delay, or {reply: TEXT}. Default: that of the section."`
}

// ByteRatesConfig is RatesConfig for bytes of payload.
type ByteRatesConfig struct {
	PerConnection *ratelimit.ByteRate           `yaml:"per_connection" doc:"For each connection; the short form, a rate alone."`
	PerIP         *ratelimit.ByteRate           `yaml:"per_ip" doc:"For all connections of a client address; an IPv6 client is its /64."`
	PerUser       *ratelimit.ByteRate           `yaml:"per_user" doc:"For all connections of a user; clients without one count by their address."`
	PerClaim      map[string]ratelimit.ByteRate `yaml:"per_claim" min:"1" doc:"For all connections with the same value of a claim of the token, by the claim's name; clients without it count by their address."`
	PerRoute      *ratelimit.ByteRate           `yaml:"per_route" doc:"For all connections of a route."`
	OnLimit       *LimitAction                  `yaml:"on_limit" doc:"What happens at the limit: close (1008), drop, delay, or {reply: TEXT}. Default: that of the section."`
}

// UnmarshalText reads the short form, the rate of each connection.
func (c *RatesConfig) UnmarshalText(text []byte) error {
	c.PerConnection = new(ratelimit.Rate)
	return c.PerConnection.UnmarshalText(text)
}

// Wanted names the short form for error messages.
func (RatesConfig) Wanted() string { return ratelimit.Rate{}.Wanted() }

// JSONSchema describes the short form.
func (RatesConfig) JSONSchema() map[string]any { return ratelimit.Rate{}.JSONSchema() }

// UnmarshalText reads the short form, the rate of each connection.
func (c *ByteRatesConfig) UnmarshalText(text []byte) error {
	c.PerConnection = new(ratelimit.ByteRate)
	return c.PerConnection.UnmarshalText(text)
}

// Wanted names the short form for error messages.
func (ByteRatesConfig) Wanted() string { return ratelimit.ByteRate{}.Wanted() }

// JSONSchema describes the short form.
func (ByteRatesConfig) JSONSchema() map[string]any { return ratelimit.ByteRate{}.JSONSchema() }

// LimitAction is what happens to a message over a limit.
type LimitAction struct {
	Reply string `yaml:"reply" required:"true" doc:"A text message for the sender; the message that was too much is dropped."`
	Name  string `yaml:"-"` // close, drop, delay, or reply where Reply is set
}

// The actions at a limit.
const (
	actionClose = "close"
	actionDrop  = "drop"
	actionDelay = "delay"
	actionReply = "reply"
)

// UnmarshalText reads the form that is a word.
func (a *LimitAction) UnmarshalText(text []byte) error {
	switch name := string(text); name {
	case actionClose, actionDrop, actionDelay:
		a.Name = name
		return nil
	}
	return errLimitAction
}

// Wanted names the form in error messages.
func (LimitAction) Wanted() string { return "close, drop, delay or {reply: TEXT}" }

// JSONSchema describes the form that is a word.
func (LimitAction) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "enum": []any{actionClose, actionDrop, actionDelay}}
}

var errLimitAction = errors.New("want " + LimitAction{}.Wanted())

// name is the action's, close for none.
func (a *LimitAction) name() string {
	switch {
	case a == nil:
		return actionClose
	case a.Reply != "":
		return actionReply
	case a.Name == "":
		return actionClose
	}
	return a.Name
}

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
	Of     Unit
	Rate   ratelimit.Rate
	Action string // close, drop, delay or reply
	Reply  string // text of reply

	limit ratelimit.Limit
	key   *limitKey // nil where each connection has its own bucket
}

// Bucket returns the bucket that a connection shares with others, or nil where it has its own. It must be released.
func (r *MessageRate) Bucket(store ratelimit.Store, a *Admission) *ratelimit.Shared {
	if r.key == nil {
		return nil
	}
	return store.Bucket(&r.limit, r.key.of(a), a.Now)
}

// rated is one rate of a section, before it has its names.
type rated struct {
	key  *limitKey
	name string
	rate ratelimit.Rate
}

// rates lists those that are set.
func (c *RatesConfig) rates() []rated {
	if c == nil {
		return nil
	}
	return listRates(c.PerConnection, c.PerIP, c.PerUser, c.PerRoute, c.PerClaim)
}

func (c *ByteRatesConfig) rates() []rated {
	if c == nil {
		return nil
	}
	claims := map[string]ratelimit.Rate{}
	for claim, r := range c.PerClaim {
		claims[claim] = r.Rate()
	}
	return listRates((*ratelimit.Rate)(c.PerConnection), (*ratelimit.Rate)(c.PerIP), (*ratelimit.Rate)(c.PerUser), (*ratelimit.Rate)(c.PerRoute), claims)
}

func listRates(connection, ip, user, route *ratelimit.Rate, claims map[string]ratelimit.Rate) (all []rated) {
	add := func(name string, key *limitKey, rate *ratelimit.Rate) {
		if rate != nil {
			all = append(all, rated{key, name, *rate})
		}
	}
	add("per_connection", nil, connection)
	add(keyIP.name, &keyIP, ip)
	add(keyUser.name, &keyUser, user)
	for _, claim := range slices.Sorted(maps.Keys(claims)) {
		key, rate := keyClaim(claim), claims[claim]
		add(key.name, &key, &rate)
	}
	add(keyRoute.name, &keyRoute, route)
	return all
}

// compileRates makes the rates of one side of one policy; side is its key. The section may be nil.
func (c *ShapeConfig) compileRates(policy, side string, shadow bool, report Report) (all []MessageRate) {
	if c == nil {
		return nil
	}
	for _, row := range []struct {
		key   string
		of    Unit
		rates []rated
		own   *LimitAction
	}{
		{"messages", Messages, c.Messages.rates(), c.Messages.action()},
		{"bytes", Bytes, c.Bytes.rates(), c.Bytes.action()},
		{"frames", Frames, c.Frames.rates(), c.Frames.action()},
	} {
		action, at := c.OnLimit, side+".on_limit"
		if row.own != nil {
			action, at = row.own, strictyaml.Join(side, row.key+".on_limit")
		}
		name := action.name()
		if len(row.rates) > 0 && row.of == Frames && (name == actionDrop || name == actionReply) {
			report(at, "frames cannot be left out, which would split messages, want close or delay (as frames.on_limit)")
		}
		for _, r := range row.rates {
			m := MessageRate{Rule: Rule{policy, side + "." + row.key + "." + r.name, shadow}, Of: row.of, Rate: r.rate, Action: name, key: r.key}
			if action != nil {
				m.Reply = action.Reply
			}
			m.limit = ratelimit.Limit{Name: policy + "/" + m.Name, Rate: r.rate}
			all = append(all, m)
		}
	}
	return all
}

func (c *RatesConfig) action() *LimitAction {
	if c == nil {
		return nil
	}
	return c.OnLimit
}

func (c *ByteRatesConfig) action() *LimitAction {
	if c == nil {
		return nil
	}
	return c.OnLimit
}
