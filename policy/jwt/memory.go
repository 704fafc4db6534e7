package jwt

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	maxRemembered     = 1024    // tokens of one issuer
	maxRememberedSize = 2 << 10 // of a token, in bytes of text: larger ones are verified each time
	maxSwept          = 4       // entries that are looked at when one is added
)

// memory holds tokens whose signature was good, so that a client that comes back with the same one costs no second verification of it. Nothing
// else is taken for granted: the claims are judged anew each time, and what keys have signed that are not those in use any more counts for
// nothing. It knows tokens by their SHA-256 only. It holds at most maxRemembered of them, and lets those go that have expired.
type memory struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]remembered
}

// remembered is what was verified of a token.
type remembered struct {
	set    *KeySet // whose key has signed it
	typ    string  // of its header
	claims *Claims
}

// add remembers a token.
func (m *memory) add(text string, r remembered, now time.Time) {
	if len(text) > maxRememberedSize {
		return
	}
	sum := sha256.Sum256([]byte(text))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = make(map[[sha256.Size]byte]remembered)
	}
	swept := 0
	for other, o := range m.tokens { // in an order that nobody chooses
		if o.set != r.set || !now.Before(o.claims.Until) || len(m.tokens) >= maxRemembered {
			delete(m.tokens, other)
		}
		if swept++; swept == maxSwept {
			break
		}
	}
	m.tokens[sum] = r
}

// get returns what is remembered of a token.
func (m *memory) get(text string) (r remembered, ok bool) {
	if len(text) > maxRememberedSize {
		return r, false
	}
	sum := sha256.Sum256([]byte(text))
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok = m.tokens[sum]
	return r, ok
}

// atOnce is for those who do not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// recall returns the claims of a token that was verified before, if its keys are still those in use and its claims still suffice. If not, it
// says nothing about why: that is for verify.
func (i *Issuer) recall(text string, now time.Time) (*Claims, bool) {
	r, ok := i.memory.get(text)
	if !ok {
		return nil, false
	}
	if set, err := i.keys.Keys(atOnce, ""); err != nil || set != r.set {
		return nil, false
	}
	return r.claims, i.judge(r.typ, r.claims, now) == nil
}
