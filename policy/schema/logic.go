package schema

func (e *evaluation) checkLogic(n *node, v any, seen *seen) bool {
	k := n.logic
	if k.ref != nil && !e.check(k.ref, v, seen) {
		return false
	}
	for _, s := range k.all {
		if !e.check(s, v, seen) {
			return false
		}
	}
	switch {
	case k.any != nil && !e.checkAny(k.any, v, seen):
		return e.fail(n, "anyOf")
	case k.one != nil && !e.checkOne(k.one, v, seen):
		return e.fail(n, "oneOf")
	case k.not != nil && e.check(k.not, v, nil):
		return e.fail(n, "not")
	case k.test == nil:
		return true
	}
	tried := seen.fresh()
	if e.check(k.test, v, tried) {
		seen.merge(tried)
		return k.then == nil || e.check(k.then, v, seen)
	}
	return k.other == nil || e.check(k.other, v, seen)
}

// checkAny tries the schemas in turn. All of them, if somebody wants to know what they evaluate.
func (e *evaluation) checkAny(schemas []*node, v any, seen *seen) bool {
	found := false
	for _, s := range schemas {
		tried := seen.fresh()
		if !e.check(s, v, tried) {
			continue
		}
		if seen == nil {
			return true
		}
		seen.merge(tried)
		found = true
	}
	return found
}

func (e *evaluation) checkOne(schemas []*node, v any, seen *seen) bool {
	found := false
	for _, s := range schemas {
		tried := seen.fresh()
		if !e.check(s, v, tried) {
			continue
		}
		if found {
			return false
		}
		seen.merge(tried)
		found = true
	}
	return found
}

// checkRest applies unevaluatedItems and unevaluatedProperties to what no other keyword has evaluated.
func (e *evaluation) checkRest(n *node, v any, seen *seen) bool {
	switch v := v.(type) {
	case []any:
		if n.rest.items == nil {
			return true
		}
		for i, item := range v {
			if !seen.hasItem(i) && !e.check(n.rest.items, item, nil) {
				return e.fail(n, "unevaluatedItems")
			}
		}
		seen.addItems(len(v))
	case map[string]any:
		if n.rest.properties == nil {
			return true
		}
		for name, value := range v {
			if !seen.hasProperty(name) && !e.check(n.rest.properties, value, nil) {
				return e.fail(n, "unevaluatedProperties")
			}
		}
		for name := range v {
			seen.addProperty(name)
		}
	}
	return true
}

// seen is what of one array or object was evaluated. A nil seen is that nobody wants to know.
type seen struct {
	first      int // so many items from the start
	items      map[int]struct{}
	properties map[string]struct{}
}

func newSeen() *seen { return &seen{items: map[int]struct{}{}, properties: map[string]struct{}{}} }

// fresh returns one for a schema that may fail, to be merged if it does not.
func (s *seen) fresh() *seen {
	if s == nil {
		return nil
	}
	return newSeen()
}

func (s *seen) merge(other *seen) {
	if s == nil {
		return
	}
	s.addItems(other.first)
	for i := range other.items {
		s.addItem(i)
	}
	for name := range other.properties {
		s.addProperty(name)
	}
}

func (s *seen) addItems(first int) {
	if s != nil {
		s.first = max(s.first, first)
	}
}

func (s *seen) addItem(i int) {
	if s != nil {
		s.items[i] = struct{}{}
	}
}

func (s *seen) addProperty(name string) {
	if s != nil {
		s.properties[name] = struct{}{}
	}
}

func (s *seen) hasItem(i int) bool {
	_, ok := s.items[i]
	return ok || i < s.first
}

func (s *seen) hasProperty(name string) bool {
	_, ok := s.properties[name]
	return ok
}
