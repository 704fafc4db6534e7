package proxy

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// tidyAfter is how long no handshake must have come before what they left behind
// is cleared away: by then the first messages of the last ones have been told of
// (reactor), and what that took can go as well.
const tidyAfter = 3 * time.Second

// A tidier gives memory back to the system when a wave of handshakes is over.
// They leave much more garbage than their sessions keep, and among idle
// connections nothing else would have it collected for minutes.
type tidier struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// stir notes that a handshake has come.
func (t *tidier) stir() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
	case t.timer == nil:
		t.timer = time.AfterFunc(tidyAfter, tidy)
	default:
		t.timer.Reset(tidyAfter)
	}
}

// tidy collects twice: pools let go of what they hold at the second time only.
func tidy() {
	runtime.GC()
	debug.FreeOSMemory()
}

// stop ends the tidying. One that is under way ends by itself.
func (t *tidier) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
