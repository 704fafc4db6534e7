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

// Acquire takes one place, if there is one. release gives it back, once, however often and from wherever it is called. If ok is false there
// is nothing to give back; release is then a function that does nothing, never nil.
func (c *Count) Acquire() (release func(), ok bool) {
	for {
		n := c.now.Load()
		if n >= c.max.Load() {
			return func() {}, false
		}
		if c.now.CompareAndSwap(n, n+1) {
			return c.releaser(), true
		}
	}
}

// releaser makes the function that gives one place back.
func (c *Count) releaser() func() {
	var released atomic.Bool
	return func() {
		if released.CompareAndSwap(false, true) {
			c.now.Add(-1)
		}
	}
}

// InUse is how many places are taken now.
func (c *Count) InUse() int64 { return c.now.Load() }

// Max is how many places there are.
func (c *Count) Max() int64 { return c.max.Load() }
