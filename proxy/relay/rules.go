package relay

import (
	"sync"
	"time"

	"github.com/framegate/framegate/proxy/frame"
)

// A count is what a message, or a part of it, counts for the rates of all
// messages.
type count struct {
	messages int64
	bytes    int64 // for the rates that count frame by frame
	whole    int64 // for those that count message by message
}

// A tally is what a frame or a message counts.
type tally struct {
	count
	frames     int64
	operations []int // of a message that was inspected
	firm       bool  // it cannot be left out
}

// of is what the tally counts for a rate.
func (t *tally) of(r *Rate) int64 {
	switch {
	case r.Operation > 0:
		if r.Operation > len(t.operations) {
			return 0
		}
		return int64(t.operations[r.Operation-1])
	case r.Of == Frames:
		return t.frames
	case r.Of == Messages:
		return t.messages
	case r.whole():
		return t.whole
	}
	return t.bytes
}

// A ruling is what the rules about one side remember of it while a message is
// under way, or something waits. It is borrowed from a pool only as long.
type ruling struct {
	// The current message.
	taken       count // from the rates
	gathering   bool  // it is kept until it is whole
	inspecting  bool  // and then shown to the inspector
	inflating   bool  // inflated before
	dropping    bool
	parts, last *buffer // as it came, where it is gathered
	due         *tally  // what it counts besides, where it is whole and has to wait

	owed    string // text message that the side is sent between two others
	backlog backlog
}

var rulings = sync.Pool{New: func() any { return new(ruling) }}

// A pace is what the rules about one side remember of it from one message to
// another.
type pace struct {
	buckets []bucket // parallel to Shape.Rates; unused where one is shared; nil until the first frame

	// Parts of Stats.
	dropped   uint64
	delayed   time.Duration
	inspected uint64
}

// ruled reports that frames of a side must be shown to rules.
func (s *Session) ruled(from Side) bool {
	l, g := s.under(from), s.granted(from)
	return len(l.From[from].Rates) > 0 || g.Inspectors[from] != nil || l.Inflate && g.Deflate
}

// remember keeps what r says for a side that has no ruling.
func (s *Session) remember(from Side, r *ruling) *ruling {
	if s.half[from].rules == nil {
		*s.ruling(from) = *r
	}
	return s.half[from].rules
}

// ruling returns that of a side, made where there is none yet.
func (s *Session) ruling(from Side) *ruling {
	h := &s.half[from]
	if h.rules == nil {
		h.rules = rulings.Get().(*ruling)
	}
	return h.rules
}

// pace returns that of a side, made where there is none yet.
func (s *Session) pace(from Side) *pace {
	if s.paces == nil {
		s.paces = new([2]pace)
	}
	p := &s.paces[from]
	if p.buckets == nil {
		p.buckets = newBuckets(s.under(from).From[from].Rates, s.now)
	}
	return p
}

// rest gives the rulings back that have nothing to remember.
func (s *Session) rest() {
	for i := range s.half {
		h := &s.half[i]
		if r := h.rules; r != nil && !h.sequence.Open() && r.empty() {
			h.rules = nil
			*r = ruling{}
			rulings.Put(r)
		}
	}
}

// empty reports that a ruling has nothing that must not be forgotten between
// two messages.
func (r *ruling) empty() bool {
	l := &r.backlog
	return !r.gathering && !r.dropping && r.parts == nil && r.due == nil && r.owed == "" && l.b == nil && l.until == 0 && !l.eof && !l.lent
}

// charge takes t from all buckets that it concerns, or from none: then it
// returns the rate that has no room, and after how long it may. A message that
// can never have room has to wait for ever.
func (s *Session) charge(from Side, t *tally) (refused *Rate, wait time.Duration) {
	rates, shadow := s.under(from).From[from].Rates, false
	for i := range rates {
		r := &rates[i]
		n := t.of(r)
		if n == 0 || r.Shadow {
			shadow = shadow || n > 0
			continue
		}
		if ok, wait := s.take(from, i, r, n); !ok {
			s.give(from, rates[:i], t)
			return r, wait
		}
	}
	if shadow {
		s.chargeShadow(from, rates, t)
	}
	return nil, 0
}

// chargeShadow takes t from the buckets of rates in shadow, as far as there is
// room, and reports where there is none.
func (s *Session) chargeShadow(from Side, rates []Rate, t *tally) {
	for i := range rates {
		r := &rates[i]
		n := t.of(r)
		if n == 0 || !r.Shadow {
			continue
		}
		if ok, _ := s.take(from, i, r, n); !ok {
			s.report(from, Hit{Action: r.Action, Shadow: true, Rule: r.Rule})
		}
	}
}

// take takes n tokens for r, the rate i of a side.
func (s *Session) take(from Side, i int, r *Rate, n int64) (ok bool, wait time.Duration) {
	if n > int64(r.Burst) || r.Of == Bytes && r.Action == ActDelay && s.half[from].size > uint64(r.Burst) {
		return false, never
	}
	if b := s.shared(from, i); b != nil {
		return b.TakeN(s.clock(), int(n))
	}
	return s.pace(from).buckets[i].take(r, s.now, n)
}

// give gives back what t has taken for the first of a side's rates.
func (s *Session) give(from Side, rates []Rate, t *tally) {
	for i := range rates {
		n := t.of(&rates[i])
		if n == 0 || rates[i].Shadow {
			continue
		}
		if b := s.shared(from, i); b != nil {
			b.GiveN(s.clock(), int(n))
		} else {
			s.pace(from).buckets[i].give(n)
		}
	}
}

// admit shows the rules a frame whose header was accepted. A Close is nobody's
// concern.
func (w *walker) admit(hdr frame.Header) (fate, *frame.Violation) {
	s, h := w.s, w.h
	if hdr.OpCode == frame.OpClose {
		return pass, nil
	}
	var fresh ruling
	r, data := h.rules, !hdr.OpCode.IsControl()
	if r == nil {
		r = &fresh // kept where there is something to remember
	}
	t := tally{frames: 1}
	if begins(hdr) {
		r.taken, t.messages = count{}, 1
		inspector := s.granted(w.from).Inspectors[w.from]
		r.inspecting = inspector != nil && inspector.Wants(hdr.OpCode)
		r.inflating = h.compressed && (r.inspecting || s.under(w.from).Inflate)
		r.gathering = r.inspecting || r.inflating || !hdr.Fin && s.wholeBytes(w.from)
	}
	if data && !r.dropping && !r.inflating {
		t.bytes = hdr.Length
		if hdr.Fin {
			t.whole = int64(h.size)
		}
	}
	if refused, after := s.charge(w.from, &t); refused != nil {
		r = s.remember(w.from, r)
		f, v := w.refuse(refused, after, false)
		r.dropping = r.dropping || f == drop
		return f, v
	}
	switch {
	case !data:
		return pass, nil
	case r.dropping:
		return drop, nil
	}
	r.taken.messages += t.messages
	r.taken.bytes += t.bytes
	r.taken.whole += t.whole
	if r.gathering || !hdr.Fin {
		r = s.remember(w.from, r)
	}
	if r.gathering {
		return keep, nil
	}
	return pass, nil
}

// wholeBytes reports that a side's fragmented messages must be whole before
// they can be decided on.
func (s *Session) wholeBytes(from Side) bool {
	rates := s.under(from).From[from].Rates
	for i := range rates {
		if rates[i].whole() && !rates[i].Shadow {
			return true
		}
	}
	return false
}

// refuse does what a rate says that has no room for a frame or a message, which
// cannot be left out if it is firm.
func (w *walker) refuse(r *Rate, after time.Duration, firm bool) (fate, *frame.Violation) {
	s := w.s
	hit := Hit{Action: r.Action, Rule: r.Rule}
	if r.Action == ActDelay && after != never {
		l := &w.h.rules.backlog
		if !w.retried || l.rate != r {
			s.report(w.from, hit)
		}
		l.rate, l.until = r, s.now+min(max(after, shortestWait), longestWait)
		return wait, nil
	}
	if r.Action == ActDelay || firm {
		hit.Action = ActClose
	}
	s.report(w.from, hit)
	if w.h.rules.gathering { // else nothing was taken, or some of it was relayed
		s.give(w.from, s.under(w.from).From[w.from].Rates, &tally{count: w.h.rules.taken})
	}
	switch {
	case r.Action == ActDelay:
		return drop, errNoRoom
	case hit.Action == ActClose:
		return drop, &frame.Violation{Code: rows[Policy].offender, Reason: r.reason()}
	}
	if r.Action == ActReply {
		w.drop(r.Reply)
	} else {
		w.drop("")
	}
	return drop, nil
}
