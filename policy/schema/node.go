package schema

import (
	"github.com/framegate/framegate/policy/pattern"
)

// kinds is a set of JSON types.
type kinds uint8

const (
	null kinds = 1 << iota
	boolean
	integer // a number without fraction
	number
	text
	array
	object
)

// kindOf returns the type of a JSON value; a whole number is both integer and number. It returns 0 for what is no JSON value.
func kindOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return null
	case bool:
		return boolean
	case float64:
		if isInteger(v) {
			return integer | number
		}
		return number
	case string:
		return text
	case []any:
		return array
	case map[string]any:
		return object
	}
	return 0
}

// node is one schema. Parts that are nil have no keyword.
type node struct {
	at     string // where it stands, such as "order.json#/properties/id"
	never  bool   // the schema false
	kinds  kinds  // type; 0 for any
	values *values
	format *format

	numbers *numbers
	texts   *texts
	arrays  *arrays
	objects *objects
	logic   *logic
	rest    *rest
}

// values are those of enum and const: one of them.
type values struct {
	simple map[any]struct{} // neither arrays nor objects
	nested []any
}

// format is an assertion about texts.
type format struct {
	name  string
	valid func(any) error
}

// numbers are the keywords for numbers. Limits that are absent are infinite.
type numbers struct {
	minimum, maximum float64
	above, below     float64 // exclusiveMinimum, exclusiveMaximum
	multipleOf       float64 // 0 for none
}

// texts are the keywords for strings; lengths count characters.
type texts struct {
	least, most int
	pattern     *pattern.RE2
}

// arrays are the keywords for arrays.
type arrays struct {
	least, most   int
	unique        bool
	prefix        []*node
	items         *node // of those after prefix
	contains      *node
	containsLeast int
	containsMost  int
}

// property is a schema for the property of one name.
type property struct {
	name string
	node *node
}

// required are the names that must be there if the property of another name is.
type required struct {
	ifThere string
	names   []string
}

// patterned is a schema for the properties whose names match.
type patterned struct {
	pattern *pattern.RE2
	node    *node
}

// objects are the keywords for objects. Lists that the file has no order for are sorted, so that the same value fails at the same place.
type objects struct {
	least, most int
	required    []string
	dependent   []required
	properties  map[string]*node
	sorted      []property // the same
	patterns    []patterned
	additional  *node
	names       *node
	schemas     []property // dependentSchemas
}

// logic are the keywords that apply schemas to the value itself.
type logic struct {
	ref           *node
	all, any, one []*node
	not           *node
	test          *node // if
	then, other   *node
}

// rest are unevaluatedItems and unevaluatedProperties.
type rest struct {
	items, properties *node
}
