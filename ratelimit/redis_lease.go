package ratelimit

import (
	"math"
	"sync"
	"time"
)

// A lease is a bucket whose tokens come from Redis, a batch ahead of need, so that nobody waits for it.
//
// As long as Redis has not said anything (the key is new here, an answer is under way, Redis is away) tokens come from the gateway's own share of
// the limit, and Redis is told of them with the next question, so that each token is counted. After an outage it is told only of those that the
// share has not gained again: by then the bucket in Redis has gained as much, and could not hold more than the burst. When Redis says that there are none, there are none until the time that it names.
type lease struct {
	terms *terms
	key   string // in Redis

	mu     sync.Mutex
	rate   Rate
	share  *Bucket
	tokens int       // leased and not taken
	got    time.Time // when some were last leased
	part   int       // taken of what was leased, and not yet by a whole token for each gateway
	debt   int       // taken from the share, and Redis does not know
	owing  time.Time // since when
	need   int       // the most that somebody wanted and did not get
	until  time.Time // before this Redis has none
	asked  bool      // a question is under way, and these are its numbers:
	told   int       // debt
	wanted int
	sent   time.Time
}

// terms are what the leases of a store have in common.
type terms struct {
	nodes, percent int
	timeout        time.Duration
	ask            func(question) bool // puts a question to Redis; false if that is not possible now
	there          func() bool         // tells whether Redis answers
	alone          func()              // counts a decision that was made without Redis
}

// How long, at most, one whose tokens are not there should wait before it tries again: for an answer, and while Redis is away.
const (
	answerWait = 5 * time.Millisecond
	awayWait   = time.Second
)

// newLease makes a lease of nothing yet; r is valid.
func newLease(t *terms, key string, r Rate) *lease {
	return &lease{terms: t, key: key, rate: r, share: NewBucket(t.share(r))}
}

// share is the part of a rate that each gateway admits by itself.
func (t *terms) share(r Rate) Rate {
	return Rate{r.PerSecond / float64(t.nodes), (r.Burst + t.nodes - 1) / t.nodes}
}

// batch is how many tokens of a rate a gateway leases ahead: at least one.
func (t *terms) batch(r Rate) int {
	return max(t.share(r).Burst*t.percent/100, 1)
}

// TakeN is Store.Take.
func (l *lease) TakeN(now time.Time, n int) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n == 0:
		return true, 0
	case n < 0 || n > l.rate.Burst:
		return false, Never
	case n <= l.tokens:
		l.tokens -= n
		l.mirror(now, n)
		if 2*l.tokens <= l.terms.batch(l.rate) && !now.Before(l.until) {
			l.ask()
		}
		return true, 0
	case now.Before(l.until):
		l.need = max(l.need, n)
		return false, l.until.Sub(now)
	}
	return l.takeAlone(now, n)
}

// GiveN keeps n tokens that were taken and not used, as leased ones: Redis counts them as taken, or will.
func (l *lease) GiveN(_ time.Time, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(l.tokens+min(max(n, 0), l.rate.Burst), l.rate.Burst)
}

// mirror takes from the share what it would have given, had every gateway given its part of n. So the share is as empty as Redis' bucket, as far as
// this gateway can know, and does not give the burst a second time. l.mu is held.
func (l *lease) mirror(now time.Time, n int) {
	l.part += n
	if whole := l.part / l.terms.nodes; whole > 0 {
		l.share.AllowN(now, whole)
		l.part %= l.terms.nodes
	}
}

// takeAlone takes what the lease lacks from the share. l.mu is held.
func (l *lease) takeAlone(now time.Time, n int) (ok bool, wait time.Duration) {
	l.terms.alone()
	defer l.ask()
	if ok, wait = l.share.TakeN(now, n-l.tokens); ok {
		if l.debt == 0 && l.told == 0 {
			l.owing = now
		}
		l.debt += n - l.tokens
		l.mirror(now, l.tokens)
		l.tokens = 0
		return true, 0
	}
	l.need = max(l.need, n)
	if l.terms.there() {
		return false, min(wait, answerWait)
	}
	return false, min(wait, awayWait)
}

// ask puts a question, unless one is under way. l.mu is held.
func (l *lease) ask() {
	if !l.asked {
		l.asked = l.terms.ask(l)
	}
}

// tell tells Redis of a debt. l.mu is held.
func (l *lease) tell() {
	if l.debt > 0 {
		l.ask()
	}
}

// settle is tell for one who does not hold l.mu.
func (l *lease) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
}

// warm sees to it that there are tokens when the first are taken.
func (l *lease) warm(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tokens == 0 && !now.Before(l.until) {
		l.ask()
	}
}

// setRate changes the rate from now on; r is valid.
func (l *lease) setRate(now time.Time, r Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r == l.rate {
		return
	}
	l.rate = r
	l.share.SetRate(now, l.terms.share(r))
	l.tokens, l.need, l.until = min(l.tokens, r.Burst), 0, time.Time{}
}

// idleAt is from when the lease may be forgotten: the share is full, so that Redis would not learn anything of weight from a debt, and the bucket
// in Redis has gained again what is lost with the lease.
func (l *lease) idleAt() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.share.idleAt()
	if l.until.After(at) {
		at = l.until
	}
	if l.tokens > 0 {
		if t := l.got.Add(l.rate.timeFor(float64(l.tokens))); t.After(at) {
			at = t
		}
	}
	return at
}

// question is that of a lease: for as many tokens as are missing in a batch, or in what somebody wanted.
func (l *lease) question(now time.Time) (s script, key string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.terms.batch(l.rate)
	l.wanted = max(batch, min(l.need, l.rate.Burst)) - l.tokens
	worth := max(l.need-l.tokens, (batch+3)/4) // so that a limit that is reached does not ask for each token
	if now.Sub(l.owing) > 2*l.terms.timeout {  // more than one question had no answer
		l.debt = min(l.debt, l.share.taken(now))
	}
	l.told, l.debt, l.need, l.sent = l.debt, 0, 0, now
	return takeTokens, l.key, []any{
		1e6 / l.rate.PerSecond, l.rate.Burst, l.told, max(l.wanted, 0), min(worth, l.rate.Burst),
	}
}

// answer takes the tokens granted and the time until there are more, in us; no reply is that Redis did not answer.
func (l *lease) answer(now time.Time, reply []int64) (valid bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = false
	told := l.told
	l.told = 0
	if len(reply) != 2 || reply[0] < 0 || reply[0] > int64(max(l.wanted, 0)) || reply[1] < 0 {
		l.debt += told
		l.tell()
		return false
	}
	if granted := int(reply[0]); granted < l.wanted {
		longest := l.rate.timeFor(float64(l.rate.Burst))
		wait := time.Duration(min(reply[1], math.MaxInt64/1000)) * time.Microsecond
		l.until = now.Add(min(wait, longest))
	}
	l.tokens, l.got = l.tokens+int(reply[0]), now
	l.owing = l.sent
	l.tell()
	return true
}
