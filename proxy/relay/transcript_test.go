package relay_test

import (
	"flag"
	"testing"

	"github.com/framegate/framegate/internal/transcript"
	"github.com/framegate/framegate/proxy/relay"
)

var update = flag.Bool("update", false, "write what comes out into testdata/*.txt")

// TestTranscripts plays every transcript against the bare session.
func TestTranscripts(t *testing.T) {
	for _, script := range transcript.Read(t, "testdata/*.txt") {
		t.Run(script.Name, func(t *testing.T) {
			got, err := script.Play(func(l *relay.Limits, grant *relay.Grant) transcript.Subject { return newCore(t, l, grant) })
			if err != nil {
				t.Fatal(err)
			}
			script.Check(t, got, *update)
		})
	}
}
