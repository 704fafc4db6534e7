package relay_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// A chopped core is fed each input in pieces.
type chopped struct {
	*core
	size func(at, left int) int // of the next piece, after so many bytes of an input
}

func (c *chopped) Send(from relay.Side, p []byte) {
	for at := 0; at < len(p); {
		n := c.size(at, len(p)-at)
		c.core.Send(from, p[at:at+n])
		at += n
	}
}

// byByte cuts an input into bytes. Amid a large one it takes more at a time:
// nothing new happens there, and a million reads would take long.
func byByte(at, left int) int {
	const edge, odd = 6 << 10, 997
	if at < edge || left <= edge {
		return 1
	}
	return min(odd, left-edge)
}

// TestChopped plays every transcript byte by byte and at random cuts. Nothing
// but the number of reads may differ.
func TestChopped(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cuts := map[string]func(at, left int) int{
		"byte by byte": byByte,
		"two pieces":   func(_, left int) int { return max(1, left/2) },
		"at random":    func(_, left int) int { return 1 + random.IntN(min(left, 1+random.IntN(300))) },
	}
	for _, script := range transcript.Read(t, "testdata/*.txt") {
		if script.NoChop != "" {
			continue
		}
		for name, size := range cuts {
			t.Run(script.Name+"/"+name, func(t *testing.T) {
				got, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject {
					return &chopped{newCore(t, l, grant), size}
				})
				if err != nil {
					t.Fatal(err)
				}
				script.Check(t, got, false)
			})
		}
	}
}

// TestJoined plays every transcript with consecutive inputs of a side in one
// piece, and compares what either side got in all.
func TestJoined(t *testing.T) {
	for _, script := range transcript.Read(t, "testdata/*.txt") {
		if script.NoChop != "" {
			continue
		}
		t.Run(script.Name, func(t *testing.T) {
			want, got := totals(t, script), totals(t, script.Joined())
			if len(want) != len(got) {
				t.Fatalf("%d sessions, want %d", len(got), len(want))
			}
			for i := range want {
				for side := range want[i] {
					if got[i][side] != want[i][side] {
						t.Errorf("session %d: the %v got\n%s\nwant\n%s", i, relay.Side(side), got[i][side], want[i][side])
					}
				}
			}
		})
	}
}

// totals plays a transcript and returns what either side got in each session:
// the bytes, and how the connection ended.
func totals(t *testing.T, script *transcript.Script) (all [][2]string) {
	var cores []*core
	_, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject {
		cores = append(cores, newCore(t, l, grant))
		return cores[len(cores)-1]
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cores {
		var total [2]string
		for side, p := range c.peers {
			total[side] = fmt.Sprintf("%q half-close %v closed %v", p.total, p.shut, p.closed)
		}
		all = append(all, total)
	}
	return all
}

// TestEveryCause demands a session that ends by each cause, through each side
// that can be to blame for it.
func TestEveryCause(t *testing.T) {
	var text strings.Builder
	for _, script := range transcript.Read(t, "testdata/*.txt") {
		got, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject { return newCore(t, l, grant) })
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(got)
	}
	for _, c := range relay.Causes() {
		for _, by := range relay.Blamed(c) {
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^result: (ending, )?%v by %v\b`, c, by)).MatchString(text.String()) {
				t.Errorf("no session ends with %v by the %v", c, by)
			}
		}
	}
}
