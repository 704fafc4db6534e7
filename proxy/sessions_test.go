package proxy

import (
	"context"
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
}

func (f *fakeSession) Fail(c relay.Cause) {
	f.failed, f.cause = append(f.failed, time.Now()), c
}

func (f *fakeSession) Do(func(*relay.Session, time.Time)) {}

func (f *fakeSession) Abort() { f.aborted = true }

func enterFakes(s *sessions, n int) []*fakeSession { return enterOn(s, n, nil) }

// enterOn adds n sessions of a route.
func enterOn(s *sessions, n int, rt *route) []*fakeSession {
	fakes := make([]*fakeSession, n)
	for i := range fakes {
		fakes[i] = &fakeSession{}
		c := &connection{}
		c.route.Store(rt)
		s.enter(c, func() (failer, bool) { return fakes[i], true })
		fakes[i].leave = func() { s.leave(c) }
	}
	return fakes
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
