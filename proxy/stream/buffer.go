package stream

import "sync"

const (
	smallRead = 4 << 10
	largeRead = 32 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeRead]byte) }}

// A readBuffer is small while little arrives, and borrowed from a pool as a
// large one while reads fill it.
type readBuffer struct {
	p     []byte
	small []byte
	large *[largeRead]byte
}

// next returns the buffer to read into.
func (b *readBuffer) next() []byte {
	if b.p == nil {
		b.small = make([]byte, smallRead)
		b.p = b.small
	}
	return b.p
}

// used chooses the next buffer after a read of n bytes.
func (b *readBuffer) used(n int) {
	switch {
	case b.large == nil && n == smallRead:
		b.large = largeBuffers.Get().(*[largeRead]byte)
		b.p = b.large[:]
	case b.large != nil && n < smallRead:
		b.free()
		b.p = b.small
	}
}

// free returns what was borrowed.
func (b *readBuffer) free() {
	if b.large != nil {
		largeBuffers.Put(b.large)
		b.large = nil
	}
}
