package jwt

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Issuer verifies the tokens of one issuer. It is safe for concurrent use, and immutable but for what it remembers.
type Issuer struct {
	keys        Keys
	algorithms  []algorithm
	name        string // of iss
	audience    []string
	typ         string // empty if it is not pinned
	leeway      time.Duration
	maxLifetime time.Duration
	require     []requirement
	memory      *memory
}

// requirement is a claim that must be there, with one of these values; or a scope, with all of them.
type requirement struct {
	claim  string
	values []string
}

// Verify returns the claims of a token of this issuer that is valid at the time now, or one of this package's errors, never wrapped. What it
// spends on a token without a good signature is bounded: 8 KiB of text, 2 KiB of JSON and 8 signatures.
func (i *Issuer) Verify(ctx context.Context, token string, now time.Time) (*Claims, error) {
	return Verify(ctx, []*Issuer{i}, token, now)
}

// Verify returns the claims of a token that one of the issuers admits. The unverified iss picks none of them: each one whose keys have signed
// the token judges its claims, and of several refusals that of the furthest attempt is returned.
func Verify(ctx context.Context, issuers []*Issuer, token string, now time.Time) (*Claims, error) {
	for _, i := range issuers {
		if c, ok := i.recall(token, now); ok {
			return c, nil
		}
	}
	t, err := parse(token)
	if err != nil {
		return nil, err
	}
	t.text = token
	// The keys at hand come first: an issuer that fetches its keys, perhaps slowly, is only asked for a kid that nobody has.
	tried := make([]*KeySet, len(issuers))
	refusal := ErrAlgorithm // of no issuer: none allows it
	for n, i := range issuers {
		c, set, err := i.verify(ctx, t, "", nil, now)
		if err == nil {
			return c, nil
		}
		tried[n], refusal = set, further(refusal, err)
	}
	for n, i := range issuers {
		if t.kid == "" || tried[n] == nil || tried[n].Has(t.kid) {
			continue
		}
		c, _, err := i.verify(ctx, t, t.kid, tried[n], now)
		if err == nil {
			return c, nil
		}
		refusal = further(refusal, err)
	}
	return nil, refusal
}

// verify tries t with the issuer's keys after kid was asked for, unless they are those that were tried already. The set is nil if there is none
// to be tried again.
func (i *Issuer) verify(ctx context.Context, t *token, kid string, tried *KeySet, now time.Time) (*Claims, *KeySet, error) {
	if !slices.Contains(i.algorithms, t.alg) {
		return nil, nil, ErrAlgorithm
	}
	set, err := i.keys.Keys(ctx, kid)
	if err != nil {
		return nil, nil, ErrUnavailable
	}
	if set == tried {
		return nil, nil, ErrUnknownKey
	}
	payload, by, err := set.verify(t)
	if err != nil {
		return nil, set, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, nil, err
	}
	c.Until = c.Expires.Add(i.leeway)
	c.memo = &Memo{string(payload), strings.Clone(t.typ), t.alg, by, i.leeway}
	if err := i.judge(t.typ, c, now); err != nil {
		return nil, nil, err
	}
	i.memory.add(t.text, remembered{set, t.typ, c}, now)
	return c, nil, nil
}

// judge says what is wrong with the claims of a token whose signature is good.
func (i *Issuer) judge(typ string, c *Claims, now time.Time) error {
	switch {
	case i.typ != "" && mediaType(typ) != i.typ:
		return ErrType
	case c.Issuer != i.name:
		return ErrIssuer
	case !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(i.audience, a) }):
		return ErrAudience
	case !now.Before(c.Until):
		return ErrExpired
	case now.Add(i.leeway).Before(c.notBefore) || now.Add(i.leeway).Before(c.IssuedAt):
		return ErrNotYetValid
	}
	issued := c.IssuedAt
	if issued.IsZero() {
		issued = now
	}
	if c.Expires.Sub(issued) > i.maxLifetime {
		return ErrLifetime
	}
	for _, r := range i.require {
		if err := r.judge(c); err != nil {
			return err
		}
	}
	return nil
}

// mediaType normalises a typ: its case does not matter, and application/ may be left out (RFC 7515, section 4.1.9).
func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if short, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(short, "/") {
		return short
	}
	return typ
}

func (r requirement) judge(c *Claims) error {
	held := heldValues(r.claim, c.All[r.claim])
	has := func(wanted string) bool { return slices.Contains(held, wanted) }
	if r.claim == scopeClaim {
		if slices.ContainsFunc(r.values, func(wanted string) bool { return !has(wanted) }) {
			return ErrClaimRefused
		}
	} else if !slices.ContainsFunc(r.values, has) {
		return ErrClaimRefused
	}
	return nil
}

// scopeClaim is the claim that lists scopes, separated by spaces (RFC 8693, section 4.2).
const scopeClaim = "scope"

// heldValues returns the texts of a claim: of a scalar one, of a list those of its scalars, of a scope its names.
func heldValues(claim string, value any) []string {
	if list, ok := value.([]any); ok {
		var held []string
		for _, element := range list {
			if s, ok := scalarText(element); ok {
				held = append(held, s)
			}
		}
		return held
	}
	s, ok := scalarText(value)
	if !ok {
		return nil
	}
	if claim == scopeClaim {
		return strings.Split(s, " ")
	}
	return []string{s}
}
