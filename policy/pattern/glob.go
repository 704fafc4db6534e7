package pattern

import (
	"fmt"
	"strings"
)

// MaxGlob is the length of the longest Glob, in bytes.
const MaxGlob = 128

// Glob is a name in which * stands for any text, the empty one and one with slashes included. There are no other wildcards.
type Glob struct {
	text  string
	parts []string // between the stars
}

// CompileGlob compiles a name with stars. What other kinds of glob give a meaning is an error here: ? [ ] \ and two stars in a row.
func CompileGlob(text string) (Glob, error) {
	switch {
	case text == "":
		return Glob{}, fmt.Errorf("it is empty, want a name, or * for all")
	case len(text) > MaxGlob:
		return Glob{}, fmt.Errorf("it has %d bytes, want at most %d", len(text), MaxGlob)
	case strings.ContainsAny(text, `?[]\`):
		return Glob{}, fmt.Errorf("%q has another wildcard than *, want only that", text)
	case strings.Contains(text, "**"):
		return Glob{}, fmt.Errorf("%q has two stars in a row, want one", text)
	}
	return Glob{text, strings.Split(text, "*")}, nil
}

// String returns the text that was compiled.
func (g Glob) String() string { return g.text }

// Literal says that g has no star.
func (g Glob) Literal() bool { return len(g.parts) == 1 }

// Match says whether g matches the whole name. Its work is linear in the name's length, times the number of stars at most.
func (g Glob) Match(name string) bool {
	if g.Literal() {
		return name == g.text
	}
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	// The leftmost place for each part leaves the most room for those that follow, so nothing has to be tried twice.
	for _, part := range g.parts[1 : len(g.parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}
