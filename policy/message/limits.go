package message

import (
	"github.com/framegate/framegate/policy/pattern"
	"github.com/framegate/framegate/policy/rates"
)

// Limit is how often the operations that match a name or pattern may pass. Whoever has the messages inspected enforces it: this package only
// counts (Verdict.Operations).
type Limit struct {
	Rule   string // its name, such as operations.limits.search
	Rates  rates.Config
	Action *rates.Action // of the limit or of the section; nil where neither has one

	operations pattern.Glob
}

// Limits lists the limits of all policies, in the order of Verdict.Operations.
func (i *Inspector) Limits() []Limit {
	if i == nil {
		return nil
	}
	return i.limits
}
