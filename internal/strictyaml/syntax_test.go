package strictyaml

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSyntaxErrors(t *testing.T) {
	const (
		value  = "want a value here; quote it, or close the list or mapping before"
		key    = "want a key here; correct the indentation or quote the value before"
		colon  = "a second colon in this line; quote the value or correct the indentation"
		list   = "this list is not closed, or an entry in it must be quoted"
		braces = "a value that holds ${...} must be quoted between [ ] or { }"
		star   = "a value that begins with * or & must be quoted"
	)
	for text, want := range map[string]string{
		"listeners:\n  - address: x\n   tls: {}\n": "f:3:4: want an entry of the list, which begins with -; correct the indentation",
		"a: 1\nb:\n  c: 2\n d: 3\n":                "f:4:2: " + key,
		"a: 1\nb: 'x' y\n":                         "f:2:8: " + key,
		"a: 1\n- b\n":                              "f:2:1: " + key,
		"a: 1\nb: [1, 2\nc: 3\nd: 4\n":             "f:2:4: " + list,
		"b: [1, 2\n":                               "f:1:4: " + list,
		"a: 1\nb: {x: 1\nc: 3\n":                   "f:2:4: this mapping is not closed, or a value in it must be quoted",
		"a: 1\nb: {x: ${V}}\n":                     "f:2:4: " + braces,
		"a: 1\nb: [ ${V} ]\n":                      "f:2:4: " + braces,
		"a: 1\nb: \"abc\nc: 3\nd: 4\n":             "f:2:4: this quote is not closed",
		"a: 'x":                                    "f:1:4: this quote is not closed",
		"a: 1\nb: x: y\n":                          "f:2:5: " + colon,
		"a: x: y\n":                                "f:1:5: " + colon,
		"a: 1\n\tb: 2\n":                           "f:2:1: a tab cannot indent, use spaces",
		"a:\n\tb: 2\n":                             "f:2:1: a tab cannot indent, use spaces",
		"a:\n  \tb: 2\n  \tc: 3":                   "f:2:3: a tab cannot indent, use spaces",
		"a:\n  - x\n\t- y\n":                       "f:3:1: a tab cannot indent, use spaces",
		"a: 1\nhosts: [*.example.com]\n":           "f:2:9: " + star,
		"a: 1\nhosts:\n  - *.example.com\n":        "f:3:5: " + star,
		"a: 1\nb: *nope\n":                         "f:2:4: there is no anchor of this name; a value that begins with * must be quoted",
		"b: *nope\n":                               "f:1:4: there is no anchor of this name; a value that begins with * must be quoted",
		"a: 1\nb: @x\n":                            "f:2:4: a value cannot begin with this character; quote it",
		"b: `x\n":                                  "f:1:4: a value cannot begin with this character; quote it",
		"a: 1\nfoo\nb: 2\n":                        "f:2:1: want a key followed by a colon and a space",
		"a: 1\n# c\n\nfoo\n# e\n# f\nb: 2\n":       "f:4:1: want a key followed by a colon and a space",
		"a: 1\r\nb: 2\r\nfoo\r\nc: 3\r\n":          "f:3:1: want a key followed by a colon and a space",
		"a: 1\nb: \"\\q\"\n":                       "f:2:5: found unknown escape character",
		"a: 1\nb: !x!y z\n":                        "f:2:4: found undefined tag handle",
		"a: 1\n]\n":                                "f:2:1: " + key,
		"a: 1\nb: ]\n":                             "f:2:4: " + value,
		"version: 1\n...\nb: 2\n":                  "f:3:1: did not find expected <document start>",
		"%YAML 3.0\n---\na: 1\n":                   "f:1:1: found incompatible YAML document",
		"version: 1\n---\nversion: 2\n":            "f:2:1: a second document begins here, want one document in the file",
		"version: 1\n---\n":                        "f:2:1: a second document begins here, want one document in the file",
		"version: 1\n---\na: [\n":                  "f:4:1: " + value,
		"version: 1\n...\n":                        "",
		"":                                         "f:1:1: the file is empty",
		"\n# only a comment\n":                     "f:1:1: the file is empty",
		"---\n":                                    "f:1:1: the file is empty",
		"null\n":                                   "f:1:1: the file is empty",
		"{}\n":                                     "f:1:1: version: this required key is missing",
		strings.Repeat("[", 20000):                 "f:1:10001: exceeded max depth of 10000",
	} {
		if got := mistakes(text); got != want {
			t.Errorf("%.60q\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestSource(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\nb: é\xff\n":           "f:2:5: byte 0xff is not UTF-8, the file must be UTF-8",
		"\xff\xfea\x00:\x00":         "f:1:1: byte 0xff is not UTF-8, the file must be UTF-8",
		"a: 1\nb: \x00\n":            "f:2:4: control character U+0000",
		"a: \x1b[31m\n":              "f:1:4: control character U+001B",
		"a: \x7f\n":                  "f:1:4: control character U+007F",
		"# a\u0085b: 1\n":            "f:1:4: control character U+0085",
		"# a\u2028b: 1\n":            "f:1:4: invisible character U+2028",
		"# a\u2029b: 1\n":            "f:1:4: invisible character U+2029",
		"a: 1\n\ufeffb: 1\n":         "f:2:1: invisible character U+FEFF",
		"# a\rb: 1\n":                "f:1:4: carriage return without a line feed",
		"a: 1\r":                     "f:1:5: carriage return without a line feed",
		strings.Repeat("a", 4<<20+1): "f:1:1: the file is larger than 4MiB",
	} {
		same(t, text[:min(len(text), 20)], mistakes(text), want)
	}
}

func TestPositionsCountCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeffversion: x\n":                               `f:1:10: version: want a whole number, not "x"`,
		"\ufeff# é\r\nversion:\r\n  x\r\n":                 `f:3:3: version: want a whole number, not "x"`,
		"version: 1\nlabels: {é: ü, ß: [ä]}\n":             `f:2:19: labels["ß"]: want text, not a list`,
		"version:\tx\n":                                    `f:1:10: version: want a whole number, not "x"`,
		"version: 1\nlog:\n  level: |\n    a\n":            `f:3:10: log.level: want one of debug, info, not "a\n"`,
		"version: 1\nlog:\n  level:\n\n    \"a\n    b\"\n": `f:5:5: log.level: want one of debug, info, not "a b"`,
	} {
		same(t, text, mistakes(text), want)
	}
}

// The exact marks come out of yaml.v3's private state. This fails when a new version keeps them elsewhere; Decode then
// still works, with the line that the error names.
func TestMarkReadsTheParser(t *testing.T) {
	for text, c := range map[string]struct {
		event, opened bool
		want          Position
	}{
		"a: 1\nb: [c\nd: e\n":   {false, false, Position{3, 2}},
		"a: 1\nb: [c\nd: f\n":   {false, true, Position{2, 4}},
		"a: 1\nb: [c, *none]\n": {true, false, Position{2, 8}},
	} {
		dec := yaml.NewDecoder(strings.NewReader(text))
		if _, err := next(dec); err == nil {
			t.Fatal("no error")
		}
		if at, ok := mark(dec, c.event, c.opened); !ok || at != c.want {
			t.Errorf("%q: %v, %v", text, at, ok)
		}
	}
}

func TestExplainWithoutMarks(t *testing.T) {
	src := newSource([]byte("a: 1\nb: 2\n"))
	at, message := explain(src, new(yaml.Decoder), errors.New("yaml: line 2: out of order"))
	if at != (Position{2, 1}) || message != "out of order" {
		t.Errorf("%v %s", at, message)
	}
	at, message = explain(src, new(yaml.Decoder), errors.New("yaml: out of order"))
	if at != (Position{1, 1}) || message != "out of order" {
		t.Errorf("%v %s", at, message)
	}
}

func TestSourceLine(t *testing.T) {
	src := newSource([]byte("\ufeffa\r\n\nc"))
	for n, want := range map[int]string{1: "a", 2: "", 3: "c", 4: "", 9: ""} {
		if got := src.line(n); !bytes.Equal(got, []byte(want)) {
			t.Errorf("line %d is %q", n, got)
		}
	}
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("internal error: please report") }

func TestParserPanicIsAnError(t *testing.T) {
	_, err := next(yaml.NewDecoder(panics{}))
	if err == nil || err.Error() != "the YAML parser cannot read this: internal error: please report" {
		t.Error(err)
	}
}
