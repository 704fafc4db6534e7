package stream_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// A fuzzed run, and what its peers sent and got.
type fuzzed struct {
	*run
	p       transcript.Program
	limits  *relay.Limits
	grant   *relay.Grant
	sent    [2][]byte
	outside bool // something besides the frames may have ended it
}

// FuzzDriver lets both peers do anything at any time while the driver's
// goroutines are at work, with writes that take their time. Run returns, both
// connections are closed once, no goroutine is left (synctest would say), and
// what has crossed is what package relay promises.
func FuzzDriver(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		b := make([]byte, 20+random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			z := &fuzzed{p: data}
			z.limits, z.grant = z.p.Limits()
			early := z.begin(t)
			go func() { z.over <- z.driver.Run(early) }()
			for n := 0; len(z.p) > 0 && n < 200; n++ {
				z.step()
			}
			z.complete(t)
			z.driver.Fail(relay.Drain)
			time.Sleep(time.Minute)
			z.stop(t)
			z.verify(t)
		})
	})
}

// begin makes the session; either side may have sent something before it.
func (z *fuzzed) begin(t *testing.T) (early [2][]byte) {
	z.run = newRun(t, z.limits, z.grant)
	flags := z.p.Next()
	for side := range early {
		if flags&(1<<side) != 0 {
			early[side] = z.p.Frame(relay.Side(side))
			z.sent[side] = append(z.sent[side], early[side]...)
		}
		if flags&(4<<side) != 0 {
			z.conns[side].delay = func() time.Duration { return time.Duration(rand.IntN(3)) * time.Millisecond }
		}
	}
	return early
}

// step does one thing, and lets the driver notice or not.
func (z *fuzzed) step() {
	what := z.p.Next()
	side := relay.Side(what & 1)
	c := z.conns[side]
	switch what >> 1 % 16 {
	default:
		z.send(side, z.p.Frame(side))
	case 8:
		frame := z.p.Frame(side)
		cut := z.p.Next() % len(frame)
		z.send(side, frame[:cut])
		time.Sleep(time.Duration(z.p.Next()) * time.Millisecond)
		z.send(side, frame[cut:])
	case 9, 10:
		synctest.Wait()
	case 11:
		time.Sleep(time.Duration(z.p.Next()) * transcript.Pick(&z.p, time.Microsecond, 10*time.Millisecond, 100*time.Millisecond))
		z.outside = true
	case 12:
		c.stall(true)
		z.outside = true
	case 13:
		c.stall(false)
	case 14:
		z.end(side)
	}
}

func (z *fuzzed) send(from relay.Side, p []byte) {
	if len(p) == 0 || z.conns[from].end != nil {
		return
	}
	z.sent[from] = append(z.sent[from], p...)
	z.conns[from].send(p)
}

// end is one of the ways in which a session can end from outside.
func (z *fuzzed) end(side relay.Side) {
	z.outside = true
	switch z.p.Next() % 12 {
	case 0:
		z.conns[side].eof()
	case 1:
		z.conns[side].reset()
	case 2:
		z.conns[side].breakWrites()
	case 3:
		z.driver.Fail(transcript.Pick(&z.p, relay.Drain, relay.Internal, relay.Policy, relay.Idle, relay.TokenExpired))
	case 4:
		z.driver.Abort()
	}
}

// complete demands that everything has crossed, where nothing kept it from
// crossing.
func (z *fuzzed) complete(t *testing.T) {
	for _, c := range z.conns {
		c.stall(false)
	}
	if z.outside {
		return
	}
	time.Sleep(time.Second)
	synctest.Wait()
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		if len(z.limits.From[from].Rates) > 0 || transcript.Drops(z.limits, z.grant, from) {
			continue // it may be delayed or dropped
		}
		if code, n := transcript.Verdict(z.sent[from], from, z.limits, z.grant.Deflate); code != 0 && !z.session.Ended() {
			t.Errorf("frame %d of the %v deserves %d, and the session goes on", n, from, code)
		}
		if z.session.Ended() {
			continue
		}
		sent, _ := transcript.Split(z.sent[from])
		seen, err := transcript.Crossed(from.Other(), z.conns[from.Other()].got(), z.sent[from], z.limits, z.grant, false)
		for _, frame := range sent[min(seen, len(sent)):] {
			if err == nil && frame.Complete() && frame.Op != 9 && frame.Op != 10 {
				t.Errorf("%x of the %v has not crossed", frame.Raw, from)
			}
		}
	}
}

// verify looks at what either side got.
func (z *fuzzed) verify(t *testing.T) {
	for _, to := range []relay.Side{relay.Client, relay.Upstream} {
		c := z.conns[to]
		whole := c.end == nil && !c.broken
		for _, e := range c.events {
			whole = whole && e.Kind != relay.Abort
		}
		if _, err := transcript.Crossed(to, c.got(), z.sent[to.Other()], z.limits, z.grant, whole); err != nil {
			t.Error(err)
		}
	}
}
