package ratelimit

import "sync/atomic"

// Count bounds how many of something are in use at the same time, such as connections. It is never over its maximum, not even for a moment,
// unless that was lowered.
type Count struct {
	max atomic.Int64
	now atomic.Int64
}

// NewCount makes a count that admits max at a time; 0 or less admits nothing.
func NewCount(max int64) *Count {
	c := &Count{}
	c.max.Store(max)
	return c
}

// SetMax changes how many there may be. Places that are taken stay taken.
func (c *Count) SetMax(max int64) { c.max.Store(max) }

// Acquire takes one place, and where also is not nil one of that as well, or none. release gives back what was taken, once, however often and
// from wherever it is called. If ok is false there is nothing to give back; release is then a function that does nothing, never nil.
func (c *Count) Acquire(also *Count) (release func(), ok bool) {
	if !c.take() {
		return func() {}, false
	}
	if also != nil && !also.take() {
		c.give()
		return func() {}, false
	}
	var released atomic.Bool
	return func() {
		if released.CompareAndSwap(false, true) {
			c.give()
			if also != nil {
				also.give()
			}
		}
	}, true
}

func (c *Count) take() bool {
	for {
		n := c.now.Load()
		if n >= c.max.Load() {
			return false
		}
		if c.now.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *Count) give() { c.now.Add(-1) }

// InUse is how many places are taken now.
func (c *Count) InUse() int64 { return c.now.Load() }

// Max is how many places there are.
func (c *Count) Max() int64 { return c.max.Load() }
