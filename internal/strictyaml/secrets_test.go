package strictyaml

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Row C-12 of security.md: a secret that lies open is warned of, and never shown.
func TestSecretsThatLieOpen(t *testing.T) {
	type config struct {
		Secret string   `yaml:"secret" secret:"true"`
		Keys   []string `yaml:"keys" secret:"true"`
		URL    string   `yaml:"url" secret:"userinfo"`
		Name   string   `yaml:"name"`
	}
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("S3CRET"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return "${file:" + path + "}"
	}
	for text, want := range map[string][]string{
		"secret: S3CRET":                                 {"c.yaml:1:9: secret: this secret is in the file itself"},
		"secret: ${KEY:-S3CRET}":                         {"c.yaml:1:9: secret: this secret is in the file itself"},
		"secret: ${KEY}":                                 nil,
		"secret: " + file("mine", 0o600):                 nil,
		"secret: " + file("group", 0o640):                nil,
		"secret: " + file("all", 0o644):                  {"is open to everybody on this machine (mode 0644), want 0600"},
		"keys: [S3CRET, '" + file("other", 0o604) + "']": {"c.yaml:1:8: keys[0]: this", "keys[1]: \"" + dir},
		"url: rediss://me:S3CRET@redis":                  {"c.yaml:1:6: url: this secret"},
		"url: rediss://me@redis":                         nil,
		"url: rediss://redis":                            nil,
		"secret: \"\"":                                   nil,
		"secret: [S3CRET]":                               nil, // a mistake, which is told of
		"name: S3CRET":                                   nil,
	} {
		var c config
		doc, _ := Decode("c.yaml", []byte(text), func(name string) (string, bool) { return "S3CRET", name == "KEY" && !strings.Contains(text, ":-") }, &c)
		got := doc.Warnings()
		if runtime.GOOS == "windows" && strings.Contains(text, "file:") {
			continue // it has no such modes
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d warnings, want %d: %v", text, len(got), len(want), got)
			continue
		}
		for i, w := range got {
			if !strings.Contains(w.Error(), want[i]) || strings.Contains(w.Error(), "S3CRET") {
				t.Errorf("%s: %q, want %q", text, w, want[i])
			}
		}
	}
}
