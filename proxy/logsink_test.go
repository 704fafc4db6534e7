package proxy

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// All lines arrive, whole and in the order of each writer.
func TestLogSinkWritesEverything(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := NewLogSink(&out)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 500 {
				fmt.Fprintf(s, "%d %d\n", w, i)
			}
		})
	}
	all.Wait()
	s.Close()
	next := [4]int{}
	for line := range strings.Lines(out.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %q, want %d of writer %d", line, next[w], w)
		}
		next[w]++
	}
	if next != [4]int{500, 500, 500, 500} || s.Dropped() != 0 {
		t.Errorf("%v lines, %d dropped", next, s.Dropped())
	}
}

// Where nobody reads, nobody waits: lines are dropped and counted, and Close gives up after a second (row X-18).
func TestLogSinkNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := NewLogSink(w)
		start := time.Now()
		for range maxLogLines + 1000 {
			s.Write([]byte("line\n"))
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("the writers waited for %v", waited)
		}
		if n := s.Dropped(); n < 900 || n > 1000 {
			t.Errorf("%d lines dropped, want about 1000", n)
		}
		s.Close()
		if waited := time.Since(start); waited != logPatience {
			t.Errorf("Close took %v, want %v", waited, logPatience)
		}
		s.Write([]byte("late\n"))
		s.Close()
		r.Close() // lets the writer end
	})
}
