package reactor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

// TestTranscripts plays the transcripts of package relay on a loop, over each
// kind of connection.
func TestTranscripts(t *testing.T) {
	for _, w := range wirings() {
		t.Run(w.name, func(t *testing.T) {
			for _, script := range scripts(t, w) {
				t.Run(script.Name, func(t *testing.T) { play(t, w, script) })
			}
		})
	}
}

// play plays a transcript and demands what it says.
func play(t *testing.T, w wiring, script *transcript.Script) {
	tick := time.Nanosecond // so that times are those of the bare session
	if script.Name == "idle" {
		tick = time.Microsecond // it lasts for a thousand hours
	}
	var r *rig
	got, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject {
		if r != nil {
			r.stop()
		}
		r = newRig(t, newLoopByHand(t, tick), w, l, grant, [2][]byte{})
		return r
	})
	if err != nil {
		t.Error(err)
	}
	r.stop()
	script.Check(t, got, false)
}

// untrue matches what TCP cannot be made to do for certain.
var untrue = regexp.MustCompile(`(?m)^(stall|break) `)

// scripts returns the transcripts that a wiring can play.
func scripts(t *testing.T, w wiring) (all []*transcript.Script) {
	t.Helper()
	if w.network != "tcp" {
		return transcript.Read(t, "../relay/testdata/*.txt")
	}
	paths, err := filepath.Glob("../relay/testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no transcripts", err)
	}
	const between = "\n\nsession "
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sessions := strings.Split(strings.TrimSuffix(string(text), "\n"), between)
		first := sessions[0]
		sessions = slices.DeleteFunc(sessions, untrue.MatchString)
		if len(sessions) == 0 {
			continue
		}
		head := ""
		if sessions[0] != first {
			head = "session "
		}
		all = append(all, transcript.Make(path, head+strings.Join(sessions, between)+"\n"))
	}
	return all
}
