package ratelimit

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// A fault is what Redis can do wrong.
type fault struct {
	begin, end func(t *testing.T, m *fakeRedis)
	reported   string // in the log
	heals      bool   // by itself
}

func TestRedisFaults(t *testing.T) {
	for name, f := range map[string]fault{
		"replica":  errorReply("READONLY You can't write against a read only replica."),
		"loading":  errorReply("LOADING Redis is loading the dataset in memory"),
		"full":     errorReply("OOM command not allowed when used memory > 'maxmemory'."),
		"long":     errorReply("NOPERM " + strings.Repeat("no ", 100_000)),
		"slow":     late(5 * time.Second),
		"too late": late(51 * ms),
		"gone": {
			begin: func(_ *testing.T, m *fakeRedis) {
				m.refuse.Store(true)
				m.on(func(p *server.Peer, _ string, _ ...string) bool {
					p.Close()
					return true
				})
			},
			end:      func(_ *testing.T, m *fakeRedis) { m.refuse.Store(false) },
			reported: "refused",
		},
		"restarted empty": {begin: func(t *testing.T, m *fakeRedis) { m.forget(t) }, reported: "NOSCRIPT", heals: true},

		"another one's answer": nonsense("0", 5, 0),
		"no number at all":     nonsense("nan", "nan", "nan"),
		"more than wanted":     nonsense("ARGV", 1<<40, 0),
		"what NaN becomes":     nonsense("ARGV", -1<<63, -1<<63),
		"negative time":        nonsense("ARGV", 0, -1),
		"text":                 nonsense("ARGV", "5", "0"),
		"too long":             nonsense("ARGV", 1, 1, 1),
		"too short":            nonsense("ARGV"),
		"nothing":              nonsense(),
	} {
		t.Run(name, func(t *testing.T) { inBubble(t, f.test) })
	}
}

// test goes through a fault: the limit holds, no operation takes longer than its time, there is one line in the log each way, and afterwards all
// is as before.
func (f fault) test(t *testing.T, m *fakeRedis) {
	g := m.gateway(t, 2)
	defer g.Close()
	g.logged(t, there)
	l := &Limit{Name: "l", Rate: Rate{1, 100}, Max: 8}
	f.begin(t, m)
	for i := range 5 {
		start := time.Now()
		if _, ok := g.Acquire(l, "user", start); ok != (i < 4) {
			t.Errorf("place %d of the 4 of this gateway: %t", i, ok)
		}
		if took := time.Since(start); took > 50*ms {
			t.Errorf("place %d took %v", i, took)
		}
	}
	total, start := 0, time.Now()
	for time.Since(start) < 10*time.Second {
		if ok, _ := g.Take(l, "user", 1, time.Now()); ok {
			total++
		}
		pass(10 * ms)
	}
	if !f.heals {
		g.expect(t, 0, true, true)
		g.logged(t, f.reported)
		if total < 50+5-1 || total > 50+5+1 {
			t.Errorf("%d in 10 s by a share of 1/2s burst 50", total)
		}
	} else if total > 100+10+1 {
		t.Errorf("%d in 10 s by a limit of 1/s burst 100", total)
	}
	m.on(nil)
	if f.end != nil {
		f.end(t, m)
	}
	pass(connectEvery)
	if f.heals {
		g.logged(t, f.reported, there)
	} else {
		g.logged(t, there)
	}
	g.expect(t, 1, true, true)
	f.afterwards(t, m, g, l)
}

// afterwards Redis knows what was admitted without it.
func (f fault) afterwards(t *testing.T, m *fakeRedis, g *gateway, l *Limit) {
	other := m.gateway(t, 2)
	defer other.Close()
	for i := range 5 {
		if _, ok := other.Acquire(l, "user", time.Now()); ok != (i < 4) {
			t.Errorf("place %d of the 4 that are left: %t", i, ok)
		}
	}
	if n := m.taken(t, l, "user"); n < 40 || n > 100 {
		t.Errorf("%.1f of 100 tokens are taken in Redis, want what was taken without it, and gained in 12 s", n)
	}
	const batch = 50 * 25 / 100 // of this gateway's share; no more is given beyond the burst (see doc.go)
	if n := takeAll(g, l, "new user"); n < 100 || n > 100+batch+1 {
		t.Errorf("a new user gets %d of a burst of 100", n)
	}
}

// taken is how many tokens are missing in the bucket in Redis.
func (m *fakeRedis) taken(t *testing.T, l *Limit, key string) float64 {
	text, err := m.Get(redisKey("fg:", "rate", l.Name, key))
	full, parseErr := strconv.ParseFloat(text, 64)
	if err != nil || parseErr != nil {
		t.Fatalf("%q: %v, %v", text, err, parseErr)
	}
	return (full - float64(time.Now().UnixMicro())) / 1e6 * l.Rate.PerSecond
}

// errorReply is a server that answers with an error.
func errorReply(message string) fault {
	code, _, _ := strings.Cut(message, " ")
	return fault{reported: code, begin: func(_ *testing.T, m *fakeRedis) {
		m.on(func(p *server.Peer, _ string, _ ...string) bool {
			p.WriteError(message)
			return true
		})
	}}
}

// late is a server that does everything late.
func late(by time.Duration) fault {
	return fault{reported: "timeout", begin: func(_ *testing.T, m *fakeRedis) {
		m.on(func(*server.Peer, string, ...string) bool {
			<-time.After(by)
			return false
		})
	}}
}

// nonsense is a server that answers with these values, where ARGV stands for the number of the question.
func nonsense(values ...any) fault {
	return fault{reported: errNonsense.Error(), begin: func(_ *testing.T, m *fakeRedis) {
		m.on(func(p *server.Peer, _ string, args ...string) bool {
			p.Block(func(w *server.Writer) {
				w.WriteLen(len(values))
				for _, v := range values {
					switch v := v.(type) {
					case int:
						w.WriteInt(v)
					case string:
						w.WriteBulk(strings.ReplaceAll(v, "ARGV", args[3]))
					}
				}
			})
			return true
		})
	}}
}

// forget is a restart that loses all keys and scripts.
func (m *fakeRedis) forget(t *testing.T) {
	m.FlushAll()
	c, err := m.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply := make([]byte, 5)
	if _, err := io.WriteString(c, "*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, reply); err != nil || string(reply) != "+OK\r\n" {
		t.Fatalf("%q, %v", reply, err)
	}
}
