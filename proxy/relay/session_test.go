package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// epoch is when the sessions of these tests begin.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// limits returns the default limits with keys f0000001, f0000002 and so on.
func limits() *relay.Limits {
	l := relay.Defaults()
	var n byte
	l.Random = func() [4]byte {
		n++
		return [4]byte{0xf0, 0, 0, n}
	}
	return &l
}

// drain returns what the session wants written to each side, and says that it
// was written.
func drain(s *relay.Session, now time.Time) (out [2][]byte) {
	for {
		op, ok := s.Next()
		if !ok {
			return out
		}
		if op.Kind == relay.Write {
			out[op.Side] = append(out[op.Side], op.Data...)
			s.Written(op.Side, len(op.Data), now)
		}
	}
}

func TestFramesPassUnchanged(t *testing.T) {
	s := relay.New(limits(), nil, epoch)
	key := [4]byte{1, 2, 3, 4}
	for _, test := range []struct {
		from relay.Side
		p    []byte
	}{
		{relay.Client, frame.Append(nil, frame.OpText, []byte("hi"), &key)},
		{relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 70_000), nil)},
		{relay.Client, frame.Append(nil, frame.OpPing, []byte("p"), &key)},
		{relay.Upstream, frame.Append(nil, frame.OpPong, []byte("p"), nil)},
	} {
		s.Feed(test.from, bytes.Clone(test.p), epoch)
		out := drain(s, epoch)
		if !bytes.Equal(out[test.from.Other()], test.p) || len(out[test.from]) > 0 {
			t.Errorf("%v sent %d bytes, to the client went %d, to the upstream %d", test.from, len(test.p), len(out[0]), len(out[1]))
		}
	}
	want := relay.Stats{Frames: 2, Messages: 1, Bytes: 3}
	if got := s.Stats(relay.Client); got != want {
		t.Errorf("the client's stats are %+v, want %+v", got, want)
	}
}

// TestFaultInsideOfAFrame lets the session panic at every place where a read
// of a client can end. Whatever was relayed of the frame under way, the Close
// that follows must not become a part of it.
func TestFaultInsideOfAFrame(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	large := frame.Append(nil, frame.OpBinary, make([]byte, 5_000), &key)
	small := frame.Append(nil, frame.OpText, []byte("hi"), &key)
	sent := append(append(append([]byte(nil), small...), large...), small...)
	for cut := range len(sent) {
		s := relay.New(limits(), nil, epoch)
		s.Feed(relay.Client, sent[:cut], epoch)
		out := drain(s, epoch)[relay.Upstream]
		mend := relay.Faulty(s)
		panicked := fault(func() { s.Feed(relay.Client, sent[cut:], epoch) })
		mend()
		if !panicked && cut < len(small)+len(large)+1 {
			t.Fatalf("cut at %d: no fault", cut)
		}
		s.Fail(relay.Internal, epoch)
		var reset bool
		for op, ok := s.Next(); ok; op, ok = s.Next() {
			if op.Side == relay.Upstream && op.Kind == relay.Write {
				out = append(out, op.Data...)
				s.Written(op.Side, len(op.Data), epoch)
			}
			reset = reset || op.Side == relay.Upstream && op.Kind == relay.Abort
		}
		frames, rest := transcript.Split(out)
		whole := len(rest) == 0 && (len(frames) == 0 || frames[len(frames)-1].Complete())
		if closed := len(frames) > 0 && frames[len(frames)-1].Op == 8; !reset && (!whole || !closed) {
			t.Fatalf("cut at %d: %d frames, whole %v, closed %v, reset %v", cut, len(frames), whole, closed, reset)
		}
	}
}

func fault(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

func TestClockThatStepsBack(t *testing.T) {
	s := relay.New(limits(), nil, epoch)
	s.Tick(epoch.Add(10 * time.Second))
	before := s.Deadline()
	s.Tick(epoch.Add(-time.Hour))
	if got := s.Deadline(); got != before || len(ops(s)) > 0 {
		t.Errorf("deadline %v, was %v", got, before)
	}
}

func TestMainCode(t *testing.T) {
	for _, test := range []struct {
		r    relay.Result
		want frame.StatusCode
	}{
		{relay.Result{Cause: relay.PeerClosed, By: relay.Client, Closed: 4000, Told: [2]frame.StatusCode{4001, 4000}}, 4000},
		{relay.Result{Cause: relay.PeerClosed, By: relay.Upstream}, 0},
		{relay.Result{Cause: relay.ClientLost, By: relay.Client, Told: [2]frame.StatusCode{0, 1001}}, 1001},
		{relay.Result{Cause: relay.UpstreamLost, By: relay.Upstream, Told: [2]frame.StatusCode{1011, 0}}, 1011},
		{relay.Result{Cause: relay.Protocol, By: relay.Client, Told: [2]frame.StatusCode{1002, 1001}}, 1002},
		{relay.Result{Cause: relay.Protocol, By: relay.Upstream, Told: [2]frame.StatusCode{1011, 1002}}, 1002},
		{relay.Result{Cause: relay.NoPong, By: relay.Upstream, Told: [2]frame.StatusCode{1001, 1001}}, 1001},
		{relay.Result{Cause: relay.Drain, By: relay.Gateway, Told: [2]frame.StatusCode{1012, 1001}}, 1012},
	} {
		if got := test.r.Main(); got != test.want {
			t.Errorf("%+v: %d, want %d", test.r, got, test.want)
		}
	}
}

// TestTableOfCauses holds the table against the one of the design: what the
// client is told, and what the upstream is told, by who is at fault.
func TestTableOfCauses(t *testing.T) {
	type codes [2]frame.StatusCode
	var none relay.Codes
	for c, want := range map[relay.Cause]map[relay.Side]codes{
		relay.ClientLost:   {relay.Client: {0, 1001}},
		relay.UpstreamLost: {relay.Upstream: {1011, 0}},
		relay.Protocol:     {relay.Client: {1002, 1001}, relay.Upstream: {1011, 1002}},
		relay.InvalidData:  {relay.Client: {1007, 1001}, relay.Upstream: {1011, 1007}},
		relay.TooBig:       {relay.Client: {1009, 1001}, relay.Upstream: {1011, 1009}},
		relay.WrongType:    {relay.Client: {1003, 1001}, relay.Upstream: {1011, 1003}},
		relay.Policy:       {relay.Client: {1008, 1001}, relay.Upstream: {1011, 1008}},
		relay.TokenExpired: {relay.Gateway: {1008, 1001}},
		relay.Revoked:      {relay.Gateway: {1008, 1001}},
		relay.Slow:         {relay.Client: {1008, 1001}, relay.Upstream: {1011, 1008}},
		relay.Idle:         {relay.Gateway: {1001, 1001}},
		relay.Lifetime:     {relay.Gateway: {1001, 1001}},
		relay.NoPong:       {relay.Client: {1001, 1001}, relay.Upstream: {1001, 1001}},
		relay.Stalled:      {relay.Client: {1011, 1001}, relay.Upstream: {1011, 1001}},
		relay.Drain:        {relay.Gateway: {1001, 1001}},
		relay.Removed:      {relay.Gateway: {1001, 1001}},
		relay.Overload:     {relay.Gateway: {1013, 1001}},
		relay.Internal:     {relay.Gateway: {1011, 1011}},
	} {
		blamed := relay.Blamed(c)
		if len(blamed) != len(want) {
			t.Errorf("%v: blamed can be %v, want %d of them", c, blamed, len(want))
		}
		for _, by := range blamed {
			for _, side := range []relay.Side{relay.Client, relay.Upstream} {
				if got := none.Code(c, by, side); got != want[by][side] {
					t.Errorf("%v by the %v: the %v is told %d, want %d", c, by, side, got, want[by][side])
				}
				if got := none.Code(c, by, side); got != 0 && !frame.ValidCode(got) {
					t.Errorf("%v: %d may not be sent", c, got)
				}
			}
		}
	}
	if got, want := len(relay.Causes()), 19; got != want {
		t.Errorf("%d causes, the table here has %d", got, want)
	}
}

func TestStatsSub(t *testing.T) {
	got := relay.Stats{Frames: 5, Messages: 4, Bytes: 100, Dropped: 2}.Sub(relay.Stats{Frames: 1, Messages: 1, Bytes: 40, Dropped: 2})
	if want := (relay.Stats{Frames: 4, Messages: 3, Bytes: 60}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestManyPings relays more pings than are counted: the answers pass still.
func TestManyPings(t *testing.T) {
	l := limits()
	l.ControlBurst = 1000
	s := relay.New(l, nil, epoch)
	for range 256 {
		s.Feed(relay.Upstream, frame.Append(nil, frame.OpPing, nil, nil), epoch)
		drain(s, epoch)
	}
	s.Feed(relay.Client, frame.Append(nil, frame.OpPong, nil, &[4]byte{}), epoch)
	if got := drain(s, epoch)[relay.Upstream]; len(got) != 6 {
		t.Errorf("the upstream got %x, want the pong", got)
	}
}
