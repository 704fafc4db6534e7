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
func randomScript(p transcript.Program) string {
	var b strings.Builder
	fmt.Fprintln(&b, transcript.Pick(&p, settings()...))
	stalls := p.Next()&1 != 0
	for n := 0; len(p) > 0 && n < 60; n++ {
		what := p.Next()
		from := relay.Side(what & 1)
		switch what >> 1 % 16 {
		default:
			fmt.Fprintf(&b, "%v: raw %x\n", from, p.Frame(from))
		case 6, 7:
			fmt.Fprintf(&b, "%v: raw %x\n", from, append(p.Frame(from), p.Frame(from)...))
		case 8, 9:
			f := p.Frame(from)
			cut := 1 + p.Next()%len(f)
			fmt.Fprintf(&b, "%v: raw %x\ntick %dms\n", from, f[:cut], p.Next())
			if cut < len(f) {
				fmt.Fprintf(&b, "%v: raw %x\n", from, f[cut:])
			}
		case 10:
			fmt.Fprintf(&b, "tick %v\n", time.Duration(p.Next())*transcript.Pick(&p, time.Millisecond, 100*time.Millisecond))
		case 11:
			if stalls {
				fmt.Fprintf(&b, "stall %v\n", from)
			}
		case 12:
			fmt.Fprintf(&b, "unstall %v\n", from)
		case 13:
			if end := transcript.Pick(&p, "", "", "", fmt.Sprintf("%v: eof", from), fmt.Sprintf("%v: reset", from), "fail drain", "fail policy", "fail internal", "abort"); end != "" {
				fmt.Fprintln(&b, end)
			}
		}
	}
	return b.String() + "unstall client\nunstall upstream\ntick 10m\n"
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
