package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	queueLength    = 4096        // questions that may wait; further ones are not asked
	batchLength    = 128         // questions in one round trip
	connectTimeout = time.Second // of a new connection and its first answers; nobody waits for it
	connectEvery   = time.Second // while Redis is away
	maxFailures    = 3           // round trips without any answer in a row, until Redis counts as away
)

// A link puts questions to Redis, many in one round trip, and is the only one that talks to it: one goroutine (run) on one connection.
//
// It is a circuit breaker too. After failed round trips Redis is away: no question is taken, and a new connection is tried once a second until
// it has done what is needed of it. After a reply that makes no sense the connection is given up at once, since the next reply may be that of
// somebody else.
type link struct {
	options *redis.Options
	probe   string // a key to try a connection with
	timeout time.Duration
	tellAll func() []question // what Redis should hear again and again
	log     *slog.Logger
	meters  *redisMeters
	queue   chan question
	up      atomic.Bool
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	done    chan struct{}

	// Of the goroutine:
	client   *redis.Client
	scripts  [2]*redis.Script
	failures int
	asked    uint64        // questions, whose numbers come back with their answers
	ahead    time.Duration // how much the server's clock is ahead of ours
	reported string        // what was last logged: there, away, or nothing yet
}

// ask takes a question, if Redis is there and the queue is not full.
func (k *link) ask(q question) bool {
	if !k.up.Load() {
		return false
	}
	select {
	case k.queue <- q:
		return true
	default:
		return false
	}
}

// run is the goroutine, until close.
func (k *link) run() {
	defer close(k.done)
	connect, tell := time.NewTicker(connectEvery), time.NewTicker(countEvery)
	defer connect.Stop()
	defer tell.Stop()
	k.connect()
	for {
		select {
		case q := <-k.queue:
			k.exchange(k.pending(q))
		case <-connect.C:
			k.connect()
		case <-tell.C:
			k.tell()
		case <-k.ctx.Done():
			k.finish()
			return
		}
	}
}

// close ends the goroutine and waits for it.
func (k *link) close() {
	k.cancel()
	<-k.done
}

// finish asks what is still to be asked, so that no other gateway waits for places that are free.
func (k *link) finish() {
	k.up.Store(false)
	for left := true; left; {
		select {
		case q := <-k.queue:
			k.exchange(k.pending(q))
		default:
			left = false
		}
	}
	if k.client != nil {
		_ = k.client.Close() // nothing can be done about an error
	}
}

// pending returns questions that wait, after those that are given.
func (k *link) pending(batch ...question) []question {
	for len(batch) < batchLength {
		select {
		case q := <-k.queue:
			batch = append(batch, q)
		default:
			return batch
		}
	}
	return batch
}

// tell tells Redis what it should hear again and again, and answers questions in between.
func (k *link) tell() {
	for some := range slices.Chunk(k.tellAll(), batchLength) {
		k.exchange(some)
		if more := k.pending(); len(more) > 0 {
			k.exchange(more)
		}
	}
}

// exchange puts questions in one round trip and hands out the answers.
func (k *link) exchange(questions []question) {
	if k.client == nil {
		for _, q := range questions {
			q.answer(time.Now(), nil)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), k.timeout) // also after close
	defer cancel()
	answered, err := k.roundTrip(ctx, questions)
	if answered > 0 {
		k.failures = 0
	} else {
		k.failures++
	}
	if errors.Is(err, errNonsense) || k.failures >= maxFailures {
		k.away(err)
	}
}

// errNonsense is what is wrong with a reply that is not one to our question.
var errNonsense = errors.New("a reply that cannot be one")

// roundTrip returns how many of the questions were answered, and what was wrong with another one.
func (k *link) roundTrip(ctx context.Context, questions []question) (answered int, failure error) {
	commands, numbers := make([]*redis.Cmd, len(questions)), make([]string, len(questions))
	pipe, now := k.client.Pipeline(), time.Now()
	late := now.Add(k.timeout + k.ahead).UnixMicro() // what is done later would be done a second time
	for i, q := range questions {
		k.asked++
		s, key, args := q.question(now)
		numbers[i] = strconv.FormatUint(k.asked, 10)
		commands[i] = pipe.EvalSha(ctx, k.scripts[s].Hash(), []string{key}, append([]any{numbers[i], late}, args...)...)
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	now = time.Now()
	for i, q := range questions {
		reply, err := parseReply(commands[i], numbers[i])
		if valid := q.answer(now, reply); !valid && err == nil {
			err = errNonsense
		}
		switch {
		case err == nil:
			answered++
		case !errors.Is(failure, errNonsense):
			failure = err
		}
	}
	if failure != nil {
		k.meters.errors.Inc()
	}
	return answered, failure
}

// parseReply returns the numbers after the one that says which question it answers, or an error.
func parseReply(c *redis.Cmd, number string) ([]int64, error) {
	if c.Err() != nil {
		return nil, c.Err()
	}
	list, err := c.Slice()
	if err != nil || len(list) == 0 || list[0] != number {
		return nil, errNonsense
	}
	numbers := make([]int64, len(list)-1)
	for i, v := range list[1:] {
		n, ok := v.(int64)
		if !ok {
			return nil, errNonsense
		}
		numbers[i] = n
	}
	return numbers, nil
}

// connect makes a new connection, unless there is one, and tries it by what is needed of it: to keep scripts, to write, to answer. A new client
// too: the old one may remember that dialling failed, and not dial for a while.
func (k *link) connect() {
	if k.client != nil {
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, connectTimeout)
	defer cancel()
	k.client = redis.NewClient(k.options)
	if err := k.prepare(ctx); err != nil {
		k.meters.errors.Inc()
		k.away(err)
		return
	}
	if _, err := k.roundTrip(ctx, []question{newLease(&terms{nodes: 1, percent: 100}, k.probe, Rate{1, 1})}); err != nil {
		k.away(err)
		return
	}
	k.failures = 0
	k.up.Store(true)
	k.meters.up.Set(1)
	k.report(there, slog.LevelInfo)
	k.tell()
}

// prepare gives the server the scripts, and compares clocks.
func (k *link) prepare(ctx context.Context) error {
	k.scripts = scripts()
	for _, s := range k.scripts {
		if err := s.Load(ctx, k.client).Err(); err != nil {
			return err
		}
	}
	theirs, err := k.client.Time(ctx).Result()
	k.ahead = time.Until(theirs)
	return err
}

// away gives the connection up.
func (k *link) away(err error) {
	k.up.Store(false)
	k.meters.up.Set(0)
	_ = k.client.Close() // nothing can be done about an error
	k.client = nil
	k.report(away, slog.LevelWarn, "error", fmt.Sprintf("%.200s", err.Error()))
}

const (
	there = "redis is there: limits hold over all gateways together"
	away  = "redis is away: each gateway admits its own share of a limit"
)

// report logs what has changed.
func (k *link) report(state string, level slog.Level, args ...any) {
	if state != k.reported {
		k.reported = state
		k.log.Log(context.Background(), level, state, append(args, "address", k.options.Addr)...)
	}
}
