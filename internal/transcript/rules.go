package transcript

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/framegate/framegate/proxy/relay"
)

func units() map[string]relay.Unit {
	return map[string]relay.Unit{"messages": relay.Messages, "bytes": relay.Bytes, "frames": relay.Frames}
}

func actions() map[string]relay.Action {
	all := map[string]relay.Action{}
	for a := relay.ActPass; a <= relay.ActReply; a++ {
		all[a.String()] = a
	}
	return all
}

// rate adds a rate to what one side may send, under the next number:
// client.messages=2/10:drop is two per second with a burst of ten. Behind the
// action may stand shadow, op=NAME, reason=TEXT and name=NAME; a reply is reply=TEXT.
// Texts have no spaces and no colons.
func (s *settings) rate(side string, of relay.Unit, value string) error {
	from, err := sideOf(side)
	if err != nil {
		return err
	}
	shape := &s.limits.From[from]
	fields := strings.Split(value, ":")
	r := relay.Rate{Of: of, Rule: uint16(len(shape.Rates))}
	perSecond, burst, _ := strings.Cut(fields[0], "/")
	if r.PerSecond, err = strconv.ParseFloat(perSecond, 64); err != nil {
		return err
	}
	if r.Burst, err = strconv.Atoi(burst); err != nil {
		return err
	}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		if a, ok := actions()[key]; ok {
			r.Action, r.Reply = a, value
			continue
		}
		switch key {
		case "shadow":
			r.Shadow = true
		case "name":
			r.Name = value
		case "op":
			r.Operation = s.operation(value)
		case "reason":
			r.Reason = value
		default:
			return fmt.Errorf("unknown word %q", field)
		}
	}
	shape.Rates = append(shape.Rates, r)
	return r.Validate()
}

// operation is the number of a word to which rates are bound.
func (s *settings) operation(word string) int {
	if i := slices.Index(s.operations, word); i >= 0 {
		return i + 1
	}
	s.operations = append(s.operations, word)
	return len(s.operations)
}
