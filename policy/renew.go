package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/framegate/framegate/policy/jwt"
)

// RenewConfig lets a client bring a new token over its connection.
type RenewConfig struct {
	Type     string `yaml:"type" default:"framegate.renew" doc:"The member type of the client's text message, whose member token is the new token: {\"type\": \"framegate.renew\", \"token\": \"...\"}. Such messages are for the gateway, and are never relayed."`
	Reply    string `yaml:"reply" default:"framegate.renewed" doc:"The member type of the answer, whose member exp says when the new token expires, or whose member error says why it was not taken."`
	Path     string `yaml:"path" doc:"A path of the route at which the gateway itself answers: a POST with a new token, where handshakes have theirs, renews all sessions of its subject on the route that this process has."`
	Attempts int    `yaml:"attempts" default:"3" min:"1" max:"100" doc:"After so many tokens in a row that were not taken the connection is closed with code 1008."`
}

// maxRenewal bounds the message, in bytes.
const maxRenewal = jwt.MaxToken + 1<<10

var (
	errOtherSubject = errors.New("token of another subject")
	errRevoked      = errors.New(reasonRevoked)
)

// A Renewal is the compiled form.
type Renewal struct {
	RenewConfig
	quoted []byte // Type, as a message has it
	by     *jwtRule
}

func (j *jwtRule) compileRenew(c *RenewConfig) *Renewal {
	if c == nil {
		return nil
	}
	quoted, err := json.Marshal(c.Type)
	if err != nil {
		quoted = nil // of a string it cannot fail
	}
	return &Renewal{*c, quoted, j}
}

// Token returns that of a text message, if it is one for the gateway: its type must be spelt as in the configuration. A message without a good token yields an empty one.
func (r *Renewal) Token(message []byte) (token string, ok bool) {
	if len(message) > maxRenewal || !bytes.Contains(message, r.quoted) {
		return "", false
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(message, &m) != nil || !bytes.Equal(m["type"], r.quoted) {
		return "", false
	}
	if json.Unmarshal(m["token"], &token) != nil {
		token = ""
	}
	return token, true
}

// Renewal returns how clients bring new tokens; nil where they cannot.
func (p *Policy) Renewal() *Renewal {
	for i := range p.rules {
		if r := p.rules[i].renew; r != nil && !p.rules[i].shadow {
			return r
		}
	}
	return nil
}

// Verify returns the claims of a new token, or constant text about it. It may wait for keys.
func (r *Renewal) Verify(ctx context.Context, token string, now time.Time) (*jwt.Claims, error) {
	return jwt.Verify(ctx, r.by.issuers, token, now)
}

// Renew judges a live connection, as Review does, by the claims of a new token, which must be of the subject that the connection has: what tokens
// decide is asked again, and all else stands. The error is constant text; without one the Record is what is to be kept if the Admission does not refuse.
func (p *Policy) Renew(record *Record, address netip.Addr, route string, held []Held, claims *jwt.Claims, now time.Time) (*Admission, *Record, error) {
	rest, r := record.more(), p.Renewal()
	if r == nil || rest.token == nil {
		return nil, nil, errOtherSubject
	}
	old := rest.token.Claims()
	if old == nil || claims.Subject == "" || old.Subject != claims.Subject || old.Issuer != claims.Issuer {
		return nil, nil, errOtherSubject
	}
	rest.token, rest.names = claims.Memo(), namesOf(claims)
	if r.by.revoked.Has(rest.names, now) {
		return nil, nil, errRevoked
	}
	renewed := *record
	renewed.rest = &rest
	was := p.without(func(r rule) bool { return checks[r.check].claims })
	return p.Review(&renewed, address, route, was, held, now), &renewed, nil
}
