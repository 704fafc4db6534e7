// Package policytest tests policies: it reads files of requests and of what is
// expected of them, asks the compiled policies of a configuration, and reports
// where they disagree. No gateway runs, and nothing is sent anywhere: tokens are
// signed with keys made on the spot, and what a forward_auth service answers
// stands in the test.
package policytest

import (
	"os"
	"path/filepath"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy"
)

// File is a file of tests.
type File struct {
	Version int    `yaml:"version" required:"true" min:"1" max:"1" doc:"Version of this format; always 1."`
	Config  string `yaml:"config" default:"gateway.yaml" doc:"The configuration whose policies are tested, relative to this file."`
	Tests   []Test `yaml:"tests" required:"true" min:"1" doc:"The tests; each begins with fresh limits."`
}

// Test is a request and what the policies should make of it.
type Test struct {
	Name        string             `yaml:"name" required:"true" doc:"What the test shows."`
	Policies    []string           `yaml:"policies" doc:"Policies that judge, instead of those of the request's route."`
	Request     Request            `yaml:"request" required:"true" doc:"The request."`
	Connections map[string]Request `yaml:"connections" doc:"Further connections, by name: handshakes that come behind the request, and must be admitted. They share its limits as they would in a gateway."`
	Messages    []Message          `yaml:"messages" doc:"Messages of the connection once it is admitted, or of the further ones, in their order."`
	Expect      Expect             `yaml:"expect" required:"true" doc:"What is expected. What is left out may be anything."`
}

// Expect is what a test demands of the outcome.
type Expect struct {
	Decision     string            `yaml:"decision" required:"true" enum:"admit,refuse" doc:"Whether the request may pass."`
	Status       int               `yaml:"status" min:"100" max:"599" doc:"The HTTP status: 101 for a handshake that is admitted, or that of the refusal."`
	Route        string            `yaml:"route" doc:"The route that the request finds."`
	Policy       string            `yaml:"policy" doc:"The policy that refuses."`
	Rule         string            `yaml:"rule" doc:"The rule that refuses."`
	WouldRefuse  []string          `yaml:"would_refuse" doc:"Rules of policies in shadow mode that would refuse, each as POLICY/RULE. Given as [] there must be none."`
	User         string            `yaml:"user" doc:"Who the client is found to be."`
	Headers      map[string]string `yaml:"headers" doc:"Header fields that the upstream gets; an empty value: that it does not get."`
	Query        *string           `yaml:"query" doc:"The query that the upstream gets."`
	Subprotocols []string          `yaml:"subprotocols" doc:"The subprotocols that the upstream is offered."`
}

// Read reads a file of tests and loads the configuration that it names. An
// error of the files' contents is a strictyaml.Errors.
func Read(name string, lookup func(string) (string, bool)) (*File, *strictyaml.Document, *proxy.Loaded, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, nil, err
	}
	f := &File{}
	doc, errs := strictyaml.Decode(name, data, lookup, f)
	names := map[string]int{}
	for i := range f.Tests {
		errs = append(errs, f.Tests[i].check(i, names, doc)...)
	}
	errs.Sort()
	if err := errs.Err(); err != nil {
		return nil, nil, nil, err
	}
	config := f.Config
	if !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	loaded, err := proxy.Load(config, lookup)
	return f, doc, loaded, err
}

// check returns the mistakes of a test that its types cannot tell.
func (t *Test) check(i int, names map[string]int, doc *strictyaml.Document) (errs strictyaml.Errors) {
	at := func(path, format string, args ...any) {
		errs = append(errs, doc.Errorf(strictyaml.Join(indexed("tests", i), path), format, args...))
	}
	if first, taken := names[t.Name]; taken && t.Name != "" {
		at("name", "%q is the name of tests[%d] already", t.Name, first)
	}
	names[t.Name] = i
	if t.Expect.Decision == "admit" && (t.Expect.Policy != "" || t.Expect.Rule != "") {
		at("expect", "a request that is admitted has no rule that refuses, want decision: refuse, or neither policy nor rule")
	}
	if len(t.Messages) > 0 && (t.Expect.Decision != "admit" || t.Request.plain()) {
		at("messages", "only a handshake that is admitted has messages")
	}
	for name, r := range t.Connections {
		path := strictyaml.Key("connections", name)
		r.check(func(key, format string, args ...any) { at(strictyaml.Join(path, key), format, args...) })
		if len(t.Messages) == 0 || r.plain() {
			at(path, "only a handshake before messages is a further connection")
		}
	}
	for n := range t.Messages {
		m := &t.Messages[n]
		m.check(func(path, format string, args ...any) {
			at(strictyaml.Join(indexed("messages", n), path), format, args...)
		})
		if _, ok := t.Connections[m.Connection]; !ok && m.Connection != "" {
			at(strictyaml.Join(indexed("messages", n), "connection"), "unknown connection %q, want a name of connections, or none for that of the request", m.Connection)
		}
	}
	t.Request.check(func(path, format string, args ...any) { at(strictyaml.Join("request", path), format, args...) })
	return errs
}
