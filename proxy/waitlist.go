package proxy

import (
	"container/list"
	"sync"
	"time"
)

// A waitlist holds the connections that are not being served: they have not sent a
// whole request head yet, or have had their answer and keep the connection. One
// too many is at the cost of the one that has waited longest, so that whoever
// opens connections and says nothing keeps nobody else out.
type waitlist struct {
	max   int
	mu    sync.Mutex
	conns list.List // of waiters, the longest first
}

// A waiter is a connection that may have to wait.
type waiter interface {
	chair() *seat
	expire() // ends the wait
}

// A seat is a connection's place in a waitlist, of whose lock it is.
type seat struct{ in *list.Element }

func (s *seat) chair() *seat { return s }

// join adds a connection that begins to wait.
func (w *waitlist) join(c waiter) {
	w.mu.Lock()
	var oldest waiter
	if s := c.chair(); s.in == nil {
		s.in = w.conns.PushBack(c)
	}
	if w.conns.Len() > w.max {
		oldest = w.conns.Front().Value.(waiter)
		w.remove(oldest.chair())
	}
	w.mu.Unlock()
	if oldest != nil {
		oldest.expire()
	}
}

// setMax changes how many may wait. Those who wait already may do so.
func (w *waitlist) setMax(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.max = n
}

// leave removes a connection, if it waits.
func (w *waitlist) leave(c waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(c.chair())
}

// remove needs the lock.
func (w *waitlist) remove(s *seat) {
	if s.in != nil {
		w.conns.Remove(s.in)
		s.in = nil
	}
}

// len is how many wait.
func (w *waitlist) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns.Len()
}

// expire ends a connection's wait: whoever reads from it sees its time out, and
// closes it.
func (c *headConn) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = time.Unix(1, 0)
	c.raw.SetDeadline(c.own)
}
