package transcript

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framegate/framegate/proxy/relay"
)

// A Subject is one session under some driver, as its peers and its owner see
// it. Each method returns once the session has come to rest.
type Subject interface {
	Send(from relay.Side, p []byte) // bytes arrive from a peer, in one piece
	EOF(from relay.Side)            // a peer sends no more
	Reset(from relay.Side)          // a peer resets its connection
	Stall(to relay.Side, on bool)   // a peer takes no more bytes, or takes them again
	Break(to relay.Side)            // writes to a peer fail from now on
	Fail(c relay.Cause)
	Adopt(limits *relay.Limits, grant *relay.Grant)
	Abort()
	Sleep(d time.Duration)

	// Events returns what reached a peer since the last call.
	Events(to relay.Side) []Event
	// Hits returns what rules refused since the last call.
	Hits() []Hit
	// Result returns how the session stands; done says that it is over.
	Result() (r relay.Result, from [2]relay.Stats, done bool)
}

// A Hit is a rule that refused something of a side, or would have.
type Hit struct {
	From relay.Side
	relay.Hit
}

// A Script is a transcript that has been read.
type Script struct {
	Name   string
	NoChop string // why the outcome depends on how the input is cut, or ""

	path  string
	text  string
	lines []string // without the outputs
}

// Read returns the transcripts whose paths match a pattern.
func Read(t testing.TB, pattern string) []*Script {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %q, %v", pattern, err)
	}
	var all []*Script
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Make(path, string(text)))
	}
	return all
}

// Make returns the transcript that stands in text.
func Make(path, text string) *Script {
	s := &Script{Name: strings.TrimSuffix(filepath.Base(path), ".txt"), path: path, text: text}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "result: ") {
			continue
		}
		if why, ok := strings.CutPrefix(line, "nochop "); ok {
			s.NoChop = why
		}
		s.lines = append(s.lines, line)
	}
	return s
}

// Joined returns the transcript with the frames of consecutive lines of one
// side in one line: they arrive in one piece.
func (s *Script) Joined() *Script {
	j := &Script{Name: s.Name, NoChop: s.NoChop, path: s.path}
	open := false // the last line sends frames
	for _, line := range s.lines {
		side, frames, sent := strings.Cut(line, ": ")
		sent = sent && frames != "eof" && frames != "reset"
		if n := len(j.lines) - 1; sent && open && strings.HasPrefix(j.lines[n], side+": ") {
			j.lines[n] += " | " + frames
		} else if line != "" && !strings.HasPrefix(line, "#") {
			j.lines = append(j.lines, line)
			open = sent
		}
	}
	return j
}

// Start starts a session under some driver.
type Start = func(limits *relay.Limits, grant *relay.Grant) Subject

// A player is a transcript under way.
type player struct {
	settings *settings
	start    Start
	subject  Subject
	senders  [2]sender
	got      [2]receiver
	now      time.Duration
	out      strings.Builder
}

// Play plays the transcript against the subject that start returns. It returns
// the transcript with what came out.
func (s *Script) Play(start Start) (string, error) {
	p := &player{start: start}
	p.reset()
	blank := 0 // lines that were not written yet: the result comes first
	for i, line := range s.lines {
		if strings.HasPrefix(line, "session ") && p.subject != nil {
			p.result()
			p.reset()
			blank = 1
		}
		if line == "" {
			blank++
			continue
		}
		fmt.Fprint(&p.out, strings.Repeat("\n", blank), line, "\n")
		blank = 0
		if err := p.line(line); err != nil {
			return "", fmt.Errorf("%s: input line %d: %w", s.path, i+1, err)
		}
	}
	p.result()
	return p.out.String(), nil
}

// reset makes ready for another session.
func (p *player) reset() {
	p.settings, p.subject, p.now = newSettings(), nil, 0
	p.senders, p.got = [2]sender{}, [2]receiver{}
	p.senders[relay.Upstream].side, p.got[relay.Upstream].side = relay.Upstream, relay.Upstream
}

// Check demands that got is what the transcript says, or makes it so.
func (s *Script) Check(t testing.TB, got string, update bool) {
	t.Helper()
	switch {
	case got == s.text:
	case update:
		if err := os.WriteFile(s.path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: what came out is not what it says:\n%s", s.path, difference(s.text, got))
	}
}

// difference shows the first lines that differ, and the inputs before them.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	n := 0
	for n < len(w) && n < len(g) && w[n] == g[n] {
		n++
	}
	show := func(name string, lines []string) string {
		return fmt.Sprintf("--- %s, line %d\n%s\n", name, n+1, strings.Join(lines[min(max(n-4, 0), len(lines)):min(n+8, len(lines))], "\n"))
	}
	return show("want", w) + show("got", g)
}

func (p *player) begin() {
	if p.subject == nil {
		p.subject = p.start(&p.settings.limits, &p.settings.grant)
	}
}

// line takes one line of the transcript.
func (p *player) line(line string) error {
	all, err := words(line)
	if err != nil || len(all) == 0 || strings.HasPrefix(all[0], "#") {
		return err
	}
	switch all[0] {
	case "nochop", "session":
		return nil
	case "limits":
		if p.subject != nil {
			return fmt.Errorf("settings come before the first input")
		}
		for _, word := range all[1:] {
			if err := p.settings.set(word); err != nil {
				return fmt.Errorf("%s: %w", word, err)
			}
		}
		return nil
	}
	p.begin()
	before := p.now
	if all[0] == "adopt" {
		if err := p.adopt(all[1:]); err != nil {
			return err
		}
		p.outputs(before)
		return nil
	}
	if err := p.input(all); err != nil {
		return err
	}
	p.outputs(before)
	return nil
}

// adopt has the settings of a line hold from now on, and else the defaults.
func (p *player) adopt(all []string) error {
	s := newSettings()
	s.limits.Random, s.limits.Memory, s.grant.Deflate = p.settings.limits.Random, p.settings.limits.Memory, p.settings.grant.Deflate
	for _, word := range all {
		if err := s.set(word); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	p.settings = s
	p.subject.Adopt(&s.limits, &s.grant)
	return nil
}

// input does what an input line says.
func (p *player) input(all []string) error {
	if name, ok := strings.CutSuffix(all[0], ":"); ok {
		return p.peer(name, all[1:])
	}
	if all[0] == "abort" && len(all) == 1 {
		p.subject.Abort()
		return nil
	}
	if len(all) != 2 {
		return fmt.Errorf("unknown input %q", strings.Join(all, " "))
	}
	switch all[0] {
	case "tick":
		d, err := time.ParseDuration(all[1])
		p.now += d
		p.subject.Sleep(d)
		return err
	case "fail":
		c, err := causeOf(all[1])
		if err == nil {
			p.subject.Fail(c)
		}
		return err
	}
	side, err := sideOf(all[1])
	if err != nil {
		return err
	}
	switch all[0] {
	case "stall", "unstall":
		p.subject.Stall(side, all[0] == "stall")
	case "break":
		p.subject.Break(side)
	default:
		return fmt.Errorf("unknown input %q", all[0])
	}
	return nil
}

// peer does what a line of one side says.
func (p *player) peer(name string, all []string) error {
	side, err := sideOf(name)
	if err != nil {
		return err
	}
	switch strings.Join(all, " ") {
	case "eof":
		p.subject.EOF(side)
		return nil
	case "reset":
		p.subject.Reset(side)
		return nil
	}
	b, err := p.senders[side].line(all)
	if err == nil {
		p.subject.Send(side, b)
	}
	return err
}

// outputs writes down what came out since before.
func (p *player) outputs(before time.Duration) {
	var all []remark
	for side := range p.got {
		all = append(all, p.got[side].take(p.subject.Events(relay.Side(side)))...)
	}
	slices.SortStableFunc(all, func(a, b remark) int { return cmp.Compare(a.at, b.at) })
	for _, r := range all {
		since := ""
		if r.at > before {
			since = fmt.Sprintf("+%v ", r.at-before)
		}
		fmt.Fprintf(&p.out, "  %s%s\n", since, r.text)
	}
	for _, hit := range summed(p.subject.Hits()) {
		fmt.Fprintf(&p.out, "  %v! rule %d: %v", hit.From, hit.Rule, hit.Action)
		if hit.Shadow {
			fmt.Fprint(&p.out, " in shadow")
		}
		if hit.Times > 1 {
			fmt.Fprintf(&p.out, ", %d times", hit.Times)
		}
		fmt.Fprintln(&p.out)
	}
}

// summed returns hits that differ, with how often there was each.
func summed(hits []Hit) (all []Hit) {
	for _, hit := range hits {
		n := slices.IndexFunc(all, func(h Hit) bool {
			h.Times = hit.Times
			return h == hit
		})
		if n < 0 {
			all = append(all, hit)
		} else {
			all[n].Times += hit.Times
		}
	}
	return all
}

// result writes down how the session stands.
func (p *player) result() {
	p.begin()
	r, from, done := p.subject.Result()
	switch {
	case done:
		fmt.Fprintf(&p.out, "result: %v by %v, code %d, told client %d, upstream %d", r.Cause, r.By, r.Main(), r.Told[0], r.Told[1])
		if r.Reason != "" {
			fmt.Fprintf(&p.out, ", %q", r.Reason)
		}
		fmt.Fprintln(&p.out)
	case r.Cause != relay.None:
		fmt.Fprintf(&p.out, "result: ending, %v by %v\n", r.Cause, r.By)
	default:
		fmt.Fprintln(&p.out, "result: open")
	}
	for side, s := range from {
		if s != (relay.Stats{}) {
			fmt.Fprintf(&p.out, "  from %v: frames %d, messages %d, bytes %d, dropped %d%s\n", relay.Side(side), s.Frames, s.Messages, s.Bytes, s.Dropped, ruled(s))
		}
	}
	if n := p.settings.limits.Memory.Used(); done && n > 0 {
		fmt.Fprintf(&p.out, "  %d BYTES ARE NOT GIVEN BACK\n", n)
	}
}

// ruled says what rules have done.
func ruled(s relay.Stats) (text string) {
	if s.DroppedMessages > 0 {
		text += fmt.Sprintf(", messages dropped %d", s.DroppedMessages)
	}
	if s.Delayed > 0 {
		text += fmt.Sprintf(", delayed %v", s.Delayed)
	}
	if s.Inspected > 0 {
		text += fmt.Sprintf(", bytes inspected %d", s.Inspected)
	}
	return text
}
