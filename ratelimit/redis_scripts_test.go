package ratelimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A scriptServer runs the scripts at a time of the test's choice.
type scriptServer struct {
	*miniredis.Miniredis
	client *redis.Client
	t      *testing.T
}

func newScriptServer(t *testing.T) *scriptServer {
	m := miniredis.RunT(t)
	m.SetTime(epoch)
	m.ClockTTL(true)
	s := &scriptServer{m, redis.NewClient(&redis.Options{Addr: m.Addr(), DisableIdentity: true, Protocol: 2}), t}
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

// run returns what a script answers, without the number that comes back.
func (s *scriptServer) run(which script, key string, args []any) []int64 {
	s.t.Helper()
	reply, err := parseReply(scripts()[which].Run(context.Background(), s.client, []string{key}, append([]any{"7", int64(1) << 52}, args...)...), "7")
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// The script is the model of it in Go, which the other tests use.
func TestTakeScriptEqualsModel(t *testing.T) {
	s := newScriptServer(t)
	random := rand.New(rand.NewPCG(7, 8))
	for i := range 40 {
		key := fmt.Sprint(i)
		model := bucketsInRedis{}
		each, burst := []float64{1, 20_000, 1e6, 6e6, 1e6 / 7}[random.IntN(5)], []int{1, 5, 100, 1000}[random.IntN(4)]
		now := epoch
		for range 30 {
			now = now.Add(time.Duration(random.ExpFloat64() * each * float64(time.Microsecond) * float64(burst) / 3))
			if random.IntN(10) == 0 {
				now = now.Add(time.Duration(random.IntN(100)) * time.Second)
			}
			now = now.Truncate(time.Microsecond)
			s.SetTime(now)
			args := []any{each, burst, random.IntN(burst), random.IntN(burst + 1), 1 + random.IntN(burst)}
			got, want := s.run(takeTokens, key, args), model.take(key, float64(now.UnixMicro()), args)
			if got[0] != want[0] || max(got[1]-want[1], want[1]-got[1]) > 1 {
				t.Fatalf("at %v %v answers %v, want %v", now.Sub(epoch), args, got, want)
			}
		}
	}
}

func TestTakeScript(t *testing.T) {
	s := newScriptServer(t)
	for _, step := range []struct {
		at                time.Duration
		taken, want, need int
		granted           int64
		wait              time.Duration
	}{
		// 10/s burst 20
		{0, 0, 5, 1, 5, 0},
		{0, 0, 20, 10, 15, time.Second},
		{0, 0, 1, 1, 0, 100 * ms},
		{250 * ms, 0, 5, 1, 2, 50 * ms},
		{250 * ms, 10, 0, 1, 0, 1050 * ms},
		{1250 * ms, 0, 5, 1, 0, 50 * ms},
		{1300 * ms, 0, 5, 1, 1, 100 * ms},
		{13300 * ms, 10, 20, 1, 10, 100 * ms},
		{13300 * ms, 0, 0, 20, 0, 2000 * ms},
		{23300 * ms, 25, 20, 1, 0, 600 * ms},
	} {
		s.SetTime(epoch.Add(step.at))
		got := s.run(takeTokens, "k", []any{1e5, 20, step.taken, step.want, step.need})
		if want := []int64{step.granted, step.wait.Microseconds()}; !slices.Equal(got, want) {
			t.Errorf("at %v: %v, want %v", step.at, got, want)
		}
	}
	if ttl := s.TTL("k"); ttl != 3500*ms {
		t.Errorf("the key stays %v, want until it is full, and a second", ttl)
	}
}

// Whatever stands in Redis, a bucket admits its burst at most, and fills in a time that fits its rate.
func TestTakeScriptSurvivesNonsense(t *testing.T) {
	for _, kept := range []string{
		"", "nan", "-nan", "inf", "-inf", "1e999", "-1e999", "many", "-5", "0", "99999999999999999999", "0x10", strings.Repeat("9", 400), "\x00",
	} {
		s := newScriptServer(t)
		if err := s.Set("k", kept); err != nil {
			t.Fatal(err)
		}
		args := []any{1e5, 20, 0, 100, 1}
		first := s.run(takeTokens, "k", args)
		s.SetTime(epoch.Add(9 * time.Second))
		second := s.run(takeTokens, "k", args)
		if first[0] > 20 || first[1] > (8*time.Second).Microseconds() || second[0] != 20 {
			t.Errorf("%.30q: %v, 9 s later %v", kept, first, second)
		}
	}
}

func TestCountScript(t *testing.T) {
	s := newScriptServer(t)
	for i, step := range []struct {
		at      time.Duration
		gateway string
		mine    int
		most    int
		granted int64
	}{
		{0, "a", 1, 3, 1},
		{0, "a", 2, 3, 1},
		{0, "b", 1, 3, 1},
		{0, "b", 2, 3, 0},
		{0, "a", 3, 3, 0},
		{0, "c", 1, 3, 0},
		{0, "a", 1, -1, 1}, // tells that it has one less
		{0, "b", 2, 3, 1},
		{0, "a", 2, 3, 0},
		{0, "b", 5, -1, 1}, // over the limit, after an outage
		{20 * time.Second, "a", 1, -1, 1},
		{29 * time.Second, "a", 2, 3, 0},
		{30 * time.Second, "a", 2, 3, 1}, // b is dead
		{30 * time.Second, "a", 3, 3, 1},
		{31 * time.Second, "b", 0, -1, 1},
		{31 * time.Second, "a", 0, -1, 1},
	} {
		s.SetTime(epoch.Add(step.at))
		if got := s.run(countPlaces, "k", []any{step.gateway, step.mine, step.most, countTTL.Milliseconds()}); !slices.Equal(got, []int64{step.granted}) {
			t.Errorf("step %d: %v, want %v", i, got, step.granted)
		}
	}
	if keys := s.Keys(); len(keys) > 0 {
		t.Errorf("%v is left although nobody has anything", keys)
	}
	for i, step := range []struct{ mine, instead, granted, has int64 }{{2, 1, 1, 2}, {3, 2, 1, 3}, {4, 3, 0, 3}, {4, 1, 0, 1}, {4, 0, 0, 0}, {4, -1, 0, 0}} {
		if got := s.run(countPlaces, "i", []any{"a", step.mine, 3, countTTL.Milliseconds(), step.instead}); !slices.Equal(got, []int64{step.granted}) {
			t.Errorf("step %d with another number instead: %v, want %v", i, got, step.granted)
		}
		if has, _, _ := strings.Cut(s.HGet("i", "a"), " "); has != strings.TrimPrefix(fmt.Sprint(step.has), "0") {
			t.Errorf("step %d: it has %s, want %d", i, has, step.has)
		}
	}
	s.run(countPlaces, "k", []any{"a", 1, 3, countTTL.Milliseconds()})
	if ttl := s.TTL("k"); ttl != countTTL {
		t.Errorf("the key stays %v, want %v", ttl, countTTL)
	}
}

func TestCountScriptSurvivesNonsense(t *testing.T) {
	s := newScriptServer(t)
	for i, v := range []string{"", "5", "-5 99999999999999", "5 1", "nan nan", "5 99999999999999 6", "1e9 99999999999999"} {
		s.HSet("k", fmt.Sprint(i), v)
	}
	if got := s.run(countPlaces, "k", []any{"a", 1, 1, countTTL.Milliseconds()}); !slices.Equal(got, []int64{1}) {
		t.Errorf("%v among nonsense, want 1", got)
	}
	if fields, _ := s.HKeys("k"); len(fields) != 1 {
		t.Errorf("%v is left", fields)
	}
}

func TestParseReply(t *testing.T) {
	for name, test := range map[string]struct {
		reply any
		want  []int64
		ok    bool
	}{
		"an answer":            {[]any{"7", int64(5), int64(0)}, []int64{5, 0}, true},
		"of another question":  {[]any{"8", int64(5), int64(0)}, nil, false},
		"number as a number":   {[]any{int64(7), int64(5), int64(0)}, nil, false},
		"text":                 {[]any{"7", "5", int64(0)}, nil, false},
		"nothing in the list":  {[]any{}, nil, false},
		"no list":              {int64(7), nil, false},
		"nil":                  {nil, nil, false},
		"nil in the list":      {[]any{"7", nil, int64(0)}, nil, false},
		"a list in the list":   {[]any{"7", []any{int64(5)}, int64(0)}, nil, false},
		"a number with a part": {[]any{"7", 5.5, int64(0)}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := redis.NewCmd(context.Background())
			c.SetVal(test.reply)
			if got, err := parseReply(c, "7"); (err == nil) != test.ok || !slices.Equal(got, test.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// A question that is late does nothing, whatever it is.
func TestScriptsRefuseToBeLate(t *testing.T) {
	s := newScriptServer(t)
	for which, args := range [][]any{
		takeTokens:  {1e5, 20, 0, 5, 1},
		countPlaces: {"a", 1, 3, countTTL.Milliseconds()},
	} {
		for late, ok := range map[int64]bool{epoch.UnixMicro() - 1: false, epoch.UnixMicro(): true} {
			s.FlushAll()
			c := scripts()[which].Run(context.Background(), s.client, []string{"k"}, append([]any{"7", late}, args...)...)
			if _, err := parseReply(c, "7"); (err == nil) != ok || s.Exists("k") != ok {
				t.Errorf("script %d, late %t: %v, wrote %t", which, !ok, err, s.Exists("k"))
			}
		}
	}
}

// The names in Redis show nothing of the keys, and are all different.
func TestRedisKey(t *testing.T) {
	seen := map[string]bool{}
	for _, limit := range []string{"", "a", "ab", "policy/rule/user"} {
		for _, key := range []string{"", "b", "bc", "alice@example.com", strings.Repeat("x", 1e6), "}{"} {
			name := redisKey("framegate:", "rate", limit, key)
			if seen[name] || len(name) > 60 || strings.Contains(name, "alice") || strings.Count(name, "{") != 1 || !strings.HasSuffix(name, "}") {
				t.Errorf("%.20q and %.20q have the name %q", limit, key, name)
			}
			seen[name] = true
		}
	}
}
