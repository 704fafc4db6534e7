package proxy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A fakeSession notes what it is told, and when.
type fakeSession struct {
	failed  []time.Time
	cause   relay.Cause
	aborted bool
	leave   func()
	block   time.Duration // in Fail, as a session does whose client does not read
}

func (f *fakeSession) Fail(c relay.Cause) {
	f.failed, f.cause = append(f.failed, time.Now()), c
	time.Sleep(f.block) // of the bubble
}

func (f *fakeSession) Abort() { f.aborted = true }

func enterFakes(s *sessions, n int) []*fakeSession {
	fakes := make([]*fakeSession, n)
	for i := range fakes {
		fakes[i] = &fakeSession{}
		c := &connection{}
		s.enter(c, func() (failer, bool) { return fakes[i], true })
		fakes[i].leave = func() { s.leave(c) }
	}
	return fakes
}

func TestSessionsDrainIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, window = 60, 30 * time.Second
		s := &sessions{}
		fakes := enterFakes(s, n)
		start := time.Now()
		s.drain(t.Context(), window)
		synctest.Wait()
		var at []time.Duration
		order := make([]time.Duration, n)
		for i, f := range fakes {
			if len(f.failed) != 1 || f.cause != relay.Drain || f.aborted {
				t.Fatalf("session %d was told %d times, %v, aborted %t", i, len(f.failed), f.cause, f.aborted)
			}
			order[i] = f.failed[0].Sub(start)
			at = append(at, order[i])
		}
		slices.Sort(at)
		for i, d := range at {
			if want := window * time.Duration(i) / n; d != want {
				t.Errorf("close %d came after %v, want %v", i, d, want)
			}
		}
		if slices.Equal(order, at) { // one of 60! orders
			t.Error("the sessions were told in the order in which they had come")
		}
		if len(s.list()) != n {
			t.Error("a session that was told is still there until it leaves")
		}
	})
}

// One client that does not read does not delay the others.
func TestSessionsDrainWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		fakes := enterFakes(s, 10)
		for _, f := range fakes {
			f.block = time.Hour
		}
		start := time.Now()
		s.drain(t.Context(), time.Second)
		wantAfter(t, start, 900*time.Millisecond)
		synctest.Wait()
		for i, f := range fakes {
			if len(f.failed) != 1 {
				t.Errorf("session %d was told %d times", i, len(f.failed))
			}
		}
		time.Sleep(time.Hour)
	})
}

func TestSessionsDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		fakes := enterFakes(s, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 350*time.Millisecond)
		defer cancel()
		start := time.Now()
		s.drain(ctx, time.Second)
		wantAfter(t, start, 350*time.Millisecond)
		synctest.Wait()
		told := 0
		for _, f := range fakes {
			told += len(f.failed)
		}
		if told != 4 {
			t.Errorf("%d of 10 sessions were told after a third of the window, want 4", told)
		}
		s.abort()
		for i, f := range fakes {
			if !f.aborted {
				t.Errorf("session %d was not aborted", i)
			}
		}
	})
}

// A handshake may be under way when the others are ended. Its session must not outlive the gateway.
func TestSessionsEndThoseThatComeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		early := enterFakes(s, 1)[0]
		s.drain(t.Context(), 0)
		drained := enterFakes(s, 1)[0]
		s.abort()
		aborted := enterFakes(s, 1)[0]
		synctest.Wait()
		if len(early.failed) != 1 || len(drained.failed) != 1 || drained.cause != relay.Drain {
			t.Errorf("the first session was told %d times, the one that came during the drain %d times", len(early.failed), len(drained.failed))
		}
		if !aborted.aborted || len(aborted.failed) > 0 {
			t.Error("a session that came after the end was not aborted")
		}
	})
}

func TestSessionsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		if err := s.wait(t.Context()); err != nil {
			t.Errorf("without sessions: %v", err)
		}
		for range 2 { // it can be waited for again and again
			fakes := enterFakes(s, 3)
			var waiters sync.WaitGroup
			done := make(chan error, 2)
			for range cap(done) {
				waiters.Go(func() { done <- s.wait(t.Context()) })
			}
			fakes[0].leave()
			fakes[1].leave()
			synctest.Wait()
			if len(done) > 0 {
				t.Error("it returned while there was a session")
			}
			fakes[2].leave()
			fakes[2].leave() // harmless
			waiters.Wait()
			for range cap(done) {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		enterFakes(s, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.wait(ctx); err == nil {
			t.Error("it returned without an error while there was a session")
		}
	})
}

// Between its 101 and its session a handshake is waited for; after the wait there are no more.
func TestSessionsWaitForHandshakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		for range 2 {
			if !s.hold() {
				t.Fatal("nobody waits, and still there may be no session")
			}
		}
		done := make(chan error, 1)
		go func() { done <- s.wait(t.Context()) }()
		synctest.Wait()
		if !s.hold() {
			t.Error("while others are waited for, there may be no further session")
		}
		session := enterFakes(s, 1)[0]
		for range 3 {
			s.release()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Error("it returned while there was a session")
		}
		session.leave()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.hold() {
			t.Error("after the wait there may be a session")
		}
	})
}
