package pattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// MaxSize is the most instructions that the compiled program of an RE2 may have. A text of n bytes costs at most n times as many steps;
// a plain word costs one instruction for each letter, \d{1,50} about a hundred.
const MaxSize = 1_000

// RE2 is a regular expression in the syntax of RE2, without backtracking.
type RE2 struct {
	*regexp.Regexp
	size int
}

// Compile compiles an RE2. An error names what RE2 does not know, or a program that is too large.
func Compile(text string) (*RE2, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, plain(err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, plain(err)
	}
	if size := len(program.Inst); size > MaxSize {
		return nil, fmt.Errorf("it compiles to %d instructions, want at most %d: repeat less, or split it", size, MaxSize)
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, plain(err)
	}
	return &RE2{compiled, len(program.Inst)}, nil
}

// Size is how many instructions the program has.
func (r *RE2) Size() int { return r.size }

// plain takes the package's words off an error.
func plain(err error) error {
	return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
}
