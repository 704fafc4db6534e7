package schema

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/framegate/framegate/policy/pattern"
)

// evaluation is the check of one value.
type evaluation struct {
	steps   int    // that are left; below 0 everything is over
	at      *node  // where the last check failed
	keyword string // and by which keyword
}

// spend takes steps and says whether there were so many.
func (e *evaluation) spend(steps int) bool {
	e.steps -= steps
	return e.steps >= 0
}

// fail notes why the value does not match. The last failure is the one that counts: a schema that tried others fails after them.
func (e *evaluation) fail(n *node, keyword string) bool {
	e.at, e.keyword = n, keyword
	return false
}

// check says whether v matches n. What of v was evaluated is added to seen, if somebody wants to know; it means nothing after a failure. After
// the steps are spent the result means nothing.
func (e *evaluation) check(n *node, v any, seen *seen) bool {
	if !e.spend(1) {
		return false
	}
	if n.never {
		return e.fail(n, "false")
	}
	kind := kindOf(v)
	if kind == 0 || n.kinds != 0 && n.kinds&kind == 0 {
		return e.fail(n, "type")
	}
	if n.values != nil && !e.among(n.values, v) {
		return e.fail(n, "enum")
	}
	own := seen
	if n.rest != nil && own == nil {
		own = newSeen()
	}
	return e.checkKind(n, v, own) && (n.logic == nil || e.checkLogic(n, v, own)) && (n.rest == nil || e.checkRest(n, v, own))
}

// checkKind applies the keywords for values of v's type.
func (e *evaluation) checkKind(n *node, v any, seen *seen) bool {
	switch v := v.(type) {
	case float64:
		return n.numbers == nil || e.checkNumber(n, v)
	case string:
		if n.format != nil && !(e.spend(callSteps+len(v)/bytesPerStep) && n.format.valid(v) == nil) {
			return e.fail(n, "format")
		}
		return n.texts == nil || e.checkText(n, v)
	case []any:
		return n.arrays == nil || e.checkArray(n, v, seen)
	case map[string]any:
		return n.objects == nil || e.checkObject(n, v, seen)
	}
	return true
}

// among says whether one of the values equals v.
func (e *evaluation) among(k *values, v any) bool {
	if kindOf(v)&(array|object) == 0 {
		_, ok := k.simple[v]
		return ok
	}
	return slices.ContainsFunc(k.nested, func(value any) bool { return e.equal(value, v) })
}

// equal says whether two JSON values are equal; numbers are by value.
func (e *evaluation) equal(a, b any) bool {
	if !e.spend(1) {
		return false
	}
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, e.equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, e.equal)
	case string:
		b, ok := b.(string)
		return ok && e.spend(len(a)/bytesPerStep) && a == b
	}
	return kindOf(a)&kindOf(b) != 0 && a == b
}

func (e *evaluation) checkNumber(n *node, v float64) bool {
	switch k := n.numbers; {
	case v < k.minimum:
		return e.fail(n, "minimum")
	case v > k.maximum:
		return e.fail(n, "maximum")
	case v <= k.above:
		return e.fail(n, "exclusiveMinimum")
	case v >= k.below:
		return e.fail(n, "exclusiveMaximum")
	case k.multipleOf != 0 && !(e.spend(callSteps) && isMultiple(v, k.multipleOf)):
		return e.fail(n, "multipleOf")
	}
	return true
}

func (e *evaluation) checkText(n *node, v string) bool {
	k := n.texts
	if !e.spend(len(v) / bytesPerStep) {
		return false
	}
	if k.least > 0 || k.most < len(v) {
		switch length := utf8.RuneCountInString(v); {
		case length < k.least:
			return e.fail(n, "minLength")
		case length > k.most:
			return e.fail(n, "maxLength")
		}
	}
	if k.pattern != nil && !e.matches(k.pattern, v) {
		return e.fail(n, "pattern")
	}
	return true
}

// matches runs a pattern over a text.
func (e *evaluation) matches(p *pattern.RE2, v string) bool {
	return e.spend(callSteps+p.Size()*len(v)/matchPerStep) && p.MatchString(v)
}

func (e *evaluation) checkArray(n *node, v []any, seen *seen) bool {
	k := n.arrays
	switch {
	case len(v) < k.least:
		return e.fail(n, "minItems")
	case len(v) > k.most:
		return e.fail(n, "maxItems")
	case k.unique && !e.isUnique(v):
		return e.fail(n, "uniqueItems")
	}
	prefix := min(len(k.prefix), len(v))
	for i := range prefix {
		if !e.check(k.prefix[i], v[i], nil) {
			return false
		}
	}
	seen.addItems(prefix)
	if k.items != nil {
		for _, item := range v[prefix:] {
			if !e.check(k.items, item, nil) {
				return false
			}
		}
		seen.addItems(len(v))
	}
	return k.contains == nil || e.checkContains(n, v, seen)
}

func (e *evaluation) checkContains(n *node, v []any, seen *seen) bool {
	k, found := n.arrays, 0
	for i, item := range v {
		if e.check(k.contains, item, nil) {
			found++
			seen.addItem(i)
		}
		if found > k.containsMost {
			return e.fail(n, "maxContains")
		}
		if e.steps < 0 {
			return false
		}
	}
	if found < k.containsLeast {
		return e.fail(n, "contains")
	}
	return true
}
