package condition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the container image has no time zones of its own

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/framegate/framegate/internal/strictyaml"
)

// literals is the check of arguments that can be wrong although their type is right, such as a pattern. Each is the last of its function.
type literals struct{}

// literalRule is what holds for the last argument of one function.
type literalRule struct {
	check    func(string) error // its error continues `"..." of FUNCTION `
	required bool               // only a literal may stand there
}

// literalRules returns the rules by function. Patterns are literal because who chooses the pattern chooses the cost.
func literalRules() map[string]literalRule {
	zone := literalRule{checkZone, true}
	return map[string]literalRule{
		"matches":    {checkPattern, true},
		"in_network": {checkNetwork, false},

		"getFullYear": zone, "getMonth": zone, "getDayOfYear": zone, "getDayOfMonth": zone, "getDate": zone, "getDayOfWeek": zone,
		"getHours": zone, "getMinutes": zone, "getSeconds": zone, "getMilliseconds": zone,
	}
}

// Name is what CEL knows the check by.
func (literals) Name() string { return "framegate.literals" }

// Validate reports each wrong argument of a condition whose types are right.
func (literals) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	rules := literalRules()
	for _, found := range ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.CallKind)) {
		call := found.AsCall()
		rule, ruled := rules[call.FunctionName()]
		if !ruled || len(call.Args()) == 0 {
			continue
		}
		last := call.Args()[len(call.Args())-1]
		text, literal := "", last.Kind() == ast.LiteralKind
		if literal {
			text, literal = last.AsLiteral().Value().(string)
		}
		switch {
		case literal:
			if err := rule.check(text); err != nil {
				issues.ReportErrorAtID(last.ID(), "%s of %s %s", strconv.Quote(text), call.FunctionName(), err)
			}
		case rule.required:
			issues.ReportErrorAtID(last.ID(), "the last argument of %s is computed, want a string", call.FunctionName())
		}
	}
}

func checkPattern(text string) error {
	size, err := types.RegexProgramSize(text)
	if err != nil {
		return fmt.Errorf("is no pattern: %w, want the syntax of RE2", err)
	}
	if size > maxPattern {
		return fmt.Errorf("is a pattern of %d instructions, want at most %d: fewer or smaller counts in braces", size, maxPattern)
	}
	return nil
}

// checkZone wants what CEL understands: an offset, or a name of the time zone database.
func checkZone(text string) error {
	var err error
	if strings.Contains(text, ":") {
		_, err = time.Parse("-07:00", text)
	} else {
		_, err = time.LoadLocation(text)
	}
	if err != nil {
		return errors.New("is no time zone, want a form such as Europe/Berlin or +01:00")
	}
	return nil
}

func checkNetwork(text string) error {
	if _, err := strictyaml.ParseNetwork(text); err != nil {
		return fmt.Errorf("is no network: %w", err)
	}
	return nil
}
