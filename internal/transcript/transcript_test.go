package transcript

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// An echo relays what arrives as it is, and ends with either side.
type echo struct {
	events [2][]Event
	hits   []Hit
	now    time.Duration
	done   bool
}

func (e *echo) Send(from relay.Side, p []byte) {
	e.event(from.Other(), relay.Write, p)
	if len(p) == 3 { // upstream: raw 81 01 61
		for range 2 {
			e.hits = append(e.hits, Hit{from, relay.Hit{Action: relay.ActDrop, Rule: 3, Times: 2}})
		}
		e.hits = append(e.hits, Hit{from, relay.Hit{Action: relay.ActClose, Shadow: true, Times: 1}})
	}
}
func (e *echo) EOF(from relay.Side)    { e.event(from.Other(), relay.HalfClose, nil) }
func (e *echo) Reset(from relay.Side)  { e.event(from.Other(), relay.Abort, nil); e.done = true }
func (e *echo) Stall(relay.Side, bool) {}
func (e *echo) Break(relay.Side)       {}
func (e *echo) Fail(relay.Cause)       { e.event(relay.Client, relay.Close, nil); e.done = true }
func (e *echo) Abort()                 { e.event(relay.Client, relay.Write, []byte("!")) }
func (e *echo) Sleep(d time.Duration) {
	e.now += d / 2
	e.event(relay.Upstream, relay.Write, []byte{0x8a, 0})
	e.now += d - d/2
}

func (e *echo) event(to relay.Side, kind relay.OpKind, p []byte) {
	e.events[to] = append(e.events[to], Event{At: e.now, Kind: kind, Data: bytes.Clone(p)})
}

func (e *echo) Events(to relay.Side) []Event {
	events := e.events[to]
	e.events[to] = nil
	return events
}

func (e *echo) Result() (relay.Result, [2]relay.Stats, bool) {
	return relay.Result{Cause: relay.Drain, By: relay.Gateway, Reason: "why"}, [2]relay.Stats{{Frames: 1, DroppedMessages: 2, Delayed: time.Second, Inspected: 3}, {}}, e.done
}

func (e *echo) Adopt(*relay.Limits, *relay.Grant) {}

func (e *echo) Hits() []Hit {
	hits := e.hits
	e.hits = nil
	return hits
}

func newEcho(*relay.Limits, *relay.Grant) Subject { return new(echo) }

// TestNotation plays every form of input, and reads its own output.
func TestNotation(t *testing.T) {
	const text = `# Everything that can be said.
limits max_message=10 deflate memory=1000 client.messages=2/5:reply=no:shadow client.messages=1/2:delay:op=find:reason=why client.inspect=text client.deny=evil:reply=no:shadow upstream.deny=bad:close:cause=type:reason=why
client: text "h i|" | binary nofin key=00000000 "\x00" | cont "é" size=3
  upstream< text key=01020304 "h i|"
  upstream< binary nofin key=00000000 "\x00"
  upstream< cont key=01020304 "éabc"
upstream: close | close 1000 | close 1001 "bye" | op=3 rsv1 rsv3 masked "m"
  client< close
  client< close 1000
  client< close 1001 "bye"
  client< op=3 rsv1 rsv3 masked key=01020304 "m"
client: ping unmasked | pong len16 "a" | text len64 "b"
  upstream< ping unmasked ""
  upstream< pong len16 key=01020304 "a"
  upstream< text len64 key=01020304 "b"
client: text size=5000 cut=1
  upstream< part of a header: 81
client: rest cut=100
  upstream< ... 93 of 5000 bytes
client: rest cut=0
client: rest | text len=300 "x"
  upstream< ... text key=01020304 size=5000
  upstream< text key=01020304 1 of 300 bytes
upstream: binary size=200 "z"
  client< binary "abcdefghijklmnopqrst"... (201 bytes, CRC-32 553aaf17)
upstream: raw 81 01 61
  client< text "a"
  upstream! rule 3: drop, 4 times
  upstream! rule 0: close in shadow
upstream: eof
  client< half-close

session another
tick 2s
  +1s upstream< pong unmasked ""
abort
  client< part of a header: 21
client: reset
  upstream< reset
fail drain
  client< closed
`
	script := Make("x.txt", text)
	got, err := script.Play(newEcho)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Make("x.txt", got).Play(newEcho)
	if err != nil || again != got {
		t.Errorf("%v; read again it is\n%s", err, again)
	}
	var lines []string
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "result: ") && !strings.HasPrefix(line, "  from ") {
			lines = append(lines, line)
		}
	}
	if shown := strings.Join(lines, ""); shown != text {
		t.Errorf("%s", difference(text, shown))
	}
	for _, want := range []string{"result: ending, drain by gateway\n  from client: frames 1, messages 0, bytes 0, dropped 0, messages dropped 2, delayed 1s, bytes inspected 3\n", `result: drain by gateway, code 0, told client 0, upstream 0, "why"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"nobody: text":                   `"nobody" is neither client nor upstream`,
		"client: texd":                   `unknown opcode "texd"`,
		"client: text bold":              `unknown word "bold"`,
		"client: text \"a":               "not a Go string",
		"client: text cut=99":            "the frame has 6 bytes",
		"client: text |":                 "",
		"client: | text":                 "no frame",
		"client: raw xx":                 "invalid byte",
		"client: text size=x":            "invalid syntax",
		"tick soon":                      "invalid duration",
		"dance client":                   `unknown input "dance"`,
		"dance":                          `unknown input "dance"`,
		"fail nothing":                   `unknown cause "nothing"`,
		"stall gateway":                  "neither client nor upstream",
		"limits nothing=1":               `unknown limit "nothing"`,
		"limits client.nothing=1":        `unknown limit "nothing"`,
		"limits nobody.max_frame=1":      "neither client nor upstream",
		"limits idle=5":                  "missing unit",
		"limits memory=x":                "invalid syntax",
		"limits nobody.bytes=1/2:drop":   "neither client nor upstream",
		"limits client.bytes=x/2:drop":   "invalid syntax",
		"limits client.bytes=1/x:drop":   "invalid syntax",
		"limits client.bytes=1:drop":     "invalid syntax",
		"limits client.bytes=1/2":        "needs an action",
		"limits client.bytes=1/2:dance":  `unknown word "dance"`,
		"limits client.frames=1/2:drop":  "want close or delay",
		"limits nobody.inspect=all":      "neither client nor upstream",
		"limits client.inspect=ping":     "unknown kind",
		"limits nobody.deny=a:drop":      "neither client nor upstream",
		"limits client.deny=a:dance":     `unknown word "dance"`,
		"limits client.deny=a:cause=no":  "unknown cause",
		"limits code.nothing.client=1":   "unknown cause",
		"limits code.drain.nobody=1":     "neither client nor upstream",
		"client: text\nlimits max_frame": "before the first input",
	} {
		_, err := Make("x.txt", text).Play(newEcho)
		if got := ""; err != nil {
			got = err.Error()
			if !strings.Contains(got, want) || want == "" || !strings.HasPrefix(got, "x.txt: ") {
				t.Errorf("%q: %s, want %s", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%q is accepted, want %s", text, want)
		}
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.txt")
	script := Make(path, "client: text \"a\"\n")
	got, err := script.Play(newEcho)
	if err != nil {
		t.Fatal(err)
	}
	script.Check(t, got, true)
	all := Read(t, path)
	if len(all) != 1 || all[0].Name != "x" {
		t.Fatalf("%d transcripts", len(all))
	}
	all[0].Check(t, got, false)
}

func TestJoined(t *testing.T) {
	script := Make("x.txt", "nochop why not\nclient: text \"a\"\n# comment\n\nclient: ping | pong\nupstream: text\nupstream: eof\nupstream: text\ntick 1s\nclient: text\n")
	want := []string{"nochop why not", `client: text "a" | ping | pong`, "upstream: text", "upstream: eof", "upstream: text", "tick 1s", "client: text"}
	if got := script.Joined().lines; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	if script.NoChop != "why not" {
		t.Errorf("%q", script.NoChop)
	}
}
