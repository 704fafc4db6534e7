package proxy

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxLogLines  = 4096 // that wait to be written
	logPatience  = time.Second
	maxLogBuffer = 64 << 10
)

// A LogSink is a writer that never makes its caller wait: whoever reads the log
// may stop, and no client and no message is to wait for that. What cannot be
// kept is dropped and counted.
type LogSink struct {
	to      io.Writer
	lines   chan []byte
	done    chan struct{} // closed when writeLoop has ended
	dropped atomic.Uint64

	mu     sync.RWMutex // held for writing by Close
	closed bool
}

// NewLogSink starts writing lines to a writer, until Close.
func NewLogSink(to io.Writer) *LogSink {
	s := &LogSink{to: to, lines: make(chan []byte, maxLogLines), done: make(chan struct{})}
	go s.writeLoop()
	return s
}

// Write takes one line. It always succeeds.
func (s *LogSink) Write(line []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		s.dropped.Add(1)
		return len(line), nil
	}
	select {
	case s.lines <- append([]byte(nil), line...):
	default:
		s.dropped.Add(1)
	}
	return len(line), nil
}

// writeLoop writes what has come, as many lines at a time as there are.
func (s *LogSink) writeLoop() {
	defer close(s.done)
	var buf []byte
	for line := range s.lines {
		buf = append(buf[:0], line...)
	gather:
		for len(buf) < maxLogBuffer {
			select {
			case more, ok := <-s.lines:
				if !ok {
					break gather
				}
				buf = append(buf, more...)
			default:
				break gather
			}
		}
		s.to.Write(buf)
	}
}

// Dropped is how many lines were lost.
func (s *LogSink) Dropped() uint64 { return s.dropped.Load() }

// CountDropped has the metrics tell how many lines of the log were lost.
func (s *Server) CountDropped(sink *LogSink) {
	s.metrics.registry.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: "framegate_log_lines_dropped_total", Help: "Lines of the log that nobody took in time."},
		func() float64 { return float64(sink.Dropped()) }))
}

// Close writes what waits, for a second at most: if the reader has stopped, the
// process does not wait for it.
func (s *LogSink) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.lines)
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(logPatience):
	}
}
