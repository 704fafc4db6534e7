package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// FuzzChopped plays one program twice: with every input in one piece, and in
// pieces that the program chooses. Rules are held to more than the plain relay
// is (see FuzzSession): either side gets the same bytes at the same times, and
// the same rules are reported.
func FuzzChopped(f *testing.F) {
	for _, seed := range seeds() {
		seed[0] |= 128 // rules
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, pieces := newTwin(t, data), newTwin(t, data)
		for n := 0; len(whole.p) > 0 && n < 300 && !t.Failed(); n++ {
			whole.step(func(n, _ int) int { return n })
			pieces.step(func(n, choice int) int { return 1 + choice*n/256 })
			if a, b := whole.state(), pieces.state(); a != b {
				t.Fatalf("step %d: whole\n%s\nin pieces\n%s", n, a, b)
			}
		}
	})
}

// A twin is a session that is fed by a program.
type twin struct {
	*core
	p   transcript.Program
	log [2]string
}

func newTwin(t *testing.T, data []byte) *twin {
	w := &twin{p: data}
	l, grant := w.p.Limits()
	l.HighWater, l.LowWater = 1<<30, 1<<30 // how often a side is paused depends on the reads
	w.core = newCore(t, l, grant)
	return w
}

// step does one thing. An input is cut by size, which is told a byte of the
// program that both twins read.
func (w *twin) step(size func(n, choice int) int) {
	what := w.p.Next()
	side := relay.Side(what & 1)
	switch what >> 1 % 8 {
	default:
		p := w.p.Frame(side)
		for range w.p.Next() % 4 {
			p = append(p, w.p.Frame(side)...)
		}
		if w.p.Next()%8 == 0 {
			p = p[:len(p)-1]
		}
		choice := w.p.Next()
		for len(p) > 0 {
			n := size(len(p), choice)
			w.Send(side, p[:n])
			p = p[n:]
		}
	case 6:
		w.Sleep(time.Duration(w.p.Next()) * transcript.Pick(&w.p, time.Millisecond, 20*time.Millisecond))
	case 7:
		if w.p.Next()%8 == 0 {
			w.Fail(transcript.Pick(&w.p, relay.Drain, relay.TokenExpired))
		}
	}
}

// state describes what has come out so far.
func (w *twin) state() string {
	text := ""
	for side := range w.peers {
		for _, e := range w.Events(relay.Side(side)) {
			if e.Kind == relay.Write {
				w.log[side] += fmt.Sprintf("%x", e.Data)
			} else {
				w.log[side] += fmt.Sprintf(" %d at %v ", e.Kind, e.At)
			}
		}
		text += fmt.Sprintf("the %v, %+v: %s\n", relay.Side(side), w.s.Stats(relay.Side(side)), w.log[side])
	}
	hits := map[relay.Hit]int{}
	for _, h := range w.Hits() {
		times := int(h.Times)
		h.Times = 0
		hits[h.Hit] += times
	}
	return text + fmt.Sprint(hits, w.s.Result())
}
