package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/framegate/framegate/proxy"
)

// noEnvironment makes the examples show their defaults.
func noEnvironment(string) (string, bool) { return "", false }

// Every example, the annotated default and the configuration in the README load without a mistake or a warning.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/gateway.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	for _, entry := range must(os.ReadDir("../../examples")) {
		if entry.IsDir() && !slices.Contains(files, filepath.Join("../../examples", entry.Name(), "gateway.yaml")) {
			t.Errorf("examples/%s has no gateway.yaml", entry.Name())
		}
	}
	files = append(files, "../../gateway.yaml", readmeConfiguration(t))
	for _, file := range files {
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
