package tlsmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/certmagic"

	"github.com/framegate/framegate/ratelimit"
)

var testKey = bytes.Repeat([]byte{7}, 32)

// redisBackend is a store of one gateway in a Redis that several may share.
func redisBackend(t testing.TB, server *miniredis.Miniredis, keys ...[]byte) *redisStore {
	t.Helper()
	if len(keys) == 0 {
		keys = [][]byte{testKey}
	}
	c := ratelimit.RedisConfig{URL: "redis://" + server.Addr(), Prefix: "fg:", Timeout: 2e9, Nodes: 1, LeasePercent: 1}
	options := c.Options(func(path, format string, args ...any) { t.Fatalf(path+": "+format, args...) })
	s, err := newRedisStore(options, "fg:", keys, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(s.close)
	return s
}

// backends makes two gateways' views of one store, of each kind.
var backends = map[string]func(t *testing.T) (one, other backend){
	"files": func(t *testing.T) (backend, backend) {
		dir := t.TempDir()
		return newFileStore(dir), newFileStore(dir)
	},
	"redis": func(t *testing.T) (backend, backend) {
		server := miniredis.RunT(t)
		return redisBackend(t, server), redisBackend(t, server)
	},
}

func TestBackendEntries(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, other := open(t)
			ctx := context.Background()
			for _, key := range []string{"certificates/ca/a.example/a.example.crt", "certificates/ca/b.example/b.example.crt", "acme/ca/users/x/x.json"} {
				check(t, s.Store(ctx, key, []byte("of "+key)))
				check(t, s.Store(ctx, key, []byte("new "+key)))
				if value, err := other.Load(ctx, key); err != nil || string(value) != "new "+key {
					t.Errorf("%s: %q %v", key, value, err)
				}
				if info, err := other.Stat(ctx, key); err != nil || !info.IsTerminal || info.Size != int64(len(key)+4) || time.Since(info.Modified).Abs() > time.Minute {
					t.Errorf("%s: %+v %v", key, info, err)
				}
			}
			lists := []struct {
				prefix    string
				recursive bool
				want      []string
			}{
				{"certificates", false, []string{"certificates/ca"}},
				{"certificates/ca", false, []string{"certificates/ca/a.example", "certificates/ca/b.example"}},
				{"certificates/ca", true, []string{"certificates/ca/a.example", "certificates/ca/a.example/a.example.crt", "certificates/ca/b.example", "certificates/ca/b.example/b.example.crt"}},
			}
			for _, l := range lists {
				keys, err := s.List(ctx, l.prefix, l.recursive)
				slices.Sort(keys)
				if err != nil || !slices.Equal(keys, l.want) {
					t.Errorf("list of %s: %q %v", l.prefix, keys, err)
				}
			}
			if info, err := s.Stat(ctx, "certificates/ca"); err != nil || info.IsTerminal {
				t.Errorf("a directory: %+v %v", info, err)
			}
			if !s.Exists(ctx, "certificates/ca/a.example") || s.Exists(ctx, "certificates/ca/a") || s.Exists(ctx, "certificates/ca/c.example/c.crt") {
				t.Error("exists")
			}
			for _, missing := range []string{"nothing", "certificates/ca/c.example/c.crt"} {
				_, loadErr := s.Load(ctx, missing)
				_, statErr := s.Stat(ctx, missing)
				_, listErr := s.List(ctx, missing, true)
				for what, err := range map[string]error{"load": loadErr, "stat": statErr, "list": listErr} {
					if !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s of what is missing: %v", what, err)
					}
				}
				check(t, s.Delete(ctx, missing))
			}
			check(t, s.Delete(ctx, "certificates/ca/a.example"))
			if other.Exists(ctx, "certificates/ca/a.example/a.example.crt") || !other.Exists(ctx, "certificates/ca/b.example/b.example.crt") {
				t.Error("the deleted directory, and no other one, must be gone")
			}
		})
	}
}

// Only one of many holds a lock, over gateways and goroutines.
func TestBackendLocks(t *testing.T) {
	t.Parallel()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := open(t)
			ctx := context.Background()
			var inside, most, total atomic.Int64
			var running sync.WaitGroup
			for i := range 8 {
				s := []backend{one, other}[i%2]
				running.Go(func() {
					check(t, s.Lock(ctx, "issue_cert_a.example"))
					n := inside.Add(1)
					most.Store(max(most.Load(), n))
					total.Add(1)
					time.Sleep(time.Millisecond)
					inside.Add(-1)
					check(t, s.Unlock(ctx, "issue_cert_a.example"))
				})
			}
			running.Wait()
			if most.Load() != 1 || total.Load() != 8 {
				t.Errorf("%d at a time, %d in all", most.Load(), total.Load())
			}
			if ok, err := one.TryLock(ctx, "x"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if ok, err := other.TryLock(ctx, "x"); ok || err != nil {
				t.Error("a lock that is held was taken", err)
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if err := other.Lock(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting for it: %v", err)
			}
			if err := other.Unlock(ctx, "x"); err == nil {
				t.Error("somebody else's lock was released")
			}
			check(t, one.Unlock(ctx, "x"))
			if ok, err := other.TryLock(ctx, "x"); !ok || err != nil {
				t.Error("a lock that is free was not taken", err)
			}
			check(t, other.Unlock(ctx, "x"))
		})
	}
}

func TestFileStoreStaysInside(t *testing.T) {
	s := newFileStore(t.TempDir())
	for _, key := range []string{"../x", "/etc/x", "a/../../x"} {
		if err := s.Store(context.Background(), key, nil); err == nil {
			t.Errorf("%q was stored", key)
		}
	}
}

// a disk that is full, or may not be written, leaves what was there, and no part of a file.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := newFileStore(dir)
	var failures []error
	s := newStore(files, time.Now, func(err error) { failures = append(failures, err) })
	old, next := siteFiles(t, 1), siteFiles(t, 2)
	ctx := context.Background()
	check(t, storeSite(ctx, s, old))
	for after := range 3 {
		written := 0
		files.write = func(file *os.File, data []byte) error {
			if written++; written > after {
				_, _ = file.Write(data[:len(data)/2])
				return &fs.PathError{Op: "write", Path: file.Name(), Err: syscall.ENOSPC}
			}
			return writeSynced(file, data)
		}
		if err := storeSite(ctx, s, next); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d files: %v", after, err)
		}
		for _, e := range old {
			if value, err := s.Load(ctx, e.key); err != nil || !bytes.Equal(value, e.value) {
				t.Errorf("after %d files %s is not what it was: %v", after, e.key, err)
			}
		}
	}
	if len(failures) != 3 || reasonOf(failures[0]) != reasonStorage {
		t.Errorf("told of %v", failures)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "certificates/ca/a.example"))
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	files.write = writeSynced
	check(t, storeSite(ctx, s, next))
	if value, _ := s.Load(ctx, next[1].key); !bytes.Equal(value, next[1].value) {
		t.Error("the new certificate is not there")
	}
	check(t, s.Delete(ctx, next[0].key))
	if s.Exists(ctx, next[0].key) {
		t.Error("a key that is there was not deleted")
	}
}

// siteFiles are a key, its certificate and their data, as certmagic stores them.
func siteFiles(t testing.TB, serial int64) []keyValue {
	t.Helper()
	pair := certSpec{names: []string{"a.example"}, serial: serial}.write(t, t.TempDir())
	key, err := os.ReadFile(pair.Key)
	check(t, err)
	cert, err := os.ReadFile(pair.Cert)
	check(t, err)
	site := "certificates/ca/a.example/a.example"
	return []keyValue{{site + ".key", key}, {site + ".crt", cert}, {site + ".json", fmt.Appendf(nil, "{%d}", serial)}}
}

// storeSite does what certmagic's storeTx does.
func storeSite(ctx context.Context, s certmagic.Storage, entries []keyValue) error {
	for i, e := range entries {
		if err := s.Store(ctx, e.key, e.value); err != nil {
			for j := i - 1; j >= 0; j-- {
				s.Delete(ctx, entries[j].key)
			}
			return err
		}
	}
	return nil
}

func TestStoreRefusesWrongChains(t *testing.T) {
	t.Parallel()
	old, other := siteFiles(t, 1), siteFiles(t, 2)
	tests := map[string][]keyValue{
		"key of another":      {other[0], old[1], old[2]},
		"no certificate":      {old[0], {old[1].key, []byte("-----BEGIN")}, old[2]},
		"unrelated issuer":    {old[0], {old[1].key, append(slices.Clone(old[1].value), other[1].value...)}, old[2]},
		"empty":               {old[0], {old[1].key, nil}, old[2]},
		"key without an end":  {{old[0].key, old[0].value[:20]}, old[1], old[2]},
		"expired certificate": expiredSite(t),
	}
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(newFileStore(t.TempDir()), time.Now, func(error) {})
			ctx := context.Background()
			check(t, storeSite(ctx, s, old))
			err := storeSite(ctx, s, entries)
			if !errors.Is(err, errChain) || reasonOf(fmt.Errorf("[a.example] Renew: saving assets: %v", err)) != reasonChain {
				t.Errorf("got %v", err)
			}
			for _, e := range old {
				if value, err := s.Load(ctx, e.key); err != nil || !bytes.Equal(value, e.value) {
					t.Errorf("%s is not what it was: %v", e.key, err)
				}
			}
		})
	}
}

func expiredSite(t testing.TB) []keyValue {
	t.Helper()
	pair := certSpec{names: []string{"a.example"}, from: time.Now().Add(-2 * time.Hour), end: time.Now().Add(-time.Hour)}.write(t, t.TempDir())
	key, err := os.ReadFile(pair.Key)
	check(t, err)
	cert, err := os.ReadFile(pair.Cert)
	check(t, err)
	site := "certificates/ca/a.example/a.example"
	return []keyValue{{site + ".key", key}, {site + ".crt", cert}, {site + ".json", nil}}
}

func TestRedisStoreKeepsSecrets(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	s := redisBackend(t, server)
	ctx := context.Background()
	check(t, errors.Join(s.Store(ctx, "a/key", []byte("PRIVATE")), s.Store(ctx, "b/key", []byte("OTHER"))))
	if dump := server.Dump(); strings.Contains(dump, "PRIVATE") {
		t.Errorf("in the clear: %s", dump)
	}
	server.HSet("fg:certificates", "b/key", server.HGet("fg:certificates", "a/key"))
	if _, err := s.Load(ctx, "b/key"); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("a value under another name: %v", err)
	}
	server.HSet("fg:certificates", "c", "rubbish")
	if _, err := s.Load(ctx, "c"); err == nil || !strings.Contains(err.Error(), "not one of this store") {
		t.Errorf("rubbish: %v", err)
	}
	next := bytes.Repeat([]byte{8}, 32)
	rotated := redisBackend(t, server, next, testKey)
	if value, err := rotated.Load(ctx, "a/key"); err != nil || string(value) != "PRIVATE" {
		t.Errorf("with the old key as the second: %q %v", value, err)
	}
	check(t, rotated.Store(ctx, "a/key", []byte("NEW")))
	if _, err := s.Load(ctx, "a/key"); err == nil {
		t.Error("what the new key sealed opens with the old one")
	}
}

// A lock outlives no gateway for long, is kept by one that lives, and is never released for another.
func TestRedisLockLife(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	dead, alive := redisBackend(t, server), redisBackend(t, server)
	alive.life = 300 * time.Millisecond
	ctx := context.Background()
	check(t, dead.Lock(ctx, "x"))
	if ok, _ := alive.TryLock(ctx, "x"); ok {
		t.Fatal("two hold it")
	}
	server.FastForward(lockLife + time.Second)
	if ok, err := alive.TryLock(ctx, "x"); !ok {
		t.Fatal("a dead gateway's lock stays", err)
	}
	check(t, dead.Unlock(ctx, "x"))
	if !server.Exists("fg:certificates:lock:x") {
		t.Error("another gateway's lock was released")
	}
	for range 5 { // renewed each time, before it ends
		ttl := server.TTL("fg:certificates:lock:x")
		server.FastForward(ttl / 2)
		eventually(t, "the lock is renewed", func() bool { return server.TTL("fg:certificates:lock:x") > ttl*3/4 })
	}
	check(t, alive.Unlock(ctx, "x"))
	if server.Exists("fg:certificates:lock:x") {
		t.Error("a lock was not released")
	}
}

func TestRedisStoreAway(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	s := redisBackend(t, server)
	ctx := context.Background()
	check(t, s.Lock(ctx, "x"))
	addr := server.Addr()
	server.Close()
	_, err := s.Load(ctx, "a")
	if err == nil || errors.Is(err, fs.ErrNotExist) || reasonOf(err) != reasonStorage || !strings.Contains(err.Error(), addr) {
		t.Errorf("load: %v", err)
	}
	if s.Store(ctx, "a", nil) == nil || s.Delete(ctx, "a") == nil || s.Exists(ctx, "a") {
		t.Error("a store that is away answers")
	}
	if _, err := s.List(ctx, "a", true); err == nil {
		t.Error("a list of a store that is away")
	}
	if s.Unlock(ctx, "x") == nil {
		t.Error("a lock was released without anybody to tell")
	}
}
