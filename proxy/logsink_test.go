package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A valve is a writer that can be shut: it then waits, as a pipe does that nobody reads.
type valve struct {
	open chan struct{} // closed while the valve is open
	mu   sync.Mutex
	got  bytes.Buffer
	full int // bytes that it takes before it fails; 0 for no limit
}

func newValve(open bool) *valve {
	v := &valve{open: make(chan struct{})}
	if open {
		close(v.open)
	}
	return v
}

func (v *valve) Write(p []byte) (int, error) {
	<-v.open
	v.mu.Lock()
	defer v.mu.Unlock()
	if room := v.full - v.got.Len(); v.full > 0 && len(p) > room {
		v.got.Write(p[:room])
		return room, errors.New("no space left on device")
	}
	return v.got.Write(p)
}

func (v *valve) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got.String()
}

// All that is written arrives, in order, whoever writes it.
func TestLogSinkWrites(t *testing.T) {
	t.Parallel()
	v := newValve(true)
	s := NewLogSink(v)
	const writers, lines = 8, 500
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range lines {
				fmt.Fprintf(s, "%d %d\n", w, i)
			}
		})
	}
	all.Wait()
	s.Close()
	var next [writers]int
	for line := range strings.Lines(v.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %q, want number %d of it: %v", line, next[w], err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("%d lines of writer %d, want %d", n, w, lines)
		}
	}
	if s.Dropped() != 0 {
		t.Errorf("%d lines dropped", s.Dropped())
	}
}

// A place that takes nothing costs lines, and no time (row X-18).
func TestLogSinkDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newValve(false)
		s := NewLogSink(v)
		start := time.Now()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		s.Write(line)
		synctest.Wait() // the loop hangs in its first write
		const fit = maxUnlogged / 1024
		for range fit + 100 {
			if n, err := s.Write(line); n != len(line) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
		}
		if took := time.Since(start); took > 0 || s.Dropped() != 100 {
			t.Errorf("%d lines dropped in %v, want 100 at once", s.Dropped(), took)
		}
		close(v.open)
		synctest.Wait()
		s.Write([]byte("again\n"))
		s.Close()
		if got := v.String(); len(got) != (fit+1)*1024+len("again\n") || !strings.HasSuffix(got, "x\nagain\n") {
			t.Errorf("%d bytes came once it was read, they end in %q", len(got), got[max(0, len(got)-10):])
		}
	})
}

func TestLogSinkCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newValve(false)
		s := NewLogSink(v)
		s.Write([]byte("a\n"))
		start := time.Now()
		s.Close()
		if took := time.Since(start); took != logPatience {
			t.Errorf("Close took %v, want %v", took, logPatience)
		}
		close(v.open)
		s.Close() // twice is once
		if n, err := s.Write([]byte("late\n")); n != 5 || err != nil || s.Dropped() != 1 {
			t.Errorf("after Close: %d, %v, %d dropped", n, err, s.Dropped())
		}
		synctest.Wait()
		if got := v.String(); got != "a\n" {
			t.Errorf("got %q", got)
		}
	})
}

// A full disk (row X-07) costs the lines that it does not take, and what comes later is tried anew.
func TestLogSinkFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newValve(true)
		v.full = 5
		s := NewLogSink(v)
		s.Write([]byte("one\ntwo\nthree\n"))
		synctest.Wait()
		if got := v.String(); got != "one\nt" || s.Dropped() != 2 {
			t.Errorf("%q was written, %d lines dropped, want 2", got, s.Dropped())
		}
		v.full = 0
		s.Write([]byte("four\n"))
		s.Close()
		if got := v.String(); got != "one\ntfour\n" {
			t.Errorf("%q was written", got)
		}
	})
}

// Lines that two processes write to one pipe must not stand within each other.
func TestLogSinkWritesWholeLines(t *testing.T) {
	t.Parallel()
	line := func(n int) string { return strings.Repeat("x", n-1) + "\n" }
	for _, row := range []struct {
		text string
		want int
	}{
		{"", 0},
		{line(10), 10},
		{line(4096), 4096},
		{line(4000) + line(97), 4000},
		{line(4000) + line(96) + line(10), 4096},
		{line(5000) + line(10), 5000},
		{strings.Repeat("x", 5000), 5000},
	} {
		if got := wholeLines([]byte(row.text)); got != row.want {
			t.Errorf("of %d bytes %d are written at once, want %d", len(row.text), got, row.want)
		}
	}
}
