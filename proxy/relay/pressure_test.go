package relay_test

import (
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// ops returns all operations that wait, and forgets them.
func ops(s *relay.Session) (all []relay.Op) {
	for op, ok := s.Next(); ok; op, ok = s.Next() {
		all = append(all, op)
	}
	return all
}

func kinds(all []relay.Op) (k [][2]int) {
	for _, op := range all {
		k = append(k, [2]int{int(op.Kind), int(op.Side)})
	}
	return k
}

func TestBackPressure(t *testing.T) {
	l := limits()
	l.HighWater, l.LowWater = 20_000, 5_000
	s := relay.New(l, nil, epoch)
	p := frame.Append(nil, frame.OpBinary, make([]byte, 6_000), nil)

	handed := 0
	for range 3 {
		s.Feed(relay.Upstream, p, epoch)
		if got := ops(s); len(got) != 1 || got[0].Kind != relay.Write {
			t.Fatalf("operations %v with %d bytes pending", kinds(got), handed)
		}
		handed += len(p)
	}
	s.Feed(relay.Upstream, p, epoch)
	handed += len(p)
	if got := ops(s); len(got) != 2 || got[1].Kind != relay.Pause || got[1].Side != relay.Upstream || !s.Paused(relay.Upstream) {
		t.Fatalf("operations %v with %d bytes pending, want a write and a pause", kinds(got), handed)
	}
	s.Feed(relay.Upstream, p, epoch) // what the driver had read already
	handed += len(p)
	if got := ops(s); len(got) != 1 {
		t.Fatalf("operations %v, want one write: it is paused already", kinds(got))
	}
	if s.Paused(relay.Client) {
		t.Error("the client is paused, which has sent nothing")
	}

	s.Written(relay.Client, handed-5_001, epoch)
	if got := ops(s); len(got) != 0 {
		t.Errorf("operations %v with 5001 bytes pending", kinds(got))
	}
	s.Written(relay.Client, 1, epoch)
	if got := ops(s); len(got) != 1 || got[0].Kind != relay.Resume || got[0].Side != relay.Upstream || s.Paused(relay.Upstream) {
		t.Errorf("operations %v with 5000 bytes pending, want a resume", kinds(got))
	}
}

func TestPausedSideIsReadAgainWhenItsReceiverIsGone(t *testing.T) {
	l := limits()
	l.HighWater = 100
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 200), nil), epoch)
	ops(s)
	s.Gone(relay.Client, epoch)
	got := ops(s)
	want := [][2]int{{int(relay.Close), int(relay.Client)}, {int(relay.Resume), int(relay.Upstream)}, {int(relay.Write), int(relay.Upstream)}}
	if k := kinds(got); len(k) != 3 || k[0] != want[0] || k[1] != want[1] || k[2] != want[2] {
		t.Errorf("operations %v, want %v: its Close must be read", k, want)
	}
}

func TestClosedSideIsNotResumed(t *testing.T) {
	l := limits()
	l.HighWater = 100
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 200), nil), epoch)
	ops(s)
	s.Gone(relay.Upstream, epoch)
	s.Written(relay.Client, 204, epoch)
	for _, op := range ops(s) {
		if op.Side == relay.Upstream && op.Kind != relay.Close {
			t.Errorf("operation %d on a closed side", op.Kind)
		}
	}
}

// The clocks of a side that is not read stand still, those of its receiver run.
func TestClocksWhilePaused(t *testing.T) {
	l := limits()
	l.HighWater, l.LowWater, l.WriteTimeout = 100, 50, time.Minute
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 200), nil), epoch)
	s.Feed(relay.Upstream, []byte{0x82}, epoch.Add(time.Second)) // a header that has begun
	ops(s)
	if got, want := s.Deadline(), epoch.Add(l.PingInterval); got != want {
		t.Errorf("deadline after %v, want the client's ping after %v", got.Sub(epoch), want.Sub(epoch))
	}
	s.Written(relay.Client, 154, epoch.Add(10*time.Second))
	if got := ops(s); len(got) != 1 || got[0].Kind != relay.Resume {
		t.Fatalf("operations %v, want a resume", kinds(got))
	}
	if got, want := s.Deadline(), epoch.Add(l.PingInterval); got != want {
		t.Errorf("with bytes still pending: deadline after %v, want %v", got.Sub(epoch), want.Sub(epoch))
	}
	s.Written(relay.Client, 50, epoch.Add(12*time.Second))
	// The header began in the second that the clocks stood still: it has all
	// of its grace from now on.
	if got, want := s.Deadline(), epoch.Add(12*time.Second+l.FrameGrace); got != want {
		t.Errorf("deadline after %v, want the header's after %v", got.Sub(epoch), want.Sub(epoch))
	}
}

func TestWriteProgressCounts(t *testing.T) {
	l := limits()
	l.PingInterval = 0
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 200), nil), epoch)
	ops(s)
	for i := range 20 {
		at := epoch.Add(time.Duration(i+1) * 9 * time.Second)
		s.Tick(at)
		s.Written(relay.Client, 10, at)
		if got := ops(s); len(got) > 0 {
			t.Fatalf("after %v: %v", at.Sub(epoch), kinds(got))
		}
	}
	s.Tick(epoch.Add(190 * time.Second))
	if got := ops(s); len(got) == 0 || got[0].Kind != relay.Abort || s.Result().Cause != relay.Stalled {
		t.Errorf("10 s without any progress: %v, %v", kinds(got), s.Result().Cause)
	}
}

// TestSlowPeerIsToldTheEnd ends a session whose client has much to take still:
// while it takes some, the Close behind it is not cut off; then it has
// close_timeout for its answer.
func TestSlowPeerIsToldTheEnd(t *testing.T) {
	l := limits()
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 100_000), nil), epoch)
	ops(s)
	s.Fail(relay.Drain, epoch)
	pending := relay.Pending(s, relay.Client)
	now := epoch
	for pending > 0 {
		now = now.Add(3 * time.Second)
		s.Tick(now)
		n := min(10_000, pending)
		s.Written(relay.Client, n, now)
		pending -= n
		for _, op := range ops(s) {
			if op.Side == relay.Client && op.Kind != relay.Write {
				t.Fatalf("after %v, with %d bytes to be taken: operation %d", now.Sub(epoch), pending, op.Kind)
			}
		}
	}
	if got, want := s.Deadline(), now.Add(l.CloseTimeout); got != want {
		t.Errorf("%v for the answer, want %v", got.Sub(now), l.CloseTimeout)
	}
}

// TestTooSlowPeerIsReset is the same at less than min_progress.
func TestTooSlowPeerIsReset(t *testing.T) {
	l := limits()
	s := relay.New(l, nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 100_000), nil), epoch)
	ops(s)
	s.Fail(relay.Drain, epoch)
	for at := time.Second; ; at += time.Second {
		s.Tick(epoch.Add(at))
		for _, op := range ops(s) {
			if op.Side != relay.Client || op.Kind == relay.Write {
				continue
			}
			if want := l.CloseTimeout + 100*time.Second; op.Kind != relay.Abort || at < want-3*time.Second || at > want+3*time.Second {
				t.Errorf("operation %d after %v, want a reset after about %v", op.Kind, at, want)
			}
			return
		}
		s.Written(relay.Client, 500, epoch.Add(at))
		ops(s)
	}
}

// TestLateReports are those of a writer that was at work when its side was
// closed.
func TestLateReports(t *testing.T) {
	s := relay.New(limits(), nil, epoch)
	s.Feed(relay.Upstream, frame.Append(nil, frame.OpBinary, make([]byte, 100), nil), epoch)
	s.Gone(relay.Client, epoch)
	s.Written(relay.Client, 102, epoch)
	s.WriteFailed(relay.Client, epoch)
	ops(s)
	if n := relay.Pending(s, relay.Client); n != 0 {
		t.Errorf("%d bytes are pending for a side that is closed", n)
	}
	s.WriteFailed(relay.Upstream, epoch)
	s.Written(relay.Upstream, 10, epoch)
	s.WriteFailed(relay.Upstream, epoch)
	if got := ops(s); len(got) != 1 || got[0].Kind != relay.Close || !s.Done() || relay.Pending(s, relay.Upstream) != 0 {
		t.Errorf("operations %v, done %v", kinds(got), s.Done())
	}
}

func TestBufferOfAFrameThatCannotBeWritten(t *testing.T) {
	s := relay.New(limits(), nil, epoch)
	s.WriteFailed(relay.Client, epoch)
	p := frame.Append(nil, frame.OpText, []byte("hello"), nil)
	s.Feed(relay.Upstream, p[:3], epoch)
	if n := relay.Borrowed(s); n != 1 {
		t.Errorf("%d buffers are borrowed for half a frame", n)
	}
	s.Feed(relay.Upstream, p[3:], epoch)
	if n := relay.Borrowed(s); n != 0 || len(ops(s)) > 0 {
		t.Errorf("%d buffers are borrowed for a frame that nobody takes", n)
	}
}

func TestBufferOfAFrameThatIsWritten(t *testing.T) {
	s := relay.New(limits(), nil, epoch)
	p := frame.Append(nil, frame.OpText, []byte("hello"), nil)
	s.Feed(relay.Upstream, p[:3], epoch)
	s.Feed(relay.Upstream, p[3:], epoch)
	s.Written(relay.Client, len(p)-1, epoch)
	if n := relay.Borrowed(s); n != 1 {
		t.Errorf("%d buffers are borrowed for a frame that is being written", n)
	}
	s.Written(relay.Client, 1, epoch)
	if n := relay.Borrowed(s); n != 0 {
		t.Errorf("%d buffers are borrowed by an idle session", n)
	}
}
