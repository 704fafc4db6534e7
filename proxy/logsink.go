package proxy

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxUnlogged = 1 << 20         // bytes of log lines that wait to be written
	logPatience = time.Second     // for the last of them, when the process ends
	keptBatch   = maxUnlogged / 8 // of the buffers that LogSink reuses
)

// A LogSink takes the lines of a log and never lets their writer wait, whatever
// becomes of the place where they go: a pipe that nobody reads any more, a full
// disk. What does not fit into its memory is dropped and counted.
type LogSink struct {
	w    io.Writer
	wake chan struct{} // holds one token while there is something to write
	done chan struct{}

	mu      sync.Mutex
	pending []byte
	dropped uint64
	closed  bool
}

// NewLogSink returns a sink that writes to w. The caller closes it.
func NewLogSink(w io.Writer) *LogSink {
	s := &LogSink{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.writeLoop()
	return s
}

// Write takes one line. It never fails.
func (s *LogSink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.pending)+len(line) > maxUnlogged {
		s.dropped++
		return len(line), nil
	}
	s.pending = append(s.pending, line...)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// writeLoop writes until Close.
func (s *LogSink) writeLoop() {
	defer close(s.done)
	var batch []byte
	for range s.wake {
		s.mu.Lock()
		batch, s.pending = s.pending, batch[:0]
		s.mu.Unlock()
		for rest := batch; len(rest) > 0; {
			piece := rest[:wholeLines(rest)]
			rest = rest[len(piece):]
			if n, err := s.w.Write(piece); err != nil {
				s.lost(piece[n:])
			}
		}
		if cap(batch) > keptBatch {
			batch = nil
		}
	}
}

// wholeLines is how much of p is written at once: whole lines, as many as a pipe
// takes undivided, but one at least. Two processes, of which one takes the
// other's place, may write to it at the same time.
func wholeLines(p []byte) int {
	const undivided = 4096 // PIPE_BUF of Linux
	if len(p) <= undivided {
		return len(p)
	}
	if n := bytes.LastIndexByte(p[:undivided], '\n'); n >= 0 {
		return n + 1
	}
	if n := bytes.IndexByte(p, '\n'); n >= 0 {
		return n + 1
	}
	return len(p)
}

// lost counts the lines that could not be written.
func (s *LogSink) lost(rest []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += uint64(bytes.Count(rest, []byte("\n")))
}

// Dropped is the number of lines that are lost.
func (s *LogSink) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// CountDropped has the metrics tell how many lines of the log were lost.
func (s *Server) CountDropped(sink *LogSink) {
	s.metrics.registry.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: "framegate_log_lines_dropped_total", Help: "Lines of the log that could not be written."},
		func() float64 { return float64(sink.Dropped()) }))
}

// Close writes what is left, and gives up on it where that takes longer than a
// second. What comes later is dropped.
func (s *LogSink) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.wake)
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(logPatience):
	}
}
