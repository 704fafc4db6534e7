package schema

func (e *evaluation) checkObject(n *node, v map[string]any, seen *seen) bool {
	k := n.objects
	switch {
	case len(v) < k.least:
		return e.fail(n, "minProperties")
	case len(v) > k.most:
		return e.fail(n, "maxProperties")
	case !e.hasAll(v, k.required):
		return e.fail(n, "required")
	}
	for _, d := range k.dependent {
		if _, ok := v[d.ifThere]; ok && !e.hasAll(v, d.names) {
			return e.fail(n, "dependentRequired")
		}
	}
	if !e.checkProperties(n, v, seen) {
		return false
	}
	if k.patterns != nil || k.additional != nil || k.names != nil {
		for name, value := range v {
			if !e.checkMember(n, name, value, seen) {
				return false
			}
		}
	}
	for _, s := range k.schemas {
		if _, ok := v[s.name]; ok && !e.check(s.node, v, seen) {
			return false
		}
	}
	return true
}

func (e *evaluation) hasAll(v map[string]any, names []string) bool {
	if !e.spend(len(names)) {
		return false
	}
	for _, name := range names {
		if _, ok := v[name]; !ok {
			return false
		}
	}
	return true
}

func (e *evaluation) checkProperties(n *node, v map[string]any, seen *seen) bool {
	if !e.spend(len(n.objects.sorted)) {
		return false
	}
	for _, p := range n.objects.sorted {
		value, ok := v[p.name]
		if !ok {
			continue
		}
		if !e.check(p.node, value, nil) {
			return false
		}
		seen.addProperty(p.name)
	}
	return true
}

// checkMember applies what is not for one name.
func (e *evaluation) checkMember(n *node, name string, value any, seen *seen) bool {
	k := n.objects
	if k.names != nil && !e.check(k.names, name, nil) {
		return e.fail(n, "propertyNames")
	}
	_, evaluated := k.properties[name]
	for _, p := range k.patterns {
		if !e.matches(p.pattern, name) {
			if e.steps < 0 {
				return false
			}
			continue
		}
		if !e.check(p.node, value, nil) {
			return false
		}
		evaluated = true
		seen.addProperty(name)
	}
	if !evaluated && k.additional != nil {
		if k.additional.never {
			return e.fail(n, "additionalProperties")
		}
		if !e.check(k.additional, value, nil) {
			return false
		}
		seen.addProperty(name)
	}
	return e.spend(1)
}
