package forward

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// maxCached bounds the admissions that are remembered. Each holds what of an answer the upstream gets, at most maxCopied.
const maxCached = 1024

// cacheKey is a hash of all that the service gets of a request: sessions and tokens are not kept themselves.
type cacheKey [sha256.Size]byte

// keyOf hashes the fields of a request to the service, each with its length, so that no two requests look the same.
func keyOf(fields []field) cacheKey {
	h := sha256.New()
	var length [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		h.Write(length[:])
		h.Write([]byte(s))
	}
	for _, f := range fields {
		write(f.name)
		write(f.value)
	}
	return cacheKey(h.Sum(nil))
}

// cache remembers admissions. It is told the time. The newest take the place of the oldest.
type cache struct {
	life time.Duration

	mu      sync.Mutex
	entries map[cacheKey]cached
	ring    []cacheKey // of entries, in the order in which they came, from next on
	next    int
}

type cached struct {
	answer Answer
	until  time.Time
}

func newCache(life time.Duration) *cache {
	return &cache{life: life, entries: make(map[cacheKey]cached)}
}

// get returns the admission that holds for a request.
func (c *cache) get(key cacheKey, now time.Time) (Answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		return Answer{}, false
	}
	return e.answer, true
}

// put remembers an admission.
func (c *cache) put(key cacheKey, a Answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.entries[key]
	c.entries[key] = cached{a, now.Add(c.life)}
	switch {
	case known:
	case len(c.ring) < maxCached:
		c.ring = append(c.ring, key)
	default:
		delete(c.entries, c.ring[c.next])
		c.ring[c.next] = key
		c.next = (c.next + 1) % maxCached
	}
}
