package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// parse returns the root node of the only document in the file, or reports why there is none and returns nil.
func parse(src source, c *collector) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(src.text))
	doc, err := next(dec)
	switch {
	case errors.Is(err, io.EOF):
		c.add(Position{1, 1}, "", "the file is empty")
		return nil
	case err != nil:
		at, message := explain(src, dec, err)
		c.add(at, "", message)
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == nullTag {
		c.add(Position{1, 1}, "", "the file is empty")
		return nil
	}
	switch second, err := next(dec); {
	case errors.Is(err, io.EOF):
	case err != nil:
		at, message := explain(src, dec, err)
		c.add(at, "", message)
	default:
		c.add(Position{second.Line, second.Column}, "", "a second document begins here, want one document in the file")
	}
	return root
}

// next parses one document. The parser is known to panic on rare combinations of comments, and a configuration that is
// reloaded at run time must not bring the process down.
func next(dec *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML parser cannot read this: %v", p)
		}
	}()
	doc = new(yaml.Node)
	return doc, dec.Decode(doc)
}

// hint is a row of the table of the parser's own words and what they mean in a configuration file. The first row whose
// words are in the error applies. Where opened is set, the place where the construct begins tells more than the place
// where the parser gave up.
type hint struct {
	words   string
	opened  bool
	message string
}

func hints() []hint {
	return []hint{
		{"violates indentation", false, tabMessage},
		{"alphabetic or numeric character", true, "a value that begins with * or & must be quoted"},
		{"unknown anchor", false, "there is no anchor of this name; a value that begins with * must be quoted"},
		{"expected ',' or ']'", true, "this list is not closed, or an entry in it must be quoted"},
		{"expected ',' or '}'", true, "this mapping is not closed, or a value in it must be quoted"},
		{"unexpected end of stream", true, "this quote is not closed"},
		{"mapping values are not allowed", false, "a second colon in this line; quote the value or correct the indentation"},
		{"could not find expected ':'", true, "want a key followed by a colon and a space"},
		{"cannot start any token", false, "a value cannot begin with this character; quote it"},
		{"expected node content", false, "want a value here; quote it, or close the list or mapping before"},
		{"expected key", false, "want a key here; correct the indentation or quote the value before"},
		{"expected '-' indicator", false, "want an entry of the list, which begins with -; correct the indentation"},
	}
}

const tabMessage = "a tab cannot indent, use spaces"

// explain turns an error of the parser into a position and a message.
func explain(src source, dec *yaml.Decoder, err error) (Position, string) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	at := Position{1, 1}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		at.Line, _ = strconv.Atoi(m[1])
	}
	var found hint
	for _, h := range hints() {
		if strings.Contains(message, h.words) {
			found, message = h, h.message
			break
		}
	}
	if exact, ok := mark(dec, found.words == "unknown anchor", found.opened); ok {
		at = exact
	}
	at = src.within(at)
	line := src.line(at.Line)
	blank := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	if i := bytes.IndexByte(blank, '\t'); i >= 0 {
		return Position{at.Line, i + 1}, tabMessage
	}
	if strings.HasPrefix(found.words, "expected ','") && bytes.Contains(line, []byte("${")) {
		message = "a value that holds ${...} must be quoted between [ ] or { }"
	}
	return at, message
}

// mark reads from the parser where the error is. yaml.v3 puts no column into its errors, and in many of them the line of
// the enclosing block, one off. Its state has both exactly; should a later version keep it elsewhere, mark reports false.
func mark(dec *yaml.Decoder, atEvent, opened bool) (Position, bool) {
	outer := reflect.ValueOf(dec).Elem().FieldByName("parser")
	if outer.Kind() != reflect.Pointer {
		return Position{}, false
	}
	path := []string{"parser", "problem_mark"}
	switch {
	case atEvent:
		path = []string{"event", "start_mark"}
	case opened:
		path = []string{"parser", "context_mark"}
	}
	v := outer.Elem()
	for _, name := range path {
		if v.Kind() != reflect.Struct {
			return Position{}, false
		}
		v = v.FieldByName(name)
	}
	if v.Kind() != reflect.Struct {
		return Position{}, false
	}
	line, column := v.FieldByName("line"), v.FieldByName("column")
	if !line.CanInt() || !column.CanInt() {
		return Position{}, false
	}
	return Position{int(line.Int()) + 1, int(column.Int()) + 1}, true
}
