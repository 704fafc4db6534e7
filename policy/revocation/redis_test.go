package revocation

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/framegate/framegate/ratelimit"
)

// A peer is a gateway's share in a stream.
type peer struct {
	*Redis
	set *Set

	mu   sync.Mutex
	told Group
	log  bytes.Buffer
}

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *peer) tell(news Group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, before := range news {
		p.told.Add(Revocation{name, before})
	}
}

// heard is the Before that the peer was told of, 0 for none.
func (p *peer) heard(n Name) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told[n]
}

func newPeer(t *testing.T, store *miniredis.Miniredis) *peer {
	t.Helper()
	p := &peer{set: NewSet(100), told: Group{}}
	c := ratelimit.RedisConfig{URL: "redis://" + store.Addr(), Prefix: "fg:", Timeout: 1e9, Nodes: 1, LeasePercent: 1}
	p.Redis = NewRedis(c, p.set, time.Hour, p.tell, slog.New(slog.NewTextHandler(p, nil)))
	t.Cleanup(p.Close)
	return p
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func subject(id string) Names {
	return NamesOf("", start, claims(map[string]string{"sub": id}))
}

// What is no revocation is passed over, also in front of one; what holds for longer than may be is cut.
func TestRedisTakes(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	now := time.Now()
	name, until := NameOf(Subject, "", "alice").String(), strconv.FormatInt(now.Add(100*time.Hour).UnixMilli(), 10)
	for _, fields := range [][]string{
		{"x", "y"}, {"n", name}, {"u", until}, {"n", name, "u", "soon"}, {"n", name[1:], "u", until}, {"n", name, "u", until, "b", "x"}, {"n", name, "u", "1"},
		{"n", name, "u", until, "b", strconv.FormatInt(start.Unix()+1, 10)},
	} {
		if _, err := store.XAdd("fg:{revoked}", "*", fields); err != nil {
			t.Fatal(err)
		}
	}
	p := newPeer(t, store)
	eventually(t, "the revocation", func() bool { return p.heard(NameOf(Subject, "", "alice")) == start.Unix()+1 })
	if !p.set.Has(subject("alice"), now.Add(59*time.Minute)) || p.set.Has(subject("alice"), now.Add(62*time.Minute)) {
		t.Error("does not hold for an hour")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := strings.Count(p.log.String(), "no revocation"); n != 6 {
		t.Errorf("%d warnings, want 6: %s", n, p.log.String())
	}
}

// What one shares the other hears, as it was said; what nobody could be told of is told later.
func TestRedisShares(t *testing.T) {
	t.Parallel()
	store := miniredis.RunT(t)
	one, other := newPeer(t, store), newPeer(t, store)
	eventually(t, "connections", func() bool { return one.client.Load() != nil && other.client.Load() != nil })
	until := time.Now().Add(time.Minute)
	share := func(p *peer, r Revocation, want bool) {
		t.Helper()
		if _, err := p.set.Add(r, until, time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := p.Share(context.Background(), r, until); got != want {
			t.Errorf("shared %v, want %v", got, want)
		}
	}
	alice, bob, carol := NameOf(Subject, "", "alice"), NameOf(Subject, "", "bob"), NameOf(Subject, "", "carol")
	share(one, Revocation{alice, All}, true)
	share(other, Revocation{bob, 1000}, true)
	eventually(t, "both", func() bool { return other.heard(alice) == All && one.heard(bob) == 1000 })
	eventually(t, "what came back is known to be shared", func() bool { return one.set.unshared(time.Now()) == nil })

	store.Close()
	eventually(t, "Redis to be missed", func() bool { return one.client.Load() == nil })
	share(one, Revocation{carol, 2000}, false)
	if err := store.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was not shared", func() bool { return other.heard(carol) == 2000 })
}
