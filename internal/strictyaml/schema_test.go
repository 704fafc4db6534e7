package strictyaml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// compileSchema compiles the schema of v with an implementation that knows nothing of this package.
func compileSchema(t testing.TB, v any) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(v, "Sample", "https://example.com/sample.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://example.com/sample.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("https://example.com/sample.json") // also checks it against the meta-schema
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance is the value that an editor sees: a document under the core schema of YAML 1.2.
func instance(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return instance(n.Content[0])
	case yaml.AliasNode:
		return instance(n.Alias)
	case yaml.SequenceNode:
		items := []any{}
		for _, item := range n.Content {
			items = append(items, instance(item))
		}
		return items
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = instance(n.Content[i+1])
		}
		return m
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

func validate(t testing.TB, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return schema.Validate(instance(&n))
}

func TestSchemaGolden(t *testing.T) {
	type target struct {
		URL    string            `yaml:"url" required:"true" doc:"Where to send."`
		After  Duration          `yaml:"after" default:"5s" doc:"How long to wait."`
		Grace  Duration          `yaml:"grace" min:"0"`
		Sizes  []Size            `yaml:"sizes" min:"1"`
		Mode   string            `yaml:"mode" enum:"on,1.2" default:"on"`
		Count  int               `yaml:"count" min:"1" max:"9" default:"3"`
		Dry    bool              `yaml:"dry" default:"false"`
		Kinds  []string          `yaml:"kinds" enum:"a,b" default:"a,b"`
		Codes  []int8            `yaml:"codes" default:"1,-2"`
		Header map[string]string `yaml:"header" max:"8"`
		OnIdle *sampleCode       `yaml:"on_idle" doc:"What to send."`
		Tree   sampleTree        `yaml:"tree"`
	}
	got, err := Schema(&target{}, "A target", "https://example.com/target.json")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/schema.golden.json"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	same(t, golden, string(got)+"\n", string(want))
	for range 20 {
		again, err := Schema(target{}, "A target", "https://example.com/target.json")
		if err != nil || !bytes.Equal(again, got) {
			t.Fatal("the schema is not deterministic")
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for _, v := range []any{5, []sample{}, struct {
		A float64 `yaml:"a"`
	}{}} {
		if _, err := Schema(v, "", ""); err == nil {
			t.Errorf("a schema of %T", v)
		}
	}
}

func TestSchemaWithoutID(t *testing.T) {
	type empty struct{}
	got, err := Schema(empty{}, "Nothing", "")
	if err != nil || strings.Contains(string(got), "$id") || strings.Contains(string(got), "$defs") {
		t.Errorf("%v\n%s", err, got)
	}
}

// Two types of one name, and a type that holds itself, each get a definition of their own.
func TestSchemaDefinitions(t *testing.T) {
	var doc struct {
		Defs map[string]any `json:"$defs"`
	}
	text, err := Schema(struct {
		A sampleTree              `yaml:"a"`
		B map[string][]sampleTree `yaml:"b"`
		C struct {
			X int `yaml:"x"`
		} `yaml:"c"`
		D struct {
			Y int `yaml:"y"`
		} `yaml:"d"`
	}{}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"strictyaml.sampleTree", "section", "section-2"} {
		if doc.Defs[name] == nil {
			t.Errorf("%s is missing in %s", name, text)
		}
	}
	if len(doc.Defs) != 3 {
		t.Errorf("%d definitions", len(doc.Defs))
	}
}

// agreeText is a document with a value of every kind; the test puts other values into each of its places in turn.
const agreeText = `version: 1
listeners:
  - address: ":8443"
    tls: {certificates: off, versions: [1.2]}
    protocols: [h1]
routes:
  - name: chat
    hosts: [a]
    upstream: chat
    pass: true
    max_message: 1MiB
    idle_timeout: 5m
    rate: 50/s
    on_idle: {client: 4000, upstream: 1001}
  - {name: api, hosts: b}
upstreams:
  chat: {servers: [x], retry: [1s], weights: [1]}
labels: {a: b}
log: {level: info, format: json}
drain: {delay: 0s, window: 30s}
numbers: {i8: 1, u16: 1, low: 1}
tree: {leaf: a, sub: [{leaf: b}]}
`

// agreeValues are put into each place. Values that only the text of the file tells apart (0x10, "5" for 5, 5.0) are left
// out, and so are quantities other than zero that are outside of a field's bounds: the schema cannot see those.
func agreeValues() []string {
	return []string{
		"null", "true", "yes", "off", "5", "0", "-5", "4000", "100000", "1.2", "a", `""`, "'1.2'", "h2", "info", "5s", "0s", "5d", "-5s",
		"1.5h", "64KiB", "0B", "50/s", "[]", "[a]", "[h1, h2]", "[h1, h2, h1]", "[5s]", "[0s]", "[5]", "[null]", "[{}]", "[[a]]", "{}",
		"{a: b}", "{a: null}", "{client: 4000}", "{client: 5}", "{upstream: 4000}", "{level: info}", "{servers: [a]}", "{a: {servers: []}}",
		"{delay: 0s}", "{window: 0s}", "{leaf: a, sub: [{sub: []}]}", "{a: b, b: c, c: d, d: e}", "[{address: a, tls: null}]",
		"[{name: a, hosts: [b]}]", "[{name: a}]", "'$${A}'", "2024-01-01",
	}
}

func TestSchemaAgreesWithDecode(t *testing.T) {
	schema := compileSchema(t, sample{})
	if err := validate(t, schema, agreeText); err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(agreeText), &root); err != nil {
		t.Fatal(err)
	}
	pairs, accepted := 0, 0
	check := func(what string) {
		text, err := yaml.Marshal(&root)
		if err != nil {
			t.Fatal(err)
		}
		var s sample
		_, errs := Decode("f", text, vars, &s)
		invalid := schema.Validate(instance(&root))
		if (len(errs) == 0) != (invalid == nil) {
			t.Errorf("%s: Decode says %v, the schema says %v", what, errs, invalid)
		}
		pairs++
		if invalid == nil {
			accepted++
		}
	}
	walk(root.Content[0], "", func(n *yaml.Node, path string) {
		before := *n
		for _, value := range agreeValues() {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
				t.Fatal(err)
			}
			*n = *doc.Content[0]
			check(path + " = " + value)
		}
		*n = before
		if n.Kind == yaml.MappingNode { // leave out each key, and add one
			for i := 0; i < len(before.Content); i += 2 {
				n.Content = append(append([]*yaml.Node{}, before.Content[:i]...), before.Content[i+2:]...)
				check(path + " without " + before.Content[i].Value)
			}
			for _, key := range []string{"zzz", "$${A}", "<<x"} {
				n.Content = append(append([]*yaml.Node{}, before.Content...),
					&yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.ScalarNode, Value: "a"})
				check(path + " with " + key)
			}
			*n = before
		}
	})
	if pairs < 2000 || accepted < 300 {
		t.Errorf("only %d documents, %d of them accepted", pairs, accepted)
	}
}

// walk visits every value below n.
func walk(n *yaml.Node, path string, visit func(n *yaml.Node, path string)) {
	visit(n, path)
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			walk(child, fmt.Sprintf("%s[%d]", path, i), visit)
		case i%2 == 1:
			walk(child, Join(path, n.Content[i-1].Value), visit)
		}
	}
}

// Wherever a scalar is wanted an editor must accept one with an expansion in it, whose value it cannot know.
func TestSchemaAcceptsExpansions(t *testing.T) {
	schema := compileSchema(t, &sample{})
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(agreeText), &root); err != nil {
		t.Fatal(err)
	}
	places := 0
	walk(root.Content[0], "", func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode {
			return
		}
		before := *n
		for _, text := range []string{"${VAR}", "${VAR:-}", "x${VAR}", "a $$$${B} ${file:/run/secrets/x}y", "1${V}s"} {
			*n = yaml.Node{Kind: yaml.ScalarNode, Value: text}
			if err := schema.Validate(instance(&root)); err != nil {
				t.Errorf("%s: %s: %v", path, text, err)
			}
		}
		*n = before
		places++
	})
	if places < 25 {
		t.Errorf("only %d places", places)
	}
	for _, text := range []string{"version: $${VAR}\n", "version: ${VAR\n", "version: $VAR\n"} {
		if validate(t, schema, text) == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
