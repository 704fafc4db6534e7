package tlsmgr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
)

// lockLife is how long a lock outlives the gateway that holds it. While that lives it is renewed three times as often.
const lockLife = 15 * time.Second

// A redisStore keeps entries in one hash of Redis, encrypted, and locks in keys of their own. The hash makes several entries change in one
// step, and lists them without a scan of what else Redis holds.
type redisStore struct {
	client *redis.Client
	hash   string // key of the entries
	locks  string // prefix of the keys of locks
	sealer *sealer
	log    *slog.Logger
	life   time.Duration // lockLife but in tests

	mu   sync.Mutex
	held map[string]*redisLock
}

// newRedisStore connects when it is first used.
func newRedisStore(o *redis.Options, prefix string, keys [][]byte, log *slog.Logger) (*redisStore, error) {
	s, err := newSealer(keys)
	if err != nil {
		return nil, err
	}
	return &redisStore{
		client: redis.NewClient(o), hash: prefix + "certificates", locks: prefix + "certificates:lock:",
		sealer: s, log: log, life: lockLife, held: map[string]*redisLock{},
	}, nil
}

// Store implements certmagic.Storage.
func (s *redisStore) Store(ctx context.Context, key string, value []byte) error {
	return s.storeAll(ctx, []keyValue{{key, value}})
}

func (s *redisStore) storeAll(ctx context.Context, entries []keyValue) error {
	var fields []any
	for _, e := range entries {
		fields = append(fields, e.key, s.sealer.seal(e.key, e.value, time.Now()))
	}
	return s.explain(ctx, s.client.HSet(ctx, s.hash, fields...).Err())
}

// explain says who an error is of: what the caller's own deadline cuts short is the deadline's, whatever the connection says of it.
func (s *redisStore) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	return fmt.Errorf("certificate store in Redis at %s: %w", s.client.Options().Addr, err)
}

// Load implements certmagic.Storage.
func (s *redisStore) Load(ctx context.Context, key string) ([]byte, error) {
	value, _, err := s.load(ctx, key)
	return value, err
}

func (s *redisStore) load(ctx context.Context, key string) ([]byte, time.Time, error) {
	sealed, err := s.client.HGet(ctx, s.hash, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, time.Time{}, errNoKey(key)
	}
	if err != nil {
		return nil, time.Time{}, s.explain(ctx, err)
	}
	return s.sealer.open(key, sealed)
}

// Delete implements certmagic.Storage.
func (s *redisStore) Delete(ctx context.Context, key string) error {
	below, err := s.below(ctx, key)
	if err != nil {
		return err
	}
	return s.explain(ctx, s.client.HDel(ctx, s.hash, append(below, key)...).Err())
}

// below returns the keys of the entries in a directory.
func (s *redisStore) below(ctx context.Context, dir string) ([]string, error) {
	keys, err := s.client.HKeys(ctx, s.hash).Result()
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	slices.Sort(keys)
	return slices.DeleteFunc(keys, func(key string) bool { return dir != "" && !strings.HasPrefix(key, dir+"/") }), nil
}

// Exists implements certmagic.Storage.
func (s *redisStore) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List implements certmagic.Storage.
func (s *redisStore) List(ctx context.Context, dir string, recursive bool) ([]string, error) {
	below, err := s.below(ctx, dir)
	if err != nil {
		return nil, err
	}
	if len(below) == 0 {
		return nil, errNoKey(dir)
	}
	var keys []string
	for _, key := range below {
		inside := strings.TrimPrefix(strings.TrimPrefix(key, dir), "/")
		parts := strings.Split(inside, "/")
		if !recursive {
			parts = parts[:1]
		}
		for i := range parts { // the directories on the way are keys too
			keys = append(keys, path.Join(dir, path.Join(parts[:i+1]...)))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Stat implements certmagic.Storage.
func (s *redisStore) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, at, err := s.load(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: at, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	if below, failed := s.below(ctx, key); failed != nil || len(below) == 0 {
		return certmagic.KeyInfo{}, errors.Join(err, failed)
	}
	return certmagic.KeyInfo{Key: key}, nil
}

// A redisLock is a lock that this gateway holds.
type redisLock struct {
	token string
	stop  context.CancelFunc
	done  chan struct{} // closed when renewLock has returned
}

// Of a lock that another gateway holds neither may be touched.
var (
	renewScript   = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end return 0`)
	releaseScript = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)
)

// Lock implements certmagic.Locker.
func (s *redisStore) Lock(ctx context.Context, name string) error { return lock(ctx, s, name) }

// TryLock implements certmagic.TryLocker.
func (s *redisStore) TryLock(ctx context.Context, name string) (bool, error) {
	token := rand.Text()
	err := s.client.SetArgs(ctx, s.locks+name, token, redis.SetArgs{Mode: "NX", TTL: s.life}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, s.explain(ctx, err)
	}
	renewal, stop := context.WithCancel(context.Background())
	lock := &redisLock{token: token, stop: stop, done: make(chan struct{})}
	s.mu.Lock()
	s.held[name] = lock
	s.mu.Unlock()
	go s.renewLock(renewal, name, lock)
	return true, nil
}

// renewLock keeps a lock alive until it is released.
func (s *redisStore) renewLock(ctx context.Context, name string, lock *redisLock) {
	defer close(lock.done)
	every := time.NewTicker(s.life / 3)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		kept, err := renewScript.Run(ctx, s.client, []string{s.locks + name}, lock.token, s.life.Milliseconds()).Int()
		if ctx.Err() == nil && (err != nil || kept == 0) {
			s.log.Warn("lock of a certificate not renewed, another gateway may take it", "lock", name, "lost", err == nil)
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *redisStore) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	lock := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if lock == nil {
		return fmt.Errorf("lock %q is not held", name)
	}
	lock.stop()
	<-lock.done
	return s.explain(ctx, releaseScript.Run(ctx, s.client, []string{s.locks + name}, lock.token).Err())
}

// close waits until no lock is held, and ends the connections.
func (s *redisStore) close() {
	waitUntil(closePatience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.held) == 0
	})
	_ = s.client.Close() // nothing can be done about an error
}
