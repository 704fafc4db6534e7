package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// A fuzzed session, and what was sent by either side.
type fuzzed struct {
	*core
	limits  *relay.Limits
	grant   *relay.Grant
	unsent  [2][]byte
	sent    [2][]byte
	outside bool // it was ended from outside, or by the clock
}

// step does one thing.
func (f *fuzzed) step(p *transcript.Program) {
	what := p.Next()
	side := relay.Side(what & 1)
	switch what >> 1 % 16 {
	default:
		f.unsent[side] = append(f.unsent[side], p.Frame(side)...)
	case 6, 7, 8:
		f.feed(side, 1+p.Next())
	case 9:
		f.feed(side, 1<<20)
	case 10:
		f.Stall(side, what&32 != 0)
	case 11:
		if q := &f.peers[side]; len(q.queue) > 0 && !q.broken {
			f.take(side, 1+p.Next()*17%len(q.queue))
			f.rest()
		}
	case 12:
		f.Sleep(time.Duration(p.Next()) * transcript.Pick(p, time.Millisecond, 100*time.Millisecond))
		f.outside = f.outside || f.s.Ended()
	case 13:
		f.unsent[side] = append(f.unsent[side], byte(p.Next()), byte(p.Next()))
	case 14:
		f.end(p, side)
	}
}

// end is one of the ways in which a session can end from outside.
func (f *fuzzed) end(p *transcript.Program, side relay.Side) {
	switch p.Next() % 16 {
	case 0:
		f.outside = true
		f.EOF(side)
	case 1:
		f.outside = true
		f.Reset(side)
	case 2:
		f.outside = true
		f.Break(side)
	case 3:
		f.outside = true
		f.Fail(transcript.Pick(p, relay.Drain, relay.Internal, relay.Policy, relay.Idle, relay.TokenExpired))
	}
}

func (f *fuzzed) feed(from relay.Side, n int) {
	n = min(n, len(f.unsent[from]))
	if n == 0 || f.peers[from].ended || f.peers[from].closed || f.peers[from].paused {
		return
	}
	p := f.unsent[from][:n]
	f.unsent[from] = f.unsent[from][n:]
	f.sent[from] = append(f.sent[from], p...)
	f.Send(from, p)
}

// FuzzSession lets both sides send frames and garbage in any pieces, stop
// reading, stop writing and go away. Whatever they do, what reaches the other
// one is a sequence of valid frames, and the session ends.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x00\x00\x00\x00\x00\x05aaaaa\x12"))
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := transcript.Program(data)
		z := &fuzzed{}
		z.limits, z.grant = p.Limits()
		z.core = newCore(t, z.limits, z.grant)
		for n := 0; len(p) > 0 && n < 300; n++ {
			z.step(&p)
			z.accounts()
		}
		z.complete()
		z.finish()
		z.verify()
	})
}

// accounts checks the bookkeeping of bytes.
func (f *fuzzed) accounts() {
	for side := range f.peers {
		if got, want := relay.Pending(f.s, relay.Side(side)), len(f.peers[side].queue); got != want {
			f.t.Fatalf("%d bytes wait for the %v, the session counts %d", want, relay.Side(side), got)
		}
	}
	if n := relay.Borrowed(f.s); n > 0 && f.s.Done() {
		f.t.Fatalf("%d buffers are borrowed after the end", n)
	}
	if n := f.limits.Memory.Used(); n > 0 && f.s.Done() {
		f.t.Fatalf("%d bytes are lent after the end", n)
	}
}

// complete demands that all that was sent has crossed, where nothing kept it
// from crossing.
func (f *fuzzed) complete() {
	f.Stall(relay.Client, false)
	f.Stall(relay.Upstream, false)
	for n := 0; n < 1000 && !f.s.Ended() && (relay.Waits(f.s, relay.Client) || relay.Waits(f.s, relay.Upstream)); n++ {
		f.Sleep(10 * time.Second)
		f.outside = f.outside || f.s.Ended()
	}
	if f.outside {
		return
	}
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		if transcript.Drops(f.limits, f.grant, from) {
			continue // what is dropped is not read, and need not cross
		}
		code, good := transcript.Verdict(f.sent[from], from, f.limits, f.grant.Deflate)
		if code != 0 && !f.s.Ended() {
			f.t.Errorf("frame %d of the %v deserves %d, and the session goes on", good, from, code)
		}
		if f.s.Ended() {
			continue
		}
		sent, _ := transcript.Split(f.sent[from])
		seen, err := transcript.Crossed(from.Other(), f.peers[from.Other()].total, f.sent[from], f.limits, f.grant, false)
		for _, g := range sent[min(seen, len(sent)):] {
			if err == nil && g.Complete() && g.Op != 9 && g.Op != 10 {
				f.t.Errorf("%x of the %v has not crossed", g.Raw, from)
			}
		}
	}
}

// finish ends the session if it has not ended, and demands that it does.
func (f *fuzzed) finish() {
	if !f.s.Ended() {
		f.Fail(relay.Drain)
		f.outside = true
	}
	f.maxTicks = 100
	f.Sleep(time.Hour)
	f.accounts()
	if !f.s.Done() {
		f.t.Fatalf("the session has not ended: %+v", f.s.Result())
	}
}

// clean demands that no message got through that an inspector refuses.
func (f *fuzzed) clean() {
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		d, ok := f.grant.Inspectors[from].(*transcript.Denier)
		if !ok {
			continue
		}
		var message []byte
		var first transcript.Frame
		frames, _ := transcript.Split(f.peers[from.Other()].total)
		for _, g := range frames {
			if g.Control() || g.Op == 1 && string(g.Payload) == transcript.Replied {
				continue
			}
			if g.Op != 0 {
				message, first = nil, g
			}
			message = append(message, g.Payload...)
			text := message
			if first.RSV != 0 {
				text = transcript.Inflated(message)
			}
			for _, r := range d.Rules {
				if d.Wants(frame.OpCode(first.Op)) && !r.Shadow && bytes.Contains(text, []byte(r.Word)) {
					f.t.Errorf("%q of the %v was relayed", message, from)
				}
			}
		}
	}
}

// verify looks at what either side got, and at who is blamed.
func (f *fuzzed) verify() {
	for _, to := range []relay.Side{relay.Client, relay.Upstream} {
		p := &f.peers[to]
		if _, err := transcript.Crossed(to, p.total, f.sent[to.Other()], f.limits, f.grant, !p.reset && !p.ended && !p.broken); err != nil {
			f.t.Error(err)
		}
	}
	f.clean()
	r := f.s.Result()
	want := map[relay.Cause]int{relay.Protocol: 1002, relay.InvalidData: 1007, relay.TooBig: 1009, relay.WrongType: 1003}[r.Cause]
	if want == 0 || transcript.Drops(f.limits, f.grant, r.By) {
		return
	}
	if code, good := transcript.Verdict(f.sent[r.By], r.By, f.limits, f.grant.Deflate); code != want {
		f.t.Errorf("ended with %+v, but frame %d of the %v deserves %d", r, good, r.By, code)
	}
	if told := int(r.Told[r.By]); told != 0 && told != want {
		f.t.Errorf("the %v was told %d, want %d", r.By, told, want)
	}
}
