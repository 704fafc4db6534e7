package upstream

import "fmt"

// flaw says what is wrong with a value of the configuration: it continues a sentence such as `server "..." `. Its arguments stay apart from its
// text, so that whoever prints the report can hide those that hold an expanded secret and still show the rest.
type flaw struct {
	format string
	args   []any
}

func flawf(format string, args ...any) *flaw { return &flaw{format, args} }

func (f *flaw) Error() string { return fmt.Sprintf(f.format, f.args...) }

// report reports the flaw of a value; subject says what the value is, for example "server".
func (f *flaw) report(report Report, path, subject, value string) {
	report(path, subject+" %q "+f.format, append([]any{value}, f.args...)...)
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
