package stream_test

import (
	"net"
	"sync"

	"github.com/framegate/framegate/proxy/relay"
	"github.com/framegate/framegate/proxy/stream"
)

func newDriver(s *relay.Session, client, upstream stream.Conn) *stream.Driver {
	return stream.New(s, client, upstream, nil)
}

// A loop is a connection that allocates nothing: whole messages come in, and
// the size of each write goes out.
type loop struct {
	in   chan []byte
	out  chan int
	over chan struct{}
	once sync.Once
}

func newLoop() *loop {
	return &loop{in: make(chan []byte), out: make(chan int), over: make(chan struct{})}
}

func (l *loop) Read(p []byte) (int, error) {
	select {
	case b := <-l.in:
		return copy(p, b), nil
	case <-l.over:
		return 0, net.ErrClosed
	}
}

func (l *loop) Write(p []byte) (int, error) {
	select {
	case l.out <- len(p):
		return len(p), nil
	case <-l.over:
		return 0, net.ErrClosed
	}
}

func (l *loop) CloseWrite() error { return nil }
func (l *loop) Abort() error      { return l.Close() }

func (l *loop) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}
