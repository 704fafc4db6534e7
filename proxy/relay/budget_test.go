package relay_test

import (
	"runtime"
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
	l.Memory = relay.NewMemory(1 << 20)
	l.From[relay.Client].NoBinary, l.From[relay.Upstream].NoBinary = true, true
	l.From[relay.Client].Rates, l.From[relay.Upstream].Rates = wideRates(), wideRates()
	return l
}

// wideRates are rates of each unit, with room for everything.
func wideRates() []relay.Rate {
	return []relay.Rate{
		{Of: relay.Messages, PerSecond: 1e9, Burst: 1e9, Action: relay.ActClose},
		{Of: relay.Bytes, PerSecond: 1e12, Burst: 1e12, Action: relay.ActDelay},
		{Of: relay.Frames, PerSecond: 1e9, Burst: 1e9, Action: relay.ActClose, Shadow: true},
		{Of: relay.Messages, PerSecond: 1e9, Burst: 1e9, Action: relay.ActDrop, Operation: 2},
	}
}

func TestNoAllocationPerMessage(t *testing.T) {
	find := []int{0, 1}
	pass := inspector(func(relay.Message) relay.Verdict { return relay.Verdict{Operations: find} })
	for name, grant := range map[string]*relay.Grant{
		"":             nil,
		", inspection": {Inspectors: [2]relay.Inspector{pass, pass}},
	} {
		for _, m := range messages() {
			s := relay.New(budgetLimits(), grant, epoch)
			now := epoch
			n := testing.AllocsPerRun(200, func() {
				now = now.Add(time.Microsecond)
				m.pass(s, now)
			})
			if n > pooledAllocs {
				t.Errorf("%s%s: %v allocations, want at most %v", m.name, name, n, pooledAllocs)
			}
			if s.Ended() {
				t.Fatalf("%s%s: %+v", m.name, name, s.Result())
			}
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, m := range messages() {
		for name, rates := range map[string][]relay.Rate{"": nil, ", rates": wideRates()} {
			b.Run(m.name+name, func(b *testing.B) {
				l := budgetLimits()
				l.From[relay.Client].Rates, l.From[relay.Upstream].Rates = rates, rates
				s := relay.New(l, nil, epoch)
				size := 0
				for _, p := range m.pieces {
					size += len(p)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				now := epoch
				for b.Loop() {
					now = now.Add(time.Microsecond)
					m.pass(s, now)
				}
			})
		}
	}
}

// TestMemoryWithRates measures what a session costs that has sent messages of
// both sides through rates, in bytes of heap.
func TestMemoryWithRates(t *testing.T) {
	const n, most = 300, 1900
	l := budgetLimits()
	l.PingInterval = 0
	all := messages()
	sessions := make([]*relay.Session, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range sessions {
		sessions[i] = relay.New(l, nil, epoch)
		for _, m := range all {
			m.pass(sessions[i], epoch)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	t.Logf("a session with rates of both sides is %d bytes", each)
	if each > most {
		t.Errorf("a session with rates of both sides is %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(sessions)
}
