package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/framegate/framegate/ratelimit"
)

const (
	listenFor    = time.Second      // for which one question for news waits for some
	connectEvery = time.Second      // while Redis is away
	readTimeout  = time.Second      // nobody waits for it but who revokes, and who does says for how long
	readAtOnce   = 1000             // revocations
	trimEvery    = 10 * time.Minute // of what is over
	keepLonger   = time.Hour        // than any revocation holds, whatever the clocks say
)

// Redis shares a Set with other gateways: through a stream, to which each adds what it revokes and of which each reads what is new. After a
// time without Redis, and at the start, the whole stream is read, so that nothing is missed; what was revoked here meanwhile, or what Redis has
// lost, is added then.
type Redis struct {
	set     *Set
	options *redis.Options
	stream  string
	ttl     time.Duration
	timeout time.Duration
	tell    func(Group)
	log     *slog.Logger
	up      prometheus.Gauge
	learnt  prometheus.Counter
	client  atomic.Pointer[redis.Client] // nil while Redis is away
	cancel  context.CancelFunc
	done    chan struct{}

	// Of the goroutine:
	last     string // of the stream that was read
	trimmed  time.Time
	reported string
}

// NewRedis starts to share set, whose revocations hold for ttl at most, and its goroutine; the caller closes it. It does not wait for Redis. tell hears of what
// other gateways have revoked. c is valid.
func NewRedis(c ratelimit.RedisConfig, set *Set, ttl time.Duration, tell func(Group), log *slog.Logger) *Redis {
	o := c.Options(func(string, string, ...any) {})
	o.ReadTimeout, o.WriteTimeout = readTimeout, readTimeout
	r := &Redis{
		set: set, options: o, stream: c.Prefix + "{revoked}", ttl: ttl, timeout: time.Duration(c.Timeout), tell: tell, log: log, done: make(chan struct{}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framegate_revocation_redis_up", Help: "1 while revocations are shared with other gateways, 0 while each has its own and those before.",
		}),
		learnt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framegate_revocations_learnt_total", Help: "Revocations that were made at other gateways.",
		}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.run(ctx)
	return r
}

// Share tells the other gateways of a revocation that the set has. It reports whether they will hear of it now; if not, they will once Redis is there.
func (r *Redis) Share(ctx context.Context, one Revocation, until time.Time) bool {
	client := r.client.Load()
	if client == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.timeout) // perhaps with a new connection
	defer cancel()
	return r.append(ctx, client, map[Revocation]time.Time{one: until}) == nil
}

// Close ends the goroutine.
func (r *Redis) Close() {
	r.cancel()
	if client := r.client.Load(); client != nil {
		_ = client.Close() // ends the wait for news
	}
	<-r.done
}

// run is the goroutine, until Close.
func (r *Redis) run(ctx context.Context) {
	defer close(r.done)
	for ctx.Err() == nil {
		client := redis.NewClient(r.options) // an old one may remember that dialling failed
		err := r.follow(ctx, client)
		r.client.Store(nil)
		r.up.Set(0)
		_ = client.Close() // nothing can be done about an error
		if ctx.Err() == nil {
			r.report(away, slog.LevelWarn, "error", fmt.Sprintf("%.200s", err.Error()))
		}
		select {
		case <-time.After(connectEvery):
		case <-ctx.Done():
		}
	}
}

// follow reads all that there is, adds what is missing, and then hears of news until an error.
func (r *Redis) follow(ctx context.Context, client *redis.Client) error {
	r.last = "0"
	r.set.unshare()
	for n := readAtOnce; n == readAtOnce; {
		var err error
		if n, err = r.read(ctx, client, -1); err != nil {
			return err
		}
	}
	r.client.Store(client)
	for {
		if err := r.append(ctx, client, r.set.unshared(time.Now())); err != nil {
			return err
		}
		if err := r.trim(ctx, client); err != nil {
			return err
		}
		r.up.Set(1)
		r.report(there, slog.LevelInfo)
		for n := 1; n > 0; {
			var err error
			if n, err = r.read(ctx, client, listenFor); err != nil {
				return err
			}
		}
	}
}

// read takes what is new in the stream, and waits for it as long as wait says; not at all if that is negative.
func (r *Redis) read(ctx context.Context, client *redis.Client, wait time.Duration) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(wait, 0)+readTimeout)
	defer cancel()
	streams, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{r.stream, r.last}, Count: readAtOnce, Block: wait}).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	now := time.Now()
	news := Group{}
	for _, s := range streams {
		for _, m := range s.Messages {
			n++
			r.last = m.ID
			if one, fresh := r.take(m.Values, now); fresh {
				news.Add(one)
			}
		}
	}
	if len(news) > 0 {
		r.learnt.Add(float64(len(news)))
		r.tell(news)
	}
	return n, nil
}

// The fields of an entry of the stream.
const (
	fieldName   = "n"
	fieldUntil  = "u" // ms since 1970
	fieldBefore = "b" // s since 1970; missing for all tokens
)

// take takes one revocation. What is none is passed over.
func (r *Redis) take(values map[string]any, now time.Time) (one Revocation, news bool) {
	one, until, err := parse(values)
	if err != nil {
		r.log.Warn("no revocation", "stream", r.stream)
		return one, false
	}
	if latest := now.Add(r.ttl); until.After(latest) {
		until = latest
	}
	news, err = r.set.add(one, entry{until: until, shared: true}, now)
	if err != nil {
		r.log.Error("a revocation of another gateway is lost", "error", err.Error())
	}
	return one, news
}

func parse(values map[string]any) (one Revocation, until time.Time, err error) {
	text, _ := values[fieldName].(string)
	if one.Name, err = parseName(text); err != nil {
		return one, until, err
	}
	text, _ = values[fieldUntil].(string)
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return one, until, err
	}
	if one.Before = All; values[fieldBefore] != nil {
		text, _ = values[fieldBefore].(string)
		one.Before, err = strconv.ParseInt(text, 10, 64)
	}
	return one, time.UnixMilli(ms), err
}

// append adds revocations to the stream.
func (r *Redis) append(ctx context.Context, client *redis.Client, all map[Revocation]time.Time) error {
	for one, until := range all {
		fields := []string{fieldName, one.Name.String(), fieldUntil, strconv.FormatInt(until.UnixMilli(), 10)}
		if one.Before != All {
			fields = append(fields, fieldBefore, strconv.FormatInt(one.Before, 10))
		}
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: r.stream, Values: fields}).Err(); err != nil {
			return err
		}
	}
	return nil
}

// trim has the stream forget what is over, and vanish if nobody adds to it.
func (r *Redis) trim(ctx context.Context, client *redis.Client) error {
	now := time.Now()
	if now.Sub(r.trimmed) < trimEvery {
		return nil
	}
	over := strconv.FormatInt(now.Add(-r.ttl-keepLonger).UnixMilli(), 10)
	if err := client.XTrimMinIDApprox(ctx, r.stream, over, 0).Err(); err != nil {
		return err
	}
	r.trimmed = now
	return client.PExpire(ctx, r.stream, r.ttl+keepLonger).Err()
}

const (
	there = "revocations are shared over redis"
	away  = "redis is away: revocations made elsewhere are not known here, nor ours there, until it is back"
)

// report logs what has changed.
func (r *Redis) report(state string, level slog.Level, args ...any) {
	if state != r.reported {
		r.reported = state
		r.log.Log(context.Background(), level, state, append(args, "address", r.options.Addr)...)
	}
}

// Describe implements prometheus.Collector.
func (r *Redis) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, to) }

// Collect implements prometheus.Collector.
func (r *Redis) Collect(to chan<- prometheus.Metric) {
	to <- r.up
	to <- r.learnt
}
