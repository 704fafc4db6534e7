package jwt

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestRemembered shows what counts of a token that was verified before: its good signature, as long as its keys are in use, and nothing else.
func TestRemembered(t *testing.T) {
	p := pairs()
	set := func(kid string) *KeySet { return keySet(t, jwk(t, &p.p256.PublicKey, members{"kid": kid})) }
	good := sign(t, jose.ES256, p.p256, `{"alg":"ES256","kid":"k"}`, claims())
	forged := good[:len(good)-2] + map[bool]string{true: "AA", false: "BA"}[!strings.HasSuffix(good, "AA")]
	tests := []struct {
		name   string
		token  string
		before func(f *fetched)
		after  time.Duration
		want   error
		again  bool // the signature is not verified anew
	}{
		{"the same", good, nil, time.Minute, nil, true},
		{"another signature", forged, nil, 0, ErrSignature, false},
		{"expired meanwhile", good, nil, 2 * time.Hour, ErrExpired, false},
		{"a clock set back", good, nil, -time.Hour, ErrNotYetValid, false},
		{"other keys, the same among them", good, func(f *fetched) { f.sets = []*KeySet{set("k")} }, 0, nil, false},
		{"other keys", good, func(f *fetched) { f.sets = []*KeySet{set("other")} }, 0, ErrUnknownKey, false},
		{"no keys", good, func(f *fetched) { f.err = errors.New("gone") }, 0, ErrUnavailable, false},
	}
	for _, test := range tests {
		keys := &fetched{sets: []*KeySet{set("k")}}
		i := issuer(t, keys, config())
		first, err := i.Verify(context.Background(), good, now)
		if err != nil {
			t.Fatal(err)
		}
		if test.before != nil {
			test.before(keys)
		}
		c, err := i.Verify(context.Background(), test.token, now.Add(test.after))
		if err != test.want || (c == first) != test.again {
			t.Errorf("%s: %v, claims of the first time: %v, want %v, %v", test.name, err, c == first, test.want, test.again)
		}
	}
}

// TestRefusedAreNotRemembered keeps nothing of tokens that were refused.
func TestRefusedAreNotRemembered(t *testing.T) {
	p := pairs()
	i := issuer(t, keySet(t, jwk(t, &p.p256.PublicKey, nil)), config())
	for _, payload := range []string{claims("aud", `"other"`), claims("exp", stamp(-3600)), "{}"} {
		if _, err := i.Verify(context.Background(), sign(t, jose.ES256, p.p256, `{"alg":"ES256"}`, payload), now); err == nil {
			t.Errorf("%s is admitted", payload)
		}
	}
	if n := len(i.memory.tokens); n > 0 {
		t.Errorf("%d are remembered", n)
	}
}

// TestMemoryIsBounded adds more tokens than are remembered, large ones, and lets those before expire.
func TestMemoryIsBounded(t *testing.T) {
	set := &KeySet{}
	entry := func(until time.Time) remembered { return remembered{set: set, claims: &Claims{Until: until}} }
	var m memory
	m.add(strings.Repeat("x", maxRememberedSize+1), entry(now.Add(time.Hour)), now)
	if len(m.tokens) > 0 {
		t.Error("a large one is remembered")
	}
	for n := range 3 * maxRemembered {
		text := strconv.Itoa(n)
		m.add(text, entry(now.Add(time.Minute)), now)
		if _, ok := m.get(text); !ok || len(m.tokens) > maxRemembered {
			t.Fatalf("%d are remembered, the latest: %v", len(m.tokens), ok)
		}
	}
	later := now.Add(time.Hour)
	for n := range maxRemembered {
		m.add("later "+strconv.Itoa(n%8), entry(later.Add(time.Minute)), later)
	}
	if n := len(m.tokens); n != 8 {
		t.Errorf("%d are remembered, want the 8 that have not expired", n)
	}
}

// TestRememberedAtOnce verifies a few tokens in several goroutines.
func TestRememberedAtOnce(t *testing.T) {
	p := pairs()
	i := issuer(t, keySet(t, jwk(t, &p.p256.PublicKey, nil)), config())
	var tokens []string
	for n := range 3 {
		tokens = append(tokens, sign(t, jose.ES256, p.p256, `{"alg":"ES256"}`, claims("sub", strconv.Quote(strconv.Itoa(n)))))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range 30 {
				c, err := i.Verify(context.Background(), tokens[n%3], now)
				if err != nil || c.Subject != strconv.Itoa(n%3) {
					t.Errorf("token %d: %+v, %v", n%3, c, err)
				}
			}
		})
	}
	all.Wait()
}
