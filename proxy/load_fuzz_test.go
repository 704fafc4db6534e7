package proxy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/framegate/framegate/internal/strictyaml"
)

// Whatever a file holds, it is refused with mistakes that have a place in it, the same ones each time, or it makes a configuration
// that a server can be made of.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../gateway.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(example), rightConfig, single, oneRoute("ws://127.0.0.1:9", ""), "", "version: 1\n",
		oneRoute("wss://[::1]:443", `, paths: [/ws/*, /é, "/a b"], policies: [p]`) + "policies: {p: {origin: {allow: [\"https://*.example.com\"], absent: deny}}}\n",
		oneRoute("unix:///run/app.sock", ", close_codes: {drain: 1012, idle: {client: 4000, upstream: 1001}, drian: 1005}, http: deny, pings: answer, compression: off"),
		oneRoute("ws://127.0.0.1:9", ", close_codes: {drain: {client: 1005, upstream: 1006}}, max_lifetime: 12h, idle_timeout: 5, ping_interval: 0s"),
		strings.ReplaceAll(rightConfig, "app", "${HOST:-app}"), strings.ReplaceAll(rightConfig, "own", `"a.b"`), strings.ReplaceAll(rightConfig, "app", "${HOST}"),
		rightConfig + "policy_files: [gateway.yaml, '*']\nlog: {level: debug, format: text}\ndrain: {delay: 0s, window: 0s, hard_stop: 1s}\n",
		rightConfig + "tls: {storage: {file: /tmp/x}}\ndriver: goroutines\n",
		"version: 1\nroutes: &r [*r]\n", "a: &a {b: &b {<<: *a}}\n",
	} {
		f.Add([]byte(seed))
	}
	file := filepath.Join(f.TempDir(), "gateway.yaml")
	environment := func(name string) (string, bool) { return strings.ToLower(name) + ".example.com", name == "HOST" }
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(file, environment)
		again, errAgain := Load(file, environment)
		if text(err) != text(errAgain) || loaded.Warnings.Error() != again.Warnings.Error() {
			t.Fatalf("once %v\n%v\nand then %v\n%v", err, loaded.Warnings, errAgain, again.Warnings)
		}
		var mistakes strictyaml.Errors
		if err != nil && !errors.As(err, &mistakes) {
			t.Fatalf("an error without a place: %v", err)
		}
		for _, e := range append(mistakes, loaded.Warnings...) {
			if e.File != file || e.Line < 1 || e.Column < 1 || e.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1 {
				t.Errorf("%v has a place outside of the file", e)
			}
			if strings.ContainsFunc(e.Message, unicode.IsControl) {
				t.Errorf("%q has a control character", e.Message)
			}
		}
		if err != nil {
			return
		}
		compile(loaded.Config, loaded.Config.shared(), func(path, format string, args ...any) {
			t.Errorf("a mistake of a file that was loaded: "+path+": "+format, args...)
		}, func(string, string, ...any) {}).measure(newMetrics("fuzz"))
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
