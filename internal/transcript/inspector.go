package transcript

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// A Denier is a small inspector: rules that each refuse the messages which
// contain a word. The operations of a message are the first words of its lines,
// as far as Operations has them.
type Denier struct {
	NoText, NoBinary bool // messages that it does not want to see
	Rules            []Denial
	Operations       *[]string // in the order of their numbers
	hits             []relay.Hit
	counts           []int
}

// A Denial is one rule of a Denier.
type Denial struct {
	Word    string
	Shadow  bool
	Verdict relay.Verdict
}

// Wants implements relay.Inspector.
func (d *Denier) Wants(kind frame.OpCode) bool {
	return kind == frame.OpText && !d.NoText || kind == frame.OpBinary && !d.NoBinary
}

// Inspect implements relay.Inspector.
func (d *Denier) Inspect(m relay.Message) (v relay.Verdict) {
	d.hits = d.hits[:0]
	for i := range d.Rules {
		r := &d.Rules[i]
		switch {
		case !bytes.Contains(m.Payload, []byte(r.Word)):
		case r.Shadow:
			d.hits = append(d.hits, relay.Hit{Action: r.Verdict.Action, Rule: r.Verdict.Rule})
		case v.Action == relay.ActPass:
			v = r.Verdict
		}
	}
	d.counts = append(d.counts[:0], make([]int, len(*d.Operations))...)
	for line := range bytes.SplitSeq(m.Payload, []byte("\n")) {
		word, _, _ := bytes.Cut(line, []byte(" "))
		if i := slices.Index(*d.Operations, string(word)); i >= 0 {
			d.counts[i]++
		}
	}
	v.Operations, v.Shadow = d.counts, d.hits
	for i := range m.Payload {
		m.Payload[i] = 0xdb // it is a copy: nothing of this may be relayed
	}
	return v
}

// denials are the numbers of the rules of Deniers, behind those of rates.
const denials = 100

// denier returns that of a side, made where there is none yet.
func (s *settings) denier(from relay.Side) *Denier {
	if s.grant.Inspectors[from] == nil {
		s.grant.Inspectors[from] = &Denier{Operations: &s.operations}
	}
	return s.grant.Inspectors[from].(*Denier)
}

// inspect shows a side's messages to a Denier: client.inspect=text, binary or
// all.
func (s *settings) inspect(side, value string) error {
	from, err := sideOf(side)
	if err != nil {
		return err
	}
	d := s.denier(from)
	switch value {
	case "text", "binary", "all":
		d.NoText, d.NoBinary = value == "binary", value == "text"
		return nil
	}
	return fmt.Errorf("unknown kind of messages %q", value)
}

// deny adds a rule to a side's Denier, under the next number from 100:
// client.deny=WORD:drop, with the words of a rate and with cause=NAME. With
// pass:firm it refuses nothing, but what has the word cannot be left out.
func (s *settings) deny(side, value string) error {
	from, err := sideOf(side)
	if err != nil {
		return err
	}
	d := s.denier(from)
	fields := strings.Split(value, ":")
	r := Denial{Word: fields[0], Verdict: relay.Verdict{Rule: uint16(denials + len(d.Rules))}}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		if a, ok := actions()[key]; ok {
			r.Verdict.Action, r.Verdict.Reply = a, value
			continue
		}
		switch key {
		case "shadow":
			r.Shadow = true
		case "firm":
			r.Verdict.Firm = true
		case "reason":
			r.Verdict.Reason = value
		case "cause":
			r.Verdict.Cause, err = causeOf(value)
		default:
			err = fmt.Errorf("unknown word %q", field)
		}
	}
	d.Rules = append(d.Rules, r)
	return err
}
