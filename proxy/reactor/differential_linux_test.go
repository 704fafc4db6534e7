package reactor

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// settings are what a random script may begin with.
func settings() []string {
	return []string{
		"", "limits pings=answer", "limits deflate", "limits client.max_message=3000 client.max_fragments=3 upstream.max_frame=500",
		"limits types=text", "limits high=3000 low=100", "limits control_rate=1 control_burst=2", "limits close=1s write=2s assembly=1s idle=3s",
	}
}

// randomScript writes a transcript down whose inputs a program chooses: frames
// right and wrong, whole, cut and joined, ends of every kind, stalls, time.
//
// While a side stalls, each side sends one thing at most, and a short one: the
// goroutines read no more of it until what they wrote is taken, and the reactor
// does, up to Limits.HighWater, so it sees earlier what is wrong there. Nor are
// there pings: where one is due when another one has just been taken, the loop
// sends it in its next tick.
func randomScript(p transcript.Program) string {
	var b strings.Builder
	first := transcript.Pick(&p, settings()...)
	stalls := p.Next()&1 != 0
	if stalls {
		first = "limits ping_interval=0s " + strings.TrimPrefix(first, "limits ")
	}
	fmt.Fprintln(&b, first)
	var stalled [2]bool
	var sent [2][2]bool // by who stalls and who has sent since
	unstall := func(side relay.Side) {
		fmt.Fprintf(&b, "unstall %v\n", side)
		stalled[side], sent[side] = false, [2]bool{}
	}
	input := func(from relay.Side, what string) {
		for _, side := range [2]relay.Side{relay.Client, relay.Upstream} {
			if stalled[side] && (sent[side][from] || len(what) > 1000) {
				unstall(side)
			}
			sent[side][from] = stalled[side]
		}
		fmt.Fprintf(&b, "%v: %s\n", from, what)
	}
	raw := func(from relay.Side, p []byte) { input(from, fmt.Sprintf("raw %x", p)) }
	for n := 0; len(p) > 0 && n < 60; n++ {
		what := p.Next()
		from := relay.Side(what & 1)
		switch what >> 1 % 16 {
		default:
			raw(from, p.Frame(from))
		case 6, 7:
			raw(from, append(p.Frame(from), p.Frame(from)...))
		case 8, 9:
			f := p.Frame(from)
			cut := 1 + p.Next()%len(f)
			raw(from, f[:cut])
			fmt.Fprintf(&b, "tick %dms\n", p.Next())
			if cut < len(f) {
				raw(from, f[cut:])
			}
		case 10:
			fmt.Fprintf(&b, "tick %v\n", time.Duration(p.Next())*transcript.Pick(&p, time.Millisecond, 100*time.Millisecond))
		case 11:
			if stalls && !stalled[from] {
				fmt.Fprintf(&b, "stall %v\n", from)
				stalled[from] = true
			}
		case 12:
			unstall(from)
		case 13:
			switch end := transcript.Pick(&p, "", "", "", "eof", "reset", "fail drain", "fail policy", "fail internal", "abort"); end {
			case "":
			case "eof", "reset":
				input(from, end)
			default:
				fmt.Fprintln(&b, end)
			}
		}
	}
	unstall(relay.Client)
	unstall(relay.Upstream)
	return b.String() + "tick 10m\n"
}

// FuzzDrivers plays random transcripts under both drivers: either side gets the
// same bytes at the same times and the same end, and the session the same
// result. The reactor's are played over plain connections and over TLS, where
// nobody stalls: close_notify, which a session knows nothing of, then comes late.
func FuzzDrivers(f *testing.F) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 75 {
		b := make([]byte, 20+random.IntN(400))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		script := transcript.Make("random script", randomScript(data))
		var want string
		synctest.Test(t, func(t *testing.T) {
			var s *streamed
			var err error
			want, err = script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject {
				s = newStreamed(l, grant)
				return s
			})
			if err != nil {
				t.Fatal(err)
			}
			s.stop()
		})
		for _, w := range wirings() {
			if w.network == "unix" && (w.tls == 0 || !strings.Contains(want, "\nstall ")) {
				play(t, w, transcript.Make("random script", want))
			}
		}
	})
}
