package tlsmgr

import (
	"log/slog"
	"slices"
	"sync"
)

// A Watcher tells when files may have changed: those of a configuration, say. It is the manager's own watch for others: see watch.go for what it
// notices.
type Watcher struct {
	changed chan struct{} // holds at most one signal
	log     *slog.Logger
	stop    chan struct{}
	loop    sync.WaitGroup // watchLoop

	mu      sync.Mutex
	watches watchSet
	paths   []string
}

// NewWatcher starts a watcher of no files yet. Where the system has no notifier it tells once a minute that something may have changed.
func NewWatcher(log *slog.Logger) *Watcher {
	n, err := newNotifier(log)
	if err != nil {
		log.Warn("files cannot be watched, they are read once a minute", "error", err.Error())
		n = deafNotifier()
	}
	w := &Watcher{changed: make(chan struct{}, 1), log: log, stop: make(chan struct{}), watches: watchSet{notifier: n, dirs: make(map[string]bool)}}
	w.loop.Go(func() { settleLoop(n.changed, w.stop, w.tell) })
	return w
}

// Watch makes the watched files those of paths. One that is not there is awaited.
func (w *Watcher) Watch(paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = slices.Clone(paths)
	w.watches.sync(w.paths, w.log)
}

// Changed yields after changes have settled, and from time to time. Whether something is another one now is for the receiver to find out.
func (w *Watcher) Changed() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.changed
}

// tell passes a change on, and watches what the paths lead through now.
func (w *Watcher) tell() {
	w.mu.Lock()
	w.watches.sync(w.paths, w.log)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Close ends the watch and waits for its goroutines. A nil watcher has none, and yields nothing.
func (w *Watcher) Close() error {
	if w == nil {
		return nil
	}
	close(w.stop)
	w.loop.Wait()
	return w.watches.notifier.close()
}
