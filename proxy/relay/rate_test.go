package relay_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// rated returns limits whose client has rates.
func rated(rates ...relay.Rate) *relay.Limits {
	l := limits()
	l.PingInterval, l.IdleTimeout = 0, 0
	l.Memory = relay.NewMemory(1 << 20)
	l.From[relay.Client].Rates = rates
	return l
}

// numbered returns text messages of a client that count from first to last.
func numbered(first, last int) (p []byte) {
	for n := first; n <= last; n++ {
		p = append(p, frame.Append(nil, frame.OpText, []byte(strconv.Itoa(n)), &[4]byte{1, 2, 3, 4})...)
	}
	return p
}

// numbers returns what numbered messages got to the upstream.
func numbers(t *testing.T, p []byte) (all []int) {
	t.Helper()
	frames, rest := transcript.Split(p)
	for _, f := range frames {
		if f.Op != 1 {
			continue
		}
		n, err := strconv.Atoi(string(f.Payload))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes of a header", len(rest))
	}
	return all
}

// TestBurst is R-14: of 201 messages in a burst 200 are delivered, in order,
// then 1008.
func TestBurst(t *testing.T) {
	s := relay.New(rated(relay.Rate{Of: relay.Messages, PerSecond: 100, Burst: 200, Action: relay.ActClose}), nil, epoch)
	s.Feed(relay.Client, numbered(1, 201), epoch)
	out := drain(s, epoch)
	all := numbers(t, out[relay.Upstream])
	for i, n := range all {
		if n != i+1 {
			t.Fatalf("message %d is %d", i, n)
		}
	}
	if r := s.Result(); len(all) != 200 || r.Told[relay.Client] != 1008 || r.Reason != "too many messages" {
		t.Errorf("%d messages, %+v", len(all), r)
	}
}

// TestExactness sends as fast as it can, and counts what is admitted: B + R*t
// within one, for each action, whatever is counted.
func TestExactness(t *testing.T) {
	const size = 50
	message := frame.Append(nil, frame.OpText, transcript.Filler(size), &[4]byte{1, 2, 3, 4})
	random := rand.New(rand.NewPCG(7, 8))
	for _, action := range []relay.Action{relay.ActClose, relay.ActDrop, relay.ActDelay, relay.ActReply} {
		for _, of := range []relay.Unit{relay.Messages, relay.Bytes, relay.Frames} {
			rate := relay.Rate{Of: of, PerSecond: 73, Burst: 9, Action: action, Reply: "no"}
			if of == relay.Bytes {
				rate.PerSecond, rate.Burst = 73*size, 9*size
			}
			if rate.Validate() != nil {
				continue
			}
			c, sent := newCore(t, rated(rate), nil), epoch
			for c.now.Before(epoch.Add(20*time.Second)) && !c.s.Ended() {
				if !c.peers[relay.Client].paused {
					c.Send(relay.Client, message)
					sent = c.now
				}
				if action != relay.ActClose {
					c.Sleep(time.Duration(random.IntN(10_000)) * time.Microsecond)
				} else if c.s.Stats(relay.Client).Messages >= 9 {
					c.Sleep(time.Second/73 + time.Nanosecond) // as fast as is allowed
				}
			}
			if action == relay.ActDelay {
				sent = c.now
			}
			want := 9 + 73*sent.Sub(epoch).Seconds()
			if got := float64(c.s.Stats(relay.Client).Messages); math.Abs(got-want) > 1 {
				t.Errorf("%v %d: %v messages were admitted in %v, want %.1f", action, of, got, sent.Sub(epoch), want)
			}
			if c.s.Ended() {
				t.Errorf("%v %d: %+v", action, of, c.s.Result())
			}
		}
	}
}

// TestDelayLosesNothing sends a million messages through a rate that delays,
// in reads of any size, by a clock that is late at times.
func TestDelayLosesNothing(t *testing.T) {
	const total, perSecond = 1_000_000, 100_000
	l := rated(relay.Rate{Of: relay.Messages, PerSecond: perSecond, Burst: 1000, Action: relay.ActDelay})
	l.HighWater = 1 << 30
	s := relay.New(l, nil, epoch)
	key := [4]byte{}
	var message [9]byte
	copy(message[:], frame.Append(nil, frame.OpBinary, []byte("000"), &key))
	unsent := make([]byte, 0, total*len(message))
	for n := range total {
		message[6], message[7], message[8] = byte(n>>16), byte(n>>8), byte(n)
		unsent = append(unsent, message[:]...)
	}
	buf := make([]byte, 64<<10)
	random := rand.New(rand.NewPCG(9, 10))
	now, got, tail := epoch, 0, []byte(nil)
	for got < total {
		if !s.Paused(relay.Client) && len(unsent) > 0 {
			n := copy(buf[:1+random.IntN(len(buf))], unsent)
			unsent = unsent[n:]
			s.Feed(relay.Client, buf[:n], now)
		}
		for op, ok := s.Next(); ok; op, ok = s.Next() {
			if op.Kind != relay.Write {
				continue
			}
			tail = append(tail, op.Data...)
			for ; len(tail) >= len(message); tail = tail[len(message):] {
				if n := int(tail[6])<<16 | int(tail[7])<<8 | int(tail[8]); n != got {
					t.Fatalf("message %d came as the %dth", n, got)
				}
				got++
			}
			s.Written(op.Side, len(op.Data), now)
		}
		if s.Paused(relay.Client) {
			now = s.Deadline().Add(time.Duration(random.IntN(2000)) * time.Microsecond)
			s.Tick(now)
		}
		if s.Ended() {
			t.Fatalf("after %d messages: %+v", got, s.Result())
		}
	}
	if took, least := now.Sub(epoch), time.Duration((total-1000)/float64(perSecond)*float64(time.Second)); took < least {
		t.Errorf("%d messages took %v, want at least %v", total, took, least)
	}
	if n := l.Memory.Used(); n != 0 || relay.Borrowed(s) != 0 {
		t.Errorf("%d bytes are lent at the end, %d buffers borrowed", n, relay.Borrowed(s))
	}
}

// A purse is a bucket that is filled by hand.
type purse struct{ tokens int }

func (p *purse) TakeN(_ time.Time, n int) (bool, time.Duration) {
	if n > p.tokens {
		return false, 0 // it cannot say
	}
	p.tokens -= n
	return true, 0
}

func (p *purse) GiveN(_ time.Time, n int) { p.tokens += n }

// TestSharedBuckets gives two sessions one bucket.
func TestSharedBuckets(t *testing.T) {
	l := rated(
		relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 10, Action: relay.ActDrop},
		relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 2, Action: relay.ActDrop}, // each session's own
		relay.Rate{Of: relay.Bytes, PerSecond: 1, Burst: 100, Action: relay.ActDrop},
	)
	shared := &purse{3}
	grant := &relay.Grant{Buckets: [2][]relay.Bucket{relay.Client: {shared}}}
	a, b := relay.New(l, grant, epoch), relay.New(l, grant, epoch)
	a.Feed(relay.Client, numbered(1, 3), epoch) // the third one has no room in its own
	if got := numbers(t, drain(a, epoch)[relay.Upstream]); len(got) != 2 || shared.tokens != 1 {
		t.Errorf("%v were admitted, and %d tokens are left, want 1", got, shared.tokens)
	}
	b.Feed(relay.Client, numbered(1, 3), epoch)
	if got := numbers(t, drain(b, epoch)[relay.Upstream]); len(got) != 1 || shared.tokens != 0 {
		t.Errorf("%v were admitted, and %d tokens are left, want none", got, shared.tokens)
	}
	// A message that the last of the rates refuses at its end takes nothing.
	shared.tokens = 1
	key := &[4]byte{}
	long := frame.Append(nil, frame.OpText, make([]byte, 60), key)
	long[0] &^= 0x80
	rest := frame.Append(nil, frame.OpContinuation, make([]byte, 60), key)
	c := relay.New(l, grant, epoch)
	c.Feed(relay.Client, append(long, rest...), epoch)
	if out := drain(c, epoch); len(out[relay.Upstream]) > 0 || shared.tokens != 1 || c.Stats(relay.Client).DroppedMessages != 1 {
		t.Errorf("%d bytes were relayed, %d tokens are left, want 1", len(out[relay.Upstream]), shared.tokens)
	}
}

// TestBucketThatCannotSay is asked again and again, but not without end at one
// moment.
func TestBucketThatCannotSay(t *testing.T) {
	l := rated(relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 10, Action: relay.ActDelay})
	shared := &purse{}
	s := relay.New(l, &relay.Grant{Buckets: [2][]relay.Bucket{relay.Client: {shared}}}, epoch)
	s.Feed(relay.Client, numbered(1, 1), epoch)
	drain(s, epoch)
	now := epoch
	for range 100 {
		at := s.Deadline()
		if !at.After(now) {
			t.Fatalf("the deadline stands at %v", at.Sub(epoch))
		}
		now = at
		s.Tick(now)
		if out := drain(s, now); len(out[relay.Upstream]) > 0 {
			t.Fatal("a message without a token")
		}
	}
	shared.tokens = 1
	now = s.Deadline()
	s.Tick(now)
	if got := numbers(t, drain(s, now)[relay.Upstream]); len(got) != 1 {
		t.Errorf("%v came, want the message", got)
	}
}

func TestValidate(t *testing.T) {
	good := relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 1, Action: relay.ActClose}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		spoil func(r *relay.Rate)
		want  string
	}{
		{func(r *relay.Rate) { r.Of = relay.Frames + 1 }, "no unit"},
		{func(r *relay.Rate) { r.PerSecond = 0 }, "positive"},
		{func(r *relay.Rate) { r.PerSecond = -1 }, "positive"},
		{func(r *relay.Rate) { r.PerSecond = math.NaN() }, "positive"},
		{func(r *relay.Rate) { r.PerSecond = math.Inf(1) }, "positive"},
		{func(r *relay.Rate) { r.Burst = 0 }, "at least 1"},
		{func(r *relay.Rate) { r.Action = relay.ActPass }, "action"},
		{func(r *relay.Rate) { r.Action = relay.ActReply + 1 }, "action"},
		{func(r *relay.Rate) { r.Action = relay.ActReply }, "text"},
		{func(r *relay.Rate) { r.Of, r.Action = relay.Frames, relay.ActDrop }, "drop"},
		{func(r *relay.Rate) { r.Of, r.Action, r.Reply = relay.Frames, relay.ActReply, "no" }, "reply"},
		{func(r *relay.Rate) { r.Of, r.Operation = relay.Bytes, 2 }, "operation 2"},
		{func(r *relay.Rate) { r.Operation = -1 }, "operation -1"},
	} {
		r := good
		test.spoil(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", r, err, test.want)
		}
	}
}

// TestManyHits tells hits that follow each other together, however many.
func TestManyHits(t *testing.T) {
	l := rated(relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 1, Action: relay.ActDrop, Rule: 5})
	s := relay.New(l, nil, epoch)
	empty := frame.Append(nil, frame.OpText, nil, &[4]byte{})
	var p []byte
	for range 100_001 {
		p = append(p, empty...)
	}
	s.Feed(relay.Client, p, epoch)
	total, reports := 0, 0
	for _, op := range ops(s) {
		if op.Kind == relay.Report {
			reports++
			total += int(op.Hit.Times)
			if op.Side != relay.Client || op.Hit.Rule != 5 || op.Hit.Action != relay.ActDrop || op.Hit.Shadow {
				t.Errorf("%+v", op)
			}
		}
	}
	if total != 100_000 || reports > 3 {
		t.Errorf("%d hits in %d reports, want 100000 in few", total, reports)
	}
}
