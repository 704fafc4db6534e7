package relay

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// holdSize is the size in bytes, header included, up to which a frame that
// arrives in pieces is gathered before it is relayed.
const holdSize = 4096

// maxPart is the size in bytes of the largest part of a gathered message.
const maxPart = 64 << 10

// A Memory bounds the bytes that all sessions together may pin: messages that
// are gathered until they can be decided on, and what waits for a rate. One is
// shared by all routes. A nil Memory lends nothing.
type Memory struct {
	max  int64
	used atomic.Int64
}

// NewMemory returns a Memory of n bytes.
func NewMemory(n int64) *Memory { return &Memory{max: n} }

// Used returns how many bytes are lent.
func (m *Memory) Used() int64 {
	if m == nil {
		return 0
	}
	return m.used.Load()
}

// lend borrows a buffer of at least n bytes, or returns nil where that would
// be too much.
func (m *Memory) lend(n int) *buffer {
	if m == nil {
		return nil
	}
	size := int64(1) << sizeClass(n)
	if m.used.Add(size) > m.max {
		m.used.Add(-size)
		return nil
	}
	b := newBuffer(n)
	b.lender = m
	return b
}

// A buffer holds bytes that a session needs longer than one call. It is
// borrowed from a pool only as long, so an idle session has none.
type buffer struct {
	next    *buffer
	lender  *Memory // whose bytes these are, or nil
	n, want int
	handed  bool   // a writer may have bytes of it for ever: no pool gets it back
	b       []byte // of a size that is a power of two
}

// Buffers of each size that is a power of two have a pool.
const (
	minClass = 12 // holdSize
	maxClass = 30
)

var buffers [maxClass + 1]sync.Pool

// sizeClass is the logarithm of the size of a buffer for n bytes.
func sizeClass(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

// newBuffer borrows a buffer of at least n bytes, to be filled with n.
func newBuffer(n int) *buffer {
	class := sizeClass(n)
	if class <= maxClass {
		if b, ok := buffers[class].Get().(*buffer); ok {
			b.n, b.want = 0, n
			return b
		}
	}
	return &buffer{want: n, b: make([]byte, 1<<class)}
}

// fill takes what belongs to the buffer from the start of p and returns its
// size.
func (b *buffer) fill(p []byte) int {
	n := copy(b.b[b.n:b.want], p)
	b.n += n
	return n
}

func (b *buffer) bytes() []byte { return b.b[:b.n] }

func (b *buffer) missing() int { return b.want - b.n }

// free returns the list *b to the pools and forgets it.
func free(b **buffer) {
	for *b != nil {
		x := *b
		*b = x.next
		x.next = nil
		x.unlend()
		if class := sizeClass(len(x.b)); class <= maxClass && !x.handed {
			buffers[class].Put(x)
		}
	}
}

// abandon forgets the list *b, which may be in a writer's hands: it does not
// go back to the pools.
func abandon(b **buffer) {
	for *b != nil {
		(*b).unlend()
		*b = (*b).next
	}
}

func (b *buffer) unlend() {
	if b.lender != nil {
		b.lender.used.Add(-int64(len(b.b)))
		b.lender = nil
	}
}

// push puts the list x before the list *b.
func push(b **buffer, x *buffer) {
	for x != nil {
		next := x.next
		x.next, *b = *b, x
		x = next
	}
}
