package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// TestTake: a message that an inspector takes goes nowhere and is no rule's, its sender can be told something at once or later, between the
// messages of the other side, and a taken message may end the session.
func TestTake(t *testing.T) {
	l := limits()
	l.Memory = relay.NewMemory(1 << 20)
	s := relay.New(l, inspected(relay.Client, func(m relay.Message) relay.Verdict {
		switch string(m.Payload) {
		case "take":
			return relay.Verdict{Action: relay.ActTake}
		case "reply":
			return relay.Verdict{Action: relay.ActTake, Reply: "taken"}
		case "end":
			return relay.Verdict{Action: relay.ActTake, Reason: "enough"}
		}
		return relay.Verdict{}
	}), epoch)
	key := [4]byte{1, 2, 3, 4}
	now := epoch
	drain := func() (out [2][]byte) {
		t.Helper()
		for op, ok := s.Next(); ok; op, ok = s.Next() {
			switch op.Kind {
			case relay.Report:
				t.Errorf("a rule has %v", op.Hit)
			case relay.Write:
				out[op.Side] = append(out[op.Side], op.Data...)
			}
		}
		for side, p := range out {
			if len(p) > 0 {
				s.Written(relay.Side(side), len(p), now)
			}
		}
		return out
	}
	expect := func(client, upstream []byte) {
		t.Helper()
		if out := drain(); !bytes.Equal(out[relay.Client], client) || !bytes.Equal(out[relay.Upstream], upstream) {
			t.Errorf("the client got %q, the upstream %q; want %q and %q", out[relay.Client], out[relay.Upstream], client, upstream)
		}
	}
	text := func(p string, k *[4]byte) []byte { return fragment(frame.OpText, []byte(p), k, true) }
	s.Feed(relay.Client, text("take", &key), now)
	expect(nil, nil)
	s.Feed(relay.Client, text("reply", &key), now)
	expect(text("taken", nil), nil)
	s.Feed(relay.Client, text("other", &key), now)
	expect(nil, text("other", &key))
	part := fragment(frame.OpText, []byte("a"), nil, false)
	s.Feed(relay.Upstream, part, now)
	expect(part, nil)
	s.Say(relay.Client, "said", now.Add(time.Second))
	expect(nil, nil) // amid a message
	last := fragment(frame.OpContinuation, []byte("b"), nil, true)
	s.Feed(relay.Upstream, last, now)
	expect(append(last, text("said", nil)...), nil)
	s.Feed(relay.Client, text("end", &key), now)
	drain()
	if r := s.Result(); r.Cause != relay.Policy || r.By != relay.Client || r.Reason != "enough" || r.Main() != 1008 {
		t.Errorf("ended by %+v", r)
	}
	s.Say(relay.Client, "late", now)
	expect(nil, nil)
}
