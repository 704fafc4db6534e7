package condition

import (
	"fmt"
	"regexp"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// What a condition may cost. The unit is CEL's step: a name looked up, or a simple call. Strings and lists cost by their length. A step takes
// about 50 ns.
const (
	maxSource = 16 << 10 // characters of a source
	maxDepth  = 64       // nested expressions, as CEL's parser counts them

	// maxEstimate bounds the steps of a condition with values of the sizes that scope.go assumes.
	maxEstimate = 100_000

	// maxCost bounds the steps of one evaluation, also with larger values.
	maxCost = 2 * maxEstimate

	// maxTime bounds what steps do not tell, such as a comparison of two large lists, which is one step. It is looked at in loops only, since
	// nothing else adds up.
	maxTime        = 250 * time.Millisecond
	interruptEvery = 16 // turns of loops between two looks at the time

	// maxPattern bounds a compiled pattern, in instructions, and maxMatch the product of those and a text's bytes: a match can take as many
	// steps, and nothing interrupts it. CEL's steps know only how long a pattern is written, and (a{200})* is short.
	maxPattern = 256
	maxMatch   = 4 << 20

	// zoneCost is the steps of finding a time zone in the machine's files.
	zoneCost = 500
)

// The sizes that are assumed of what scope.go does not name.
const (
	keySize     = 64 // characters of a key
	elementSize = 64 // characters, elements or entries of what is in a list or map in JSON
)

// checkCost refuses a condition that could cost too much with values of the sizes that are assumed.
func (s *Scope) checkCost(checked *cel.Ast) error {
	estimate, err := s.env.EstimateCost(checked, sizes{s.vars})
	if err != nil {
		return fmt.Errorf("estimating the cost: %w", err)
	}
	if estimate.Max > maxEstimate {
		return fmt.Errorf("line 1, column 1: the whole can cost %d steps, want at most %d: "+
			"no loop inside a loop over a claim or over JSON, no long pattern in a loop", estimate.Max, maxEstimate)
	}
	return nil
}

// sizes tells the estimate how large values are.
type sizes struct{ vars map[string]schema }

// EstimateCallCost leaves the cost of calls to CEL.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// EstimateSize returns the assumed size of a variable or of something in it.
func (s sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	v, ok := s.vars[path[0]]
	if !ok {
		return nil
	}
	if v, ok = v.at(path[1:]); !ok || v.size == 0 {
		return nil
	}
	return &cost.SizeEstimate{Max: v.size}
}

// zoneCosts makes each call that names a time zone cost what it takes to read it.
func zoneCosts() cel.EnvOption {
	var models []cost.OverloadModel
	for _, id := range []string{
		overloads.TimestampToYearWithTz, overloads.TimestampToMonthWithTz, overloads.TimestampToDayOfYearWithTz,
		overloads.TimestampToDayOfMonthZeroBasedWithTz, overloads.TimestampToDayOfMonthOneBasedWithTz, overloads.TimestampToDayOfWeekWithTz,
		overloads.TimestampToHoursWithTz, overloads.TimestampToMinutesWithTz, overloads.TimestampToSecondsWithTz,
		overloads.TimestampToMillisecondsWithTz,
	} {
		models = append(models, cost.MemberOverload(id, cost.EvalCost(cost.Const(zoneCost))))
	}
	return cel.CostModel(models...)
}

// boundedPatterns replaces CEL's matches, in both forms that it can be called in, by one that has the pattern compiled and does not begin what
// could take too long.
func boundedPatterns() []*interpreter.RegexOptimization {
	bounded := func(call interpreter.InterpretableCall, text string) (interpreter.InterpretableCall, error) {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, err
		}
		size, err := types.RegexProgramSize(text)
		if err != nil {
			return nil, err
		}
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			text, ok := args[0].Value().(string)
			if !ok {
				return types.NoSuchOverloadErr()
			}
			if len(text) > maxMatch/size {
				return types.WrapErr(errCost)
			}
			return types.Bool(pattern.MatchString(text))
		}), nil
	}
	return []*interpreter.RegexOptimization{
		{Function: overloads.Matches, OverloadID: overloads.Matches, RegexIndex: 1, Factory: bounded},
		{Function: overloads.Matches, OverloadID: overloads.MatchesString, RegexIndex: 1, Factory: bounded},
	}
}
