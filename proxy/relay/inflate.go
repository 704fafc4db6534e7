package relay

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"

	"github.com/framegate/framegate/proxy/frame"
)

// deflateTail ends a message: the four bytes that its sender took away (RFC
// 7692 §7.2.2), and an empty block that is the last one.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// An inflater reads one message after the other. It holds 40 KiB, and is
// borrowed from a pool for one message.
type inflater struct {
	src   bytes.Reader
	flate io.ReadCloser
	over  [1]byte // to see whether there is more than the limit
}

var inflaters = sync.Pool{New: func() any {
	z := &inflater{}
	z.flate = flate.NewReader(&z.src)
	return z
}}

// inflate returns what the compressed payload p inflates to without any context
// (RFC 7692 §7.1.1), which may be limit bytes at most. p has room for
// deflateTail behind it.
func inflate(p []byte, limit uint64) (*buffer, *frame.Violation) {
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	z.src.Reset(append(p, deflateTail...))
	z.flate.(flate.Resetter).Reset(&z.src, nil)
	out := newBuffer(int(min(limit, uint64(max(4*len(p), holdSize)))))
	for {
		more, v := z.read(out, limit)
		switch {
		case v != nil:
			free(&out)
			return nil, v
		case !more:
			return out, nil
		case out.n == len(out.b) && uint64(out.n) < limit:
			larger := newBuffer(int(min(limit, uint64(4*out.n))))
			larger.fill(out.bytes())
			free(&out)
			out = larger
		}
	}
}

// read reads what there is room for in b, and reports whether there is more of
// the message. It stops at the first byte over the limit.
func (z *inflater) read(b *buffer, limit uint64) (more bool, v *frame.Violation) {
	full := uint64(b.n) == limit
	room := b.b[b.n:min(uint64(len(b.b)), limit)]
	if full {
		room = z.over[:]
	}
	n, err := z.flate.Read(room)
	switch {
	case full && n > 0:
		return false, errInflated
	case err != nil && err != io.EOF:
		return false, errDeflate
	}
	b.n += n
	if err == io.EOF {
		return false, z.ended()
	}
	return true, nil
}

// ended checks that there is nothing behind the last block. A message may end
// with a block that says to be the last one, and then an empty one so that the
// tail fits (RFC 7692 §7.2.3.4). What else stood there some would read, and
// others not.
func (z *inflater) ended() *frame.Violation {
	behind := z.src.Len() - len(deflateTail)
	if behind == 1 {
		if c, _ := z.src.ReadByte(); c == 0 {
			return nil
		}
	}
	if behind > 0 {
		return errDeflate
	}
	return nil
}

// maxInflated is how many bytes a message of n bytes on the wire may become.
func (s *Session) maxInflated(from Side, n int) uint64 {
	shape := &s.under(from).From[from]
	limit := shape.MaxMessage
	if ratio := shape.MaxRatio; ratio > 0 {
		limit = min(limit, max(uint64(ratio)*uint64(n), shape.RatioFrom))
	}
	return limit
}
