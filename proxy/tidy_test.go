package proxy

import (
	"runtime"
	"testing"
	"time"
)

// Once handshakes have stopped coming the garbage is collected, and after stop no more.
func TestTidier(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tidy := &tidier{}
	tidy.stir()
	tidy.stir()
	waitFor(t, "a forced collection", func() bool {
		runtime.ReadMemStats(&after)
		return after.NumForcedGC > before.NumForcedGC
	})
	tidy.stop()
	tidy.stir()
	if tidy.timer.Reset(time.Hour) {
		t.Error("it goes on after stop")
	}
	tidy.timer.Stop()
}
