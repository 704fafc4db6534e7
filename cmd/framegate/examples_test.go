package main_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy"
)

// noEnvironment makes the examples show their defaults.
func noEnvironment(string) (string, bool) { return "", false }

// examples lists the configurations of all examples; the folder policies holds
// more of them.
func examples(t *testing.T) (files []string) {
	t.Helper()
	for _, root := range []string{"../../examples", "../../examples/policies"} {
		for _, entry := range must(os.ReadDir(root)) {
			if !entry.IsDir() || entry.Name() == "policies" {
				continue
			}
			file := filepath.Join(root, entry.Name(), "gateway.yaml")
			if _, err := os.Stat(file); err != nil {
				t.Errorf("an example without its configuration: %v", err)
			}
			files = append(files, file)
		}
	}
	return files
}

// Every example, the annotated default and the configuration in the README load without a mistake or a warning.
func TestExamples(t *testing.T) {
	t.Parallel()
	files := examples(t)
	if len(files) < 8 {
		t.Fatalf("found %d examples", len(files))
	}
	for _, file := range append(files, "../../gateway.yaml", readmeConfiguration(t)) {
		loaded, err := proxy.Load(file, noEnvironment)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range loaded.Warnings {
			t.Errorf("warning: %v", w)
		}
	}
}

// The tests of each example of policies pass, and every rule refuses in one of them. They run as a user runs them, in the example's folder.
func TestExamplePolicies(t *testing.T) {
	t.Parallel()
	binary := wstest.Build(t)
	list := must(filepath.Abs("../../examples/README.md"))
	readme := string(must(os.ReadFile(list)))
	for _, file := range examples(t) {
		dir := filepath.Dir(must(filepath.Abs(file)))
		name := must(filepath.Rel(filepath.Dir(list), dir))
		if !strings.Contains(readme, "| `"+name+"` |") {
			t.Errorf("examples/README.md does not list %s", name)
		}
		if filepath.Dir(name) != "policies" {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(binary, "policy", "test", "--output", "json")
			cmd.Dir = dir
			out, err := cmd.Output()
			var got struct {
				Passed, Failed int
				Untested       []string
			}
			if err := errors.Join(err, json.Unmarshal(out, &got)); err != nil {
				t.Fatalf("framegate policy test: %v\n%s", err, out)
			}
			if got.Passed < 5 || got.Failed > 0 || len(got.Untested) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// readmeConfiguration writes the README's configuration to a file.
func readmeConfiguration(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(version: 1\n.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("README.md holds no configuration")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
