package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy"
)

var update = flag.Bool("update", false, "write "+schemaFile+" anew")

// schemaFile is what the modeline of gateway.yaml names: editors read it.
const schemaFile = "testdata/gateway.schema.json"

// The schema in the tree is that of the structs. After a change of the configuration: go test ./cmd/framegate -run TestSchema -update
func TestSchemaIsThatOfTheStructs(t *testing.T) {
	want, err := strictyaml.Schema(&proxy.Config{}, "Framegate configuration", schemaID)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not that of the structs any more: run go test ./cmd/framegate -run TestSchema -update", schemaFile)
	}
}

// validator is the schema as an editor has it: by an implementation that knows nothing of ours.
func validator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(schemaID) // also holds it against the meta-schema
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// The example is right for an editor too, and a mistake in it is one.
func TestSchemaOfTheExample(t *testing.T) {
	t.Parallel()
	schema := validator(t)
	example, err := os.ReadFile("../../gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := "# yaml-language-server: $schema=cmd/framegate/" + schemaFile + "\n"; !strings.HasPrefix(string(example), want) {
		t.Errorf("gateway.yaml does not begin with %q", want)
	}
	valid := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	if err := valid(string(example)); err != nil {
		t.Errorf("gateway.yaml: %v", err)
	}
	for old, by := range map[string]string{
		"version: 1":                 "version: 2",
		"upstream: app":              "upstreem: app",
		"certificates: internal":     "certificates: selfmade",
		"protocols: [h1]":            "protocols: [h9]",
		"max_connections: 10000":     "max_connections: 0",
		"hosts: [localhost]":         "hosts: []",
		"pings: relay ":              "pings: maybe ",
		"idle_timeout: 5m ":          "idle_timeout: 5 ",
		"ping_interval: 20s":         "ping_interval: -20s",
		"close_timeout: 5s":          "close_timeout: 5s\n    close_codes: {drain: 999}",
		"max_frame: 1MiB":            "max_frame: 1",
		"max_fragments: 1024":        "max_fragments: 0",
		"types: [text, binary]":      "types: [txt]",
		"level: info":                "level: loud",
		"drain: {delay: 5s":          "drain: {dealy: 5s",
		"hard_stop: 60s":             "hard_stop: 60",
		"servers: [":                 "server: [",
		"\nroutes:":                  "\nrotes:",
		"admin: {address: \"127.0.0": "admin: {adress: \"127.0.0",
	} {
		if strings.Count(string(example), old) != 1 {
			t.Errorf("%q is not once in gateway.yaml", old)
			continue
		}
		if valid(strings.Replace(string(example), old, by, 1)) == nil {
			t.Errorf("with %q the schema takes gateway.yaml", by)
		}
	}
}
