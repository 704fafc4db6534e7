package schema

// What a value may cost, and what things cost. A step is some tens of nanoseconds.
const (
	stepsBase    = 1 << 12
	stepsPerByte = 8

	callSteps    = 8  // of a pattern, a format or a division, whatever the value
	hashSteps    = 4  // of a value that must be unique
	bytesPerStep = 64 // of a text that is looked at once
	matchPerStep = 16 // instructions times bytes that a pattern may run through
)

// Schema is one compiled schema. It never changes and is safe for concurrent use.
type Schema struct {
	root *node
}

// Outcome is what a schema says about a value.
type Outcome uint8

// The outcomes.
const (
	Valid   Outcome = iota
	Invalid         // the value does not match
	Costly          // it was not found out within the bound
)

// Budget is what checks of the values of one message may still cost together.
type Budget struct{ steps int }

// NewBudget returns the budget for values that come from a JSON text of size bytes. Each check adds a little to it, so that many small ones
// do not starve.
func NewBudget(size int) Budget { return Budget{stepsPerByte * size} }

// Check holds a value against the schema. The value is what encoding/json makes of a JSON text, with numbers as float64. If the value does not
// match, where is the place in the schema that says so, such as "order.json#/properties/id minLength"; it is made of the schema's own words
// only.
func (s *Schema) Check(v any, budget *Budget) (outcome Outcome, where string) {
	e := evaluation{steps: budget.steps + stepsBase}
	ok := e.check(s.root, v, nil)
	budget.steps = e.steps
	switch {
	case e.steps < 0:
		return Costly, s.root.at
	case !ok:
		return Invalid, e.at.at + " " + e.keyword
	}
	return Valid, ""
}
