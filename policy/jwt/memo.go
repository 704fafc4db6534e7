package jwt

import (
	"bytes"
	"context"
	"crypto"
	"slices"
	"time"
)

// A Memo is what is kept of a token that was verified, to judge its claims again when the configuration has changed: not the token, with which
// anybody could connect.
type Memo struct {
	payload string // the claims, as they were signed
	typ     string
	alg     algorithm
	key     any // that has signed it
	leeway  time.Duration
}

// Memo returns what is to be kept, the same for all who send the same token. It is of claims that Verify returned, which take far more memory.
func (c *Claims) Memo() *Memo { return c.memo }

// Claims returns the claims again, as Verify returned them.
func (m *Memo) Claims() *Claims {
	c, err := parseClaims([]byte(m.payload))
	if err != nil {
		return nil // they were good when they were verified
	}
	c.memo, c.Until = m, c.Expires.Add(m.leeway)
	return c
}

// Review returns the claims again if one of the issuers would admit the token still: its keys have the one that signed the token, and what it
// demands holds. Keys that cannot be had now are given the benefit of the doubt. That the token has expired is no reason: what Until says is
// left to the caller.
func Review(issuers []*Issuer, m *Memo, now time.Time) (*Claims, error) {
	c := m.Claims()
	if c == nil {
		return nil, ErrClaims
	}
	refusal := ErrAlgorithm
	for _, i := range issuers {
		err := i.review(m, c, now)
		if err == nil {
			if m.leeway != i.leeway {
				next := *m
				next.leeway = i.leeway
				c.memo = &next
			}
			return c, nil
		}
		refusal = further(refusal, err)
	}
	return nil, refusal
}

func (i *Issuer) review(m *Memo, c *Claims, now time.Time) error {
	if !slices.Contains(i.algorithms, m.alg) {
		return ErrAlgorithm
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // whoever has no keys at hand is not waited for
	if set, err := i.keys.Keys(ctx, ""); err == nil && !set.holds(m) {
		return ErrUnknownKey
	}
	c.Until = c.Expires.Add(i.leeway)
	if !now.Before(c.Until) {
		now = c.Until.Add(-1) // judged as when it was good
	}
	return i.judge(m.typ, c, now)
}

// holds reports whether the key that signed is one of the set's.
func (s *KeySet) holds(m *Memo) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.fits(m.alg) && sameKey(k.material, m.key) })
}

func sameKey(a, b any) bool {
	if secret, ok := a.([]byte); ok {
		other, ok := b.([]byte)
		return ok && bytes.Equal(secret, other)
	}
	public, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(b)
}
