package main_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/wstest"
	"github.com/framegate/framegate/proxy"
)

// noEnvironment makes the examples show their defaults.
func noEnvironment(string) (string, bool) { return "", false }

// examples lists the configurations of all examples; the folders policies and
// messages hold more of them.
func examples(t *testing.T) (files []string) {
	t.Helper()
	for _, root := range []string{"../../examples", "../../examples/policies", "../../examples/messages"} {
		for _, entry := range must(os.ReadDir(root)) {
			if !entry.IsDir() || entry.Name() == "policies" || entry.Name() == "messages" {
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
	for _, file := range append(files, "../../gateway.yaml", readmeExample(t, "version: 1\n", ""), readmeExample(t, "policies:\n", `version: 1
listeners: [{address: ":8443", tls: {certificates: internal}}]
routes: [{name: chat, hosts: [chat.example.com], upstream: chat, policies: [pages, members, next]}]
upstreams: {chat: {servers: ["ws://127.0.0.1:9000"]}}
`)) {
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

// unreachable are rules that the messages of one connection cannot reach: what many connections send together, and control frames.
var unreachable = []string{"machines/client.bytes.per_route", "readers/client.frames.per_connection", "tenants/client.messages.per_claim.tenant"}

// The tests of each example of policies, for handshakes and messages, pass, and every rule refuses in one of them. They run as a user runs them, in the example's folder.
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
		if kind := filepath.Dir(name); kind != "policies" && kind != "messages" {
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
			got.Untested = slices.DeleteFunc(got.Untested, func(rule string) bool { return slices.Contains(unreachable, rule) })
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

// readmeExample writes the README's example that begins so to a file, behind what it lacks to be a configuration.
func readmeExample(t *testing.T, begin, before string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)```yaml\n(" + begin + ".*?)```").FindSubmatch(must(os.ReadFile("../../README.md")))
	if block == nil {
		t.Fatalf("README.md holds no example that begins with %q", begin)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, append([]byte(before), block[1]...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What policy/README.md shows of testing is what the program does.
func TestPolicyReadme(t *testing.T) {
	t.Parallel()
	text := string(must(os.ReadFile("../../policy/README.md")))
	blocks := regexp.MustCompile("(?s)```(?:yaml|console)\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 4 {
		t.Fatalf("policy/README.md has %d blocks, want a configuration, its tests and two outputs", len(blocks))
	}
	dir := t.TempDir()
	for i, name := range []string{"gateway.yaml", "gateway_test.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(blocks[i][1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := wstest.Build(t)
	for _, run := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"test"}, 1, blocks[2][1]},
		{[]string{"explain", "wss://chat.example.com/ws", "-H", "Origin: https://evil.example"}, 0, blocks[3][1]},
	} {
		cmd := exec.Command(binary, append([]string{"policy"}, run.args...)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != run.code || string(out) != run.want {
			t.Errorf("policy %s: %v, got\n%swant\n%s", run.args[0], err, out, run.want)
		}
	}
}
