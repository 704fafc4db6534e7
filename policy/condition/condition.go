// Package condition compiles and evaluates conditions on handshakes and messages, written in CEL, the Common Expression Language
// (https://cel.dev):
//
//	"admin" in claims.groups || in_network(client.address, "10.0.0.0/8")
//
// What conditions may name stands in scope.go, what they may cost in cost.go, and which of their arguments are checked at load in literals.go.
// A condition has no effect and starts no goroutine; its only I/O is that named time zones are read from the machine's files where it has them.
package condition

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// Why a condition could not be evaluated. These are constants, since what CEL says may hold values of the request.
var (
	errCost  = errors.New("the condition was ended, it costs too much with these values")
	errTime  = errors.New("the condition was ended, it takes too long with these values")
	errValue = errors.New("the condition cannot be decided, a value is missing or is not what an operator or function wants")
)

// A Condition is one compiled condition. It is immutable and safe for concurrent use.
type Condition struct {
	program cel.Program
	tree    *ast.AST
	loops   bool
}

// Compile checks one condition and makes it ready: it is one expression of type bool, each variable and field in it exists, and it cannot cost
// much. The error names line and column, what is wrong there and what was wanted; it quotes the source.
func (s *Scope) Compile(source string) (*Condition, error) {
	if s.err != nil {
		return nil, s.err
	}
	if strings.TrimSpace(source) == "" {
		return nil, fmt.Errorf("is empty, want an expression of type bool over %s", s.names())
	}
	checked, issues := s.env.Compile(source)
	if issues.Err() != nil {
		return nil, s.explain(issues.Errors()[0])
	}
	if kind := checked.OutputType(); !kind.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("line 1, column 1: the whole is of type %s, want bool (a comparison, such as claims.admin == true)", cel.FormatCELType(kind))
	}
	if err := s.checkCost(checked); err != nil {
		return nil, err
	}
	return s.ready(checked)
}

// explain tells where a mistake is and, unless that is told already, what was wanted.
func (s *Scope) explain(first *cel.Error) error {
	// The rest of what CEL says is a drawing of the source.
	message, _, _ := strings.Cut(first.Message, "\n")
	if !strings.Contains(message, "want") {
		message += ", want an expression of type bool over " + s.names()
	}
	return fmt.Errorf("line %d, column %d: %s", max(first.Location.Line(), 1), max(first.Location.Column(), 0)+1, message)
}

// ready makes a program of a checked expression.
func (s *Scope) ready(checked *cel.Ast) (*Condition, error) {
	program, err := s.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(boundedPatterns()...),
		cel.CostLimit(maxCost), cel.InterruptCheckFrequency(interruptEvery))
	if err != nil {
		return nil, fmt.Errorf("making the condition ready: %w", err)
	}
	tree := checked.NativeRep()
	loops := ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.ComprehensionKind))
	return &Condition{program, tree, len(loops) > 0}, nil
}

// Reads says whether the condition looks at one field of an object among the variables, such as "json" of "message", so that who evaluates it
// need not provide what is costly and not looked at. It is meant for load time.
func (c *Condition) Reads(variable, field string) bool {
	for _, found := range ast.MatchDescendants(ast.NavigateAST(c.tree), ast.KindMatcher(ast.IdentKind)) {
		if found.AsIdent() != variable {
			continue
		}
		parent, ok := found.Parent()
		if !ok || parent.Kind() != ast.SelectKind || parent.AsSelect().FieldName() == field {
			return true
		}
	}
	return false
}

// Holds evaluates the condition over the variables of its Scope: plain maps, lists, strings, numbers and a time.Time, as declared there. A
// variable may also be a func() any that returns one; it is called at most once, and only if the condition gets to it. With an error, whose
// text is constant, the condition does not hold, and neither does its negation: a rule that cannot be decided has to deny.
func (c *Condition) Holds(vars map[string]any) (bool, error) {
	if !c.loops {
		return c.result(c.program.Eval(vars))
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	return c.result(c.program.ContextEval(ctx, vars))
}

// result reads what the evaluation returned.
func (c *Condition) result(value ref.Val, _ *cel.EvalDetails, err error) (bool, error) {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled), errors.Is(err, errCost):
		return false, errCost
	case errors.Is(err, interpreter.InterruptError{}):
		return false, errTime
	case err != nil:
		return false, errValue
	}
	holds, ok := value.Value().(bool)
	if !ok {
		return false, errValue
	}
	return holds, nil
}
