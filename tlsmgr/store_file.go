package tlsmgr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// closePatience is how long closing waits for what still holds a lock.
const closePatience = 5 * time.Second

// A fileStore keeps entries as files below a directory: mode 0600, in directories of mode 0700, replaced in one step. Locks are those of the
// operating system, so that a process that is killed leaves none behind.
type fileStore struct {
	dir   string
	write func(file *os.File, data []byte) error // replaced in tests

	mu   sync.Mutex
	held map[string]*os.File // locked files, by the names of the locks
}

func newFileStore(dir string) *fileStore {
	return &fileStore{dir: dir, write: writeSynced, held: map[string]*os.File{}}
}

// writeSynced writes data and waits until it is on disk.
func writeSynced(file *os.File, data []byte) error {
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// path is the file of a key.
func (s *fileStore) path(key string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return "", fmt.Errorf("key %q leaves the store", key)
	}
	return filepath.Join(s.dir, filepath.FromSlash(key)), nil
}

// Store implements certmagic.Storage.
func (s *fileStore) Store(ctx context.Context, key string, value []byte) error {
	return s.storeAll(ctx, []keyValue{{key, value}})
}

// storeAll writes all of the new files before it puts the first one in place: a disk that is full leaves the old ones.
func (s *fileStore) storeAll(ctx context.Context, entries []keyValue) (err error) {
	temporary := make([]string, 0, len(entries))
	defer func() {
		for _, name := range temporary {
			os.Remove(name) // nothing, after the rename
		}
	}()
	targets := make([]string, len(entries))
	for i, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if targets[i], err = s.path(e.key); err != nil {
			return err
		}
		name, err := s.writeTemporary(filepath.Dir(targets[i]), e.value)
		if name != "" {
			temporary = append(temporary, name)
		}
		if err != nil {
			return err
		}
	}
	for i, name := range temporary {
		if err := os.Rename(name, targets[i]); err != nil {
			return err
		}
	}
	syncDir(filepath.Dir(targets[0]))
	return nil
}

// writeTemporary makes a file in dir, and returns its name even if it could not be written.
func (s *fileStore) writeTemporary(dir string, data []byte) (name string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return "", err
	}
	return file.Name(), errors.Join(s.write(file, data), file.Close())
}

// Load implements certmagic.Storage.
func (s *fileStore) Load(_ context.Context, key string) ([]byte, error) {
	name, err := s.path(key)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// Delete implements certmagic.Storage.
func (s *fileStore) Delete(_ context.Context, key string) error {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	return os.RemoveAll(name)
}

// Exists implements certmagic.Storage.
func (s *fileStore) Exists(_ context.Context, key string) bool {
	name, err := s.path(key)
	if err != nil {
		return false
	}
	_, err = os.Stat(name)
	return err == nil
}

// List implements certmagic.Storage.
func (s *fileStore) List(ctx context.Context, prefix string, recursive bool) (keys []string, err error) {
	root, err := s.path(prefix)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || name == root {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		keys = append(keys, path.Join(prefix, filepath.ToSlash(inside)))
		if entry.IsDir() && !recursive {
			return fs.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat implements certmagic.Storage.
func (s *fileStore) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	name, err := s.path(key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: info.ModTime(), Size: info.Size(), IsTerminal: !info.IsDir()}, nil
}

// Lock implements certmagic.Locker.
func (s *fileStore) Lock(ctx context.Context, name string) error { return lock(ctx, s, name) }

// TryLock implements certmagic.TryLocker.
func (s *fileStore) TryLock(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	file, err := s.openLock(name)
	if err != nil {
		return false, err
	}
	ok, err := lockFile(file)
	if ok {
		ok = inPlace(file) // whoever held it may have removed it in between
	}
	if !ok || err != nil {
		return false, errors.Join(err, file.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = file
	return true, nil
}

func (s *fileStore) openLock(name string) (*os.File, error) {
	path, err := s.path("locks/" + certmagic.StorageKeys.Safe(name) + ".lock")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// inPlace tells whether the name of file is still that of this file.
func inPlace(file *os.File) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(file.Name())
	return err == nil && os.SameFile(ours, theirs)
}

// Unlock implements certmagic.Locker.
func (s *fileStore) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.held[name]
	if file == nil {
		return fmt.Errorf("lock %q is not held", name)
	}
	delete(s.held, name)
	removeLocked(file)
	return file.Close() // which unlocks
}

// close waits until no lock is held.
func (s *fileStore) close() {
	waitUntil(closePatience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.held) == 0
	})
}

// waitUntil waits until done, at most for so long.
func waitUntil(patience time.Duration, done func() bool) {
	for end := time.Now().Add(patience); !done() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}
