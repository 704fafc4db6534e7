package health

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/wstest"
)

var (
	start   = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	passive = &Rules{Failures: 3, Backoff: 10 * time.Second, MaxBackoff: time.Minute, MaxEjected: 0.5}
	checked = &Rules{Checked: true, Healthy: 2, Unhealthy: 3, Failures: 3, Backoff: 10 * time.Second, MaxBackoff: time.Minute, MaxEjected: 0.5}
)

// play runs a script of steps: "fail", "pass" (connections), "bad", "good" (checks), "begin", "leave", "full-fail" (no room), a duration to let
// pass, and "=state" to compare.
func play(t *testing.T, r *Rules, script string) {
	t.Helper()
	var s Server
	now := start
	for i, step := range strings.Fields(script) {
		switch step {
		case "fail":
			s.Failed(r, now, true)
		case "full-fail":
			s.Failed(r, now, false)
		case "pass":
			s.Succeeded(r, now)
		case "good", "bad":
			s.Checked(r, step == "good")
		case "begin":
			if !s.Usable(r, now) {
				t.Fatalf("%q: step %d: not usable, it is %v", script, i, s.State(r, now))
			}
			s.Begin(r, now)
		case "busy":
			if s.Usable(r, now) {
				t.Fatalf("%q: step %d: usable, it is %v", script, i, s.State(r, now))
			}
		case "leave":
			s.Abandoned()
		default:
			if want, ok := strings.CutPrefix(step, "="); ok {
				if got := s.State(r, now).String(); got != want {
					t.Fatalf("%q: step %d: %s, want %s", script, i, got, want)
				}
				continue
			}
			d, err := time.ParseDuration(step)
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
		}
	}
}

func TestEjection(t *testing.T) {
	for _, script := range []string{
		"=up begin",
		"fail fail =up begin",
		"fail fail pass fail fail =up", // in a row
		"fail fail fail =ejected busy",
		"fail fail fail 9999ms =ejected 1ms =trial",
		"fail fail fail pass =ejected fail 10s =trial", // what began before
		"full-fail full-fail full-fail full-fail =up fail =ejected",
		"fail fail fail 10s begin busy =trial pass =up begin begin",
		"fail fail fail 10s begin fail =ejected 19999ms =ejected 1ms =trial",
		// It doubles up to the cap.
		"fail fail fail 10s fail 20s =trial fail 39s =ejected 1s =trial fail 59s =ejected 1s =trial fail 59s =ejected 1s =trial",
		// It goes on where it was, until the server has worked for as long as the cap.
		"fail fail fail 10s pass fail fail fail 19s =ejected 1s =trial",
		"fail fail fail 10s pass 59s fail fail fail 19s =ejected 1s =trial",
		"fail fail fail 10s pass 60s fail fail fail 10s =trial",
		// One connection at a time tries; one that tells nothing makes room.
		"fail fail fail 10s begin busy leave begin",
		"fail fail fail 10s begin 14999ms busy 1ms begin busy",
		"bad bad bad =up", // without checks nothing checks
	} {
		play(t, passive, script)
	}
}

func TestChecks(t *testing.T) {
	for _, script := range []string{
		"=unchecked begin begin",
		"good =up", "bad =down busy",
		"good bad bad =up bad =down", "good bad bad good bad bad =up",
		"bad good =down good =up", "bad good bad good =down good =up",
		// Connections do not bring up what checks have found down, nor checks what connections have failed on.
		"bad pass =down", "bad fail fail fail =down good good =up",
		"good fail fail fail =ejected good good =ejected 10s =trial",
		"fail fail fail =ejected good =ejected 10s =trial",
		// Down and up again: a new start.
		"good fail fail fail bad bad bad =down good good =up",
		"good fail fail fail 10s fail bad bad bad good good =up fail fail fail 10s =trial",
	} {
		play(t, checked, script)
	}
}

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		share        float64
		servers, out int
		want         bool
	}{
		{0.5, 1, 0, false}, {0.5, 2, 0, true}, {0.5, 2, 1, false}, {0.5, 3, 0, true}, {0.5, 3, 1, false}, {0.5, 4, 1, true}, {1, 1, 0, true}, {0, 9, 0, false},
	} {
		r := &Rules{MaxEjected: tt.share}
		if got := r.Room(tt.servers, tt.out); got != tt.want {
			t.Errorf("%v of %d servers, %d out: %t, want %t", tt.share, tt.servers, tt.out, got, tt.want)
		}
	}
}

func TestRetry(t *testing.T) {
	var s Server
	if got := s.Retry(passive, start); got != 0 {
		t.Errorf("up: %v", got)
	}
	for range 3 {
		s.Failed(passive, start, true)
	}
	if got := s.Retry(passive, start.Add(time.Second)); got != 9*time.Second {
		t.Errorf("ejected: %v, want 9s", got)
	}
	s.Begin(passive, start.Add(10*time.Second))
	if got := s.Retry(passive, start.Add(11*time.Second)); got != 14*time.Second {
		t.Errorf("in a trial: %v, want 14s", got)
	}
}

// Whatever happens: a server that is up by its checks is usable again at last, an ejection never lasts longer than its cap, and a down server
// is never used.
func TestLaws(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var s Server
		now := start
		var history []string
		for range 200 {
			switch n := rnd.IntN(7); n {
			case 0, 1:
				s.Failed(checked, now, rnd.IntN(2) == 0)
				history = append(history, "fail")
			case 2:
				s.Succeeded(checked, now)
				history = append(history, "pass")
			case 3:
				ok := rnd.IntN(2) == 0
				s.Checked(checked, ok)
				history = append(history, fmt.Sprint("check ", ok))
			case 4:
				s.Begin(checked, now)
			case 5:
				s.Abandoned()
			case 6:
				now = now.Add(time.Duration(rnd.IntN(20)) * time.Second)
			}
			state := s.State(checked, now)
			if state.Out() && s.Usable(checked, now) {
				t.Fatalf("seed %d: usable while %v after %v", seed, state, history)
			}
			if wait := s.Retry(checked, now); wait < 0 || wait > checked.MaxBackoff {
				t.Fatalf("seed %d: out for %v after %v", seed, wait, history)
			}
			later := now.Add(checked.MaxBackoff)
			if (!s.checked || s.up) && !s.Usable(checked, later) {
				t.Fatalf("seed %d: %v after its longest time out, %v", seed, s.State(checked, later), history)
			}
		}
	}
}

func TestStateNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range States() {
		if s.String() == "" || seen[s.String()] {
			t.Errorf("state %d is called %q", s, s)
		}
		seen[s.String()] = true
	}
}

// Row X-12: a wall clock that is set neither ends an ejection nor prolongs it.
func TestWallClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, -5 * time.Second} {
		var s Server
		now := time.Now()
		for range passive.Failures {
			s.Failed(passive, now, true)
		}
		if got := s.State(passive, wstest.SetWall(now.Add(passive.Backoff-time.Second), by)); got != Ejected {
			t.Errorf("set by %v: %v before the end, want ejected", by, got)
		}
		if got := s.State(passive, wstest.SetWall(now.Add(passive.Backoff), by)); got != Trial {
			t.Errorf("set by %v: %v at the end, want a trial", by, got)
		}
	}
}
