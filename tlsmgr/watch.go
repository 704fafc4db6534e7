package tlsmgr

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime without a further event ends a change: a certificate and its key are two writes.
	settleTime = 250 * time.Millisecond

	// settleLimit bounds the wait in a directory that never rests.
	settleLimit = 2 * time.Second

	// rescanEvery covers what no event tells: network file systems, exhausted inotify limits, certificates that expire.
	rescanEvery = time.Minute

	// maxLinks is how many symbolic links a path may pass, as in Linux.
	maxLinks = 40
)

// notifier tells of changes in directories.
type notifier struct {
	changed <-chan struct{} // holds at most one signal, so that whoever sends it never waits; nil for one that tells nothing
	add     func(dir string) error
	remove  func(dir string) error
	close   func() error
}

// newNotifier starts a notifier over fsnotify, with fsnotify's goroutine and one that empties its channels until close: fsnotify sends errors
// under the lock that its Add takes, so that a reader who is adding a directory would wait for itself.
func newNotifier(log *slog.Logger) (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return notifier{}, err
	}
	changed, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		drain(w, changed, log)
	}()
	closeAll := func() error {
		err := w.Close()
		<-done
		return err
	}
	return notifier{changed: changed, add: w.Add, remove: w.Remove, close: closeAll}, nil
}

// drain turns what w tells into signals, until w is closed.
func drain(w *fsnotify.Watcher, changed chan<- struct{}, log *slog.Logger) {
	for {
		select {
		case _, ok := <-w.Events:
			if !ok {
				return
			}
		case err, ok := <-w.Errors:
			if !ok {
				return
			}
			log.Warn("watching files", "error", err.Error()) // an overflow means that events were lost
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// deafNotifier stands in where the system has no notifier to give; the rescan finds the changes then.
func deafNotifier() notifier {
	ignore := func(string) error { return nil }
	return notifier{add: ignore, remove: ignore, close: func() error { return nil }}
}

// watchLoop reloads the pairs after changes have settled, and from time to time, until stop is closed.
func (m *Manager) watchLoop(changed <-chan struct{}, stop <-chan struct{}) {
	settleLoop(changed, stop, m.Reload)
}

// settleLoop acts after changes have settled, and from time to time, until stop is closed.
func settleLoop(changed <-chan struct{}, stop <-chan struct{}, act func()) {
	settled, latest := stoppedTimer(), stoppedTimer()
	defer settled.Stop()
	defer latest.Stop()
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	for pending := false; ; {
		select {
		case <-stop:
			return
		case <-changed:
			settled.Reset(settleTime)
			if !pending {
				pending = true
				latest.Reset(settleLimit)
			}
			continue
		case <-settled.C:
		case <-latest.C:
		case <-rescan.C:
		}
		pending = false
		settled.Stop()
		latest.Stop()
		act()
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// watchSet holds the directories that are watched.
type watchSet struct {
	notifier notifier
	dirs     map[string]bool // true: watched; false: the failure was logged
}

// sync makes the watched directories those of paths. Each is added again, since the watch of a directory that was replaced is dead.
func (w *watchSet) sync(paths []string, log *slog.Logger) {
	wanted := make(map[string]bool)
	for _, path := range paths {
		for _, dir := range watchDirs(path) {
			wanted[dir] = true
		}
	}
	for dir := range w.dirs {
		if !wanted[dir] {
			_ = w.notifier.remove(dir) // an error says that the directory is gone, and its watch with it
			delete(w.dirs, dir)
		}
	}
	for dir := range wanted {
		err := w.notifier.add(dir)
		if _, known := w.dirs[dir]; err != nil && !known {
			log.Warn("directory of a file cannot be watched, it is read once a minute", "path", dir, "error", err.Error())
		}
		w.dirs[dir] = err == nil
	}
}

// watchDirs lists the directories in which a change can make path name another file: the one of each symbolic link on the way, the one of
// the file itself, or the last one that exists. Kubernetes swaps a link beside the file's own link, certbot one in another directory: a watch
// of the file, or of its directory alone, would miss them.
func watchDirs(path string) []string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil // no working directory: only a rescan can help
	}
	var dirs []string
	at := filepath.VolumeName(abs) + string(filepath.Separator)
	rest := splitPath(abs)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		link := err == nil && info.Mode()&os.ModeSymlink != 0
		if err != nil || link || len(rest) == 0 {
			dirs = append(dirs, at)
		}
		if err != nil {
			return dirs
		}
		if !link {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return dirs
		}
		if filepath.IsAbs(target) {
			at = filepath.VolumeName(target) + string(filepath.Separator)
		}
		rest = append(splitPath(target), rest...)
	}
	return dirs
}

// splitPath gives the elements of a path, without its volume and empty ones.
func splitPath(path string) []string {
	path = filepath.ToSlash(path[len(filepath.VolumeName(path)):])
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
