package schema

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/framegate/framegate/policy/pattern"
)

const (
	maxFile  = 1 << 20 // bytes of one schema file
	maxNodes = 3_000   // schemas that one schema holds or refers to
	maxChain = 64      // schemas that are applied to the same value one inside the other

	// base is where the files seem to be. Nothing is ever read from there.
	base = "schema:///"
)

// Compiler compiles schemas out of a fixed set of files, which may refer to each other by name and to nothing else.
type Compiler struct {
	files *jsonschema.Compiler
	docs  documents
}

// NewCompiler returns a compiler without files.
func NewCompiler() *Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(refusing{})
	c.UseRegexpEngine(compilePattern)
	return &Compiler{c, documents{}}
}

// refusing is the loader for what is not among the files.
type refusing struct{}

func (refusing) Load(location string) (any, error) {
	return nil, fmt.Errorf("%q is not among the schema files that the configuration names", strings.TrimPrefix(location, base))
}

// Add makes a file known under its name. It must be one strict JSON value: no name twice in an object.
func (c *Compiler) Add(name string, content []byte) error {
	if len(content) > maxFile {
		return fmt.Errorf("it has %d bytes, want at most %d", len(content), maxFile)
	}
	var doc any
	if err := json.Unmarshal(content, &doc); err != nil {
		return fmt.Errorf("want strict JSON: %w", plain(err, content))
	}
	if err := c.files.AddResource(location(name), doc); err != nil {
		return explain(err)
	}
	c.docs[location(name)] = doc
	return nil
}

// plain adds the line to an error of the parser and takes its package's name off.
func plain(err error, content []byte) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		line := 1 + bytes.Count(content[:min(int(syntactic.ByteOffset), len(content))], []byte("\n"))
		return fmt.Errorf("line %d: %w", line, syntactic.Err)
	}
	return err
}

// location is the URL of a file, against which its references are resolved.
func location(name string) string {
	return base + (&url.URL{Path: strings.TrimPrefix(name, "/")}).EscapedPath()
}

// Compile compiles one of the files, which must all have been added.
func (c *Compiler) Compile(name string) (*Schema, error) {
	compiled, err := c.files.Compile(location(name))
	if err != nil {
		return nil, explain(err)
	}
	t := translation{docs: c.docs, nodes: map[*jsonschema.Schema]*node{}}
	root := t.node(compiled)
	if t.err == nil {
		t.err = checkChains(t.nodes)
	}
	if t.err != nil {
		return nil, t.err
	}
	return &Schema{root}, nil
}

// explain turns the library's error, which may have a line for each keyword, into one line without made-up URLs.
func explain(err error) error {
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if failure, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			for len(failure.Causes) > 0 {
				failure = failure.Causes[0]
			}
			err = fmt.Errorf("at #/%s: %s", strings.Join(failure.InstanceLocation, "/"), firstLine(failure.Error()))
			return err
		}
	}
	return errors.New(firstLine(strings.ReplaceAll(err.Error(), base, "")))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// compilePattern makes the library hold patterns of bounded size.
func compilePattern(text string) (jsonschema.Regexp, error) {
	return pattern.Compile(text)
}
