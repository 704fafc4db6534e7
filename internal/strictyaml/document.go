package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
)

// Document remembers where each value of a decoded file stands. It is complete in itself: several files may be decoded
// side by side. After Decode it is not changed any more.
type Document struct {
	file    string
	root    *node    // nil when the file could not be parsed
	secrets []string // what expansions yielded
	files   []string // that ${file:...} named

	warnings Errors
}

// Files lists the files that expansions have read, or could not.
func (d *Document) Files() []string { return d.files }

// File returns the name that was given to Decode.
func (d *Document) File() string { return d.file }

// At returns the position of the value at path, such as routes[0].policies[1], or of its longest prefix that is in the
// file. A key that is not plain is written as [Key] does; a plain dot in it is understood too.
func (d *Document) At(path string) Position {
	return d.find(path).value.at
}

// KeyAt is like At but returns the position of the key, where the value has one. It is the better place for a complaint
// about the entry as a whole, since the value of a block mapping begins on the next line.
func (d *Document) KeyAt(path string) Position {
	return d.find(path).at
}

// Errorf makes an error at the value of path. Arguments that came from an expansion, or hold a piece that did, are
// replaced: they may be secrets.
func (d *Document) Errorf(path, format string, args ...any) *Error {
	at := d.find(path).value
	hidden := make([]any, len(args))
	for i, arg := range args {
		hidden[i] = arg
		if d.leaks(at, arg) {
			hidden[i] = concealed{}
		}
	}
	return &Error{d.file, at.at.Line, at.at.Column, path, fmt.Sprintf(format, hidden...)}
}

// Report returns the callback that the package of a section uses to report mistakes by their path in that section. They
// are appended to errs, which the caller sorts in the end.
func (d *Document) Report(section string, errs *Errors) func(path, format string, args ...any) {
	return func(path, format string, args ...any) {
		*errs = append(*errs, d.Errorf(Join(section, path), format, args...))
	}
}

// concealed is printed by every verb as words that tell nothing.
type concealed struct{}

const expandedValue = "the expanded value"

func (concealed) Format(f fmt.State, _ rune) { fmt.Fprint(f, expandedValue) }

// shortSecret is the length below which a piece is too common to be looked for in arguments about other values.
const shortSecret = 4

// leaks tells whether arg may show a value that came from an expansion. At the expanded value itself it errs on the safe
// side: an error, which may quote any part, is not shown, nor is a part of the value.
func (d *Document) leaks(at *node, arg any) bool {
	text := fmt.Sprint(arg)
	if e := at.expansion; e != nil && e.expanded {
		if _, ok := arg.(error); ok || text != "" && strings.Contains(e.text, text) {
			return true
		}
		for _, piece := range e.pieces {
			if piece != "" && strings.Contains(text, piece) {
				return true
			}
		}
	}
	for _, secret := range d.secrets {
		if text == secret && secret != "" || len(secret) >= shortSecret && strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// find returns the last member of the longest prefix of path that is in the file.
func (d *Document) find(path string) member {
	if d.root == nil {
		at := Position{1, 1}
		return member{at: at, value: &node{at: at}}
	}
	found, _ := member{at: d.root.at, value: d.root}.find(path, "")
	return found
}

// find looks for path below m and also returns how much of path it found. The separator stands before a plain key.
func (m member) find(path, separator string) (member, int) {
	best, longest := m, 0
	try := func(child member, form string) {
		rest, ok := strings.CutPrefix(path, form)
		if !ok || rest != "" && rest[0] != '.' && rest[0] != '[' {
			return
		}
		if found, n := child.find(rest, "."); n+len(form) > longest {
			best, longest = found, n+len(form)
		}
	}
	for _, child := range m.value.fields {
		try(child, separator+child.key)
		try(child, Key("", child.key))
	}
	if digits, _, ok := strings.Cut(strings.TrimPrefix(path, "["), "]"); ok && decimal(digits) {
		if i, err := strconv.Atoi(digits); err == nil && i < len(m.value.items) {
			item := m.value.items[i]
			try(member{at: item.at, value: item}, index("", i))
		}
	}
	return best, longest
}

// Join appends the path within a section to the path of the section. Either may be empty.
func Join(section, path string) string {
	if section == "" || path == "" || path[0] == '[' {
		return section + path
	}
	return section + "." + path
}

// Key appends a key to a path: upstreams.chat, or upstreams["a.b"] for a key that is not plain.
func Key(path, key string) string {
	if key != "" && strings.IndexFunc(key, notPlain) < 0 {
		return Join(path, key)
	}
	return path + "[" + strconv.Quote(key) + "]"
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

func index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}
