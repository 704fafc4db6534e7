package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The tests of this file read the sources of the whole module and hold them against the architecture: who may import whom, which
// packages do no I/O, and a few rules of style that no tool knows. They read every file, whatever its build constraints.

const archModule = "github.com/framegate/framegate/"

// archImports says for each package which others of this module its own code may import (tests may import more). A new package
// needs a row: an import that stands in none is a decision to be made here, in the open.
//
// The rule behind it: cmd -> proxy, policy, tlsmgr, ratelimit; proxy -> its sub-packages, policy, ratelimit, tlsmgr (a listener is
// an address and its certificates, and one struct describes the file: see proxy/doc.go); reactor and stream ->
// relay -> frame. In the line ratelimit, policy, tlsmgr, upstream each may use what stands left of it. Whatever is pure uses only
// what is pure, and nothing imports proxy but cmd.
func archImports() map[string][]string {
	return map[string][]string{
		"cmd/framegate":            {"cmd/framegate/demo", "cmd/framegate/policytest", "policy", "proxy", "ratelimit", "tlsmgr"},
		"cmd/framegate/demo":       {},
		"cmd/framegate/policytest": {"policy", "policy/jwt", "proxy"},
		"proxy": {
			"policy", "policy/jwks", "policy/jwt", "policy/message", "policy/rates", "policy/revocation", "ratelimit", "tlsmgr", "proxy/connectbit", "proxy/frame", "proxy/handshake", "proxy/reactor", "proxy/relay", "proxy/stream", "proxy/upstream",
		},
		"proxy/connectbit":         {},
		"proxy/reactor":            {"proxy/frame", "proxy/relay"},
		"proxy/stream":             {"proxy/frame", "proxy/relay"},
		"proxy/relay":              {"proxy/frame"},
		"proxy/frame":              {},
		"proxy/handshake":          {},
		"proxy/upstream":           {"policy", "policy/outbound", "ratelimit", "tlsmgr", "proxy/frame", "proxy/handshake", "proxy/upstream/discovery", "proxy/upstream/health"},
		"proxy/upstream/discovery": {},
		"proxy/upstream/health":    {"proxy/frame", "proxy/handshake"},
		"tlsmgr":                   {"policy", "policy/outbound", "ratelimit"},
		"policy":                   {"policy/condition", "policy/forward", "policy/jwks", "policy/jwt", "policy/message", "policy/rates", "policy/revocation", "ratelimit"},
		"policy/condition":         {},
		"policy/forward":           {"policy/outbound"},
		"policy/jwks":              {"policy/jwt", "policy/outbound"},
		"policy/jwt":               {},
		"policy/message":           {"policy/condition", "policy/operation", "policy/pattern", "policy/rates", "policy/schema"},
		"policy/operation":         {},
		"policy/outbound":          {},
		"policy/pattern":           {},
		"policy/rates":             {"ratelimit"},
		"policy/revocation":        {"ratelimit"},
		"policy/schema":            {"policy/pattern"},
		"ratelimit":                {},
	}
}

const (
	archLeaf = "internal/strictyaml" // every package may import it, it imports none
	archInit = "proxy/connectbit"    // is nothing but an init function

	archMaxLines = 600
)

// archTestsOnly tells whether a package is test support: only tests import it, and it may import what is pure.
func archTestsOnly(dir string) bool { return strings.HasPrefix(dir, "internal/") && dir != archLeaf }

// archPure lists the packages that do no I/O, start no goroutine and read no clock, each with the imports that would otherwise be
// forbidden to it.
func archPure() map[string][]string {
	return map[string][]string{
		"proxy/frame":      {},
		"proxy/handshake":  {"net/http"}, // for the Request that it parses
		"proxy/relay":      {},
		"policy/jwt":       {"context"}, // which it hands to Keys
		"policy/message":   {},
		"policy/operation": {},
		"policy/pattern":   {},
		"policy/rates":     {},
		"policy/schema":    {},
	}
}

// source is one parsed Go file.
type source struct {
	name  string // path inside the module
	dir   string
	test  bool
	lines int
	tree  *ast.File
	set   *token.FileSet
}

func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(pos).Line)
}

// imports returns the import paths of s.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.tree.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

// archSources parses every Go file of the module at fsys, without nested modules and what belongs to no module.
func archSources(fsys fs.FS) ([]source, error) {
	var sources []source
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return archSkipDir(fsys, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		sources = append(sources, source{
			name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(text, []byte("\n")), tree: tree, set: set,
		})
		return nil
	})
	return sources, err
}

func archSkipDir(fsys fs.FS, name string) error {
	base := path.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// archFindings returns every breach in sources, one line each.
func archFindings(sources []source) []string {
	var findings []string
	for _, s := range sources {
		findings = append(findings, archDirection(s)...)
		findings = append(findings, archPurity(s)...)
		findings = append(findings, archShape(s)...)
	}
	return findings
}

// archDirection checks which packages of this module s imports.
func archDirection(s source) []string {
	var findings []string
	allowed, known := archImports()[s.dir]
	if s.dir == archLeaf {
		known = true
	} else if archTestsOnly(s.dir) {
		allowed, known = append(slices.Sorted(maps.Keys(archPure())), archInit), true
	}
	if !known && !strings.HasPrefix(s.dir, "examples/") {
		findings = append(findings, fmt.Sprintf("%s: package %s has no row in archImports", s.name, s.dir))
	}
	for _, imported := range s.imports() {
		target, ours := strings.CutPrefix(imported, archModule)
		if !ours || target == s.dir {
			continue
		}
		switch {
		case target == archLeaf && !archTestsOnly(s.dir):
		case strings.HasPrefix(target, "cmd/") && !strings.HasPrefix(s.dir, "cmd/"),
			target == "proxy" && strings.HasPrefix(s.dir, "proxy/"):
			findings = append(findings, fmt.Sprintf("%s: %s must not import %s, not even in a test", s.name, s.dir, target))
		case s.test:
		case archTestsOnly(target):
			findings = append(findings, fmt.Sprintf("%s: only tests may import %s", s.name, target))
		case known && !slices.Contains(allowed, target):
			findings = append(findings, fmt.Sprintf("%s: %s must not import %s", s.name, s.dir, target))
		}
	}
	return findings
}

// archPurity checks that s does no I/O, starts no goroutine and reads no clock, if its package is pure.
func archPurity(s source) []string {
	excepted, pure := archPure()[s.dir]
	if !pure || s.test {
		return nil
	}
	var findings []string
	for _, imported := range s.imports() {
		if archDoesIO(imported) && !slices.Contains(excepted, imported) {
			findings = append(findings, fmt.Sprintf("%s: %s is pure and must not import %s", s.name, s.dir, imported))
		}
	}
	ast.Inspect(s.tree, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			findings = append(findings, s.at(node.Pos())+": a pure package starts no goroutine")
		case *ast.SelectorExpr:
			if archImpureSelector(s, node) {
				findings = append(findings, fmt.Sprintf("%s: a pure package does not use %s", s.at(node.Pos()), node.Sel.Name))
			}
		}
		return true
	})
	return findings
}

// archDoesIO tells whether a package outside this module gives its user files, sockets, processes, clocks, logs or randomness.
func archDoesIO(imported string) bool {
	switch imported {
	case "net/netip", "net/url", "net/textproto":
		return false
	case "context", "crypto/rand", "crypto/tls", "embed", "io/fs", "io/ioutil", "net", "os", "path/filepath", "plugin", "runtime",
		"syscall", "unsafe":
		return true
	}
	first, _, _ := strings.Cut(imported, "/")
	return slices.Contains([]string{"os", "net", "log", "runtime", "database"}, first) ||
		strings.HasPrefix(imported, "math/rand") || strings.HasPrefix(imported, "golang.org/x/sys") ||
		strings.HasPrefix(imported, "golang.org/x/net")
}

// archImpureSelector tells whether node uses what an allowed package should not be used for.
func archImpureSelector(s source, node *ast.SelectorExpr) bool {
	name := node.Sel.Name
	if on, ok := node.X.(*ast.Ident); ok {
		switch on.Name {
		case "time":
			return slices.Contains([]string{
				"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "LoadLocation", "Local",
			}, name)
		case "http":
			return slices.Contains([]string{
				"Client", "Transport", "Server", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "Serve",
				"ServeTLS", "ListenAndServe", "ListenAndServeTLS", "Error", "FileServer", "ServeFile",
			}, name)
		}
	}
	// The methods of rate.Limiter that read the clock themselves; their twins with an N are told the time.
	return slices.Contains(s.imports(), "golang.org/x/time/rate") &&
		slices.Contains([]string{"Allow", "Reserve", "Wait", "WaitN", "Tokens", "SetLimit", "SetBurst"}, name)
}

// archShape checks what no tool does: sizes, names, and that nothing happens before main.
func archShape(s source) []string {
	var findings []string
	if s.lines > archMaxLines {
		findings = append(findings, fmt.Sprintf("%s: %d lines, want at most %d", s.name, s.lines, archMaxLines))
	}
	for _, name := range []string{path.Base(s.dir), strings.TrimSuffix(s.tree.Name.Name, "_test")} {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}, name) {
			findings = append(findings, fmt.Sprintf("%s: a package called %s says nothing about what it is for", s.name, name))
		}
	}
	for _, declaration := range s.tree.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if ok && function.Recv == nil && function.Name.Name == "init" && s.dir != archInit {
			findings = append(findings, s.at(function.Pos())+": no init functions")
		}
	}
	return findings
}

func TestArchitecture(t *testing.T) {
	sources, err := archSources(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(sources, func(s source) bool { return s.name == "cmd/framegate/arch_test.go" }) {
		t.Fatalf("read %d files, and this one is not among them", len(sources))
	}
	for _, finding := range archFindings(sources) {
		t.Error(finding)
	}
}

// TestArchitectureRules shows that each rule can fail.
func TestArchitectureRules(t *testing.T) {
	importing := func(paths ...string) string {
		text := "package p\n"
		for _, p := range paths {
			text += fmt.Sprintf("import _ %q\n", strings.Replace(p, "fg/", archModule, 1))
		}
		return text
	}
	long := "package p\n" + strings.Repeat("\n", archMaxLines)
	tests := []struct {
		file, text, want string // want "" for none
	}{
		{"cmd/framegate/x.go", importing("fg/proxy", "fg/policy", "fg/tlsmgr", "fg/ratelimit", "fg/cmd/framegate/demo"), ""},
		{"cmd/framegate/x.go", importing("fg/proxy/relay"), "must not import proxy/relay"},
		{"cmd/framegate/demo/x.go", importing("fg/proxy"), "must not import proxy"},
		{"proxy/x.go", importing("fg/proxy/stream", "fg/policy", "fg/ratelimit", "fg/internal/strictyaml"), ""},
		{"proxy/x.go", importing("fg/tlsmgr"), ""},
		{"proxy/x.go", importing("fg/cmd/framegate/demo"), "not even in a test"},
		{"proxy/stream/x.go", importing("fg/proxy/relay", "fg/proxy/frame"), ""},
		{"proxy/stream/x.go", importing("fg/proxy/handshake"), "must not import proxy/handshake"},
		{"proxy/stream/x.go", importing("fg/proxy"), "not even in a test"},
		{"proxy/stream/x_test.go", importing("fg/proxy"), "not even in a test"},
		{"proxy/stream/x_test.go", importing("fg/proxy/handshake", "fg/internal/wstest"), ""},
		{"proxy/relay/x.go", importing("fg/proxy/frame", "time", "golang.org/x/time/rate"), ""},
		{"proxy/relay/x.go", importing("fg/proxy/stream"), "must not import proxy/stream"},
		{"proxy/frame/x.go", importing("fg/proxy/relay"), "must not import proxy/relay"},
		{"proxy/upstream/x.go", importing("fg/proxy/frame", "fg/tlsmgr"), ""},
		{"proxy/upstream/x.go", importing("fg/proxy/relay"), "must not import proxy/relay"},
		{"policy/x.go", importing("fg/policy/jwt"), ""},
		{"policy/x.go", importing("fg/ratelimit"), ""},
		{"policy/x.go", importing("fg/policy/condition"), ""},
		{"policy/condition/x.go", importing("fg/policy"), "must not import policy"},
		{"policy/jwt/x.go", importing("fg/policy"), "must not import policy"},
		{"policy/jwt/x.go", importing("context", "crypto/rsa"), ""},
		{"policy/jwt/x.go", importing("os"), "must not import os"},
		{"policy/message/x.go", importing("fg/policy/schema", "fg/policy/pattern", "fg/policy/condition", "fg/policy/rates"), ""},
		{"policy/message/x.go", importing("fg/policy"), "must not import policy"},
		{"policy/message/x.go", importing("os"), "must not import os"},
		{"policy/schema/x.go", importing("fg/policy/message"), "must not import policy/message"},
		{"ratelimit/x.go", importing("fg/policy"), "must not import policy"},
		{"ratelimit/x.go", importing("fg/tlsmgr"), "must not import tlsmgr"},
		{"tlsmgr/x.go", importing("fg/internal/wstest"), "only tests may import"},
		{"tlsmgr/x_test.go", importing("fg/cmd/framegate/demo"), "not even in a test"},
		{"internal/strictyaml/x.go", importing("fg/policy"), "must not import policy"},
		{"internal/fakeacme/x.go", importing("fg/policy"), "must not import policy"},
		{"internal/transcript/x.go", importing("fg/proxy/relay", "fg/proxy/frame"), ""},
		{"proxy/relay/x.go", importing("fg/internal/transcript"), "only tests may import"},
		{"newthing/x.go", importing("fmt"), "no row in archImports"},
		{"examples/chat/x.go", importing("fmt"), ""},
		{"nested/go.mod", "module nested\n", ""},
		{"testdata/x.go", "this is not Go", ""},

		{"proxy/frame/x.go", importing("net"), "pure and must not import net"},
		{"proxy/frame/x.go", importing("net/netip", "encoding/binary", "github.com/gobwas/ws"), ""},
		{"proxy/frame/x.go", importing("net/http"), "must not import net/http"},
		{"proxy/handshake/x.go", importing("net/http", "net/url"), ""},
		{"proxy/handshake/x.go", importing("os"), "must not import os"},
		{"proxy/handshake/x.go", importing("crypto/rand"), "must not import crypto/rand"},
		{"proxy/relay/x.go", importing("log/slog"), "must not import log/slog"},
		{"proxy/relay/x.go", importing("math/rand/v2"), "must not import math/rand/v2"},
		{"proxy/relay/x_test.go", importing("os", "math/rand/v2"), ""},
		{"proxy/stream/x.go", importing("net", "os"), ""},
		{"proxy/relay/x.go", "package p\nfunc f() { go f() }\n", "x.go:2: a pure package starts no goroutine"},
		{"proxy/stream/x.go", "package p\nfunc f() { go f() }\n", ""},
		{"proxy/relay/x.go", "package p\nimport \"time\"\nvar now = time.Now\n", "x.go:3: a pure package does not use Now"},
		{"proxy/relay/x.go", "package p\nimport \"time\"\nfunc f() { <-time.After(1) }\n", "does not use After"},
		{"proxy/relay/x.go", "package p\nimport \"time\"\nfunc f(a, b time.Time) bool { return a.After(b) }\n", ""},
		{"proxy/handshake/x.go", "package p\nimport \"net/http\"\nfunc f() { http.Get(\"\") }\n", "does not use Get"},
		{
			"proxy/relay/x.go",
			"package p\nimport \"golang.org/x/time/rate\"\nfunc f(l *rate.Limiter) bool { return l.Allow() }\n", "does not use Allow",
		},
		{"proxy/x.go", long, "want at most 600"},
		{"proxy/x.go", strings.TrimSuffix(long, "\n"), ""},
		{"proxy/x.go", "package p\nfunc init() {}\n", "x.go:2: no init functions"},
		{"proxy/x.go", "package p\ntype t int\nfunc (t) init() {}\n", ""},
		{"internal/util/x.go", "package util\n", "a package called util"},
		{"internal/things/x.go", "package common\n", "a package called common"},
	}
	for _, test := range tests {
		fsys := fstest.MapFS{test.file: {Data: []byte(test.text)}}
		if strings.HasSuffix(test.file, "go.mod") {
			fsys[path.Join(path.Dir(test.file), "x.go")] = &fstest.MapFile{Data: []byte(importing("fg/proxy"))}
		}
		sources, err := archSources(fsys)
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		findings := archFindings(sources)
		switch {
		case test.want == "" && len(findings) > 0:
			t.Errorf("%s with %q: %q, want none", test.file, test.text, findings)
		case test.want != "" && !slices.ContainsFunc(findings, func(f string) bool { return strings.Contains(f, test.want) }):
			t.Errorf("%s with %.80q: %q, want one with %q", test.file, test.text, findings, test.want)
		}
	}
}
