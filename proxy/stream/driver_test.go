package stream_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

func limits() *relay.Limits {
	l := relay.Defaults()
	l.Random = func() [4]byte { return [4]byte{0xf0, 0, 0, 1} }
	return &l
}

// sends is a frame as a side sends it.
func sends(from relay.Side, op frame.OpCode, payload []byte) []byte {
	if from == relay.Client {
		return frame.Append(nil, op, payload, &[4]byte{1, 2, 3, 4})
	}
	return frame.Append(nil, op, payload, nil)
}

// got describes what a peer got.
func (r *run) got(to relay.Side) string {
	frames, rest := transcript.Split(r.conns[to].got())
	var all []string
	for _, f := range frames {
		all = append(all, string(f.Raw[0]&15+'0')+string(f.Payload))
	}
	return strings.Join(append(all, string(rest)), " ")
}

func TestEarlyBytesComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, limits(), nil)
		var early [2][]byte
		for _, from := range []relay.Side{relay.Client, relay.Upstream} {
			early[from] = sends(from, frame.OpText, []byte("early"))
			early[from] = append(early[from], sends(from, frame.OpText, []byte("cut"))[:3]...)
			r.conns[from].send(sends(from, frame.OpText, []byte("cut"))[3:])
			r.conns[from].send(sends(from, frame.OpText, []byte("late")))
		}
		go func() { r.over <- r.driver.Run(early) }()
		synctest.Wait()
		for _, to := range []relay.Side{relay.Client, relay.Upstream} {
			if got := r.got(to); got != "1early 1cut 1late " {
				t.Errorf("the %v got %q", to, got)
			}
		}
		r.stop(t)
	})
}

// TestFailDoesNotWait ends sessions whose peers take nothing: the caller has
// others to end.
func TestFailDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, limits(), nil, [2][]byte{})
		r.conns[0].stall(true)
		r.conns[1].stall(true)
		before := time.Now()
		r.driver.Fail(relay.Drain)
		if took := time.Since(before); took > 0 {
			t.Errorf("Fail took %v", took)
		}
		time.Sleep(time.Second)
		if r.session.Done() {
			t.Error("the session has ended within a second")
		}
		r.driver.Abort()
		if took := time.Since(before); took > time.Second {
			t.Errorf("Abort took %v", took-time.Second)
		}
		synctest.Wait()
		if result := r.stop(t); result.Cause != relay.Drain {
			t.Errorf("%+v", result)
		}
	})
}

// TestOneStalledPeer ends a session of which one peer reads: it is told at
// once, whoever else is not.
func TestOneStalledPeer(t *testing.T) {
	for _, stalled := range []relay.Side{relay.Client, relay.Upstream} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, limits(), nil, [2][]byte{})
			r.conns[stalled].stall(true)
			r.driver.Fail(relay.Drain)
			synctest.Wait()
			if got := r.got(stalled.Other()); !strings.Contains(got, "going away") {
				t.Errorf("while the %v reads nothing the other side got %q", stalled, got)
			}
			r.stop(t)
		})
	}
}

func TestBeforeAndAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, limits(), nil)
		r.driver.Fail(relay.Drain)
		synctest.Wait()
		r.conns[0].eof()
		r.conns[1].eof()
		result := r.driver.Run([2][]byte{sends(relay.Client, frame.OpText, []byte("early")), nil})
		if result.Cause != relay.Drain {
			t.Errorf("%+v", result)
		}
		r.driver.Fail(relay.Internal)
		r.driver.Abort()
		synctest.Wait()
		for _, c := range r.conns {
			if c.closed != 1 {
				t.Errorf("closed %d times", c.closed)
			}
		}
	})
}

// TestFault lets the session panic: the process goes on, both sides are told.
func TestFault(t *testing.T) {
	for name, faults := range map[string]int{"once": 1, "again while it ends": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limits()
				random, left := l.Random, faults
				l.Random = func() [4]byte {
					if left--; left >= 0 {
						panic("S3CRET")
					}
					return random()
				}
				r := newRun(t, l, nil)
				told := 0
				r.driver.OnPanic = func(fault any, stack []byte) {
					if told++; fault != "S3CRET" || !bytes.Contains(stack, []byte("Random")) && !bytes.Contains(stack, []byte("panic")) {
						t.Errorf("told of %v", fault)
					}
				}
				go func() { r.over <- r.driver.Run([2][]byte{}) }()
				synctest.Wait()
				r.conns[0].send(sends(relay.Client, frame.OpText, []byte("good")))
				time.Sleep(l.PingInterval) // the ping needs a random payload
				synctest.Wait()
				if got := r.got(relay.Upstream); !strings.HasPrefix(got, "1good ") || strings.Contains(got, "S3CRET") {
					t.Errorf("the upstream got %q", got)
				}
				if got := r.got(relay.Client); faults == 1 && got != "8\x03\xf3internal error " {
					t.Errorf("the client got %q", got)
				}
				if told != min(faults, 2) {
					t.Errorf("told of %d faults", told)
				}
				if result := r.stop(t); result.Cause != relay.Internal {
					t.Errorf("%+v", result)
				}
			})
		})
	}
}

// TestSlowReaderIsNotStalled takes 64 KiB at less than 2 KiB a second: each
// part that is taken is progress.
func TestSlowReaderIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits()
		r := newRun(t, l, nil)
		r.conns[0].delay = func() time.Duration { return l.WriteTimeout - time.Second }
		payload := transcript.Filler(64 << 10)
		r.conns[1].send(sends(relay.Upstream, frame.OpText, payload))
		go func() { r.over <- r.driver.Run([2][]byte{}) }()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if frames, _ := transcript.Split(r.conns[0].got()); len(frames) == 0 || !bytes.Equal(frames[0].Payload, payload) {
			t.Errorf("got %d frames, %+v", len(frames), r.session.Result())
		}
		r.stop(t)
	})
}

// TestReadBuffers looks at what the pumps read into: little while little
// comes, much while that is filled.
func TestReadBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, limits(), nil, [2][]byte{})
		sizes := func() []int {
			synctest.Wait()
			c := r.conns[1]
			c.mu.Lock()
			defer c.mu.Unlock()
			s := c.sizes
			c.sizes = nil
			return s
		}
		first := sizes()
		r.conns[1].send(sends(relay.Upstream, frame.OpBinary, make([]byte, 200_000)))
		many := sizes()
		r.conns[1].send(sends(relay.Upstream, frame.OpBinary, make([]byte, 10)))
		last := sizes()
		if len(first) != 1 || first[0] != 4<<10 {
			t.Errorf("at first it read into %v", first)
		}
		if len(many) != 7 || many[0] != 32<<10 || many[6] != 32<<10 {
			t.Errorf("amid 200 kB it read into %v", many)
		}
		if len(last) != 1 || last[0] != 4<<10 {
			t.Errorf("after it, into %v", last)
		}
		r.stop(t)
	})
}

// TestPausedWhileSomebodyElseWrites has the timer's goroutine stuck in a write
// to a client that reads nothing. The upstream's pump leaves copies behind it,
// up to the high-water mark, and goes on when they are taken.
func TestPausedWhileSomebodyElseWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits()
		l.WriteTimeout = 0
		r := start(t, l, nil, [2][]byte{})
		r.conns[0].stall(true)
		time.Sleep(l.PingInterval)
		synctest.Wait() // the timer fires at this moment, and writes first
		var want []byte
		for range 100 {
			p := sends(relay.Upstream, frame.OpBinary, transcript.Filler(10_000))
			want = append(want, p...)
			r.conns[1].send(p)
		}
		synctest.Wait()
		left := 0
		for _, p := range r.conns[1].arrived {
			left += len(p)
		}
		if taken := len(want) - left; !r.session.Paused(relay.Upstream) || taken < l.HighWater || taken > l.HighWater+64<<10 {
			t.Errorf("%d bytes were read of an upstream whose client reads nothing, want about %d", taken, l.HighWater)
		}
		r.conns[0].stall(false)
		synctest.Wait()
		if got := r.conns[0].got(); !bytes.HasSuffix(got, want) {
			t.Errorf("the client got %d bytes, want its ping and the %d of the upstream", len(got), len(want))
		}
		r.stop(t)
	})
}

// TestClosedWhilePaused ends a session while a pump waits to read on.
func TestClosedWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits()
		l.HighWater, l.LowWater = 1_000, 100
		r := start(t, l, nil, [2][]byte{})
		r.conns[0].stall(true)
		time.Sleep(l.PingInterval)
		r.conns[1].send(sends(relay.Upstream, frame.OpBinary, transcript.Filler(2_000)))
		synctest.Wait()
		if !r.session.Paused(relay.Upstream) {
			t.Error("the upstream is not paused")
		}
		r.conns[1].eof()
		synctest.Wait()
		r.stop(t)
	})
}

func TestNoAllocationPerMessage(t *testing.T) {
	var from [2]*loop
	for i := range from {
		from[i] = newLoop()
	}
	l := limits()
	r := newRun(t, l, nil)
	r.driver = newDriver(r.session, from[0], from[1])
	done := make(chan relay.Result)
	go func() { done <- r.driver.Run([2][]byte{}) }()
	for _, size := range []int{64, 3_000} {
		p := sends(relay.Client, frame.OpText, transcript.Filler(size))
		n := testing.AllocsPerRun(1000, func() {
			from[0].in <- p
			<-from[1].out
		})
		if n > 0 {
			t.Errorf("%d bytes: %v allocations, want none", size, n)
		}
	}
	r.driver.Abort()
	<-done
}
