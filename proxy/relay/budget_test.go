package relay_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// maxSession is what a session may cost while it is idle, in bytes.
const maxSession = 1 << 10

func TestSize(t *testing.T) {
	size := unsafe.Sizeof(relay.Session{})
	t.Logf("a session is %d bytes", size)
	if size > maxSession {
		t.Errorf("a session is %d bytes, want at most %d", size, maxSession)
	}
}

// message is a frame that a side sends, and how it is cut.
type message struct {
	name   string
	from   relay.Side
	pieces [][]byte
}

func messages() []message {
	key := [4]byte{0xa1, 2, 3, 0xf4}
	small, large := make([]byte, 64), make([]byte, 16<<10)
	for i := range large {
		large[i] = 'a' + byte(i%26)
	}
	copy(small, large)
	cut := func(p []byte, at ...int) (pieces [][]byte) {
		for _, n := range at {
			pieces = append(pieces, p[:n])
			p = p[n:]
		}
		return append(pieces, p)
	}
	return []message{
		{"client 64 B", relay.Client, cut(frame.Append(nil, frame.OpText, small, &key))},
		{"client 16 KiB", relay.Client, cut(frame.Append(nil, frame.OpText, large, &key))},
		{"upstream 64 B", relay.Upstream, cut(frame.Append(nil, frame.OpText, small, nil))},
		{"upstream 16 KiB", relay.Upstream, cut(frame.Append(nil, frame.OpText, large, nil))},
		{"client 64 B, cut in the header", relay.Client, cut(frame.Append(nil, frame.OpText, small, &key), 3)},
		{"client 64 B, cut in the payload", relay.Client, cut(frame.Append(nil, frame.OpText, small, &key), 30)},
		{"upstream 16 KiB, cut in the header", relay.Upstream, cut(frame.Append(nil, frame.OpText, large, nil), 3)},
		{"client 16 KiB, cut twice", relay.Client, cut(frame.Append(nil, frame.OpText, large, &key), 4096, 4096)},
	}
}

// pass sends a message through a session, as a driver would.
func (m *message) pass(s *relay.Session, now time.Time) {
	for _, p := range m.pieces {
		s.Feed(m.from, p, now)
		for op, ok := s.Next(); ok; op, ok = s.Next() {
			if op.Kind == relay.Write {
				s.Written(op.Side, len(op.Data), now)
			}
		}
		s.Deadline()
	}
}

// budgetLimits are limits of which every one is on.
func budgetLimits() *relay.Limits {
	l := limits()
	l.MaxLifetime = 24 * time.Hour
	l.From[relay.Client].NoBinary, l.From[relay.Upstream].NoBinary = true, true
	return l
}

func TestNoAllocationPerMessage(t *testing.T) {
	for _, m := range messages() {
		s := relay.New(budgetLimits(), false, epoch)
		now := epoch
		n := testing.AllocsPerRun(1000, func() {
			now = now.Add(time.Microsecond)
			m.pass(s, now)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations, want none", m.name, n)
		}
		if s.Ended() {
			t.Fatalf("%s: %+v", m.name, s.Result())
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, m := range messages() {
		b.Run(m.name, func(b *testing.B) {
			s := relay.New(budgetLimits(), false, epoch)
			size := 0
			for _, p := range m.pieces {
				size += len(p)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				m.pass(s, epoch)
			}
		})
	}
}
