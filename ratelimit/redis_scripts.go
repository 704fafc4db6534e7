package ratelimit

import (
	"crypto/sha256"
	_ "embed" // for the scripts
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed redis_take.lua
var takeLua string

//go:embed redis_count.lua
var countLua string

// script is one of the two things that Redis does for us, in one step each.
type script int

const (
	takeTokens script = iota
	countPlaces
)

// scripts returns the scripts by their number.
func scripts() [2]*redis.Script {
	return [2]*redis.Script{takeTokens: redis.NewScript(takeLua), countPlaces: redis.NewScript(countLua)}
}

// A question is what a lease or a count wants from Redis. It is asked and answered by one goroutine, at most one of each at a time.
type question interface {
	question(now time.Time) (s script, key string, args []any)
	// answer is told what the script answers to the arguments, or nil where Redis did not answer or nothing that makes sense. It tells whether
	// the reply may be one to the question: a false reply is discarded like none.
	answer(now time.Time, reply []int64) (valid bool)
}

// redisKey is the name under which the state of a limit and a key is in Redis: a hash, since keys may be names of people, addresses or long;
// in braces, so that all that belongs to it is on one node of a cluster.
func redisKey(prefix, kind, limit, key string) string {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(limit)))
	h.Write(length[:]) // so that no two pairs are one text
	h.Write([]byte(limit))
	h.Write([]byte(key))
	return prefix + kind + ":{" + hex.EncodeToString(h.Sum(nil)[:16]) + "}"
}
