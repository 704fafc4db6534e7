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
	conns list.List // of *headConn, the longest first
}

// join adds a connection that begins to wait.
func (w *waitlist) join(c *headConn) {
	w.mu.Lock()
	var oldest *headConn
	if c.place == nil {
		c.place = w.conns.PushBack(c)
	}
	if w.conns.Len() > w.max {
		oldest = w.conns.Front().Value.(*headConn)
		w.remove(oldest)
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
func (w *waitlist) leave(c *headConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(c)
}

// remove needs the lock.
func (w *waitlist) remove(c *headConn) {
	if c.place != nil {
		w.conns.Remove(c.place)
		c.place = nil
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
