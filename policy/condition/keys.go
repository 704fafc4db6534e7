package condition

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Keys lists the keys of a map, such as headers of request, that the condition looks at, sorted. Where it may look at others too, all is true.
func (c *Condition) Keys(variable, field string) (keys []string, all bool) {
	for _, found := range ast.MatchDescendants(ast.NavigateAST(c.tree), ast.KindMatcher(ast.IdentKind)) {
		if found.AsIdent() != variable {
			continue
		}
		object, ok := found.Parent()
		if !ok || object.Kind() != ast.SelectKind {
			return nil, true
		}
		if object.AsSelect().FieldName() != field {
			continue
		}
		key, ok := keyIn(object)
		if !ok {
			return nil, true
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return slices.Compact(keys), false
}

// keyIn returns the key of a map that the expression around it looks at: m["key"], m.key, has(m.key) or "key" in m.
func keyIn(m ast.NavigableExpr) (key string, ok bool) {
	parent, ok := m.Parent()
	if !ok {
		return "", false
	}
	switch parent.Kind() {
	case ast.SelectKind:
		return parent.AsSelect().FieldName(), true
	case ast.CallKind:
		call := parent.AsCall()
		args := call.Args()
		switch {
		case len(args) != 2:
		case call.FunctionName() == operators.Index && args[0].ID() == m.ID():
			return literal(args[1])
		case call.FunctionName() == operators.In && args[1].ID() == m.ID():
			return literal(args[0])
		}
	}
	return "", false
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().Value().(string)
	return text, ok
}
