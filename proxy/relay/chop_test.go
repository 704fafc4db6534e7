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
	size func(n int) int // of the next piece, of n bytes that are left
}

func (c *chopped) Send(from relay.Side, p []byte) {
	for len(p) > 0 {
		n := c.size(len(p))
		c.core.Send(from, p[:n])
		p = p[n:]
	}
}

// TestChopped plays every transcript byte by byte and at random cuts. Nothing
// but the number of reads may differ.
func TestChopped(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cuts := map[string]func(n int) int{
		"byte by byte": func(int) int { return 1 },
		"two pieces":   func(n int) int { return max(1, n/2) },
		"at random":    func(n int) int { return 1 + random.IntN(min(n, 1+random.IntN(300))) },
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
