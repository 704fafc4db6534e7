package policytest

import (
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
	From   string              `yaml:"from" enum:"client,upstream" default:"client" doc:"Who sends it."`
	Text   *string             `yaml:"text" doc:"A text message."`
	Binary *string             `yaml:"binary" doc:"A binary message, its bytes given as text."`
	Size   strictyaml.Size     `yaml:"size" doc:"Instead of text or binary: a text message of so many bytes."`
	After  strictyaml.Duration `yaml:"after" default:"0s" min:"0" doc:"Time since the message before."`
	Times  int                 `yaml:"times" default:"1" min:"1" max:"100000" doc:"How often it is sent; what is expected is expected of the last one, and of the others that they pass."`
	Every  strictyaml.Duration `yaml:"every" default:"0s" min:"0" doc:"Time from one of these messages to the next."`
	Expect MessageExpect       `yaml:"expect" required:"true" doc:"What becomes of it."`
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
	for _, there := range []bool{m.Text != nil, m.Binary != nil, m.Size > 0} {
		if there {
			given++
		}
	}
	if given != 1 {
		report("", "a message has one of text, binary and size")
	}
}

// payload is what is sent.
func (m *Message) payload() (payload []byte, text bool) {
	switch {
	case m.Text != nil:
		return []byte(*m.Text), true
	case m.Binary != nil:
		return []byte(*m.Binary), false
	}
	return []byte(strings.Repeat("x", int(m.Size))), true
}

// play sends the messages of a test and returns what is not as expected, and
// what each rule did.
func (t *Test) play(out *proxy.Outcome, now time.Time) (failures []Failure, trace []Step) {
	p := out.Play(now)
	for i := range t.Messages {
		m := &t.Messages[i]
		payload, text := m.payload()
		var got proxy.Played
		for n := range m.Times {
			after := time.Duration(m.Every)
			if n == 0 {
				after = time.Duration(m.After)
			}
			got = p.Send(m.From == "client", text, payload, after)
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
