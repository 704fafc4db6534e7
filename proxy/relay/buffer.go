package relay

import "sync"

// holdSize is the size in bytes, header included, up to which a frame that
// arrives in pieces is gathered before it is relayed.
const holdSize = 4096

// A buffer holds the start of one frame. It is borrowed from a pool only while
// a frame is incomplete, so an idle session has none.
type buffer struct {
	n, want int
	b       [holdSize]byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// newBuffer borrows a buffer for a frame of want bytes.
func newBuffer(want int) *buffer {
	b := buffers.Get().(*buffer)
	b.n, b.want = 0, want
	return b
}

// fill takes what belongs to the frame from the start of p and returns its
// size.
func (b *buffer) fill(p []byte) int {
	n := copy(b.b[b.n:b.want], p)
	b.n += n
	return n
}

func (b *buffer) bytes() []byte { return b.b[:b.n] }

func (b *buffer) missing() int { return b.want - b.n }

// free returns *b to the pool, where there is one, and forgets it.
func free(b **buffer) {
	if *b != nil {
		buffers.Put(*b)
		*b = nil
	}
}
