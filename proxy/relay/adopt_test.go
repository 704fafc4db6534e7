package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// FuzzAdopt states a law: limits that say what those before said change nothing, whenever a session adopts them.
func FuzzAdopt(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		still, moved := adopting(t, data, false), adopting(t, data, true)
		for side := range still.peers {
			if got, want := moved.peers[side].total, still.peers[side].total; !bytes.Equal(got, want) {
				t.Errorf("the %v got %x, want %x", relay.Side(side), got, want)
			}
			if got, want := moved.s.Stats(relay.Side(side)), still.s.Stats(relay.Side(side)); got != want {
				t.Errorf("of the %v %+v, want %+v", relay.Side(side), got, want)
			}
		}
		if got, want := moved.s.Result(), still.s.Result(); got != want {
			t.Errorf("ended with %+v, want %+v", got, want)
		}
	})
}

// adopting plays a program, and has the session adopt a copy of its limits before each step.
func adopting(t *testing.T, data []byte, often bool) *fuzzed {
	p := transcript.Program(data)
	z := &fuzzed{}
	z.limits, z.grant = p.Limits()
	z.core = newCore(t, z.limits, z.grant)
	for n := 0; len(p) > 0 && n < 300; n++ {
		if often {
			limits, grant := *z.limits, *z.grant
			z.Adopt(&limits, &grant)
		}
		z.step(&p)
		z.accounts()
	}
	z.complete()
	z.finish()
	return z
}

// Until moves with the grant, either way.
func TestAdoptAnotherEnd(t *testing.T) {
	limits := relay.Defaults()
	limits.PingInterval, limits.Random = 0, func() [4]byte { return [4]byte{} }
	c := newCore(t, &limits, &relay.Grant{Until: epoch.Add(time.Minute)})
	c.Sleep(30 * time.Second)
	c.Adopt(&limits, &relay.Grant{Until: epoch.Add(2 * time.Minute)})
	c.Sleep(60 * time.Second)
	if c.s.Ended() {
		t.Fatal("ended at the time of the grant before")
	}
	c.Adopt(&limits, &relay.Grant{Until: epoch.Add(95 * time.Second)})
	c.Sleep(10 * time.Second)
	if r := c.s.Result(); r.Cause != relay.TokenExpired {
		t.Fatalf("ended with %+v", r)
	}
}

// What a session remembers of limits before does not outlive the messages under them.
func TestAdoptForgets(t *testing.T) {
	limits := relay.Defaults()
	c := newCore(t, &limits, nil)
	c.Send(relay.Client, []byte{0x01, 0x81, 0, 0, 0, 0, 'a'})
	for range 3 {
		next := relay.Defaults()
		c.Adopt(&next, nil)
		if !relay.Past(c.s) {
			t.Fatal("a message is under way, and nothing says under what")
		}
	}
	c.Send(relay.Client, []byte{0x80, 0x81, 0, 0, 0, 0, 'b', 0x81, 0x81, 0, 0, 0, 0, 'c'})
	if relay.Past(c.s) {
		t.Error("the limits before are remembered after the message")
	}
}
