package jwks

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

const rotations = 3

// load looks up the kid that the issuer signs with now, 200 times a second for some time, and counts those that were not found.
func load(s *Source, during time.Duration, signs func() string) (refused int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range during / (5 * time.Millisecond) {
		wg.Go(func() {
			if got, _ := lookup(s, signs()); got != "found" {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
		advance(5 * time.Millisecond)
	}
	wg.Wait()
	return refused
}

// An issuer that signs with a new key in the moment in which it publishes it, and withdraws the old one: the hardest rotation.
func TestRotationUnderLoad(t *testing.T) {
	bubble(t, newIssuer("key-0"), func(t *testing.T, r *rig, s *Source) {
		for n := range rotations + 1 {
			kid := fmt.Sprintf("key-%d", n)
			r.issuer.publish(kid)
			if refused := load(s, 10*time.Second, func() string { return kid }); refused > 0 {
				t.Errorf("%d good tokens were refused after rotation %d", refused, n)
			}
		}
		r.checkFetches(1 + rotations)
	})
}

// An issuer that publishes a new key 35 s before it signs with it, while somebody sends 500 made-up kids a second: no good token is refused or
// waits, and there is one fetch per 30 s.
func TestRotationUnderLoadAndJunk(t *testing.T) {
	bubble(t, newIssuer("key-0"), func(t *testing.T, r *rig, s *Source) {
		advance(time.Second)
		r.checkFetches(1)
		done := make(chan struct{})
		var junk sync.WaitGroup
		junk.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case <-time.After(2 * time.Millisecond):
					junk.Go(func() { lookup(s, fmt.Sprintf("junk-%d", i)) })
				}
			}
		})
		start := time.Now()
		for n := range rotations {
			kid := fmt.Sprintf("key-%d", n)
			r.issuer.publish(kid, fmt.Sprintf("key-%d", n+1))
			if refused := load(s, 35*time.Second, func() string { return kid }); refused > 0 {
				t.Errorf("%d good tokens were refused before rotation %d", refused, n+1)
			}
		}
		if got, most := r.issuer.count()-1, int(time.Since(start)/askEvery)+1; got > most {
			t.Errorf("%d fetches in %v, want at most %d", got, time.Since(start), most)
		}
		close(done)
		junk.Wait()
	})
}
