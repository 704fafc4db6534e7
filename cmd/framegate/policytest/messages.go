package policytest

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy"
)

// Message is one message of a connection, or several of the same kind, and what
// is expected of the last one.
type Message struct {
	Connection string              `yaml:"connection" doc:"On which of connections; without it, on that of the request."`
	From       string              `yaml:"from" enum:"client,upstream" default:"client" doc:"Who sends it."`
	Text       *string             `yaml:"text" doc:"A text message."`
	Binary     *string             `yaml:"binary" doc:"A binary message, its bytes given as text."`
	Hex        *string             `yaml:"hex" doc:"A binary message, its bytes in hexadecimal; spaces may stand between them."`
	Size       strictyaml.Size     `yaml:"size" doc:"What is given is filled with the letter x to so many bytes; alone it is a text message."`
	After      strictyaml.Duration `yaml:"after" default:"0s" min:"0" doc:"Time since the message before, on whatever connection."`
	Times      int                 `yaml:"times" default:"1" min:"1" max:"100000" doc:"How often it is sent; what is expected is expected of the last one, and of the others that they pass."`
	Every      strictyaml.Duration `yaml:"every" default:"0s" min:"0" doc:"Time from one of these messages to the next."`
	Expect     MessageExpect       `yaml:"expect" required:"true" doc:"What becomes of it."`
}

// MessageExpect is what a test demands of a message.
type MessageExpect struct {
	Action      string   `yaml:"action" required:"true" enum:"pass,drop,delay,reply,close" doc:"What becomes of it."`
	Rule        string   `yaml:"rule" doc:"The rule that does that, as POLICY/RULE."`
	Code        int      `yaml:"code" min:"1000" max:"4999" doc:"The close code that its sender gets."`
	WouldRefuse []string `yaml:"would_refuse" doc:"Rules of policies in shadow mode that would have refused it, each as POLICY/RULE. Given as [] there must be none."`
}

// check reports what cannot be a message.
func (m *Message) check(report proxy.Report) {
	given := 0
	for _, there := range []bool{m.Text != nil, m.Binary != nil, m.Hex != nil} {
		if there {
			given++
		}
	}
	if given > 1 || given == 0 && m.Size == 0 {
		report("", "a message has one of text, binary and hex, or a size")
	}
	if m.Hex != nil {
		if _, err := hex.DecodeString(strings.ReplaceAll(*m.Hex, " ", "")); err != nil {
			report("hex", "%q is not hexadecimal, want two digits for each byte, such as 82 1c", *m.Hex)
		}
	}
}

// payload is what is sent.
func (m *Message) payload() (payload []byte, text bool) {
	switch {
	case m.Text != nil:
		payload, text = []byte(*m.Text), true
	case m.Binary != nil:
		payload = []byte(*m.Binary)
	case m.Hex != nil:
		payload, _ = hex.DecodeString(strings.ReplaceAll(*m.Hex, " ", "")) // check has seen that it can be read
	default:
		text = true
	}
	return append(payload, strings.Repeat("x", max(0, int(m.Size)-len(payload)))...), text
}

// A playing is the connections of a test: its request's under "", and the
// further ones by their names.
type playing struct {
	named map[string]*proxy.Play
	all   []*proxy.Play
	now   time.Time
}

func (p *playing) add(name string, out *proxy.Outcome) {
	play := out.Play(p.now)
	p.named[name], p.all = play, append(p.all, play)
}

// play sends the messages of a test and returns what is not as expected, and
// what each rule did.
func (t *Test) play(p *playing) (failures []Failure, trace []Step) {
	for i := range t.Messages {
		m := &t.Messages[i]
		payload, text := m.payload()
		var got proxy.Played
		for n := range m.Times {
			after := time.Duration(m.Every)
			if n == 0 {
				after = time.Duration(m.After)
			}
			p.now = p.now.Add(after)
			proxy.Advance(p.all, p.now)
			got = p.named[m.Connection].Send(m.From == "client", text, payload)
			for _, hit := range got.Rules {
				outcome := hit.Action
				if hit.Shadow {
					outcome = "would_" + outcome
				}
				trace = append(trace, Step{Policy: hit.Policy, Rule: hit.Name, Outcome: outcome})
			}
			if n < m.Times-1 && got.Action != "pass" {
				break // the failure below tells of it
			}
		}
		failures = append(failures, m.Expect.compare(fmt.Sprintf("messages[%d]", i), got)...)
	}
	return failures, trace
}

// compare returns what is not as expected.
func (e *MessageExpect) compare(at string, got proxy.Played) []Failure {
	c := &comparison{}
	var rule string
	var would []string
	for _, hit := range got.Rules {
		name := hit.Policy + "/" + hit.Name
		if hit.Shadow {
			would = append(would, name)
		} else {
			rule = name
		}
	}
	if e.Action != got.Action {
		c.differ(at+".action", e.Action, strings.TrimSpace(got.Action+" "+got.Reason))
	}
	c.text(at+".rule", e.Rule, rule)
	if e.Code != 0 {
		c.text(at+".code", strconv.Itoa(e.Code), strconv.Itoa(got.Code))
	}
	if e.WouldRefuse != nil {
		c.list(at+".would_refuse", e.WouldRefuse, would)
	}
	return c.failures
}
