package handshake

import (
	"errors"
	"io"
)

// maxInterim bounds the 1xx answers that may come before the final one.
const maxInterim = 5

// ReadReply reads up to the end of the first final head (a 101 is one). It returns all that was read from that head's first byte on, and the
// head's size. Every refusal is a 502.
func ReadReply(r io.Reader) (reply *Reply, b []byte, n int, refusal *Refusal) {
	b = make([]byte, 0, 1024)
	var scanner ReplyScanner
	for interim := 0; ; {
		reply, n, refusal := scanner.Scan(b)
		switch {
		case refusal != nil:
			return nil, nil, 0, refusal
		case n > 0 && !reply.Interim():
			return reply, b, n, nil
		case n > 0:
			if interim++; interim > maxInterim {
				return nil, nil, 0, badReply("too many interim answers")
			}
			b, scanner = append(b[:0], b[n:]...), ReplyScanner{}
			continue
		}
		if len(b) == cap(b) {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		m, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+m]
		if m == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				return nil, nil, 0, badReply("connection ended before the answer")
			}
			return nil, nil, 0, badReply("reading the answer: " + err.Error())
		}
	}
}
