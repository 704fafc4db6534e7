package relay_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// slow returns a session whose client may send one message per second.
func slow() (*relay.Session, *relay.Limits) {
	l := rated(relay.Rate{Of: relay.Messages, PerSecond: 1, Burst: 1, Action: relay.ActDelay})
	return relay.New(l, nil, epoch), l
}

// TestEndBehindDelay ends a side of which something is delayed, as a driver
// does whose read has returned bytes and an error at once.
func TestEndBehindDelay(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(s *relay.Session)
		want int // messages in all
		over time.Duration
	}{
		{"eof", func(s *relay.Session) { s.EOF(relay.Client, epoch) }, 8, 7 * time.Second},
		{"reset", func(s *relay.Session) { s.Gone(relay.Client, epoch) }, 6, 5 * time.Second}, // for close_timeout at most
		{"both", func(s *relay.Session) { s.EOF(relay.Client, epoch); s.Gone(relay.Client, epoch) }, 6, 5 * time.Second},
	} {
		s, l := slow()
		s.Feed(relay.Client, numbered(1, 8), epoch)
		test.end(s)
		if s.Ended() {
			t.Fatalf("%s: the session ends at once: %+v", test.name, s.Result())
		}
		out := drain(s, epoch)[relay.Upstream]
		now := epoch
		for !s.Ended() {
			now = s.Deadline()
			s.Tick(now)
			out = append(out, drain(s, now)[relay.Upstream]...)
		}
		if got := numbers(t, out); len(got) != test.want || got[test.want-1] != test.want {
			t.Errorf("%s: %v were relayed, want %d", test.name, got, test.want)
		}
		if r := s.Result(); r.Cause != relay.ClientLost || now.Sub(epoch) != test.over {
			t.Errorf("%s: after %v: %+v, want client_lost after %v", test.name, now.Sub(epoch), r, test.over)
		}
		if relay.Borrowed(s) > 0 || l.Memory.Used() > 0 {
			t.Errorf("%s: %d buffers are borrowed, %d bytes", test.name, relay.Borrowed(s), l.Memory.Used())
		}
	}
}

// TestFedWhileDelayed feeds a side that should not have been read.
func TestFedWhileDelayed(t *testing.T) {
	s, _ := slow()
	p := numbered(1, 5)
	for i := range p {
		c := []byte{p[i]}
		s.Feed(relay.Client, c, epoch)
		scribble(c)
	}
	out := drain(s, epoch)[relay.Upstream]
	for len(out) < len(p) {
		now := s.Deadline()
		s.Tick(now)
		out = append(out, drain(s, now)[relay.Upstream]...)
		if now.Sub(epoch) > 5*time.Second {
			t.Fatalf("after %v: %x", now.Sub(epoch), out)
		}
	}
	if !bytes.Equal(out, p) {
		t.Errorf("%x were relayed, want %x", out, p)
	}
}

// TestBacklogIsLent hands a backlog out to a peer that does not take it: the
// side is not read before it does, and what is fed nevertheless spoils nothing.
func TestBacklogIsLent(t *testing.T) {
	s, l := slow()
	p := numbered(1, 3)
	third := len(numbered(1, 2))
	s.Feed(relay.Client, p[:third], epoch)
	ops(s)
	s.Written(relay.Upstream, len(numbered(1, 1)), epoch)
	now := epoch.Add(time.Second)
	s.Tick(now)
	var spans [][]byte
	for _, op := range ops(s) {
		if op.Kind == relay.Resume {
			t.Error("the client is read again while its backlog is being written")
		}
		if op.Kind == relay.Write {
			spans = append(spans, op.Data)
		}
	}
	if n := len(bytes.Join(spans, nil)); n != third-len(numbered(1, 1)) || l.Memory.Used() == 0 {
		t.Fatalf("%d bytes, %d lent", n, l.Memory.Used())
	}
	// A header in pieces, then the rest of it.
	s.Feed(relay.Client, p[third:third+3], now)
	now = now.Add(time.Second)
	s.Tick(now)
	s.Feed(relay.Client, p[third+3:], now)
	if got := bytes.Join(spans, nil); !bytes.Equal(got, p[len(numbered(1, 1)):third]) {
		t.Errorf("the span became %x", got)
	}
	s.Written(relay.Upstream, third-len(numbered(1, 1)), now)
	var out []byte
	resumed := false
	for range 3 {
		for _, op := range ops(s) {
			resumed = resumed || op.Kind == relay.Resume
			if op.Kind == relay.Write {
				out = append(out, op.Data...)
				s.Written(relay.Upstream, len(op.Data), now)
			}
		}
		now = now.Add(time.Millisecond)
		s.Tick(now)
	}
	if !bytes.Equal(out, p[third:]) || !resumed || l.Memory.Used() != 0 {
		t.Errorf("%x were relayed, want %x; resumed %v, %d bytes lent", out, p[third:], resumed, l.Memory.Used())
	}
}

// TestResetWhileBacklogIsLent: the writer may have bytes of the backlog for
// ever, so no other session may get the buffer.
func TestResetWhileBacklogIsLent(t *testing.T) {
	for _, delayed := range []int{2, 3} { // messages of the backlog: all were handed out, or one has to wait still
		s, l := slow()
		first := len(numbered(1, 1))
		s.Feed(relay.Client, numbered(1, delayed), epoch)
		ops(s)
		s.Written(relay.Upstream, first, epoch)
		now := epoch.Add(time.Second)
		s.Tick(now)
		var span []byte
		for _, op := range ops(s) {
			if op.Kind == relay.Write {
				span = op.Data
			}
		}
		want := bytes.Clone(span)
		s.Gone(relay.Upstream, now)
		ops(s)
		if relay.Borrowed(s) != 0 || l.Memory.Used() != 0 {
			t.Errorf("%d buffers are borrowed, %d bytes", relay.Borrowed(s), l.Memory.Used())
		}
		for range 10 { // others borrow
			other, _ := slow()
			other.Feed(relay.Client, frame.Append(nil, frame.OpText, bytes.Repeat([]byte{'x'}, 100), &[4]byte{})[:50], epoch)
			other.Feed(relay.Client, numbered(7, 9), epoch)
		}
		if !bytes.Equal(span, want) {
			t.Errorf("the span became %x", span)
		}
	}
}

// TestFedAtTheEnd feeds a side whose backlog is lent when the session ends: its
// Close is found still.
func TestFedAtTheEnd(t *testing.T) {
	s, _ := slow()
	s.Feed(relay.Client, numbered(1, 2), epoch)
	ops(s)
	s.Written(relay.Upstream, len(numbered(1, 1)), epoch)
	now := epoch.Add(time.Second)
	s.Tick(now)
	s.Fail(relay.TokenExpired, now)
	s.Feed(relay.Client, frame.AppendClose(nil, 1008, "", &[4]byte{}), now)
	now = now.Add(time.Millisecond)
	s.Tick(now)
	drain(s, now)
	s.EOF(relay.Client, now)
	if got := ops(s); len(got) != 1 || got[0].Kind != relay.Close || got[0].Side != relay.Client {
		t.Errorf("operations %v, want the client's close: it has answered", kinds(got))
	}
}
