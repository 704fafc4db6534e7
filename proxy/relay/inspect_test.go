package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// An inspector is one that a test makes of a function.
type inspector func(m relay.Message) relay.Verdict

func (inspector) Wants(frame.OpCode) bool                 { return true }
func (f inspector) Inspect(m relay.Message) relay.Verdict { return f(m) }

// inspected grants a session that f looks at what a side sends.
func inspected(from relay.Side, f inspector) *relay.Grant {
	g := &relay.Grant{}
	g.Inspectors[from] = f
	return g
}

// fragment is a frame that may not be the last one of its message.
func fragment(op frame.OpCode, payload []byte, key *[4]byte, fin bool) []byte {
	p := frame.Append(nil, op, payload, key)
	if !fin {
		p[0] &^= 0x80
	}
	return p
}

// TestInspectorSees what it is shown: kind, time and payload, however that came.
func TestInspectorSees(t *testing.T) {
	var seen []relay.Message
	look := func(m relay.Message) relay.Verdict {
		m.Payload = bytes.Clone(m.Payload)
		seen = append(seen, m)
		return relay.Verdict{}
	}
	for _, from := range []relay.Side{relay.Client, relay.Upstream} {
		var keys [3]*[4]byte
		if from == relay.Client {
			keys = [3]*[4]byte{{1, 2, 3, 4}, {0xff, 0, 0xee, 0x80}, {}}
		}
		large := transcript.Filler(100_000)
		var sent []byte
		sent = append(sent, fragment(frame.OpText, []byte("hello"), keys[0], true)...)
		sent = append(sent, fragment(frame.OpBinary, large[:33_333], keys[0], false)...)
		sent = append(sent, fragment(frame.OpContinuation, nil, keys[2], false)...)
		sent = append(sent, fragment(frame.OpContinuation, large[33_333:99_999], keys[1], false)...)
		sent = append(sent, fragment(frame.OpContinuation, large[99_999:], keys[0], true)...)
		for _, size := range []int{1, 2, 3, 1000, 4096, 65_536, len(sent)} {
			seen = nil
			l := limits()
			l.Memory = relay.NewMemory(1 << 20)
			s := relay.New(l, inspected(from, look), epoch)
			var out []byte
			now := epoch
			for at := 0; at < len(sent); at += size {
				now = now.Add(time.Nanosecond)
				p := bytes.Clone(sent[at:min(at+size, len(sent))])
				s.Feed(from, p, now)
				out = append(out, drain(s, now)[from.Other()]...)
				scribble(p)
			}
			if !bytes.Equal(out, sent) {
				t.Errorf("%v in pieces of %d: it was not relayed as it came", from, size)
			}
			if len(seen) != 2 || seen[0].Kind != frame.OpText || string(seen[0].Payload) != "hello" || seen[1].Kind != frame.OpBinary || !bytes.Equal(seen[1].Payload, large) || !seen[1].Now.Equal(now) {
				t.Errorf("%v in pieces of %d: %d messages were seen", from, size, len(seen))
			}
			if n := s.Stats(from).Inspected; n != 100_005 || l.Memory.Used() != 0 || relay.Borrowed(s) != 0 {
				t.Errorf("%d bytes were inspected, %d are lent, %d buffers borrowed", n, l.Memory.Used(), relay.Borrowed(s))
			}
		}
	}
}

// TestPinned holds a message back until its end: what it pins is not much more
// than it has sent.
func TestPinned(t *testing.T) {
	l := limits()
	l.Memory = relay.NewMemory(4 << 20)
	l.From[relay.Upstream].MaxFragments = 1 << 20
	s := relay.New(l, inspected(relay.Upstream, func(relay.Message) relay.Verdict { return relay.Verdict{} }), epoch)
	sent := 0
	feed := func(p []byte) {
		s.Feed(relay.Upstream, p, epoch)
		drain(s, epoch)
		sent += len(p)
		if used := l.Memory.Used(); used > int64(max(4<<10, min(5*sent, sent+64<<10))) {
			t.Fatalf("%d bytes are pinned by %d that were sent", used, sent)
		}
	}
	feed(fragment(frame.OpBinary, []byte{1}, nil, false))
	for range 10_000 {
		feed(fragment(frame.OpContinuation, []byte{1}, nil, false))
	}
	for range 9 {
		feed(fragment(frame.OpContinuation, make([]byte, 100_000), nil, false))
	}
	if s.Ended() {
		t.Fatalf("%+v", s.Result())
	}
	s.Abort(epoch)
	if used := l.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are pinned after the end", used)
	}
}

// TestMemoryIsShared lets two sessions gather: the second one finds none left.
func TestMemoryIsShared(t *testing.T) {
	l := limits()
	l.Memory = relay.NewMemory(8 << 10)
	var all []*relay.Session
	for range 3 {
		s := relay.New(l, inspected(relay.Client, func(relay.Message) relay.Verdict { return relay.Verdict{} }), epoch)
		s.Feed(relay.Client, fragment(frame.OpText, []byte("a"), &[4]byte{}, false), epoch)
		all = append(all, s)
	}
	if all[0].Ended() || all[1].Ended() || all[2].Result().Cause != relay.Overload {
		t.Errorf("ended %v, %v, and %+v, want only the third one, by overload", all[0].Ended(), all[1].Ended(), all[2].Result())
	}
	all[0].Feed(relay.Client, fragment(frame.OpContinuation, []byte("b"), &[4]byte{}, true), epoch)
	if out := drain(all[0], epoch); len(out[relay.Upstream]) != 14 || l.Memory.Used() != 4<<10 {
		t.Errorf("%d bytes were relayed, %d are lent", len(out[relay.Upstream]), l.Memory.Used())
	}
}

// TestFaultyInspector panics amid a message: the session ends, with a Close to
// both sides, and gives back what it has borrowed.
func TestFaultyInspector(t *testing.T) {
	for _, cut := range []int{0, 9} {
		l := limits()
		l.Memory = relay.NewMemory(1 << 20)
		s := relay.New(l, inspected(relay.Client, func(relay.Message) relay.Verdict { panic("fault") }), epoch)
		p := fragment(frame.OpText, []byte("hello"), &[4]byte{}, true)
		s.Feed(relay.Client, p[:cut], epoch)
		if !fault(func() { s.Feed(relay.Client, p[cut:], epoch) }) {
			t.Fatal("no fault")
		}
		s.Fail(relay.Internal, epoch)
		out := drain(s, epoch)
		for to, p := range out {
			if f, ok := transcript.Parse(p); !ok || f.Op != 8 || !f.Complete() || len(f.Raw) != len(p) {
				t.Errorf("cut at %d: the %v got %x, want one Close", cut, relay.Side(to), p)
			}
		}
		if l.Memory.Used() != 0 || relay.Borrowed(s) != 0 {
			t.Errorf("cut at %d: %d bytes are lent, %d buffers borrowed", cut, l.Memory.Used(), relay.Borrowed(s))
		}
	}
}

// TestUnlawfulVerdict is an action that no verdict has: it refuses.
func TestUnlawfulVerdict(t *testing.T) {
	for _, action := range []relay.Action{relay.ActDelay, relay.ActTake + 1} {
		s := relay.New(limits(), inspected(relay.Client, func(relay.Message) relay.Verdict { return relay.Verdict{Action: action} }), epoch)
		s.Feed(relay.Client, fragment(frame.OpText, []byte("hello"), &[4]byte{}, true), epoch)
		if r := s.Result(); r.Cause != relay.Policy || r.Told[relay.Client] != 1008 {
			t.Errorf("action %d: %+v, want a close by policy", action, r)
		}
	}
}
