package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Lines and columns count from 1; a column counts characters, a tab is one.
type Position struct {
	Line, Column int
}

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int
	Path         string // such as routes[0].policies[1]; empty for the whole file
	Message      string
}

// Error prints the mistake in the form that editors and terminals turn into a link, file:line:column: path: message.
func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Path, e.Message)
}

// Errors is every mistake that was found, in the order of the file.
type Errors []*Error

// Error prints one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns e as an error, and an untyped nil when it is empty.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Sort puts the mistakes into the order of their files and positions. Those at one place stay in the order in which they
// were found.
func (e Errors) Sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// maxErrors keeps a file of garbage from filling a terminal, and from costing an edit distance for each of its lines.
const maxErrors = 100

// collector gathers the mistakes of one file.
type collector struct {
	file string
	errs Errors
}

func (c *collector) add(at Position, path, message string) {
	switch n := len(c.errs); {
	case n > maxErrors:
		return
	case n == maxErrors:
		path, message = "", fmt.Sprintf("more than %d mistakes, the rest is not shown", maxErrors)
	}
	c.errs = append(c.errs, &Error{File: c.file, Line: at.Line, Column: at.Column, Path: path, Message: message})
}

// quote shows a piece of the file in a message: escaped, so that it cannot steer a terminal, and cut.
func quote(s string) string {
	const limit = 60
	n := 0
	for i := range s {
		if n == limit {
			return fmt.Sprintf("%q...", s[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", s)
}
