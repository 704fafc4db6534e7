package relay_test

import (
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// A program is what a fuzzer's bytes mean: zeros, where they end.
type program []byte

func (p *program) next() int {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return int(b)
}

// pick returns one of a few choices.
func pick[T any](p *program, all ...T) T { return all[p.next()%len(all)] }

// frame makes a frame that is more often right than wrong.
func (p *program) frame(from relay.Side) []byte {
	f := transcript.Frame{Fin: true, Masked: from == relay.Client, Op: pick[byte](p, 1, 2, 0, 1, 2, 0, 9, 10, 9, 10, 8, 3)}
	if f.Masked {
		f.Key = pick(p, [4]byte{1, 2, 3, 4}, [4]byte{}, [4]byte{0xff, 0x80, 0, 0xe2})
	}
	flaws := p.next()
	f.Fin = flaws&1 == 0 || f.Op > 2 && flaws&2 == 0
	if flaws&0x0c == 0x0c {
		f.RSV = 4
	}
	if flaws&0xf0 == 0xf0 {
		f.RSV, f.Masked = pick[byte](p, 0, 2, 1), !f.Masked
	}
	switch n := p.next(); {
	case f.Op == 8 && n%4 > 0:
		f.Payload = append(pick(p, []byte{3, 0xe8}, []byte{15, 0xa0}, []byte{3, 0xed}, []byte{3}), p.text(n%8)...)
	case f.Op > 2:
		f.Payload = p.text(n % 10)
	case n < 200:
		f.Payload = p.text(n % 50)
	default:
		f.Payload = append(transcript.Filler(pick(p, 125, 126, 4080, 4088, 4092, 4093, 5000, 9000)), p.text(3)...)
	}
	f.Length = uint64(len(f.Payload))
	switch {
	case f.Length > 65535:
		f.Form = 8
	case f.Length > 125:
		f.Form = 2
	}
	if flaws == 0x5a {
		f.Form = 8
	}
	return f.Append(nil)
}

// text returns some bytes that are often UTF-8.
func (p *program) text(n int) []byte {
	var b []byte
	for range n {
		b = append(b, pick(p, "a", "b", "é", "€", "𝄞", "\xe2", "\x82", "\xac", "\xff", "\xf4")...)
	}
	return b
}

func (p *program) limits() (*relay.Limits, bool) {
	l := limits()
	flags := p.next()
	l.AnswerPings = flags&1 != 0
	if flags&2 != 0 {
		l.From[relay.Client] = relay.Shape{MaxFrame: 6000, MaxMessage: 9000, MaxFragments: 3, NoBinary: flags&4 != 0}
		l.From[relay.Upstream] = relay.Shape{MaxFrame: 130, MaxMessage: 200, MaxFragments: 5, NoText: flags&8 != 0}
	}
	if flags&16 != 0 {
		l.HighWater, l.LowWater = 3000, 100
	}
	if flags&32 != 0 {
		l.WriteTimeout, l.FrameGrace, l.IdleTimeout = 0, 0, 0
	}
	return l, flags&64 != 0
}

// A fuzzed session, and what was sent by either side.
type fuzzed struct {
	*core
	limits  *relay.Limits
	deflate bool
	unsent  [2][]byte
	sent    [2][]byte
	outside bool // it was ended from outside, or by the clock
	flawed  [2]bool
}

// step does one thing.
func (f *fuzzed) step(p *program) {
	what := p.next()
	side := relay.Side(what & 1)
	switch what >> 1 % 16 {
	default:
		f.unsent[side] = append(f.unsent[side], p.frame(side)...)
	case 6, 7, 8:
		f.feed(side, 1+p.next())
	case 9:
		f.feed(side, 1<<20)
	case 10:
		f.Stall(side, what&32 != 0)
	case 11:
		if q := &f.peers[side]; len(q.queue) > 0 && !q.broken {
			f.take(side, 1+p.next()*17%len(q.queue))
			f.rest()
		}
	case 12:
		f.Sleep(time.Duration(p.next()) * pick(p, time.Millisecond, 100*time.Millisecond))
		f.outside = f.outside || f.s.Ended()
	case 13:
		f.unsent[side] = append(f.unsent[side], byte(p.next()), byte(p.next()))
	case 14:
		f.end(p, side)
	}
}

// end is one of the ways in which a session can end from outside.
func (f *fuzzed) end(p *program, side relay.Side) {
	switch p.next() % 16 {
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
		f.Fail(pick(p, relay.Drain, relay.Internal, relay.Policy, relay.Idle, relay.TokenExpired))
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
		p := program(data)
		z := &fuzzed{}
		z.limits, z.deflate = p.limits()
		z.core = newCore(t, z.limits, z.deflate)
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
	// A buffer that was handed out and not written when its receiver was reset
	// may be in a writer's hands: it does not go back to the pool.
	if n := relay.Borrowed(f.s); n > 0 && f.s.Done() && !f.peers[0].lost && !f.peers[1].lost {
		f.t.Fatalf("%d buffers are borrowed after the end", n)
	}
}

// complete demands that all that was sent has crossed, where nothing kept it
// from crossing.
func (f *fuzzed) complete() {
	f.Stall(relay.Client, false)
	f.Stall(relay.Upstream, false)
	if f.outside {
		return
	}
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		code, good := naive(f.sent[from], from, f.limits, f.deflate)
		if code != 0 && !f.s.Ended() {
			f.t.Errorf("frame %d of the %v deserves %d, and the session goes on", good, from, code)
		}
		if f.s.Ended() {
			continue
		}
		sent, _ := transcript.Split(f.sent[from])
		seen, err := crossed(from.Other(), f.peers[from.Other()].total, f.sent[from], f.limits, f.deflate, false)
		for _, frame := range sent[min(seen, len(sent)):] {
			if err == nil && frame.Complete() && frame.Op != 9 && frame.Op != 10 {
				f.t.Errorf("%x of the %v has not crossed", frame.Raw, from)
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

// verify looks at what either side got, and at who is blamed.
func (f *fuzzed) verify() {
	for _, to := range []relay.Side{relay.Client, relay.Upstream} {
		p := &f.peers[to]
		if _, err := crossed(to, p.total, f.sent[to.Other()], f.limits, f.deflate, !p.reset && !p.ended && !p.broken); err != nil {
			f.t.Error(err)
		}
	}
	r := f.s.Result()
	want := map[relay.Cause]int{relay.Protocol: 1002, relay.InvalidData: 1007, relay.TooBig: 1009, relay.WrongType: 1003}[r.Cause]
	if want == 0 {
		return
	}
	if code, good := naive(f.sent[r.By], r.By, f.limits, f.deflate); code != want {
		f.t.Errorf("ended with %+v, but frame %d of the %v deserves %d", r, good, r.By, code)
	}
	if told := int(r.Told[r.By]); told != 0 && told != want {
		f.t.Errorf("the %v was told %d, want %d", r.By, told, want)
	}
}
