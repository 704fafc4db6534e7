package relay_test

import (
	"bytes"
	"testing"
	"time"

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
	s := relay.New(limits(), false, epoch)
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
